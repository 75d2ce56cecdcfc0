"""Phases side by side on one scored set, as values; `espnet_topdown.results.compare` makes them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from espnet_topdown.results.score import Score
from espnet_topdown.results.significance import Mapsswe


@dataclass(frozen=True)
class Change:
    """Error rate minus phase 0's in percentage points, and its 95 % interval (low, high)."""

    points: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Cell:
    """One phase on one set.

    Args:
        score: None where it was not decoded.
        change: None for phase 0, and where that or the phase was not decoded.
        test: against phase 0, for the phase that dev selected.
        p_holm: its p, corrected for all tests of the comparison.
    """

    score: Score | None
    change: Change | None = None
    test: Mapsswe | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class SetComparison:
    """All phases on one scored set.

    Args:
        inference: directory of the decoding.
        dataset: name of the set.
        metric: wer or cer.
        units: what the bootstrap draws: utterances, speakers or both.
        speakers: their number.
        cells: one a row, in the order of the rows.
        selects: whether this set selected epochs and phases, so that nothing is tested on it.
        is_small: whether it has too few words for differences, intervals and tests.
        own_tokens: names of rows whose tokens are others than the first's, as of a BPE model of
            their own: what they count is not compared.
    """

    inference: str
    dataset: str
    metric: str
    units: tuple[str, ...]
    speakers: int
    cells: tuple[Cell, ...]
    selects: bool = False
    is_small: bool = False
    own_tokens: tuple[str, ...] = ()

    @property
    def example(self) -> Score:
        """Any score of this set, for the sizes that all have in common."""
        return next(cell.score for cell in self.cells if cell.score)


def titles(sets: Sequence[tuple[str, str]], form: str = "{} ({})") -> list[str]:
    """What sets are called among one another.

    Args:
        sets: (data set, inference directory) of each.
        form: of both, for a data set that was decoded in several ways.
    """
    often = Counter(dataset for dataset, _ in sets)
    return [
        dataset if often[dataset] == 1 else form.format(dataset, inference)
        for dataset, inference in sets
    ]


def of_words(sets: Sequence[SetComparison]) -> list[SetComparison]:
    """Those that were scored by words."""
    return [compared for compared in sets if compared.metric == "wer"]
