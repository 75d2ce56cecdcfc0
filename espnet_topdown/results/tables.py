"""The single tables of a cascade, as text cells and as plain data, with the notes that say how far
to believe them.

Numbers come from `espnet_topdown.results.compare`; what is put on one page is decided in
`espnet_topdown.results.pages`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from espnet_topdown.plan.kinds import CONTROL_KINDS
from espnet_topdown.results.compare import Cell, Change, PhaseResult, SetComparison, bases
from espnet_topdown.table import Table

COUNTS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
UNITS = {"wer": "words", "cer": "characters"}
FEW = {"wer": 1000, "cer": 5000}
FEW_SEGMENTS = 50  # of MAPSSWE, below which its normal tail finds too many differences
TOTALS = (
    *("sentences", "words", "correct", "substitutions", "deletions", "insertions"),
    *("errors", "sentence_errors", "ties", "err_rate"),
)


def phases_table(rows: Sequence[PhaseResult], *, decoded: bool) -> Table:
    """What was trained and what dev says of it; `decoded` tells whether error rates follow."""
    perplexities = [(row, row.perplexity or {}) for row in rows]
    datasets = list(dict.fromkeys(name for _, perplexity in perplexities for name in perplexity))
    header = (
        "phase",
        "kind",
        "cut",
        "frozen",
        "dev",
        "accepted",
        "best",
        "seed",
        "epochs",
        "hours",
    )
    body = tuple(
        (*_phase_cells(row), *(_number(ppl.get(n), ".2f") for n in datasets))
        for row, ppl in perplexities
    )
    criteria = ", ".join(dict.fromkeys(row.dev_name for row in rows))
    notes = [f"dev: {criteria}. It alone decides what is accepted and best, never a test set."]
    if any(row.kind in CONTROL_KINDS for row in rows):
        notes.append(f"Controls ({', '.join(CONTROL_KINDS)}) are never accepted or best.")
    if len({row.parameters for row in rows}) > 1:
        notes.append(
            "The models differ in size (untied weights): their results are not those of equal"
            " models."
        )
    if not decoded and not datasets:
        notes.append("No phase was decoded, so there are no error rates.")
    return Table("Phases", (*header, *(f"ppl {name}" for name in datasets)), body, tuple(notes))


def _phase_cells(row: PhaseResult) -> tuple[str, ...]:
    return (
        *_names(row),
        f"{100 * row.frozen_share:.1f} %" + (f" of {row.parameters:,}" if row.parameters else ""),
        _number(row.dev, ".4f"),
        {True: "yes", False: "no", None: "-"}[row.accepted],
        "best" if row.best else "",
        str(row.seed),
        str(row.epochs),
        _number(row.hours, ".3g"),
    )


def _names(row: PhaseResult) -> tuple[str, str, str]:
    return row.name, row.kind, row.cut or "-"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def overview_tables(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> list[Table]:
    """Word error rates of every phase, a column for each set.

    One table for each way of decoding with several sets.
    """
    by_inference: dict[str, list[SetComparison]] = {}
    for found in sets:
        if found.metric == "wer":
            by_inference.setdefault(found.inference, []).append(found)
    note = (
        "Err; in brackets the difference to phase 0 in percentage points. Intervals: the tables of"
        " the single sets."
    )
    tables = []
    for inference, several in by_inference.items():
        if len(several) > 1:
            header = ("phase", "kind", "cut", "seed", *(found.dataset for found in several))
            columns = [[_rate(cell) for cell in found.cells] for found in several]
            body = tuple(
                (*_names(row), str(row.seed), *line)
                for row, *line in zip(rows, *columns, strict=True)
            )
            tables.append(Table(f"WER of all sets ({inference})", header, body, (note,)))
    return tables


def _rate(cell: Cell) -> str:
    if cell.score is None:
        return "-"
    rate = cell.score.columns()[COUNTS.index("Err")]
    return f"{rate} ({cell.change.points:+.2f})" if cell.change else rate


def set_table(rows: Sequence[PhaseResult], found: SetComparison, resamples: int) -> Table:
    """Error counts of every phase on one set, and their differences to phase 0."""
    header = ("phase", "kind", "cut", "seed", *COUNTS, "Err - phase 0", "95 % interval")
    body = [
        (*_names(row), str(row.seed), *_cell(cell))
        for row, cell in zip(rows, found.cells, strict=True)
    ]
    tested = "the phase selected on dev against its phase 0"
    return _with_p(found, header, body, _set_notes(rows, found, resamples, "phase 0", tested))


def pair_table(names: tuple[str, str], found: SetComparison, resamples: int) -> Table:
    """Error counts of two experiments on one set, and the difference of the second to the first."""
    header = ("experiment", *COUNTS, "Err - first", "95 % interval")
    body = [(name, *_cell(cell)) for name, cell in zip(names, found.cells, strict=True)]
    return _with_p(
        found,
        header,
        body,
        _set_notes(names, found, resamples, "first", "the second against the first"),
    )


def _with_p(
    found: SetComparison, header: tuple[str, ...], body: list[tuple[str, ...]], notes: Iterable[str]
) -> Table:
    """The section of one set.

    With a column of p values for words, as MAPSSWE is a test of word errors.
    """
    if found.metric == "wer":
        header = (*header, "MAPSSWE p (Holm)")
        body = [(*line, _p(cell)) for line, cell in zip(body, found.cells, strict=True)]
    return Table(_set_name(found), header, tuple(body), tuple(notes))


def _set_name(found: SetComparison) -> str:
    return f"{found.metric.upper()}: {found.dataset} ({found.inference})"


def _cell(cell: Cell) -> tuple[str, ...]:
    if cell.score is None:
        return ("not decoded", *("-",) * (len(COUNTS) + 1))
    return (*cell.score.columns(), *_change(cell.change))


def _change(change: Change | None) -> tuple[str, str]:
    if change is None:
        return "-", "-"
    low, high = change.interval
    return f"{change.points:+.2f}", f"{low:+.2f} to {high:+.2f}"


def _p(cell: Cell) -> str:
    if cell.test is None or cell.test.p is None:
        return "-"
    return (
        f"{_p_text(cell.test.p)} ({_p_text(cell.p_holm)}){' sign' if cell.test.z is None else ''}"
    )


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _set_notes(
    rows: Sequence[PhaseResult | str], found: SetComparison, resamples: int, base: str, tested: str
) -> Iterable[str]:
    score, unit, few = found.example, UNITS[found.metric], FEW[found.metric]
    yield (
        f"{score.words} reference {unit}, {score.sentences} utterances, {found.speakers} speakers."
    )
    if score.words < few:
        yield (
            f"Fewer than {few} reference {unit}: this set proves that the commands work, and"
            " nothing about accuracy."
        )
    if any(cell.change for cell in found.cells):
        yield (
            f"Err - {base}: percentage points, negative is better. Interval: paired bootstrap,"
            f" {resamples} resamples of {_drawn(found)}; it covers the choice of test data, not of"
            " the seed."
        )
    names = [row if isinstance(row, str) else row.name for row in rows]
    ties = [
        f"{name} {cell.score.ties}"
        for name, cell in zip(names, found.cells)
        if cell.score and cell.score.ties
    ]
    listed = ", ".join(ties) or "none"
    yield (
        "Utterances whose best alignments differ in their number of errors, settled as sclite"
        f" does: {listed}."
    )
    tests = [cell.test for cell in found.cells if cell.test and cell.test.p is not None]
    if tests:
        yield (
            f"MAPSSWE: {tested}, two-sided; in brackets corrected (Holm) for all tests of this"
            " page."
        )
        few = min(test.segments for test in tests)
        if few < FEW_SEGMENTS:
            yield (
                f"MAPSSWE takes its mean for normal, which needs some {FEW_SEGMENTS} segments; here"
                f" there are as few as {few}."
            )
    if any(test.z is None for test in tests):
        yield (
            "sign: all segments differ by the same number of errors, so this p is the exact sign"
            " test's."
        )


def _drawn(found: SetComparison) -> str:
    """What the bootstrap draws, in words."""
    if len(found.units) == 1:
        return (
            f"the {found.speakers if found.units == ('speakers',) else found.example.sentences}"
            f" {found.units[0]}"
        )
    return (
        f"the {found.example.sentences} utterances and of the {found.speakers} speakers, the wider"
        " of each end"
    )


def seeds_table(found: SetComparison) -> Table:
    """Experiments with several seeds, their seeds read together."""
    body = tuple(
        (
            ", ".join(group.names),
            group.kind,
            group.cut or "-",
            str(len(group.seeds)),
            f"{sum(group.error_rates) / len(group.error_rates):.2f}",
            f"{min(group.error_rates):.2f} to {max(group.error_rates):.2f}",
            *_change(group.change),
        )
        for group in found.groups
    )
    note = (
        f"Mean over runs, each against its own phase 0. Bootstrap of {_drawn(found)}, each drawn"
        " with all its runs."
    )
    header = ("phase", "kind", "cut", "runs", "mean Err", "range", "Err - phase 0", "95 % interval")
    return Table(f"{_set_name(found)}, seeds together", header, body, (note,))


def phase_data(row: PhaseResult) -> dict[str, Any]:
    """A phase as JSON can hold it.

    No path but the directory's name, None for what is not finite.
    """
    finite = {
        "dev": _finite(row.dev),
        "hours": _finite(row.hours),
        "curve": [_finite(value) for value in row.curve],
    }
    perplexity = {name: _finite(value) for name, value in (row.perplexity or {}).items()}
    plain = {"perplexity": perplexity, "frozen": list(row.frozen), "directory": row.directory.name}
    return {**vars(row), **finite, **plain}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def set_data(rows: Sequence[PhaseResult], found: SetComparison) -> dict[str, Any]:
    """One set as JSON can hold it.

    Totals, differences and tests of every phase, without single utterances.
    """
    cells = [
        {"phase": row.name, "base": None if base is None else rows[base].name, **_cell_data(cell)}
        for row, base, cell in zip(rows, bases(rows), found.cells, strict=True)
    ]
    return {**vars(found), "groups": [asdict(group) for group in found.groups], "cells": cells}


def _cell_data(cell: Cell) -> dict[str, Any]:
    score = {name: getattr(cell.score, name) for name in TOTALS} if cell.score else None
    change, test = (asdict(value) if value else None for value in (cell.change, cell.test))
    return {"score": score, "change": change, "mapsswe": test, "p_holm": cell.p_holm}
