"""The numbers of a page as plain data, which results.json holds."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from espnet_topdown.results.compare import SetComparison
from espnet_topdown.results.rows import PhaseResult, bases
from espnet_topdown.results.score import Score

# What results.json has of a score.
TOTALS = (
    "sentences",
    "words",
    "correct",
    "substitutions",
    "deletions",
    "insertions",
    "errors",
    "sentence_errors",
    "ties",
    "err_rate",
)


def phase_data(row: PhaseResult) -> dict[str, Any]:
    """A phase as JSON can hold it: of paths the name alone, None for what is not finite."""
    return {
        **vars(row),
        "dev": _finite(row.dev),
        "hours": _finite(row.hours),
        "directory": row.directory.name,
        "curve": [_finite(value) for value in row.curve],
        "perplexity": {text: _finite(value) for text, value in row.perplexity.items()},
        "frozen": list(row.frozen),
        "loaded": list(row.loaded),
        "small_texts": list(row.small_texts),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def set_data(rows: Sequence[PhaseResult], compared: SetComparison) -> dict[str, Any]:
    """One set as JSON can hold it: totals, differences and tests, without single utterances."""
    cells = []
    for row, base, cell in zip(rows, bases(rows), compared.cells, strict=True):
        cells.append(
            {
                "phase": row.name,
                "base": None if base is None else base.name,
                "score": None if cell.score is None else _totals(cell.score),
                "change": None if cell.change is None else asdict(cell.change),
                "mapsswe": None if cell.test is None else asdict(cell.test),
                "p_holm": cell.p_holm,
            }
        )
    groups = [asdict(group) for group in compared.groups]
    return {**vars(compared), "groups": groups, "cells": cells}


def _totals(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in TOTALS}
