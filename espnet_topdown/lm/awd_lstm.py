"""AWD-LSTM as an ESPnet2 language model: layers with their dropouts, scores for a beam search.

The layers are `lm.encoder` (embedding), `lm.rnns.{k}` (one LSTM each) and `lm.decoder` (softmax).
Every dropout is a module of the layer whose output or weight it acts on. Loss and the state
between windows are in `stream_model`.

"Reference" is salesforce/awd-lstm-lm, the code of the paper's authors.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from espnet2.lm.abs_model import AbsLM
from torch import Tensor, nn

from espnet_topdown import check

# On a GPU torch warns of weights that cuDNN copies into one block at every call. A weight with
# dropout is new at every call.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")

# Of each LSTM: h and c, both (1, batch, dim).
LayerState = tuple[Tensor, Tensor]
State = tuple[LayerState, ...]


def _is_rate(value: Any) -> bool:
    return check.is_number(value) and 0 <= value < 1


SIZE = check.whole(1)
RATE = check.Must("within [0, 1)", _is_rate)


class LockedDropout(nn.Dropout):
    """Dropout with one mask for all frames of a window ("variational").

    Source: the reference's locked_dropout.py, `LockedDropout`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`x` (frames, batch, dim) with whole (batch, dim) entries dropped; unchanged in eval."""
        if not self.training or self.p == 0:
            return x
        ones = x.new_ones(1, *x.shape[1:])
        return x * F.dropout(ones, self.p, training=True)


class RowDropEmbedding(nn.Embedding):
    """An embedding that drops whole words: a word is missing everywhere in a window, or nowhere.

    Only the look-up is dropped, so that a softmax which shares the matrix sees all of it.
    Source: the reference's embed_regularize.py, `embedded_dropout`.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, row_dropout: float, output_dropout: float
    ) -> None:
        # No padding_idx: the reference's -1 means the last word to PyTorch and keeps gradients
        # from it. That word is <eos> here and must learn.
        super().__init__(num_embeddings, embedding_dim)
        self.drop_rows = nn.Dropout(row_dropout)
        self.drop = LockedDropout(output_dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors (frames, batch, dim) of the word ids (frames, batch)."""
        x = super().forward(tokens)
        if self.training and self.drop_rows.p > 0:
            # A mask over the vocabulary, applied to what was looked up: the same as dropping rows
            # of the matrix, without a copy of it.
            ones = x.new_ones(self.num_embeddings, 1)
            mask = self.drop_rows(ones)
            x = x * mask[tokens]
        return self.drop(x)


def lstm_layer(
    x: Tensor, state: LayerState | None, weights: list[Tensor], *, is_training: bool
) -> tuple[Tensor, LayerState]:
    """Outputs, (frames, batch, hidden), and last state of one direction of an LSTM layer.

    By the kernel of nn.LSTM (oneDNN or cuDNN).

    Args:
        x: (frames, batch, input).
        state: h and c, each (1, batch, hidden); None for zeros.
        weights: nn.LSTM's weight_ih, weight_hh, bias_ih and bias_hh.
        is_training: whether gradients are wanted.
    """
    if state is None:
        zeros = x.new_zeros(1, x.size(1), weights[1].size(1))
        state = (zeros, zeros)
    outputs, h, c = torch.lstm(
        x,
        state,
        weights,
        has_biases=True,
        num_layers=1,
        dropout=0.0,
        train=is_training,
        bidirectional=False,
        batch_first=False,
    )
    return outputs, (h, c)


class WeightDropLSTM(nn.Module):
    """One LSTM layer whose hidden-to-hidden weight is dropped element-wise, one mask for a window.

    It owns the four parameters under nn.LSTM's names and hands the dropped copy to the same kernel
    as nn.LSTM (oneDNN or cuDNN), so that gradients reach the raw weight, and neither evaluation nor
    copying ever sees a dropped one. The reference (weight_drop.py, `WeightDrop`) replaces an
    attribute of an nn.LSTM instead: with newer PyTorch that fails after an evaluation, and with
    some versions drops nothing, silently.
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
        """Draw all four parameters as nn.LSTM does: uniform within 1/sqrt(hidden_size)."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor, state: LayerState | None) -> tuple[Tensor, Tensor, LayerState]:
        """Output before and after its dropout, (frames, batch, hidden), and the last frame's state.

        Args:
            x: (frames, batch, input).
            state: h and c, each (1, batch, hidden); None for zeros.
        """
        weights = [
            self.weight_ih_l0,
            self.drop_weight(self.weight_hh_l0),
            self.bias_ih_l0,
            self.bias_hh_l0,
        ]
        raw, state = lstm_layer(x, state, weights, is_training=self.training)
        return raw, self.drop(raw), state


