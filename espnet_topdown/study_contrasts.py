"""Contrasts of a study: which phases of a seed are compared, and what all seeds together answer on one set.

Works on records (see `espnet_topdown.study`) alone; the tables are `espnet_topdown.study_tables`'s part.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_topdown import significance
from espnet_topdown.plan import CONTROLS, TOP_DOWN
from espnet_topdown.scoring import Score, alignments, score_trn
from espnet_topdown.trn import speaker_of, write_trn

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

    `points` is the mean difference in percentage points, negative where the first is better; the intervals resample
    utterances, and speakers, each with all its seeds; `tests` has a MAPSSWE for each pair.
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
        """"fewer errors" or "more errors" where both intervals say so, else "not shown"."""
        bounds = [*self.utterances, *self.speakers]
        if max(bounds) < 0:
            return "fewer errors"
        return "more errors" if min(bounds) > 0 else "not shown"


def selected(record: Record, kinds: Sequence[str], dropout: str = "keep") -> Mapping[str, Any] | None:
    """The phase of `kinds` that is best by the record's dev criterion; None where there is none."""
    sign = 1 if record["dev_name"].endswith("max") else -1
    found = [p for p in record["phases"] if p["kind"] in kinds and p["dropout"] == dropout]
    return max(found, key=lambda phase: sign * phase["dev"], default=None)


def questions(records: Sequence[Record]) -> dict[str, list[Pair]]:
    """Question -> the pair of each seed that can answer it."""
    asked: dict[str, list[Pair]] = {}

    def ask(question: str, record: Record, first: Mapping[str, Any] | None, second: Mapping[str, Any] | None) -> None:
        if first is not None and second is not None:
            asked.setdefault(question, []).append(Pair(record["seed"], first, second))

    for record in records:
        base, top = selected(record, ("base",)), selected(record, (TOP_DOWN,))
        phases = {phase["name"]: phase for phase in record["phases"]}
        ask("best top-down phase - phase 0", record, top, base)
        matched = {**record, "phases": [p for p in record["phases"] if f"restart_{p['name']}" in phases]}
        restart = selected(record, ("restart",))
        ask("best top-down phase - best restart, as many runs each", record, selected(matched, (TOP_DOWN,)), restart)
        ask("best top-down phase - best control of any kind", record, top, selected(record, CONTROLS))
        ask("best restart - phase 0", record, restart, base)
        off = selected(record, (TOP_DOWN,), dropout="off")
        ask("best phase with dropout off - phase 0", record, off, base)
        runs = sum(p["dropout"] == "off" for p in record["phases"])
        restarts = [p for p in record["phases"] if p["kind"] == "restart"][:runs]
        if len(restarts) == runs:
            few = selected({**record, "phases": restarts}, ("restart",))
            ask("best phase with dropout off - best restart, as many runs each", record, off, few)
        for name, phase in phases.items():
            kind = phase["kind"]
            answered = phases.get(name.removeprefix(f"{kind}_"))
            if kind in CONTROLS and not name.startswith(f"{kind}_"):  # a control of its own kind, such as fine-tuning
                ask(f"best top-down phase - {name}", record, top, phase)
            elif kind in CONTROLS and answered and kind != "restart":
                ask(f"{answered['name']} (cut {answered['cut']}) - its {kind}, one run each", record, answered, phase)
            if phase["dropout"] == "off":
                alike = {**record, "phases": [p for p in record["phases"] if p["cut"] == phase["cut"]]}
                kept = selected(alike, (TOP_DOWN,))
                ask(f"cut {phase['cut']}: dropout off in the frozen layers - dropout kept", record, phase, kept)
    return asked


def experiment(folder: Path, seed: int, phase: str) -> Path:
    """Directory that stands for the experiment of a phase."""
    return folder / f"seed{seed}" / phase


class Decoded:
    """The hypotheses of one study on one set, as the trn files that scoring reads."""

    def __init__(self, records: Sequence[Record], dataset: str, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        self.scores: dict[tuple[int, str], Score] = {}
        for record in records:
            references = record["references"][dataset]
            for phase in record["phases"]:
                if dataset in phase["hypotheses"]:
                    texts = {"ref": references, "hyp": {**references, **phase["hypotheses"][dataset]}}
                    for name, lines in texts.items():
                        write_trn(self.path(record["seed"], phase["name"]) / f"{name}.trn", _trn_rows(lines))
                    self.scores[record["seed"], phase["name"]] = score_trn(*self.pair(record["seed"], phase["name"]))

    def path(self, seed: int, phase: str) -> Path:
        """Score directory of a phase."""
        return experiment(self.folder, seed, phase) / self.dataset / "score_wer"

    def pair(self, seed: int, phase: str) -> tuple[Path, Path]:
        """Its ref.trn and hyp.trn."""
        return self.path(seed, phase) / "ref.trn", self.path(seed, phase) / "hyp.trn"

    def contrast(self, question: str, pairs: Sequence[Pair]) -> Contrast | None:
        """The answer to one question, None where no pair was decoded on this set."""
        pairs = [p for p in pairs if all((p.seed, x["name"]) in self.scores for x in (p.first, p.second))]
        if not pairs:
            return None
        scores = [tuple(self.scores[p.seed, x["name"]] for x in (p.first, p.second)) for p in pairs]
        example = scores[0][0].utterances
        errors = np.mean([_errors(first) - _errors(second) for first, second in scores], axis=0)
        words = np.array([u.words for u in example], dtype=float)
        draws = [[u.name for u in example], [u.speaker for u in example]]
        intervals = [significance.bootstrap_intervals(errors[:, None], words, units)[0] for units in draws]
        return Contrast(
            question,
            tuple(pairs),
            tuple((first.err_rate, second.err_rate) for first, second in scores),
            float(100 * errors.sum() / words.sum()),
            *intervals,
            tuple(self._mapsswe(pair) for pair in pairs),
        )

    def _mapsswe(self, pair: Pair) -> significance.Mapsswe:
        first, second = (alignments(*self.pair(pair.seed, x["name"])) for x in (pair.first, pair.second))
        return significance.mapsswe((first[name], second[name]) for name in first)


def _trn_rows(lines: Mapping[str, str]) -> Iterable[tuple[str, str, list[str]]]:
    for name, text in lines.items():
        speaker = speaker_of(name)
        yield name.removeprefix(f"{speaker}-"), speaker, text.split()


def _errors(score: Score) -> np.ndarray:
    """Errors of every utterance, (utterances,), in the order of the reference."""
    return np.array([u.errors for u in score.utterances], dtype=float)
