"""What is decided about a cascade's phases: which are accepted, skipped, and the best.

Values in, values out: neither files nor a model are needed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet_topdown.experiment.quality import best_of, sign
from espnet_topdown.plan.plan import BASE, Phase, Plan

# The record of each finished phase by its name; a phase without one is not finished.
Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Judgement:
    """What the dev criterion decided.

    Args:
        dev: best value of ``phase0``, where it is known, and of each finished phase.
        accepted: for each finished candidate, whether it was better than the best so far by
            `min_gain`.
        best: name of the best of ``phase0`` and the candidates; where their vocabularies differ,
            of those that have that of the last candidate judged.
        skipped: names of the phases that the stopping rule leaves out.
        lacking: (phase, validation set) whose value is needed to judge another phase on that set,
            and is not known; that phase counts as accepted meanwhile.
    """

    dev: Mapping[str, float]
    accepted: Mapping[str, bool]
    best: str
    skipped: frozenset[str]
    lacking: frozenset[tuple[str, str]] = frozenset()


def judge(
    phases: Sequence[Phase],
    records: Records,
    plan: Plan,
    *,
    base_value: float | None,
    mode: str,
    measured: Mapping[tuple[str, str], float] | None = None,
) -> Judgement:
    """Apply acceptance and the stopping rule to the finished phases, in the plan's order.

    Args:
        phases: all phases, or those up to the one that asks for the best before it.
        records: of the finished ones among them; each holds at least ``dev.curve``.
        plan: says the least gain and the patience.
        base_value: the dev criterion of phase 0 at its best epoch; None where it is not known, so
            that the first candidate is accepted and judges those after it.
        mode: ``max`` or ``min``, whichever is better.
        measured: (phase, validation set) -> value of its model on a set that is not that of its own
            training, "" for the base's.
    """
    dev: dict[str, float] = {}
    # On each set that is not its own too, so that two phases are compared on one set.
    on_set = dict(measured or {})
    if base_value is not None:
        dev[BASE] = on_set[BASE, ""] = base_value
    lacking: set[tuple[str, str]] = set()
    # By vocabulary: accuracies and losses over other tokens are not of one kind.
    bests: dict[str | None, str] = {None: BASE}
    accepted: dict[str, bool] = {}
    skipped: set[str] = set()
    best = BASE
    rejections = 0  # in a row
    for phase in phases:
        if phase.name not in records:
            # Not finished. Finished ones may follow: independent phases end in any order.
            if phase.answers in skipped or _is_spared(phase, plan, rejections):
                skipped.add(phase.name)
            continue
        value = best_value(records[phase.name]["dev"]["curve"], mode)
        assert value is not None  # no record is written without one
        dev[phase.name] = value
        valid_set = phase.valid_set or ""
        on_set[phase.name, valid_set] = value
        if phase.is_control:
            continue
        # Of the first of its vocabulary there is none before.
        before = bests.get(phase.tokens, ""), valid_set
        reference = on_set.get(before)
        # Phase 0's own may well not be known, and nothing would measure it.
        if reference is None and phase.tokens in bests and before != (BASE, ""):
            lacking.add(before)
        # Strictly more, so that an equal phase leaves the earlier one the best.
        is_better = reference is None or sign(mode) * (value - reference) > plan.min_gain
        accepted[phase.name] = is_better
        if is_better:
            bests[phase.tokens] = phase.name
        best = bests[phase.tokens]
        if not is_independent(phase):
            rejections = 0 if is_better else rejections + 1
    return Judgement(
        dev=dev,
        accepted=accepted,
        best=best,
        skipped=frozenset(skipped),
        lacking=frozenset(lacking),
    )


def best_value(curve: Iterable[float | None], mode: str) -> float | None:
    """The criterion at its best epoch, None where no epoch has a finite value."""
    finite = [value for value in curve if value is not None and math.isfinite(value)]
    return best_of(finite, mode) if finite else None


def _is_spared(phase: Phase, plan: Plan, rejections: int) -> bool:
    """Whether the plan's patience leaves a phase out, after so many rejections in a row."""
    is_counted = plan.patience is not None and rejections >= plan.patience
    return is_counted and not is_independent(phase)


def is_independent(phase: Phase) -> bool:
    """Whether the phase neither counts for the plan's patience nor waits for it.

    A control changes no decision, and the cuts of a sweep are compared, not tried in turn.
    """
    return phase.is_control or phase.in_sweep
