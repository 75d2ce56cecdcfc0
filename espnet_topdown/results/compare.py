"""Phases against phase 0 on every scored set: counts, paired differences, intervals, p values.

Takes what was decoded as values; `espnet_topdown.results.tables` and
`espnet_topdown.results.plots` show what comes out.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from espnet_topdown.errors import TopdownError
from espnet_topdown.results import significance
from espnet_topdown.results.cache import Decoded
from espnet_topdown.results.comparison import Cell, Change, SetComparison
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.score import Score
from espnet_topdown.results.scoring import SetKey

# Fewer speakers give too few distinct resamples (35 for 4) to place the two 2.5 % tails.
FEWEST_SPEAKERS = 5
# With fewer, resampling speakers alone gives intervals that are too narrow.
MANY_SPEAKERS = 20
# Of a set, in units of the metric: with fewer, a difference would say nothing, and none is given.
FEWEST = {"wer": 100, "cer": 500, "ter": 200}


def compare_sets(
    rows: Sequence[PhaseResult],
    decoded: Sequence[Mapping[SetKey, Decoded]],
    *,
    selected_on: Collection[str] = (),
) -> list[SetComparison]:
    """Compare all rows on every set that any was decoded on, by words, characters and tokens.

    Args:
        rows: phases, each cascade beginning with its phase 0; several cascades (seeds) may follow
            one another.
        decoded: for each row what `cache.Reader` gives.
        selected_on: names of the sets that selected epochs and phases, on which nothing is tested.

    Raises:
        TopdownError: two phases were scored on different utterances or references.
    """
    keys = dict.fromkeys(chain.from_iterable(decoded))
    # Of each set the first score.
    scores = dict(chain.from_iterable(sets.items() for sets in reversed(decoded)))
    comparisons = []
    for key in keys:
        of_rows = {place: sets[key] for place, sets in enumerate(decoded) if key in sets}
        has_selected = is_selecting(key[1], selected_on)
        is_small = _is_small(key, scores)
        comparisons.append(_compare(key, rows, of_rows, selects=has_selected, is_small=is_small))
    return _with_holm(comparisons)


def is_selecting(dataset: str, selected_on: Collection[str] = ()) -> bool:
    """Whether a set selected epochs or phases: one of `selected_on`, or ESPnet's valid set."""
    # ESPnet decodes the valid set under org/.
    return dataset.startswith("org/") or dataset in selected_on


def _is_small(key: SetKey, decoded: Mapping[SetKey, Decoded]) -> bool:
    """Whether a set has too few words; where it was not scored by words, too few of its units."""
    inference, dataset, metric = key
    by_words = (inference, dataset, "wer")
    asked = by_words if by_words in decoded else key
    return decoded[asked].score.words < FEWEST[asked[2]]


def _compare(
    key: SetKey,
    rows: Sequence[PhaseResult],
    decoded: Mapping[int, Decoded],
    *,
    selects: bool,
    is_small: bool,
) -> SetComparison:
    """All rows on the set `key`; `decoded` has the places of the rows that were decoded on it."""
    inference, dataset, metric = key
    scores = {place: one.score for place, one in decoded.items()}
    own_tokens = _own_tokens(metric, scores)
    alike = {place: score for place, score in scores.items() if place not in own_tokens}
    example = _same_reference(dataset, rows, alike)
    units = _units(example)
    # Without bases there are no differences, and so neither intervals nor tests.
    base_of = {} if is_small else _decoded_bases(rows, alike)
    changes = _changes(alike, base_of, units)
    # MAPSSWE is a test of word errors, and of the one phase that was selected beforehand.
    tests = {
        place: _mapsswe(decoded[base], decoded[place])
        for place, base in base_of.items()
        if rows[place].best and metric == "wer" and not selects
    }
    cells = [
        Cell(
            score=scores.get(place),
            change=changes.get(place),
            test=tests.get(place),
        )
        for place in range(len(rows))
    ]
    return SetComparison(
        inference=inference,
        dataset=dataset,
        metric=metric,
        units=units,
        speakers=example.speakers,
        cells=tuple(cells),
        selects=selects,
        is_small=is_small,
        own_tokens=tuple(rows[place].name for place in sorted(own_tokens)),
    )


