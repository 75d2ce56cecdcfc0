"""Contrasts of a study.

Which phases of a seed are compared, and what all seeds together answer on one set.

Works on records (see `espnet_topdown.study.study`) alone; the tables are
`espnet_topdown.study.tables`'s part.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet_topdown.plan.kinds import BASE_KIND, CONTROL_KINDS, TOP_DOWN, has_own_name
from espnet_topdown.plan.plan import BASE
from espnet_topdown.results import significance
from espnet_topdown.results.scoring import Pair as Texts
from espnet_topdown.results.scoring import Score, alignments, score
from espnet_topdown.results.trn import Transcript, speaker_of, tokens_of

Record = Mapping[str, Any]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """Two phases of one seed: the error rate of `first` minus that of `second` is asked for."""

    seed: int
    first: Mapping[str, Any]
    second: Mapping[str, Any]


@dataclass(frozen=True)
class Contrast:
    """One question and, over all seeds that can answer it, its answer on one set.

    `points` is the mean difference in percentage points, negative where the first is better; the
    intervals resample utterances, and speakers, each with all its seeds; `tests` has a MAPSSWE for
    each pair.
    """

    question: str
    pairs: tuple[Pair, ...]
    rates: tuple[tuple[float, float], ...]
    points: float
    utterances: Interval
    speakers: Interval
    tests: tuple[significance.Mapsswe, ...]

    @property
    def verdict(self) -> str:
        """ "fewer errors" or "more errors" where both intervals say so, else "not shown"."""
        bounds = [*self.utterances, *self.speakers]
        if max(bounds) < 0:
            return "fewer errors"
        return "more errors" if min(bounds) > 0 else "not shown"


def variant(record: Record, phase: Mapping[str, Any]) -> str:
    """How a phase differs from `first_of_cut`, such as "dropout off" or "lr 0.001".

    "" for that phase and for controls.
    """
    first = first_of_cut(record, phase)
    if first is None or first["name"] == phase["name"]:
        return ""
    mine, usual = (_settings(p) for p in (phase, first))
    changed = [name for name in usual | mine if mine.get(name) != usual.get(name)]
    return ", ".join(f"{name} {mine.get(name, 'as configured')}" for name in changed) or "again"


def first_of_cut(record: Record, phase: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first top-down phase with the same cut as the top-down `phase`; None for other kinds."""
    if phase["kind"] != TOP_DOWN:
        return None
    return next(p for p in record["phases"] if p["kind"] == TOP_DOWN and p["cut"] == phase["cut"])


