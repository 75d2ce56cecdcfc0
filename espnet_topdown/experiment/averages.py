"""Averages of a training's best epochs, by their files: of which epochs, and which to trust.

ESPnet <= 202511 (main_funcs/average_nbest_models.py) averages from a dict that it has overwritten:
only its first pair of criterion and number of epochs is right.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Of the name of an average between epochs.
_TILL = re.compile(r"\.till(\d+)epoch\.pth$")
# ESPnet's best_model_criterion: (part, metric, mode) each.
Criteria = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Average:
    """An averaged model file of ESPnet's.

    Args:
        part: ``train`` or ``valid``.
        metric: the criterion's, such as ``acc``.
        mode: ``max`` or ``min``.
        count: the number of best epochs in it.
        until: the last epoch that could be in it, of an average between epochs
            (``nbest_averaging_interval``); None: of all.
    """

    part: str
    metric: str
    mode: str
    count: int
    until: int | None = None

    @property
    def file(self) -> str:
        """ESPnet's name of the file."""
        till = f".till{self.until}epoch" if self.until else ""
        return f"{self.part}.{self.metric}.ave_{self.count}best{till}.pth"

    def epochs(self, reporter: Any) -> list[str]:
        """Files of the epochs that it is the mean of, best first; none without the criterion."""
        if not reporter.has(self.part, self.metric):
            return []
        ranked = reporter.sort_epochs(self.part, self.metric, self.mode)
        possible = [epoch for epoch in ranked if self.until is None or epoch <= self.until]
        return [f"{epoch}epoch.pth" for epoch in possible[: self.count]]


def counts_of(keep_nbest_models: Any) -> list[int]:
    """How many epochs are averaged: ESPnet's ``keep_nbest_models``, a number or a list of them."""
    if isinstance(keep_nbest_models, list | tuple):
        return list(keep_nbest_models)
    return [keep_nbest_models]


def averages_of(criteria: Criteria, counts: Sequence[int]) -> list[Average]:
    """One average for every criterion and every number of epochs."""
    return [
        Average(part=part, metric=metric, mode=mode, count=count)
        for (part, metric, mode), count in itertools.product(criteria, counts)
    ]


def epochs_of(reporter: Any, criteria: Criteria, counts: Sequence[int]) -> dict[str, list[str]]:
    """Averaged model file -> files of the epochs that it is the mean of, best first."""
    # A count of 1 averages nothing.
    averages = [one for one in averages_of(criteria, counts) if one.count > 1]
    return {one.file: one.epochs(reporter) for one in averages}


def average_in(file: str, criteria: Criteria, counts: Sequence[int]) -> Average | None:
    """The average of several epochs that ESPnet has called so; None for any other file."""
    till = _TILL.search(file)
    until = int(till[1]) if till else None
    possible = [replace(one, until=until) for one in averages_of(criteria, counts)]
    # A count of 1 averages nothing.
    return next((one for one in possible if one.count > 1 and one.file == file), None)


def is_right(model: Path, average: Average, criteria: Criteria, counts: Sequence[int]) -> bool:
    """Whether an average is taken without its epochs."""
    # The first is right in every version of ESPnet.
    first = next(one for one in averages_of(criteria, counts) if one.count > 1)
    # Where a model was packed with it alone, it is the model whose error rates are known.
    there = [path for path in model.parent.glob("*.pth") if path.exists()]
    return average == replace(first, until=average.until) or there == [model]
