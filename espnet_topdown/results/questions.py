"""What is asked of the runs of one base: which phases are compared with which.

A study asks it over seeds (`espnet_topdown.study.answers`), a cascade of its one seed
(`espnet_topdown.results.contrasts`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from espnet_topdown.check import mapping_in
from espnet_topdown.errors import listed
from espnet_topdown.experiment.quality import Criterion, sign
from espnet_topdown.plan.kinds import (
    CONTROL,
    RESTART,
    TOP_DOWN,
    has_own_name,
)
from espnet_topdown.plan.plan import BASE
from espnet_topdown.results.rows import PhaseResult

FROM_SCRATCH = "from scratch"

Arm = tuple[PhaseResult, ...]  # runs whose mean value counts


@dataclass(frozen=True)
class Runs:
    """Phase 0 of one base, its cascade and its controls, in the plan's order.

    Args:
        seed: of the base.
        criterion: that of dev.
        phases: phase 0 first.
    """

    seed: int
    criterion: Criterion
    phases: tuple[PhaseResult, ...]

    @property
    def base(self) -> PhaseResult:
        """Phase 0."""
        return self.phases[0]

    @cached_property
    def by_name(self) -> Mapping[str, PhaseResult]:
        """The phases by their names."""
        return {phase.name: phase for phase in self.phases}

    def named(self, name: str) -> PhaseResult | None:
        """The phase of that name; None where there is none."""
        return self.by_name.get(name)

    def best(self, phases: Sequence[PhaseResult]) -> PhaseResult | None:
        """The one of `phases` that is best by the dev criterion, the first of equals; None of none.

        A phase without a value on dev is worse than any other. Of phases whose dev values are of
        different data or tokens none is the best.
        """
        if len({phase.dev_set for phase in phases}) != 1:
            return None
        return max(phases, key=self._quality)

    def _quality(self, phase: PhaseResult) -> float:
        return float("-inf") if phase.dev is None else sign(self.criterion.mode) * phase.dev


@dataclass(frozen=True)
class ArmPair:
    """Two arms of one seed: what the mean value of `first` is minus that of `second`."""

    seed: int
    first: Arm
    second: Arm

    @property
    def names(self) -> tuple[str, str]:
        """The names of both."""
        return _joined(self.first), _joined(self.second)


def _joined(arm: Arm) -> str:
    return ", ".join(phase.name for phase in arm)


def over_seeds(several: Sequence[Runs]) -> dict[str, list[ArmPair]]:
    """Question -> the pair of each seed that can answer it.

    Phase 0 and the restarts are one way of training, from scratch: all of a seed's are one arm.
    """
    pairs: dict[str, list[ArmPair]] = {}
    for runs in several:
        asked = _against_scratch(runs)
        # A single restart is one of the runs from scratch, which were asked about already.
        its_restart = _its(RESTART)
        between = of_one_seed(runs).items()
        asked |= {
            question: pair for question, pair in between if not question.endswith(its_restart)
        }
        for question, pair in asked.items():
            pairs.setdefault(question, []).append(pair)
    return pairs


def of_one_seed(runs: Runs) -> dict[str, ArmPair]:
    """Question -> the two phases, each restart against the phase that it answers among them."""
    pairs = {}
    for question, first, second in _between_phases(runs):
        if first is not None and second is not None:
            pairs[question] = ArmPair(runs.seed, (first,), (second,))
    return pairs


def _its(kind: str) -> str:
    return f"its {kind}, one run each"


def of_kind(kind: str, phases: Iterable[PhaseResult]) -> list[PhaseResult]:
    """Those of `phases` that are of `kind`."""
    return [phase for phase in phases if phase.kind == kind]


def usual(runs: Runs) -> list[PhaseResult]:
    """The cascade as it is and its controls.

    Neither a `variant` of a phase is among them nor a control with a name of its own.
    """
    return [
        phase for phase in runs.phases if not (_is_named_control(phase) or variant(runs, phase))
    ]


def _is_named_control(phase: PhaseResult) -> bool:
    return phase.role == CONTROL and has_own_name(phase.kind, phase.name)


def _in_full(phases: Iterable[PhaseResult]) -> list[PhaseResult]:
    """Those of `phases` that were to be trained in full, whatever dev said.

    Of those that the median rule could end, the ones that it left are the good ones: none stands
    for its way of training, but for the question which is the best.
    """
    return [phase for phase in phases if phase.stop_from is None]


def from_scratch(runs: Runs, *, reads: str = "") -> list[PhaseResult]:
    """Phase 0 and the restarts that were trained as it was, on the same data.

    Args:
        runs: of one base.
        reads: the data, as in `PhaseResult`; of another than the base's, the restarts alone.
    """
    restarts = _in_full(of_kind(RESTART, usual(runs)))
    alike = [restart for restart in restarts if not _deciding(restart).get("train")]
    return [phase for phase in (runs.base, *alike) if phase.reads == reads]


def candidates(runs: Runs) -> list[PhaseResult]:
    """The phases of the cascade as it is, phase 0 left out."""
    return [phase for phase in usual(runs) if phase.is_tried]


def best_phase(runs: Runs) -> PhaseResult | None:
    """The best phase of the cascade."""
    return runs.best(candidates(runs))


def variant(runs: Runs, phase: PhaseResult) -> str:
    """How a phase differs from the first of its cut, such as "dropout off" or "lr 0.001".

    "" for that phase and for what is no top-down phase.
    """
    first = _first_of_cut(runs, phase)
    if first.name == phase.name:
        return ""
    mine, theirs = _flat(_deciding(phase)), _flat(_deciding(first))
    # Theirs first, so that names stand in one order, whichever phase gives an option.
    changed = [
        f"{name} {mine.get(name, 'as configured')}"
        for name in theirs | mine
        if mine.get(name) != theirs.get(name)
    ]
    # Without a change it is the same once more, under another seed.
    return listed(changed, nothing="again")


def _first_of_cut(runs: Runs, phase: PhaseResult) -> PhaseResult:
    """The first top-down phase with the cut and data of the top-down `phase`; others themselves."""
    if phase.kind != TOP_DOWN:
        return phase
    where = (phase.cut, phase.reads)
    alike = [each for each in of_kind(TOP_DOWN, runs.phases) if (each.cut, each.reads) == where]
    return next(iter(_in_full(alike)), alike[0])


def _against_scratch(runs: Runs) -> dict[str, ArmPair]:
    """Every question about a phase against the runs from scratch."""
    asked = {
        "best phase": best_phase(runs),
        "best phase with dropout off": runs.best(_without_dropout(runs)),
    }
    asked |= {titled(phase): phase for phase in _in_full(candidates(runs))}
    asked |= {phase.name: phase for phase in filter(_is_named_control, _in_full(runs.phases))}
    pairs = {}
    for name, phase in asked.items():
        if phase is None:
            continue
        scratch = from_scratch(runs, reads=phase.reads)
        if scratch:
            pairs[f"{name} - {FROM_SCRATCH}"] = ArmPair(runs.seed, (phase,), tuple(scratch))
    return pairs


def _between_phases(runs: Runs) -> Iterable[tuple[str, PhaseResult | None, PhaseResult | None]]:
    """Every question with its two phases, either of which may be None."""
    # Equal budget: both sides are the best of as many runs. Restarts may also answer variants, or
    # phases that are not trained yet.
    answered, restarts = [], []
    for phase in candidates(runs):
        restart = runs.named(f"{RESTART}_{phase.name}")
        if restart is not None:
            answered.append(phase)
            restarts.append(restart)
    equal = "best phase - best restart, as many runs each"
    yield equal, runs.best(answered), runs.best(restarts)
    off = _without_dropout(runs)
    restarts = of_kind(RESTART, runs.phases)
    if off:
        restarts = _on_data_of(off[0], restarts)[: len(off)]
    if len(restarts) == len(off) and len({phase.reads for phase in off}) == 1:
        question = "best phase with dropout off - best restart, as many runs each"
        yield question, runs.best(off), runs.best(restarts)
    # The order of the tests counts: a control with a name of its own is a control too.
    for phase in _in_full(runs.phases):
        if _is_named_control(phase):
            yield from _of_named_control(runs, phase)
        elif phase.role == CONTROL:
            yield from _of_control(runs, phase)
        elif how := variant(runs, phase):
            # A phase with other settings, against the first one of its cut.
            earlier = _first_of_cut(runs, phase)
            yield f"cut {phase.cut}: {how} ({phase.name}) - {earlier.name}", phase, earlier


def _of_named_control(
    runs: Runs, phase: PhaseResult
) -> Iterable[tuple[str, PhaseResult | None, PhaseResult | None]]:
    """Questions about a control that a plan named, such as fine-tuning."""
    alike = _on_data_of(phase, candidates(runs))
    yield f"best phase - {phase.name}", runs.best(alike), phase
    restarts = _on_data_of(phase, of_kind(RESTART, usual(runs)))
    yield f"{phase.name} - best restart", phase, runs.best(restarts)
    parent = runs.named(_deciding(phase).get("parent", BASE))
    if parent is not None and not parent.is_base and parent.reads == phase.reads:
        yield f"{phase.name} - its parent {parent.name}", phase, parent


def _of_control(
    runs: Runs, phase: PhaseResult
) -> Iterable[tuple[str, PhaseResult | None, PhaseResult | None]]:
    """The phase that a control answers, against it."""
    # As the plan's expansion has named it: restart_phase1 answers phase1.
    name = phase.name.removeprefix(f"{phase.kind}_")
    for answered in _in_full(runs.phases):
        if answered.name == name:
            yield f"{titled(answered)} - {_its(phase.kind)}", answered, phase


def _on_data_of(phase: PhaseResult, others: Iterable[PhaseResult]) -> list[PhaseResult]:
    """Those of `others` that read the data and tokens of `phase`; else data would be compared."""
    return [other for other in others if other.reads == phase.reads]


def titled(phase: PhaseResult) -> str:
    """A phase as questions name it, with its cut."""
    return f"{phase.name} (cut {phase.cut})" if phase.cut else phase.name


def _without_dropout(runs: Runs) -> list[PhaseResult]:
    """The top-down phases whose frozen layers had no dropout, variants included."""
    return [phase for phase in of_kind(TOP_DOWN, runs.phases) if phase.dropout == "off"]


def _deciding(phase: PhaseResult) -> dict[str, Any]:
    """What decides a phase besides its cut."""
    deciding: dict[str, Any] = json.loads(phase.settings or "{}")
    return deciding | {"dropout": phase.dropout}


def _flat(deciding: Mapping[str, Any]) -> dict[str, Any]:
    """The same with training options beside the rest."""
    flat = dict(deciding)
    flat.pop("train", None)
    for name, value in mapping_in(deciding, "train").items():
        # Options in groups, such as optim_conf, stand by their own names.
        flat |= value if isinstance(value, dict) else {name: value}
    return flat
