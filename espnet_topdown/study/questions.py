"""What a study asks: which phases of a seed are compared with which.

The answers are those of `espnet_topdown.study.contrasts` (error rates) and
`espnet_topdown.study.perplexity`.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet_topdown.plan.kinds import BASE_KIND, CONTROL, RESTART, TOP_DOWN, has_own_name
from espnet_topdown.plan.plan import BASE
from espnet_topdown.study.records import Record, RecordedPhase, of_kind

Choice = Callable[[Record], RecordedPhase | None]
Asked = tuple[str, RecordedPhase | None, RecordedPhase | None]


@dataclass(frozen=True)
class PhasePair:
    """Two phases of one seed: what the value of `first` is minus that of `second`."""

    seed: int
    first: RecordedPhase
    second: RecordedPhase

    @property
    def names(self) -> tuple[str, str]:
        """The names of both phases."""
        return self.first.name, self.second.name


def questions(records: Sequence[Record]) -> dict[str, list[PhasePair]]:
    """Question -> the pair of each seed that can answer it."""
    pairs: dict[str, list[PhasePair]] = {}
    for record in records:
        for question, first, second in _asked(record):
            if first is not None and second is not None:
                pairs.setdefault(question, []).append(PhasePair(record.seed, first, second))
    return pairs


def usual(record: Record) -> list[RecordedPhase]:
    """The cascade as it is and its controls.

    Neither a `variant` of a phase is among them nor a control with a name of its own.
    """
    phases = [phase for phase in record.phases if not has_own_name(phase.kind, phase.name)]
    return [phase for phase in phases if not variant(record, phase)]


def base(record: Record) -> RecordedPhase | None:
    """Phase 0."""
    return record.best(of_kind(BASE_KIND, usual(record)))


def best_top_down(record: Record) -> RecordedPhase | None:
    """The best top-down phase of the cascade."""
    return record.best(of_kind(TOP_DOWN, usual(record)))


def best_with_restart(record: Record) -> RecordedPhase | None:
    """The best of the top-down phases that a restart answers, so that both had as many runs."""
    names = {phase.name for phase in record.phases}
    answered = [phase for phase in usual(record) if f"{RESTART}_{phase.name}" in names]
    return record.best(of_kind(TOP_DOWN, answered))


def best_restart(record: Record) -> RecordedPhase | None:
    """The best restart."""
    return record.best(of_kind(RESTART, usual(record)))


def best_control(record: Record) -> RecordedPhase | None:
    """The best control of any kind."""
    return record.best([phase for phase in usual(record) if phase.role == CONTROL])


def best_without_dropout(record: Record) -> RecordedPhase | None:
    """The best top-down phase whose frozen layers had no dropout, variants included."""
    return record.best(_without_dropout(record))


def best_of_as_many_restarts(record: Record) -> RecordedPhase | None:
    """The best of the first restarts, as many as there are phases without dropout.

    None where there are fewer.
    """
    many = len(_without_dropout(record))
    restarts = of_kind(RESTART, record.phases)[:many]
    return record.best(restarts) if len(restarts) == many else None


# Asked of every seed. Equal budget: both sides are the best of as many runs.
BETWEEN_BEST: Mapping[str, tuple[Choice, Choice]] = {
    "best top-down phase - phase 0": (best_top_down, base),
    "best top-down phase - best restart, as many runs each": (best_with_restart, best_restart),
    "best top-down phase - best control of any kind": (best_top_down, best_control),
    "best restart - phase 0": (best_restart, base),
    "best phase with dropout off - phase 0": (best_without_dropout, base),
    "best phase with dropout off - best restart, as many runs each": (
        best_without_dropout,
        best_of_as_many_restarts,
    ),
}


def variant(record: Record, phase: RecordedPhase) -> str:
    """How a phase differs from `first_of_cut`, such as "dropout off" or "lr 0.001".

    "" for that phase and for controls.
    """
    first = first_of_cut(record, phase)
    if first is None or first.name == phase.name:
        return ""
    mine, theirs = _deciding(phase), _deciding(first)
    changed = [name for name in theirs | mine if mine.get(name) != theirs.get(name)]
    if not changed:
        # The same once more, under another seed.
        return "again"
    return ", ".join(f"{name} {mine.get(name, 'as configured')}" for name in changed)


def first_of_cut(record: Record, phase: RecordedPhase) -> RecordedPhase | None:
    """The first top-down phase with the same cut as the top-down `phase`; None for other kinds."""
    if phase.kind != TOP_DOWN:
        return None
    return next(p for p in of_kind(TOP_DOWN, record.phases) if p.cut == phase.cut)


def _asked(record: Record) -> Iterable[Asked]:
    """Every question with its two phases, either of which may be None."""
    for question, (first, second) in BETWEEN_BEST.items():
        yield question, first(record), second(record)
    # The order of the tests counts: a control with a name of its own is a control too.
    for phase in record.phases:
        if has_own_name(phase.kind, phase.name):
            yield from _of_named_control(record, phase)
        elif phase.role == CONTROL:
            yield from _of_control(record, phase)
        elif variant(record, phase):
            yield from _of_variant(record, phase)
        elif phase.kind == TOP_DOWN:
            yield f"{phase.name} (cut {phase.cut}) - phase 0", phase, base(record)


def _of_named_control(record: Record, phase: RecordedPhase) -> Iterable[Asked]:
    """Questions about a control that a plan named, such as fine-tuning."""
    yield f"best top-down phase - {phase.name}", best_top_down(record), phase
    yield f"{phase.name} - phase 0", phase, base(record)
    yield f"{phase.name} - best restart", phase, best_restart(record)
    parent = _deciding(phase).get("parent", BASE)
    if parent != BASE:
        yield f"{phase.name} - its parent {parent}", phase, record.named(parent)


def _of_control(record: Record, phase: RecordedPhase) -> Iterable[Asked]:
    """The phase that a control answers, against it."""
    answered = record.named(phase.name.removeprefix(f"{phase.kind}_"))
    if answered is not None:
        question = f"{answered.name} (cut {answered.cut}) - its {phase.kind}, one run each"
        yield question, answered, phase


def _of_variant(record: Record, phase: RecordedPhase) -> Iterable[Asked]:
    """A phase with other settings, against the first one of its cut."""
    first = first_of_cut(record, phase)
    if first is not None:
        how = variant(record, phase)
        yield f"cut {phase.cut}: {how} ({phase.name}) - {first.name}", phase, first


def _without_dropout(record: Record) -> list[RecordedPhase]:
    return [phase for phase in of_kind(TOP_DOWN, record.phases) if phase.dropout == "off"]


def _deciding(phase: RecordedPhase) -> dict[str, Any]:
    """What decides a phase besides its cut, flat."""
    deciding: dict[str, Any] = json.loads(phase.settings or "{}")
    deciding["dropout"] = phase.dropout
    for name, value in deciding.pop("train", {}).items():
        # Options in groups, such as optim_conf, stand by their own names.
        deciding |= value if isinstance(value, dict) else {name: value}
    return deciding
