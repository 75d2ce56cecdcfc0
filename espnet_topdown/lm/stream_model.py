"""The stream model.

Next-word loss over windows of one endless text, with the state carried from window to window.

Windows come from `bptt`; AWD-LSTM's layers are in `awd_lstm`.
"""

import torch
from espnet2.lm.abs_model import AbsLM
from espnet2.lm.espnet_model import ESPnetLanguageModel
from torch import Tensor

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm.awd_lstm import AWDLSTM, State
from espnet_topdown.lm.softmax import mean_cross_entropy


class StreamLanguageModel(ESPnetLanguageModel):
    """AWD-LSTM trained on windows of a stream, chosen by ``--model lm_stream``.

    The gradient is of the mean negative log likelihood plus activation regularisation (AR, on the
    dropped output of the top LSTM) and temporal activation regularisation (TAR, on its output
    before dropout). The reported loss is the likelihood alone, in training too. Scoring single
    sentences (`nll`) is inherited from ESPnet2's own LM model.

    Args:
        lm: an AWD-LSTM.
        vocab_size: number of words.
        ignore_id: of ESPnet2's LM model; only fills padding there.
        alpha: weight of AR.
        beta: weight of TAR.

    Raises:
        TopdownError: another class of language model.
    """

    def __init__(
        self, lm: AbsLM, vocab_size: int, ignore_id: int = 0, alpha: float = 2.0, beta: float = 1.0
    ) -> None:
        if not isinstance(lm, AWDLSTM):
            raise TopdownError(
                f"--model lm_stream needs --lm awd_lstm, got {type(lm).__name__}; use --model lm"
                " for it."
            )
        super().__init__(lm=lm, vocab_size=vocab_size, ignore_id=ignore_id)
        self.alpha = alpha
        self.beta = beta
        self._state: State | None = (
            None  # between windows; not a buffer, every epoch starts with a reset
        )

    def forward(
        self, tokens: Tensor, targets: Tensor, reset: bool, **kwargs: object
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss to minimise, what to report, and the number of targets.

        Args:
            tokens: word ids (frames, columns).
            targets: the ids that follow them, (frames, columns).
            reset: start from a zero state, as at the beginning of a stream.
            kwargs: unused names that ESPnet2's trainer adds (`utt_id`).
        """
        state = None if reset else self._state
        raw, dropped, state = self.lm.features(tokens, state)
        self._state = tuple((h.detach(), c.detach()) for h, c in state)
        softmax = self.lm.decoder
        nll = mean_cross_entropy(
            dropped.flatten(0, 1), softmax.weight, softmax.bias, targets.flatten()
        )
        loss = nll + self._penalty(raw, dropped) if self.training else nll
        return loss, {"loss": nll.detach()}, torch.tensor(targets.numel(), device=nll.device)

    def _penalty(self, raw: Tensor, dropped: Tensor) -> Tensor:
        """alpha AR + beta TAR; a window of one frame has no TAR."""
        penalty = self.alpha * dropped.pow(2).mean()
        return penalty + self.beta * (raw[1:] - raw[:-1]).pow(2).mean() if len(raw) > 1 else penalty
