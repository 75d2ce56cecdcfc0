"""A study's plan of analysis, as data: its seeds, its primary question and the secondary ones.

It stands in ``conf/analysis/MODEL.yaml``, is committed before the first seed is trained, and goes
into every record. Its answers are `espnet_topdown.study.answers`'s part::

    seeds: [100000, 200000, 300000]
    sets: [test]                                          # left out: test
    primary:
      best of the cascade - best of as many restarts:
        first: {best: [phase1, phase2]}                  # the one that dev selects
        second: {best: [restart_phase1, restart_phase2]}
    secondary:
      cut decoder - from scratch:
        first: phase1
        second: [phase0, restart_phase1, restart_phase2]  # their mean
        sets: [test]                                      # left out: on every set
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.errors import listed
from espnet_topdown.results.questions import Arm, ArmPair, Runs
from espnet_topdown.study.inference import FEWEST_SEEDS
from espnet_topdown.yaml_text import load_yaml

# An analysis as its file and the records have it.
Analysis = Mapping[str, Any]

# ESPnet seeds epoch n with seed + n, and phase k of a cascade has its base's seed + 1000 k.
LEAST_DISTANCE = 100_000
PARTS = ("primary", "secondary")
BEST = "best"
SETS = "sets"


@dataclass(frozen=True)
class ArmSpec:
    """One arm of a question, as the plan of analysis writes it.

    Args:
        names: of phases.
        is_selected: whether dev selects one of them; else their mean counts.
    """

    names: tuple[str, ...]
    is_selected: bool

    @classmethod
    def of(cls, written: Any) -> "ArmSpec":
        """The arm as it is written: a name, names, or ``{best: names}``."""
        is_selected = isinstance(written, Mapping)
        names = written[BEST] if is_selected else written
        return cls(check.as_names(names), is_selected)

    @property
    def runs(self) -> tuple[frozenset[str], bool]:
        """What it stands for: of one phase the best is that one."""
        return frozenset(self.names), self.is_selected and len(self.names) > 1

    def among(self, runs: Runs) -> Arm:
        """Its runs; none where one of them is not there."""
        if not runs.by_name.keys() >= {*self.names}:
            return ()
        there = tuple(runs.by_name[name] for name in self.names)
        if not self.is_selected:
            return there
        best = runs.best(there)
        return (best,) if best else ()


def are_apart(seeds: Iterable[int]) -> bool:
    """Whether no two seeds of bases meet in an epoch of one of their trainings."""
    return all(upper - lower >= LEAST_DISTANCE for lower, upper in pairwise(sorted(seeds)))


def _are_seeds(value: Any) -> bool:
    if not (isinstance(value, list) and value and all(map(check.is_whole, value))):
        return False
    return are_apart(value)


def _is_arm(value: Any) -> bool:
    if isinstance(value, Mapping):
        return list(value) == [BEST] and check.is_names(value[BEST])
    return check.is_names(value)


ARM = Must("a phase, a list of phases or {best: [...]}", _is_arm)


def _are_sets(value: Any) -> bool:
    # On none a question would never be asked.
    return isinstance(value, list) and bool(value) and all(map(check.is_text, value))


ASKED_SETS = Must("a list of sets", _are_sets)
QUESTION = {"first": ARM, "second": ARM, SETS: ASKED_SETS}


def _is_question(value: Any) -> bool:
    is_known = isinstance(value, Mapping) and value.keys() <= QUESTION.keys()
    return is_known and not check.lacking({SETS: ["any"], **value}, QUESTION)


def _are_questions(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_question, value.values()))


def _is_one_question(value: Any) -> bool:
    return _are_questions(value) and len(value) == 1


ARMS = (
    "with `first` and `second`: a phase, a list of phases (their mean) or {best: [...]} (the one"
    " that dev selects), and perhaps `sets`, a list"
)
RULES = {
    "seeds": Must(f"a list of seeds at least {LEAST_DISTANCE} apart", _are_seeds),
    "primary": Must(f"one question {ARMS}", _is_one_question),
    "secondary": Must(f"questions, each {ARMS}", _are_questions),
    SETS: Must("a list of sets to decode", _are_sets),
}
NEEDED = ("seeds", *PARTS)


def read_analysis(path: Path) -> Analysis | None:
    """The analysis in the YAML file `path`; None where there is no such file.

    Raises:
        TopdownError: every fault of it at once.
    """
    if not path.exists():
        return None
    stored = load_yaml(path.read_text(encoding="utf-8"), str(path), is_ours=True)
    check.refuse(faults(stored) or _set_faults(stored), f"{path} is no plan of analysis")
    analysis: Analysis = stored
    return analysis


def faults(stored: Any) -> list[str]:
    """What keeps `stored` from being an analysis."""
    if not isinstance(stored, Mapping):
        return [f"it must be a mapping with {', '.join(RULES)}, not {stored!r}"]
    missing = [f"{key} is missing" for key in NEEDED if key not in stored]
    return missing + check.unknown_keys(stored, RULES) + check.faults(stored, RULES)


def _set_faults(stored: Analysis) -> list[str]:
    """What is wrong with the sets on which questions are asked, where the plan names its sets."""
    known = stored.get(SETS, [])
    found = []
    for part in PARTS:
        for question, arms in stored[part].items():
            unknown = [name for name in arms.get(SETS, []) if known and name not in known]
            if unknown:
                found.append(
                    f"{part}: '{question}' has the sets {unknown}, which are not in {known}"
                )
    (primary,) = stored["primary"].values()
    sets = primary.get(SETS, known)
    # On each set it would be a test of its own, and none is corrected for the others.
    if len(sets) > 1:
        found.append(f"primary must be asked on one set (`sets`), not on {listed(sets)}")
    return found


def question_faults(analysis: Analysis) -> list[str]:
    """What keeps questions from an answer: too few seeds, or nothing to be compared.

    Asked before the first seed: of a study that has begun the plan stays as it is.
    """
    found = []
    if len(analysis["seeds"]) < FEWEST_SEEDS:
        found.append(f"seeds must be {FEWEST_SEEDS} at least: fewer have no verdict")
    asked = {part: list(_questions(analysis, part)) for part in PARTS}
    for part in PARTS:
        for question, first, second in asked[part]:
            twice = [arm for arm in (first, second) if len({*arm.names}) < len(arm.names)]
            if twice:
                found.append(f"{part}: '{question}' names a phase twice ({listed(twice[0].names)})")
            if first.runs == second.runs:
                found.append(f"{part}: '{question}' compares {listed(first.names)} with itself")
    ((primary, *arms),) = asked["primary"]
    sets = analysis["primary"][primary].get(SETS)
    for question, *others in asked["secondary"]:
        is_same = [arm.runs for arm in arms] == [arm.runs for arm in others]
        if is_same and analysis["secondary"][question].get(SETS) == sets:
            found.append(f"secondary: '{question}' is the primary question once more")
    return found


def asked_sets(analysis: Analysis) -> list[str]:
    """The sets that it names, those of the primary question first, then in the plan's order."""
    primary, secondary = (
        [name for arms in analysis[part].values() for name in arms.get(SETS, [])] for part in PARTS
    )
    return list(dict.fromkeys([*primary, *analysis.get(SETS, []), *secondary]))