def _own_tokens(metric: str, scores: Mapping[int, Score]) -> set[int]:
    """Places of those whose utterances are the first's, cut into other tokens."""
    if metric != "ter":
        return set()
    texts = {place: score.reference.by_name for place, score in scores.items()}
    first = next(iter(texts.values()))
    return {place for place, text in texts.items() if text != first and text.keys() == first.keys()}


def _same_reference(
    dataset: str, rows: Sequence[PhaseResult], scores: Mapping[int, Score]
) -> Score:
    """The first score, once all are known to have the same reference."""
    first = next(iter(scores))
    expected = scores[first].reference.by_name
    for place, score in scores.items():
        text = score.reference.by_name
        if text == expected:
            continue
        names = {**expected, **text}
        differing = next(name for name in names if text.get(name) != expected.get(name))
        raise TopdownError(
            f"{dataset} of {rows[place].name} and of {rows[first].name} are not the same reference"
            f" (utterances: {len(text)} and {len(expected)}; {differing} differs), so {dataset}"
            " cannot be compared by utterance; decode and score both on one data set (stages 12,"
            " 13)"
        )
    return scores[first]


def _decoded_bases(rows: Sequence[PhaseResult], scores: Mapping[int, Score]) -> dict[int, int]:
    """Place -> that of its phase 0, for every phase that was decoded as its phase 0 was."""
    base_of = {}
    base = -1  # no place
    for place, row in enumerate(rows):
        if row.is_base:
            base = place
        elif scores.keys() >= {base, place}:
            base_of[place] = base
    return base_of


def _units(score: Score) -> tuple[str, ...]:
    """What the bootstrap draws: utterances, speakers where there are many, both where some."""
    if score.speakers < FEWEST_SPEAKERS or score.speakers == score.sentences:
        return ("utterances",)
    return ("speakers",) if score.speakers >= MANY_SPEAKERS else ("utterances", "speakers")


def _changes(
    scores: Mapping[int, Score], base_of: Mapping[int, int], units: Sequence[str]
) -> dict[int, Change]:
    """Of every phase the difference to its phase 0, by place."""
    every = intervals_of(scores, list(base_of.items()), units)
    changes = {}
    for (place, base), interval in zip(base_of.items(), every, strict=True):
        points = scores[place].err_rate - scores[base].err_rate
        changes[place] = Change(points, interval)
    return changes


def intervals_of(
    scores: Mapping[int, Score], pairs: Sequence[tuple[int, int]], units: Sequence[str]
) -> list[tuple[float, float]]:
    """95 % intervals of differences of error rates.

    Args:
        scores: against one reference, by place.
        pairs: places of which the second's error rate is taken from the first's.
        units: what is drawn; of two units, the interval is from the lower to the upper end.
    """
    if not pairs:
        return []
    places = list(scores)
    example = scores[places[0]]
    in_order = [scores[place].like(example) for place in places]
    errors = np.column_stack([score.errors_each for score in in_order])
    words = np.column_stack([score.words_each for score in in_order])
    weights = np.zeros((len(places), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        weights[places.index(first), column] += 1
        weights[places.index(second), column] -= 1
    names = {"utterances": example.reference.names, "speakers": example.reference.speakers}
    # (units, pairs, 2)
    ends = np.array(
        [
            significance.bootstrap_intervals(errors, words, names[unit], weights=weights)
            for unit in units
        ]
    )
    lows = ends[..., 0].min(axis=0)
    highs = ends[..., 1].max(axis=0)
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


def _mapsswe(base: Decoded, phase: Decoded) -> significance.Mapsswe:
    first, second = base.alignments(), phase.alignments()
    return significance.mapsswe((first[name], second[name]) for name in first)


def _with_holm(comparisons: Sequence[SetComparison]) -> list[SetComparison]:
    """The same with every p value corrected for the number of p values in all sets."""
    cells = chain.from_iterable(comparison.cells for comparison in comparisons)
    values = [cell.test.p if cell.test else None for cell in cells]
    # Given back in the order in which they were taken.
    corrected = iter(significance.holm(values))
    results = []
    for comparison in comparisons:
        with_p = [replace(cell, p_holm=next(corrected)) for cell in comparison.cells]
        results.append(replace(comparison, cells=tuple(with_p)))
    return results
