"""AWD-LSTM as an ESPnet2 language model.

Layers with their dropouts, and the scorer for beam search.

The layers are `lm.encoder` (embedding), `lm.rnns.{k}` (one LSTM each) and `lm.decoder` (softmax).
Every dropout is an module of the layer whose output or weight it acts on. Loss and the state
between windows are in `stream_model`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from espnet2.lm.abs_model import AbsLM
from torch import Tensor, nn

from espnet_topdown.errors import TopdownError

State = tuple[tuple[Tensor, Tensor], ...]  # per LSTM: h and c, each (1, batch, dim)


class LockedDropout(nn.Dropout):
    """Dropout with one mask for all frames of a window ("variational").

    Input and output are (frames, batch, dim).
    """

    def forward(self, x: Tensor) -> Tensor:
        """`x` with whole (batch, dim) entries dropped; unchanged in eval mode."""
        if not self.training or self.p == 0:
            return x
        return x * F.dropout(x.new_ones(1, *x.shape[1:]), self.p, training=True)


class RowDropEmbedding(nn.Embedding):
    """An embedding that drops whole words: a word is missing everywhere in a window, or nowhere.

    Only the look-up is dropped, so that a softmax which shares the matrix sees all of it.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, row_dropout: float, output_dropout: float
    ) -> None:
        super().__init__(num_embeddings, embedding_dim)
        self.drop_rows = nn.Dropout(row_dropout)
        self.drop = LockedDropout(output_dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors (frames, batch, dim) of the word ids (frames, batch)."""
        x = super().forward(tokens)
        if self.training and self.drop_rows.p > 0:
            # A mask over the vocabulary, applied to what was looked up: the same as dropping rows
            # of the matrix.
            x = x * self.drop_rows(x.new_ones(self.num_embeddings, 1))[tokens]
        return self.drop(x)


class WeightDropLSTM(nn.Module):
    """One LSTM layer whose hidden-to-hidden weight is dropped element-wise, one mask for a window.

    It owns the four parameters under nn.LSTM's names and hands the dropped copy to the same kernel
    as nn.LSTM (oneDNN or cuDNN), so that gradients reach the raw weight, and neither evaluation nor
    copying ever sees a dropped one.
    """

    def __init__(
        self, input_size: int, hidden_size: int, weight_dropout: float, output_dropout: float
    ) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.drop_weight = nn.Dropout(weight_dropout)
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * hidden_size))
        self.drop = LockedDropout(output_dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all four parameters as nn.LSTM does: uniform within 1/sqrt(hidden_size)."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Output (frames, batch, hidden) before its dropout, and the state after the last frame.

        Args:
            x: (frames, batch, input).
            state: h and c, each (1, batch, hidden); None for zeros.
        """
        if state is None:
            zeros = x.new_zeros(1, x.size(1), self.hidden_size)
            state = (zeros, zeros)
        weights = [
            self.weight_ih_l0,
            self.drop_weight(self.weight_hh_l0),
            self.bias_ih_l0,
            self.bias_hh_l0,
        ]
        output, h, c = torch.lstm(x, state, weights, True, 1, 0.0, self.training, False, False)
        return output, (h, c)


class AWDLSTM(AbsLM):
    """AWD-LSTM of "Regularizing and Optimizing LSTM Language Models" (arXiv 1708.02182), chosen by
    ``--lm awd_lstm``.

    Args:
        vocab_size: number of words, the end of sentence included (the last id, as ESPnet2 expects).
        unit: size of the embedding and of the top LSTM.
        nhid: size of the other LSTMs.
        nlayers: number of LSTMs, at least 1.
        dropout_rate: on the output of the top LSTM.
        dropouth: on the output of each other LSTM.
        dropouti: on the output of the embedding.
        dropoute: of whole words in the embedding's look-up.
        wdrop: of single hidden-to-hidden weights.
        tie_weights: the softmax's weight is the embedding's matrix; its bias is its own.

    Raises:
        TopdownError: a size below 1 or a dropout outside [0, 1).
    """

    def __init__(
        self,
        vocab_size: int,
        unit: int = 400,
        nhid: int = 1150,
        nlayers: int = 3,
        dropout_rate: float = 0.4,
        dropouth: float = 0.2,
        dropouti: float = 0.65,
        dropoute: float = 0.1,
        wdrop: float = 0.5,
        tie_weights: bool = True,
    ) -> None:
        super().__init__()
        _check(
            dict(vocab_size=vocab_size, unit=unit, nhid=nhid, nlayers=nlayers),
            dict(
                dropout_rate=dropout_rate,
                dropouth=dropouth,
                dropouti=dropouti,
                dropoute=dropoute,
                wdrop=wdrop,
            ),
        )
        sizes = [unit] + [nhid] * (nlayers - 1) + [unit]
        drops = [dropouth] * (nlayers - 1) + [dropout_rate]
        self.encoder = RowDropEmbedding(vocab_size, unit, dropoute, dropouti)
        self.rnns = nn.ModuleList(
            WeightDropLSTM(i, o, wdrop, drop)
            for i, o, drop in zip(sizes[:-1], sizes[1:], drops, strict=True)
        )
        self.decoder = nn.Linear(unit, vocab_size)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if tie_weights:
            self.decoder.weight = self.encoder.weight

    def features(self, tokens: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """The top LSTM's output before and after its dropout, each (frames, batch, unit), and the
        new state.

        Args:
            tokens: word ids (frames, batch): frames first, unlike `forward`.
            state: what the previous window returned; None for zeros.
        """
        x = raw = self.encoder(tokens)
        states = []
        for rnn, before in zip(self.rnns, state or [None] * len(self.rnns), strict=True):
            raw, after = rnn(x, before)
            x = rnn.drop(raw)
            states.append(after)
        return raw, x, tuple(states)

    def forward(self, input: Tensor, hidden: State | None) -> tuple[Tensor, State]:
        """Logits (batch, frames, vocabulary) of the next word after each of `input` (batch,
        frames), and the state.
        """
        _, x, hidden = self.features(input.transpose(0, 1), hidden)
        return self.decoder(x.transpose(0, 1)), hidden

    def score(self, y: Tensor, state: State | None, x: Tensor) -> tuple[Tensor, State]:
        """Log probabilities (vocabulary,) of the word after the prefix `y` (length,), and its
        state; `x` is unused.

        Source: ScorerInterface of espnet/nets/scorer_interface.py (202511), as SequentialRNNLM
            meets it.
        """
        logits, state = self(y[-1].view(1, 1), state)
        return logits.log_softmax(dim=-1).view(-1), state

    def batch_score(self, ys: Tensor, states: list[Any], xs: Tensor) -> tuple[Tensor, list[State]]:
        """Log probabilities (hypotheses, vocabulary) after the prefixes `ys` (hypotheses, length),
        and their states.

        A hypothesis's state has the shapes of a batch of one, so that `score` and `batch_score` may
        share it.
        """
        state = None
        if states[0] is not None:
            layers = zip(*states, strict=True)
            state = tuple(
                tuple(torch.cat(parts, dim=1) for parts in zip(*layer, strict=True))
                for layer in layers
            )
        logits, state = self(ys[:, -1:], state)
        each = [tuple((h[:, i : i + 1], c[:, i : i + 1]) for h, c in state) for i in range(len(ys))]
        return logits.squeeze(1).log_softmax(dim=-1), each


def _check(sizes: dict[str, int], dropouts: dict[str, float]) -> None:
    """All faults of the options at once."""
    faults = [
        f"{name} is {value}, at least 1 is needed" for name, value in sizes.items() if value < 1
    ]
    faults += [
        f"{name} is {value}, not within [0, 1)"
        for name, value in dropouts.items()
        if not 0 <= value < 1
    ]
    if faults:
        raise TopdownError(f"lm_conf of awd_lstm: {'; '.join(faults)}.")