def _settings(phase: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a phase beside its cut, flat; a record of old has no more than the dropout."""
    settings = json.loads(phase.get("settings") or "{}") | {"dropout": phase["dropout"]}
    train = settings.pop("train", {})
    for name, value in train.items():
        settings |= value if isinstance(value, dict) else {name: value}
    return settings


def selected(
    record: Record, kinds: Sequence[str], among: Iterable[Mapping[str, Any]] | None = None
) -> Mapping[str, Any] | None:
    """The phase of `kinds` that is best by the record's dev criterion; None where there is none.

    `among`: default: phases of the cascade and controls that answer one, so neither a `variant` nor
    a control with a name of its own, such as fine-tuning.
    """
    sign = 1 if record["dev_name"].endswith("max") else -1
    if among is None:
        among = [
            p
            for p in record["phases"]
            if not variant(record, p) and not has_own_name(p["kind"], p["name"])
        ]
    return max(
        (p for p in among if p["kind"] in kinds),
        key=lambda phase: sign * phase["dev"],
        default=None,
    )


def questions(records: Sequence[Record]) -> dict[str, list[Pair]]:
    """Question -> the pair of each seed that can answer it."""
    asked: dict[str, list[Pair]] = {}

    def ask(
        question: str,
        record: Record,
        first: Mapping[str, Any] | None,
        second: Mapping[str, Any] | None,
    ) -> None:
        if first is not None and second is not None:
            asked.setdefault(question, []).append(Pair(record["seed"], first, second))

    for record in records:
        base, top = selected(record, (BASE_KIND,)), selected(record, (TOP_DOWN,))
        phases = {phase["name"]: phase for phase in record["phases"]}
        ask("best top-down phase - phase 0", record, top, base)
        matched = [
            p
            for name, p in phases.items()
            if f"restart_{name}" in phases and not variant(record, p)
        ]
        restart = selected(record, ("restart",))
        equal = "best top-down phase - best restart, as many runs each"
        ask(equal, record, selected(record, (TOP_DOWN,), matched), restart)
        ask(
            "best top-down phase - best control of any kind",
            record,
            top,
            selected(record, CONTROL_KINDS),
        )
        ask("best restart - phase 0", record, restart, base)
        off = [p for p in record["phases"] if p["kind"] == TOP_DOWN and p["dropout"] == "off"]
        ask(
            "best phase with dropout off - phase 0",
            record,
            selected(record, (TOP_DOWN,), off),
            base,
        )
        restarts = [p for p in record["phases"] if p["kind"] == "restart"][: len(off)]
        if len(restarts) == len(off):
            few = selected(record, ("restart",), restarts)
            equal = "best phase with dropout off - best restart, as many runs each"
            ask(equal, record, selected(record, (TOP_DOWN,), off), few)
        for name, phase in phases.items():
            kind = phase["kind"]
            answered = phases.get(name.removeprefix(f"{kind}_"))
            if has_own_name(kind, name):
                ask(f"best top-down phase - {name}", record, top, phase)
                ask(f"{name} - phase 0", record, phase, base)
                ask(f"{name} - best restart", record, phase, restart)
                parent = _settings(phase).get("parent", BASE)
                if parent != BASE:
                    ask(f"{name} - its parent {parent}", record, phase, phases.get(parent))
            elif kind in CONTROL_KINDS and answered:
                ask(
                    f"{answered['name']} (cut {answered['cut']}) - its {kind}, one run each",
                    record,
                    answered,
                    phase,
                )
            elif how := variant(record, phase):
                first = first_of_cut(record, phase)
                ask(f"cut {phase['cut']}: {how} ({name}) - {first['name']}", record, phase, first)
            elif kind == TOP_DOWN:
                ask(f"{name} (cut {phase['cut']}) - phase 0", record, phase, base)
    return asked


def texts_of(record: Record, phase: Mapping[str, Any], dataset: str) -> list[Texts]:
    """References and hypotheses of a phase on a set that it was decoded on."""
    heard = phase["hypotheses"][dataset]
    pairs = []
    for name, reference in record["references"][dataset].items():
        both = (reference, heard.get(name, reference))
        ref, hyp = (Transcript(name, speaker_of(name), tokens_of(text)) for text in both)
        pairs.append((ref, hyp))
    return pairs


class Decoded:
    """Scores and alignments of one study on one set."""

    def __init__(self, records: Sequence[Record], dataset: str) -> None:
        self.scores: dict[tuple[int, str], Score] = {}
        self.alignments: dict[tuple[int, str], dict[str, str]] = {}
        for record in records:
            for phase in record["phases"]:
                if dataset not in phase["hypotheses"]:
                    continue
                texts = texts_of(record, phase, dataset)
                key = record["seed"], phase["name"]
                self.scores[key] = score(texts)
                self.alignments[key] = alignments(texts)

    def contrast(self, question: str, pairs: Sequence[Pair]) -> Contrast | None:
        """The answer to one question, None where no pair was decoded on this set."""
        pairs = [
            p for p in pairs if all((p.seed, x["name"]) in self.scores for x in (p.first, p.second))
        ]
        if not pairs:
            return None
        scores = [tuple(self.scores[p.seed, x["name"]] for x in (p.first, p.second)) for p in pairs]
        example = scores[0][0].utterances
        errors = np.mean([_errors(first) - _errors(second) for first, second in scores], axis=0)
        words = np.array([u.words for u in example], dtype=float)
        draws = [[u.name for u in example], [u.speaker for u in example]]
        intervals = [
            significance.bootstrap_intervals(errors[:, None], words, units)[0] for units in draws
        ]
        return Contrast(
            question,
            tuple(pairs),
            tuple((first.err_rate, second.err_rate) for first, second in scores),
            float(100 * errors.sum() / words.sum()),
            *intervals,
            tuple(self._mapsswe(pair) for pair in pairs),
        )

    def _mapsswe(self, pair: Pair) -> significance.Mapsswe:
        first, second = (self.alignments[pair.seed, x["name"]] for x in (pair.first, pair.second))
        return significance.mapsswe((first[name], second[name]) for name in first)


def _errors(score: Score) -> np.ndarray:
    """Errors of every utterance, (utterances,), in the order of the reference."""
    return np.array([u.errors for u in score.utterances], dtype=float)
