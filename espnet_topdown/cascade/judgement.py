"""What the dev criterion decides about a cascade: which phases are accepted, skipped, and the best.

Values in, a value out: neither files nor a model are needed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from espnet_topdown.plan.plan import BASE, Phase, Plan

# The record of each finished phase by its name; a phase without one is not finished.
Records = Mapping[str, Mapping[str, Any]]


class Criterion(NamedTuple):
    """The dev criterion of a cascade.

    Args:
        part: ESPnet's name for the data, ``valid``.
        metric: as ESPnet's reporter names it, ``acc`` or ``loss``.
        mode: ``max`` or ``min``, whichever is better.
    """

    part: str
    metric: str
    mode: str

    @property
    def name(self) -> str:
        """The criterion as a reader writes it, ``valid acc max``."""
        return " ".join(self)

    def curve(self, rows: Iterable[Mapping[str, Any]]) -> list[float | None]:
        """Its value in each epoch, None where it was not measured.

        Args:
            rows: the epochs, as in ``epochs.json``.
        """
        return [row.get(self.part, {}).get(self.metric) for row in rows]


@dataclass(frozen=True)
class Judgement:
    """What the dev criterion decided.

    Args:
        dev: best value of ``phase0`` and of each finished phase.
        accepted: for each finished candidate, whether it was better than the best so far by
            `min_gain`.
        best: name of the best of ``phase0`` and the candidates.
        skipped: names of the phases that the stopping rule leaves out.
    """

    dev: Mapping[str, float]
    accepted: Mapping[str, bool]
    best: str
    skipped: frozenset[str]


def judge(
    phases: Sequence[Phase], records: Records, plan: Plan, *, base_value: float, mode: str
) -> Judgement:
    """Apply acceptance and the stopping rule to the finished phases, in the plan's order.

    Args:
        phases: all phases, or those up to the one that asks for the best before it.
        records: of the finished ones among them; each holds at least ``dev.curve``.
        plan: says the least gain and the patience.
        base_value: the dev criterion of phase 0 at its best epoch.
        mode: ``max`` or ``min``, whichever is better.
    """
    dev = {BASE: base_value}
    accepted: dict[str, bool] = {}
    skipped: set[str] = set()
    best = BASE
    rejections = 0  # in a row
    for phase in phases:
        if phase.name not in records:
            is_stopped = plan.patience is not None and rejections >= plan.patience
            if phase.answers in skipped or (is_stopped and _counts_for_stopping(phase)):
                skipped.add(phase.name)
            continue
        value = best_value(records[phase.name]["dev"]["curve"], mode)
        assert value is not None  # no record is written without one
        dev[phase.name] = value
        if phase.is_control:
            continue
        is_better = _gain(value, dev[best], mode) > plan.min_gain
        accepted[phase.name] = is_better
        if is_better:
            best = phase.name
        if _counts_for_stopping(phase):
            rejections = 0 if is_better else rejections + 1
    return Judgement(dev=dev, accepted=accepted, best=best, skipped=frozenset(skipped))


def best_value(curve: Iterable[float | None], mode: str) -> float | None:
    """The criterion at its best epoch, None where no epoch has a finite value."""
    finite = [value for value in curve if value is not None and math.isfinite(value)]
    if not finite:
        return None
    return max(finite) if mode == "max" else min(finite)


def _counts_for_stopping(phase: Phase) -> bool:
    """Whether its rejection is one in a row; a sweep's phases and controls are independent."""
    return not phase.in_sweep and not phase.is_control


def _gain(value: float, reference: float, mode: str) -> float:
    return value - reference if mode == "max" else reference - value
