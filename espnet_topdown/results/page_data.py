"""The numbers of a page as plain data, which results.json holds, and a short table made of them.

The short table says in plain words what each model is, and how many words it got wrong;
differences, intervals and tests are left to the page's own tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from espnet_topdown.check import is_number
from espnet_topdown.plan.kinds import BASE_KIND, CONTROL, KINDS, RESTART
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.results.cells import hundredths, shown
from espnet_topdown.results.comparison import SetComparison, titles
from espnet_topdown.results.rows import PhaseResult, bases
from espnet_topdown.results.score import Score, percent
from espnet_topdown.table import Table, counted

Value = TypeVar("Value")
JsonObject = Mapping[str, Any]  # a phase, a set or a score as JSON has it

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
# Kinds that keep nothing, in words.
USUAL = {
    BASE_KIND: "trained as usual",
    RESTART: "trained as usual once more, from another start",
}


def phase_data(row: PhaseResult) -> dict[str, Any]:
    """A phase as JSON can hold it: of paths the name alone, None for what is not finite."""
    return {
        **vars(row),
        "dev": _finite(row.dev),
        "hours": _finite(row.hours),
        "directory": row.directory.name,
        "curve": list(map(_finite, row.curve)),
        "perplexity": {text: _finite(value) for text, value in row.perplexity.items()},
        "frozen": list(row.frozen),
        "loaded": list(row.loaded),
        "small_texts": list(row.small_texts),
    }


def _finite(value: float | None) -> float | None:
    return value if is_number(value) else None


def set_data(rows: Sequence[PhaseResult], compared: SetComparison) -> dict[str, Any]:
    """One set as JSON can hold it: totals, differences and tests, without single utterances."""
    cells = []
    for row, base, cell in zip(rows, bases(rows), compared.cells, strict=True):
        cells.append(
            {
                "phase": row.name,
                "base": base.name if base else None,
                "score": _made(cell.score, _totals),
                "change": _made(cell.change, asdict),
                "mapsswe": _made(cell.test, asdict),
                "p_holm": cell.p_holm,
            }
        )
    return {**vars(compared), "cells": cells}


def _made(value: Value | None, form: Callable[[Value], Any]) -> Any:
    """What `form` makes of a value; None where there is none."""
    return None if value is None else form(value)


def _totals(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in TOTALS}


def summary(data: Mapping[str, Any]) -> Table:
    """The table of a cascade.

    Args:
        data: of its page, as `results.json` has it.
    """
    phases = data["phases"]
    sets = [one for one in data["sets"] if one["metric"] == "wer"]
    texts = dict.fromkeys(text for phase in phases for text in phase["perplexity"])
    names = titles([(one["dataset"], one["inference"]) for one in sets])
    header = [
        *("model", "what it is"),
        *(f"words wrong, {name}" for name in names),
        *(f"perplexity, {text}" for text in texts),
        "chosen by dev",
    ]
    lines = []
    for place, row in enumerate(phases):
        errors = [shown(one["cells"][place]["score"], _error) for one in sets]
        measured = [shown(row["perplexity"].get(text), hundredths) for text in texts]
        chosen = "chosen" if row["best"] else ""
        lines.append((row["name"], _what(row), *errors, *measured, chosen))
    return Table("In short", header, lines, list(_notes(phases, sets)))


def _what(row: JsonObject) -> str:
    """What a model is, in words."""
    role = {CONTROL: "control: "}.get(row["role"], "")
    reads = f" ({row['reads']})" if row["reads"] else ""
    return f"{role}{_training(row)}{reads}"


def _training(row: JsonObject) -> str:
    # What becomes of its layers, where the record tells.
    cut = f", cut {row['cut']}" if row["cut"] else ""
    return USUAL.get(row["kind"]) or ", ".join(_sides(row)) or f"{row['kind']}{cut}"


def _sides(row: JsonObject) -> Iterator[str]:
    """What becomes of the layers of a phase that keeps some; nothing where none are told."""
    frozen, factors = row["frozen"], row["factors"]
    draws = KINDS[row["kind"]].draws
    if frozen:
        yield f"keeps {layer_span(frozen)} frozen"
    if factors:
        learning = layer_span(list(factors)) if frozen or draws else "everything"
        yield f"trains {learning} on{_share(factors)}"
    if draws and (frozen or factors):
        yield "the rest drawn and trained anew"


def _share(factors: Mapping[str, float]) -> str:
    """The factors on the learning rate of kept layers that learn; nothing of the whole rate."""
    rates = min(factors.values()), max(factors.values())
    ends = dict.fromkeys(map("{:.3g}".format, rates))
    return "" if list(ends) == ["1"] else f" at {' to '.join(ends)} of the learning rate"


def _error(score: JsonObject) -> str:
    return f"{percent(score['errors'], score['words'])} %"


def _notes(phases: Sequence[JsonObject], sets: Sequence[JsonObject]) -> Iterator[str]:
    for one in sets:
        score = next(cell["score"] for cell in one["cells"] if cell["score"])
        words = counted(score["words"], "word")
        yield f"{one['dataset']}: {words}; wrong are those taken for another, left out or put in."
    yield "The dev set alone chooses, never a test set."
    if len(phases) > 1:
        yield ("One run each: whether a way of training is better, only several seeds can say.")
