"""Refuses phases that would freeze, switch off or draw what this model does not let them.

Told by the model's facts, before any training; a training asks its model itself.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan import freeze_param
from espnet_topdown.plan.layer_names import acts_inside, moving_fault
from espnet_topdown.plan.plan import Phase


def faults(facts: ModelFacts, phase: Phase, config: Mapping[str, Any]) -> Iterator[str]:
    """Why the base's model does not let a phase be; `config` is the base's."""
    told = [
        _dropout_fault(facts, phase),
        _moving_fault(facts, phase),
        _idle_fault(facts, phase),
        _random_fault(facts, phase, config),
    ]
    yield from filter(None, told)


def _dropout_fault(facts: ModelFacts, phase: Phase) -> str | None:
    frozen = phase.sides(facts.names).frozen
    if phase.dropout == "keep" or not frozen:
        return None
    try:
        for dropout, served in facts.data["dropouts"].items():
            acts_inside(dropout, served, frozen)
    except TopdownError as error:
        return str(error)
    return None


def _moving_fault(facts: ModelFacts, phase: Phase) -> str | None:
    frozen = phase.sides(facts.names).frozen
    moving = []
    for layer in facts.data["layers"]:
        if layer["name"] in frozen:
            moving += layer.get("moving", [])
    return moving_fault(moving) if moving else None


def _idle_fault(facts: ModelFacts, phase: Phase) -> str | None:
    frozen, total = facts.frozen_parameters(phase)
    if frozen < total:
        return None
    fresh = ", ".join(phase.sides(facts.names).fresh)
    return (
        f"nothing is left to train: what is not kept ({fresh}) is frozen by the base's"
        " freeze_param, by ESPnet's class or by a tie; cut higher, train what freeze_param names"
        " ('train: {freeze_param: []}'), or give 'tied: untie_draw' where it is a tie"
    )


def _random_fault(facts: ModelFacts, phase: Phase, config: Mapping[str, Any]) -> str | None:
    key = "left_random" if phase.init_param == "keep" else "random_if_dropped"
    # A plan's own can only be empty: what is left is ESPnet's class.
    if "freeze_param" in phase.train:
        key += "_by_class"
    left = facts.counts(key)
    random = [name for name in phase.sides(facts.names).fresh if left[name]]
    return freeze_param.fault(random, {**config, **phase.train}) if random else None
