"""Phases against phase 0 on every scored set.

Counts, paired differences with their intervals, and p values.

Turns trn files into numbers; `espnet_topdown.results.pages` and `espnet_topdown.results.plots` show
them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import BASE_KIND
from espnet_topdown.results import significance
from espnet_topdown.results.scoring import Score, alignments, find_scores, score_trn

FEWEST_SPEAKERS = (
    5  # fewer speakers give too few distinct resamples (35 for 4) to place the two 2.5 % tails
)
MANY_SPEAKERS = 20  # with fewer, resampling speakers alone gives intervals that are too narrow


@dataclass(frozen=True)
class PhaseResult:
    """One trained phase, as the runner recorded it.

    Args:
        name: its name in the cascade.
        kind: base, top_down, restart, continue, unfrozen or bottom_up.
        cut: lowest kept layer; None where the kind has none.
        frozen_share: frozen part of the parameters, 0 to 1.
        dev: dev criterion at its best epoch; None where training gave none.
        dev_name: name and direction of that criterion, such as "valid acc max".
        accepted: whether it beat the best before it; None where that was not asked (phase 0,
            controls).
        best: whether dev selected it.
        seed: its training seed.
        epochs: epochs trained.
        hours: wall time of its training.
        directory: its experiment directory.
        curve: dev criterion of each epoch.
        perplexity: test perplexity by data set (language models).
        frozen: names of its frozen layers.
        settings: what else makes phases of one kind and cut the same experiment under another seed
            (parent, dropout, tied weights, training options).
        parameters: of the whole model; None where that was not recorded.
    """

    name: str
    kind: str
    cut: str | None
    frozen_share: float
    dev: float | None
    dev_name: str
    accepted: bool | None
    best: bool
    seed: int
    epochs: int
    hours: float | None
    directory: Path
    curve: tuple[float | None, ...] = ()
    perplexity: Mapping[str, float] | None = None
    frozen: tuple[str, ...] = ()
    settings: str = ""
    parameters: int | None = None


@dataclass(frozen=True)
class Change:
    """Error rate minus phase 0's in percentage points, and its 95 % interval (low, high)."""

    points: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Cell:
    """One phase on one set.

    `score` is None where it was not decoded, `change` for phase 0 and where that was not.
    """

    score: Score | None
    change: Change | None = None
    test: significance.Mapsswe | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Group:
    """One experiment under several seeds, read together; `error_rates` in the order of `seeds`."""

    names: tuple[str, ...]
    kind: str
    cut: str | None
    seeds: tuple[int, ...]
    error_rates: tuple[float, ...]
    change: Change | None


@dataclass(frozen=True)
class SetComparison:
    """All phases on one scored set: `cells` in the order of the rows.

    The bootstrap draws `units`.
    """

    inference: str
    dataset: str
    metric: str
    units: tuple[str, ...]
    speakers: int
    cells: tuple[Cell, ...]
    groups: tuple[Group, ...]

    @property
    def example(self) -> Score:
        """Any score of this set, for the sizes that all have in common."""
        return next(cell.score for cell in self.cells if cell.score)


def bases(rows: Sequence[PhaseResult]) -> list[int | None]:
    """For each row the place of its phase 0: the last one of kind "base" up to it.

    None for rows before any.
    """
    found, last = [], None
    for place, row in enumerate(rows):
        last = place if row.kind == BASE_KIND else last
        found.append(last)
    return found


def compare_sets(
    rows: Sequence[PhaseResult],
    *,
    case_sensitive: bool = False,
    resamples: int = significance.RESAMPLES,
) -> list[SetComparison]:
    """Compare all rows on every set that any of them was decoded on, by word and character errors.

    Args:
        rows: phases, each cascade beginning with its phase 0; several cascades (seeds) may follow
            one another.
        case_sensitive: sclite's ``-s``.
        resamples: of the bootstrap.

    Raises:
        TopdownError: a score file is bad, or two phases were scored on different utterances or
            references.
    """
    found = [find_scores(row.directory) for row in rows]
    keys = dict.fromkeys(key for scores in found for key in scores if key[2] != "ter")
    sets = [
        _compare(key, rows, [scores.get(key) for scores in found], case_sensitive, resamples)
        for key in keys
    ]
    return _with_holm(sets)


