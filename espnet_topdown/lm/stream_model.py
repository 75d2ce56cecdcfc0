"""Next-word loss over windows of one endless text, the state carried from window to window.

Windows come from `bptt`; AWD-LSTM's layers are in `awd_lstm`.
"""

import torch
from espnet2.lm.abs_model import AbsLM
from espnet2.lm.espnet_model import ESPnetLanguageModel
from torch import Tensor

from espnet_topdown import check
from espnet_topdown.errors import TopdownError
from espnet_topdown.lm.awd_lstm import AWDLSTM, State
from espnet_topdown.lm.softmax import mean_cross_entropy


class StreamLanguageModel(ESPnetLanguageModel):
    """AWD-LSTM trained on windows of a stream, chosen by ``--model lm_stream``.

    The gradient is of the mean negative log likelihood plus activation regularisation (AR, on the
    dropped output of the top LSTM) and temporal activation regularisation (TAR, on its output
    before dropout), as in `train` of salesforce/awd-lstm-lm, main.py. The reported loss is the
    likelihood alone, in training too. Scoring single sentences (`nll`) is inherited from ESPnet2's
    own LM model.

    Args:
        lm: an AWD-LSTM.
        vocab_size: number of words.
        ignore_id: of ESPnet2's LM model; only fills padding there.
        alpha: weight of AR.
        beta: weight of TAR.

    Raises:
        TopdownError: another class of language model, or a negative weight.
    """

    def __init__(
        self, lm: AbsLM, vocab_size: int, ignore_id: int = 0, alpha: float = 2.0, beta: float = 1.0
    ) -> None:
        if not isinstance(lm, AWDLSTM):
            raise TopdownError(
                f"--model lm_stream needs --lm awd_lstm, got {type(lm).__name__}; use --model lm"
                " for it, without iterator_type task"
            )
        weights = {"alpha": alpha, "beta": beta}
        faults = check.faults(weights, dict.fromkeys(weights, check.NOT_NEGATIVE))
        check.refuse_options("model_conf of lm_stream", faults)
        super().__init__(lm=lm, vocab_size=vocab_size, ignore_id=ignore_id)
        self.alpha = alpha
        self.beta = beta
        # Between windows. Not a buffer: every epoch starts with a reset, so that a checkpoint has
        # no need of it.
        self._state: State | None = None

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
        before = None if reset else self._state
        raw, dropped, after = self.lm.features(tokens, before)
        self._state = tuple((h.detach(), c.detach()) for h, c in after)
        softmax = self.lm.decoder
        rows = dropped.flatten(0, 1)
        nll = mean_cross_entropy(rows, softmax.weight, softmax.bias, targets.flatten())
        loss = nll + self._penalty(raw, dropped) if self.training else nll
        # ESPnet2 weights its means by it, so that the valid loss is the mean over all targets.
        count = torch.tensor(targets.numel(), device=nll.device)
        return loss, {"loss": nll.detach()}, count

    def _penalty(self, raw: Tensor, dropped: Tensor) -> Tensor:
        """AR and TAR with their weights; a window of one frame has no TAR."""
        penalty = self.alpha * dropped.pow(2).mean()
        if len(raw) > 1:
            change = raw[1:] - raw[:-1]
            penalty = penalty + self.beta * change.pow(2).mean()
        return penalty