def pairs(
    analysis: Analysis, part: str, dataset: str, several: Iterable[Runs]
) -> dict[str, list[ArmPair]]:
    """Question -> the pair of each seed that can answer it.

    Args:
        analysis: of the study.
        part: one of `PARTS`.
        dataset: set, or text, on which the questions are asked.
        several: the runs of each seed.
    """
    seeds = list(several)
    found: dict[str, list[ArmPair]] = {}
    for question, first, second in _questions(analysis, part, dataset):
        for runs in seeds:
            arms = first.among(runs), second.among(runs)
            if all(arms):
                found.setdefault(question, []).append(ArmPair(runs.seed, *arms))
    return found


def unselectable(analysis: Analysis, dev_sets: Mapping[str, str]) -> list[str]:
    """The questions in which dev is to select among phases of different dev sets.

    Args:
        analysis: of the study.
        dev_sets: name of each phase -> what its dev value is of.
    """
    found = []
    for part in PARTS:
        for question, *arms in _questions(analysis, part):
            selected = [{dev_sets[name] for name in arm.names} for arm in arms if arm.is_selected]
            if any(len(sets) > 1 for sets in selected):
                found.append(question)
    return found


def _names(dataset: str) -> set[str]:
    """What a plan may call a set; a text, such as "test (stream)", also without how it is read."""
    return {dataset, dataset.partition(" (")[0]}


def lacking(analysis: Analysis, measured: Mapping[str, Collection[str] | None]) -> list[str]:
    """What its questions are asked of and is not there: phases, and sets of phases.

    Args:
        analysis: of the study.
        measured: name of each phase that is there -> the sets that it was measured on; None where
            these are not known.
    """
    found: list[str] = []
    for part in PARTS:
        for arms in analysis[part].values():
            sets = arms.get(SETS, analysis.get(SETS, []))
            for name in (*ArmSpec.of(arms["first"]).names, *ArmSpec.of(arms["second"]).names):
                if name not in measured:
                    found.append(name)
                    continue
                known = measured[name]
                if known is None:
                    continue
                there = set().union(*map(_names, known))
                found += [f"{name} on {each}" for each in sets if each not in there]
    return list(dict.fromkeys(found))


def unanswered(analysis: Analysis, several: Iterable[Runs]) -> dict[str, list[int]]:
    """Question -> seeds in which dev selects none of an arm's phases, all of which are there."""
    seeds = list(several)
    found: dict[str, list[int]] = {}
    for part in PARTS:
        for question, first, second in _questions(analysis, part):
            for runs in seeds:
                if not (first.among(runs) and second.among(runs)):
                    found.setdefault(question, []).append(runs.seed)
    return found


def _questions(
    analysis: Analysis, part: str, dataset: str | None = None
) -> Iterator[tuple[str, ArmSpec, ArmSpec]]:
    for question, arms in analysis[part].items():
        if dataset is not None and not _names(dataset) & {*arms.get(SETS, [dataset])}:
            continue
        yield question, ArmSpec.of(arms["first"]), ArmSpec.of(arms["second"])