class AWDLSTM(AbsLM):
    """AWD-LSTM, chosen by ``--lm awd_lstm``.

    Source: "Regularizing and Optimizing LSTM Language Models" (arXiv 1708.02182); names, order and
    start values follow the reference's model.py, `RNNModel`.

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
        sizes = dict(vocab_size=vocab_size, unit=unit, nhid=nhid, nlayers=nlayers)
        rates = dict(dropouth=dropouth, dropouti=dropouti, dropoute=dropoute, wdrop=wdrop)
        rates["dropout_rate"] = dropout_rate
        faults = check.faults(sizes, dict.fromkeys(sizes, SIZE))
        faults += check.faults(rates, dict.fromkeys(rates, RATE))
        check.refuse_options("lm_conf of awd_lstm", faults)

        self.encoder = RowDropEmbedding(vocab_size, unit, dropoute, dropouti)
        inputs = [unit] + [nhid] * (nlayers - 1)
        outputs = [nhid] * (nlayers - 1) + [unit]
        drops = [dropouth] * (nlayers - 1) + [dropout_rate]
        self.rnns = nn.ModuleList(
            WeightDropLSTM(before, after, wdrop, drop)
            for before, after, drop in zip(inputs, outputs, drops, strict=True)
        )
        self.decoder = nn.Linear(unit, vocab_size)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        if tie_weights:
            self.decoder.weight = self.encoder.weight

    def features(self, tokens: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """The top LSTM's output before and after its dropout, (frames, batch, unit), and the state.

        Args:
            tokens: word ids (frames, batch): frames first, unlike `forward`.
            state: what the previous window returned; None for zeros.
        """
        before = [None] * len(self.rnns) if state is None else state
        after = []
        x = raw = self.encoder(tokens)
        for rnn, its_state in zip(self.rnns, before, strict=True):
            raw, x, its_state = rnn(x, its_state)
            after.append(its_state)
        return raw, x, tuple(after)

    def forward(self, input: Tensor, hidden: State | None) -> tuple[Tensor, State]:
        """Logits (batch, frames, vocabulary) of the next word after each, and the state.

        Args:
            input: word ids (batch, frames), as ESPnet2 has them.
            hidden: the state before the first frame; None for zeros.
        """
        tokens = input.transpose(0, 1)
        _, x, hidden = self.features(tokens, hidden)
        return self.decoder(x.transpose(0, 1)), hidden

    def score(self, y: Tensor, state: State | None, x: Tensor) -> tuple[Tensor, State]:
        """Log probabilities (vocabulary,) of the word after the prefix `y`, and its state.

        Source: `ScorerInterface` of espnet/nets/scorer_interface.py (202511), as
        `SequentialRNNLM` meets it.

        Args:
            y: the prefix, (length,).
            state: of the prefix without its last word; None for zeros.
            x: unused, the encoder's output.
        """
        last_word = y[-1].view(1, 1)
        logits, state = self(last_word, state)
        return logits.log_softmax(dim=-1).view(-1), state

    def batch_score(self, ys: Tensor, states: list[Any], xs: Tensor) -> tuple[Tensor, list[State]]:
        """Log probabilities (hypotheses, vocabulary) after the prefixes `ys`, and their states.

        A hypothesis's state has the shapes of a batch of one, so that `score` and `batch_score` may
        share it.

        Args:
            ys: the prefixes, (hypotheses, length).
            states: of the prefixes without their last words; all None at the start.
            xs: unused, the encoder's output.
        """
        state = None if states[0] is None else _batched(states)
        logits, state = self(ys[:, -1:], state)
        log_p = logits.squeeze(1).log_softmax(dim=-1)
        return log_p, _split(state, len(ys))


def _batched(states: Sequence[State]) -> State:
    """One state for the hypotheses side by side, each given as a batch of one."""
    layers = []
    for layer in zip(*states, strict=True):
        hs, cs = zip(*layer, strict=True)
        h = torch.cat(hs, dim=1)
        c = torch.cat(cs, dim=1)
        layers.append((h, c))
    return tuple(layers)


def _split(state: State, count: int) -> list[State]:
    """The state of each of `count` hypotheses, each as a batch of one."""
    states = []
    for number in range(count):
        # A slice, not an index: the batch dimension stays.
        one = slice(number, number + 1)
        layers = [(h[:, one], c[:, one]) for h, c in state]
        states.append(tuple(layers))
    return states