def _compare(
    key: tuple[str, str, str],
    rows: Sequence[PhaseResult],
    files: Sequence[tuple[Path, Path] | None],
    case_sensitive: bool,
    resamples: int,
) -> SetComparison:
    scores = [score_trn(*pair, case_sensitive=case_sensitive) if pair else None for pair in files]
    example = _same_reference(key, scores, files)
    errors = [_errors(score, example) if score else None for score in scores]
    pairs = {
        place: errors[place] - errors[base]
        for place, base in enumerate(bases(rows))
        if base is not None
        and place != base
        and errors[place] is not None
        and errors[base] is not None
    }
    groups = _groups(rows, scores)
    columns = list(pairs.values()) + [
        np.mean([pairs[p] for p in places], axis=0)
        for places in groups
        if all(p in pairs for p in places)
    ]
    units = _units(example)
    changes = iter(_changes(columns, example, units, resamples))
    change = {place: next(changes) for place in pairs}
    tests = {
        place: _test(files[base], files[place], case_sensitive)
        for place, base in _tested(key, rows, pairs)
    }
    return SetComparison(
        *key,
        units=units,
        speakers=len({u.speaker for u in example.utterances}),
        cells=tuple(
            Cell(score, change.get(place), tests.get(place)) for place, score in enumerate(scores)
        ),
        groups=tuple(
            Group(
                tuple(dict.fromkeys(rows[p].name.rpartition("/")[2] for p in places)),
                rows[places[0]].kind,
                rows[places[0]].cut,
                tuple(rows[p].seed for p in places),
                tuple(scores[p].err_rate for p in places),
                next(changes) if all(p in pairs for p in places) else None,
            )
            for places in groups
        ),
    )


def _same_reference(
    key: tuple[str, str, str], scores: Sequence[Score | None], files: Sequence
) -> Score:
    """The first score, once all are known to have the same reference."""
    present = [(score, pair[0]) for score, pair in zip(scores, files) if score]
    texts = [{u.name: u.reference for u in score.utterances} for score, _ in present]
    for text, (_, path) in zip(texts, present):
        if text != texts[0]:
            differing = [
                name for name in {**texts[0], **text} if text.get(name) != texts[0].get(name)
            ]
            raise TopdownError(
                f"{path} and {present[0][1]} are not the same reference ({len(text)} and"
                f" {len(texts[0])} utterances; {differing[0]} differs), so {key[1]} cannot be"
                " compared by utterance; decode and score both on one data set (stages 12, 13)"
            )
    return present[0][0]


def _errors(score: Score, example: Score) -> np.ndarray:
    """Errors of every utterance, (utterances,), in the order of `example`."""
    counts = {u.name: u.errors for u in score.utterances}
    return np.array([counts[u.name] for u in example.utterances], dtype=float)


def _units(score: Score) -> tuple[str, ...]:
    """What the bootstrap draws.

    Utterances, speakers where there are many of them, both where there are some.
    """
    speakers = len({u.speaker for u in score.utterances})
    if speakers < FEWEST_SPEAKERS or speakers == len(score.utterances):
        return ("utterances",)
    return ("speakers",) if speakers >= MANY_SPEAKERS else ("utterances", "speakers")


def _changes(
    columns: Sequence[np.ndarray], score: Score, units: Sequence[str], resamples: int
) -> list[Change]:
    """Mean differences with their intervals.

    Where two units are drawn, from the lower to the upper of their ends.
    """
    if not columns:
        return []
    words = np.array([u.words for u in score.utterances], dtype=float)
    names = {
        "utterances": [u.name for u in score.utterances],
        "speakers": [u.speaker for u in score.utterances],
    }
    drawn = [
        significance.bootstrap_intervals(
            np.column_stack(columns), words, names[u], resamples=resamples
        )
        for u in units
    ]
    ends = [(min(low), max(high)) for low, high in (zip(*intervals) for intervals in zip(*drawn))]
    return [
        Change(float(100 * column.sum() / words.sum()), end)
        for column, end in zip(columns, ends, strict=True)
    ]


def _groups(rows: Sequence[PhaseResult], scores: Sequence[Score | None]) -> list[list[int]]:
    """Places of the decoded rows of one experiment that has several seeds."""
    groups: dict[tuple[str, str | None, str], list[int]] = {}
    for place, row in enumerate(rows):
        if scores[place]:
            groups.setdefault((row.kind, row.cut, row.settings), []).append(place)
    return [places for places in groups.values() if len({rows[p].seed for p in places}) > 1]


def _tested(
    key: tuple[str, str, str], rows: Sequence[PhaseResult], pairs: Mapping[int, np.ndarray]
) -> list[tuple[int, int]]:
    """(phase, its phase 0) where a p value is due.

    The dev-selected phase, by words (MAPSSWE tests word errors).
    """
    return [
        (p, base)
        for p, base in enumerate(bases(rows))
        if p in pairs and rows[p].best and key[2] == "wer"
    ]


def _test(
    base: tuple[Path, Path], phase: tuple[Path, Path], case_sensitive: bool
) -> significance.Mapsswe:
    first, second = (alignments(*pair, case_sensitive=case_sensitive) for pair in (base, phase))
    return significance.mapsswe((first[name], second[name]) for name in first)


def _with_holm(sets: Sequence[SetComparison]) -> list[SetComparison]:
    """The same with every p value corrected for the number of p values in all sets."""
    values = [cell.test.p if cell.test else None for found in sets for cell in found.cells]
    corrected = iter(significance.holm(values))
    return [
        replace(found, cells=tuple(replace(cell, p_holm=next(corrected)) for cell in found.cells))
        for found in sets
    ]
