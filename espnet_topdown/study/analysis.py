"""A study's plan of analysis, as data: its seeds, its primary question and the secondary ones.

It stands in ``conf/analysis/MODEL.yaml``, is committed before the first seed is trained, and goes
into every record. Its answers are `espnet_topdown.study.answers`'s part::

    seeds: [100000, 200000, 300000]
    primary:
      best of the cascade - best of as many restarts:
        first: {best: [phase1, phase2]}                  # the one that dev selects
        second: {best: [restart_phase1, restart_phase2]}
    secondary:
      cut decoder - from scratch:
        first: phase1
        second: [phase0, restart_phase1, restart_phase2]  # their mean
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.results.questions import Arm, Pair, Runs
from espnet_topdown.yaml_text import load_yaml

# An analysis as its file and the records have it.
Analysis = Mapping[str, Any]

# ESPnet seeds epoch n with seed + n, and phase k of a cascade has its base's seed + 1000 k.
LEAST_DISTANCE = 100_000
BEST = "best"
ARMS = ("first", "second")


def _are_apart(value: Any) -> bool:
    if not isinstance(value, list) or not value or not all(check.is_whole(seed) for seed in value):
        return False
    ordered = sorted(value)
    return all(upper - lower >= LEAST_DISTANCE for lower, upper in zip(ordered, ordered[1:]))


def _is_arm(value: Any) -> bool:
    if isinstance(value, Mapping):
        return list(value) == [BEST] and check.is_names(value[BEST])
    return check.is_names(value)


def _are_questions(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(_is_question(arms) for arms in value.values())


def _is_question(arms: Any) -> bool:
    is_pair = isinstance(arms, Mapping) and set(arms) == set(ARMS)
    return is_pair and all(_is_arm(arm) for arm in arms.values())


QUESTIONS = Must(
    "questions, each with `first` and `second`: a phase, a list of phases (their mean) or"
    " {best: [...]} (the one that dev selects)",
    _are_questions,
)
SINGLE = Must(
    f"one question; {QUESTIONS.be}", lambda value: _are_questions(value) and len(value) == 1
)
RULES = {
    "seeds": Must(f"a list of seeds at least {LEAST_DISTANCE} apart", _are_apart),
    "primary": SINGLE,
    "secondary": QUESTIONS,
}


def read_analysis(path: Path) -> Analysis | None:
    """The analysis in the YAML file `path`; None where there is no such file.

    Raises:
        TopdownError: every fault of it at once.
    """
    if not path.exists():
        return None
    stored = load_yaml(path.read_text(encoding="utf-8"), str(path), unique_keys=True)
    check.refuse(faults(stored), f"{path} is no plan of analysis")
    analysis: Analysis = stored
    return analysis


def faults(stored: Any) -> list[str]:
    """What keeps `stored` from being an analysis."""
    if not isinstance(stored, Mapping):
        return [f"it must be a mapping with {', '.join(RULES)}, not {stored!r}"]
    missing = [f"{key} is missing" for key in RULES if key not in stored]
    return missing + check.unknown_keys(stored, RULES) + check.faults(stored, RULES)


def pairs(analysis: Analysis, part: str, several: Iterable[Runs]) -> dict[str, list[Pair]]:
    """Question -> the pair of each seed that can answer it.

    Args:
        analysis: of the study.
        part: ``primary`` or ``secondary``.
        several: the runs of each seed.
    """
    found: dict[str, list[Pair]] = {}
    runs_of_seeds = list(several)
    for question, arms in analysis[part].items():
        for runs in runs_of_seeds:
            first, second = (_arm(runs, arms[name]) for name in ARMS)
            if first and second:
                found.setdefault(question, []).append(Pair(runs.seed, first, second))
    return found


def _arm(runs: Runs, asked: Any) -> Arm:
    """The runs of an arm; none where one of them is not there."""
    names = asked[BEST] if isinstance(asked, Mapping) else asked
    names = [names] if isinstance(names, str) else names
    phases = [phase for phase in map(runs.named, names) if phase is not None]
    if len(phases) < len(names):
        return ()
    if not isinstance(asked, Mapping):
        return tuple(phases)
    best = runs.best(phases)
    return () if best is None else (best,)


def phases_asked(analysis: Analysis) -> list[str]:
    """Names of all phases that its questions compare."""
    names: list[str] = []
    for part in ("primary", "secondary"):
        for arms in analysis[part].values():
            for arm in arms.values():
                listed = arm[BEST] if isinstance(arm, Mapping) else arm
                names += [listed] if isinstance(listed, str) else listed
    return list(dict.fromkeys(names))
