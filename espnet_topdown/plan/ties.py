"""Weights that ESPnet ties by an option: which option, and which tensors it makes one.

Needed to untie them: the option must be off before the model is built, and in the saved config, or
inference would tie them again.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from espnet_topdown.errors import TopdownError


@dataclass(frozen=True)
class Tie:
    """An option ``{conf}: {option.

    True}`` of `choice` (a value of the config key `part`) that ties lower to upper.
    """

    part: str
    choice: str
    option: str
    lower: str
    upper: str
    default: bool


_TIES = (
    Tie("lm", "seq_rnn", "tie_weights", "lm.encoder.weight", "lm.decoder.weight", False),
    Tie("lm", "awd_lstm", "tie_weights", "lm.encoder.weight", "lm.decoder.weight", True),
)


def tie_of(config: Mapping[str, Any]) -> Tie | None:
    """The tie that the training config could make, whether or not it is on."""
    return next((tie for tie in _TIES if config.get(tie.part) == tie.choice), None)


def untie(config: MutableMapping[str, Any]) -> Tie:
    """Switch the tie off in a training config.

    Returns:
        the tie, whose `lower` tensor is now a matrix of its own.

    Raises:
        TopdownError: this model ties nothing by an option.
    """
    tie = tie_of(config)
    if tie is None:
        raise TopdownError(
            "'tied: untie_...' asked for a model whose weights ESPnet does not tie by an option"
        )
    config[f"{tie.part}_conf"] = {**(config.get(f"{tie.part}_conf") or {}), tie.option: False}
    return tie
