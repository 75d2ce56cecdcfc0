"""Untying weights that ESPnet ties by an option; `model_table` says which.

The option must be off before the model is built, and in the saved config, or inference would tie
the weights again.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.model_table import MODELS, MT_TIE, Tie


def tie_of(config: Mapping[str, Any]) -> Tie | None:
    """The tie that the training config could make, whether or not it is on."""
    return _tied(config)[1]


def untie(config: MutableMapping[str, Any]) -> Tie:
    """Switch the tie off in a training config.

    Returns:
        the tie, whose `lower` tensor is now a matrix of its own.

    Raises:
        TopdownError: this model ties nothing by an option that can be switched off, or it is off.
    """
    part, tie = _tied(config)
    if tie is None:
        raise TopdownError(
            "'tied: untie_...' asked for a model that no option which a phase can switch off ties;"
            " leave it out, or give 'tied: freeze'"
        )
    if mapping_in(config, f"{part}_conf").get(tie.option) is False:
        raise TopdownError(
            f"'tied: untie_...' unties nothing: {part}_conf has {tie.option}: false already; leave"
            " it out, or give 'tied: freeze' where something else ties weights"
        )
    config[f"{part}_conf"] = {**mapping_in(config, f"{part}_conf"), tie.option: False}
    return tie


def _tied(config: Mapping[str, Any]) -> tuple[str, Tie | None]:
    """The part of the model (``lm``) whose ``_conf`` has the option of a tie; the tie, if any."""
    for part, choices in MODELS.items():
        model = choices.get(config.get(part, ""))
        if model and model.tie:
            return part, model.tie
    # An option of the whole model; off or on, only a model that can tie has it.
    if MT_TIE.option in mapping_in(config, "model_conf"):
        return "model", MT_TIE
    return "", None
