"""The single tables of a cascade, with the notes that say how far to believe them.

Numbers come from `espnet_topdown.results.compare`; what is put on one page is decided in
`espnet_topdown.results.pages`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from espnet_topdown.errors import listed
from espnet_topdown.plan.kinds import PLAIN, USUAL_CONTROLS
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.results.compare import FEWEST, Cell, Change, SetComparison
from espnet_topdown.results.effort import Effort, effort_to
from espnet_topdown.results.rows import PhaseResult, bases, texts_of
from espnet_topdown.results.significance import RESAMPLES
from espnet_topdown.table import Table, counted, shown

COUNTS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
UNITS = {"wer": "word", "cer": "character", "ter": "token"}
# Of a set, in units of the metric, below which a note says how little its numbers show.
FEW = {"wer": 1000, "cer": 5000, "ter": 2000}
# Segments of MAPSSWE, below which its normal tail finds too many differences.
FEW_SEGMENTS = 50


def phases_table(
    rows: Sequence[PhaseResult], *, decoded: bool, unfinished: Sequence[str] = ()
) -> Table:
    """What was trained and what dev says of it.

    Args:
        rows: phases in their order.
        decoded: whether error rates follow.
        unfinished: what the plan asks for and is not there, each with the reason.
    """
    texts = texts_of(rows)
    columns = dict(PHASE_COLUMNS)
    if not shows_kept_lr(rows):
        del columns["kept_lr"]
    if not any(row.reads for row in rows):
        del columns["reads"]
    body = []
    for row, base in zip(rows, bases(rows), strict=True):
        cells = [cell(row) for cell in columns.values()]
        perplexities = [shown(row.perplexity.get(text), ".2f") for text in texts]
        body.append((*cells, _effort(effort_to(row, base)), *perplexities))
    notes = [*_phase_notes(rows)]
    if unfinished:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    notes += _stop_notes(rows)
    notes += _loaded_notes(rows)
    if not decoded and not texts:
        notes.append("No phase was decoded, so there are no error rates.")
    header = [*columns, "to phase 0's best", *(f"ppl {text}" for text in texts)]
    return Table("Phases", header, body, notes)


def _phase_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """What the columns of the table of phases mean."""
    criteria = ", ".join(dict.fromkeys(row.dev_name for row in rows))
    yield f"dev: {criteria}. It alone decides what is accepted and best, never a test set."
    yield from _dev_set_notes(rows)
    yield from _control_notes(rows)
    # Of a phase 0, the base is the row itself.
    if any(base not in (None, row) for row, base in zip(rows, bases(rows), strict=True)):
        yield (
            "To phase 0's best: epochs, and their share of the time, until dev was as good as the"
            " best of phase 0; - where it never was."
        )
    if shows_kept_lr(rows):
        yield "kept_lr: factor on the learning rate of the kept layers; 0 is frozen."
    if len({row.parameters for row in rows}) > 1:
        yield (
            "The models differ in size (untied weights, or another vocabulary): their results are"
            " not those of equal models."
        )


def _dev_set_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """Which dev values are of other data or tokens, and what phase 0 has there."""
    by_set: dict[str, list[PhaseResult]] = {}
    for row in rows:
        if row.dev_set:
            by_set.setdefault(row.dev_set, []).append(row)
    for dev_set, several in by_set.items():
        names = ", ".join(row.name for row in several)
        base = several[0].base_dev
        there = "phase 0 has no value there" if base is None else f"phase 0 has {log_digits(base)}"
        yield (
            f"The dev values of {names} are on {dev_set} ({there}), and are compared with no value"
            " on other data or tokens."
        )


def _stop_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """Which phases the median rule ended, and what that means for comparing them."""
    for row in rows:
        if row.stopped is not None:
            yield f"{row.name}: stopped at epoch {row.stopped} by the median rule, on dev."
    if any(row.stop_from is not None for row in rows):
        yield (
            "What the median rule could have stopped is compared with no other phase, but where the"
            " best is asked for: dev chose which of them were trained in full."
        )


def _control_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """By what a reader knows a control: by its kind, unless a candidate can have it too."""
    controls = {row.kind for row in rows if row.is_control}
    candidates = {row.kind for row in rows if not row.is_control}
    usual = set(USUAL_CONTROLS)
    if not controls:
        return
    if controls <= usual and candidates.isdisjoint(usual):
        yield f"Controls ({', '.join(USUAL_CONTROLS)}) are never accepted or best."
    else:
        yield "Controls, of whatever kind, have - under accepted; they are never accepted or best."


def shows_kept_lr(rows: Iterable[PhaseResult]) -> bool:
    """Whether a phase's kept layers may learn at factors that its kind does not tell."""
    return any(row.kind not in PLAIN or "to" in row.kept_lr.split() for row in rows)


def _loaded_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """Which fresh layers started from a pre-trained checkpoint."""
    phases: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row.loaded:
            phases.setdefault(row.loaded, []).append(row.name)
    for layers, names in phases.items():
        # Phases of several cascades share their names.
        where = ", ".join(dict.fromkeys(names))
        yield f"Loaded from a pre-trained checkpoint, not drawn, in {where}: {layer_span(layers)}."


def _frozen(row: PhaseResult) -> str:
    size = f" of {row.parameters:,}" if row.parameters else ""
    return f"{100 * row.frozen_share:.1f} %{size}"


def _effort(effort: Effort | None) -> str:
    if effort is None:
        return "-"
    return f"{effort.epochs} ({time_text(effort.hours)})"


def _names(row: PhaseResult) -> tuple[str, str, str]:
    return row.name, row.kind, row.cut or "-"


def log_digits(value: float | None) -> str:
    """A value of the dev criterion with the digits that a training's log has.

    Source: espnet2/train/reporter.py (log_message, 202511).
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if 1e-3 < abs(value) <= 1e3 else f"{value:.3e}"


def time_text(hours: float | None) -> str:
    """A time in seconds, minutes or hours, whichever suits."""
    if hours is None:
        return "-"
    seconds = 3600 * hours
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if hours < 1 else f"{hours:.1f} h"


# Header -> cell, in the order of the table; kept_lr and reads only where they tell something.
PHASE_COLUMNS: Mapping[str, Callable[[PhaseResult], str]] = {
    "phase": lambda row: row.name,
    "kind": lambda row: row.kind,
    "cut": lambda row: row.cut or "-",
    "kept_lr": lambda row: row.kept_lr or "-",
    "reads": lambda row: row.reads or "-",
    "frozen": _frozen,
    "dev": lambda row: log_digits(row.dev),
    "accepted": lambda row: {True: "yes", False: "no", None: "-"}[row.accepted],
    "best": lambda row: "best" if row.best else "",
    "seed": lambda row: str(row.seed),
    "epochs": lambda row: str(row.epochs),
    "time": lambda row: time_text(row.hours),
}


def overview_tables(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> list[Table]:
    """Word error rates of every phase, a column a set: a table for each way of decoding several."""
    by_inference: dict[str, list[SetComparison]] = {}
    for compared in sets:
        if compared.metric == "wer":
            by_inference.setdefault(compared.inference, []).append(compared)
    tables = []
    for inference, several in by_inference.items():
        if len(several) == 1:
            continue  # the set's own table has all of it
        header = ("phase", "kind", "cut", "seed", *(compared.dataset for compared in several))
        body = []
        for place, row in enumerate(rows):
            rates = [_rate(compared.cells[place]) for compared in several]
            body.append((*_names(row), str(row.seed), *rates))
        notes = _overview_notes(several)
        tables.append(Table(f"WER of all sets ({inference})", header, body, notes))
    return tables


def _overview_notes(several: Sequence[SetComparison]) -> tuple[str, ...]:
    notes = ["Err: all errors in percent of the reference words."]
    if not all(compared.is_small for compared in several):
        notes.append(
            "In brackets the difference to phase 0 in percentage points; intervals are in the"
            " tables of the single sets."
        )
    return tuple(notes)


def _rate(cell: Cell) -> str:
    if cell.score is None:
        return "-"
    rate = cell.score.columns()[COUNTS.index("Err")]
    return f"{rate} ({cell.change.points:+.2f})" if cell.change else rate


def set_table(rows: Sequence[PhaseResult], compared: SetComparison) -> Table:
    """Error counts of every phase on one set, and their differences to phase 0."""
    header = ("phase", "kind", "cut", "seed", *COUNTS, *_change_header(compared, "phase 0"))
    body = [
        (*_names(row), str(row.seed), *_cells(compared, cell))
        for row, cell in zip(rows, compared.cells, strict=True)
    ]
    notes = [
        *_size_notes(compared),
        *_change_notes(compared, "phase 0"),
        _tie_note(compared, [row.name for row in rows]),
        *_test_notes(compared, "the phase selected on dev against its phase 0"),
    ]
    return _with_p(compared, header, body, notes)


def pair_table(names: tuple[str, str], compared: SetComparison) -> Table:
    """Error counts of two experiments on one set, and the difference of the second to the first."""
    header = ("experiment", *COUNTS, *_change_header(compared, "first"))
    cells = [_cells(compared, cell) for cell in compared.cells]
    body = [(name, *line) for name, line in zip(names, cells, strict=True)]
    notes = [
        *_size_notes(compared),
        *_change_notes(compared, "first"),
        _tie_note(compared, names),
        *_test_notes(compared, "the second against the first"),
    ]
    return _with_p(compared, header, body, notes)


def _with_p(
    compared: SetComparison,
    header: tuple[str, ...],
    body: Sequence[tuple[str, ...]],
    notes: Sequence[str],
) -> Table:
    """The table of one set; MAPSSWE is a test of word errors, so words alone have a column of p."""
    if compared.metric == "wer" and not compared.is_small:
        header = (*header, "MAPSSWE p (Holm)")
        body = [(*line, _p(cell)) for line, cell in zip(body, compared.cells, strict=True)]
    return Table(_set_name(compared), header, body, notes)


def _set_name(compared: SetComparison) -> str:
    return f"{compared.metric.upper()}: {compared.dataset} ({compared.inference})"


def _change_header(compared: SetComparison, base: str) -> tuple[str, ...]:
    """Columns of a difference, which a small set does not have."""
    return () if compared.is_small else (f"Err - {base}", "95 % interval")


def _cells(compared: SetComparison, cell: Cell) -> tuple[str, ...]:
    """The counts of one row, and what stands under `_change_header`."""
    counts = ("not decoded", *("-",) * (len(COUNTS) - 1))
    if cell.score is not None:
        counts = cell.score.columns()
    return counts if compared.is_small else (*counts, *_change(cell.change))


def _change(change: Change | None) -> tuple[str, str]:
    if change is None:
        return "-", "-"
    return f"{change.points:+.2f}", interval_text(change.interval)


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval of differences as tables show it."""
    if interval is None:
        return "-"
    low, high = interval
    return f"{low:+.2f} to {high:+.2f}"


def _p(cell: Cell) -> str:
    if cell.test is None or cell.test.p is None:
        return "-"
    sign = " sign" if cell.test.z is None else ""
    return f"{p_text(cell.test.p)} ({p_text(cell.p_holm)}){sign}"


def p_text(p: float | None) -> str:
    """A p value as tables show it."""
    if p is None:
        return "-"
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _size_notes(compared: SetComparison) -> Iterable[str]:
    """How much was recognised, and whether that is enough."""
    score = compared.example
    unit = f"reference {UNITS[compared.metric]}"
    words = counted(score.words, unit)
    utterances = counted(score.sentences, "utterance")
    yield f"{words}, {utterances}, {counted(compared.speakers, 'speaker')}."
    few = FEW[compared.metric]
    if compared.is_small:
        yield (
            "So few words prove that the commands work, and nothing about accuracy: no difference"
            f" is given (below {counted(FEWEST['wer'], 'word')})."
        )
    elif score.words < few:
        yield (
            f"Fewer than {counted(few, unit)}: this set proves that the commands work, and nothing"
            " about accuracy."
        )


def _change_notes(compared: SetComparison, base: str) -> Iterable[str]:
    if any(cell.change for cell in compared.cells):
        yield (
            f"Err - {base}: percentage points, negative is better. Interval: paired bootstrap,"
            f" {RESAMPLES} resamples of {_drawn(compared)}; it covers the choice of test data, not"
            " of the seed."
        )


def _tie_note(compared: SetComparison, names: Sequence[str]) -> str:
    ties = []
    for name, cell in zip(names, compared.cells, strict=True):
        if cell.score and cell.score.ties:
            ties.append(f"{name} {cell.score.ties}")
    return (
        "Utterances whose best alignments differ in their number of errors, settled as sclite does:"
        f" {listed(ties)}."
    )


def _test_notes(compared: SetComparison, tested: str) -> Iterable[str]:
    if compared.selects:
        yield "No p value: this set selected the phase, so a difference on it is no finding."
    tests = [cell.test for cell in compared.cells if cell.test and cell.test.p is not None]
    if not tests:
        return
    yield f"MAPSSWE: {tested}, two-sided; in brackets corrected (Holm) for all tests of this page."
    fewest = min(test.segments for test in tests)
    if fewest < FEW_SEGMENTS:
        yield (
            f"MAPSSWE takes its mean for normal, which needs some {FEW_SEGMENTS} segments; here"
            f" there are as few as {fewest}."
        )
    if None in (test.z for test in tests):
        yield (
            "sign: all segments differ by the same number of errors, so this p is the exact sign"
            " test's."
        )


def _drawn(compared: SetComparison) -> str:
    """What the bootstrap draws, in words."""
    utterances = counted(compared.example.sentences, "utterance")
    speakers = counted(compared.speakers, "speaker")
    if compared.units == ("utterances",):
        return f"the {utterances}"
    if compared.units == ("speakers",):
        return f"the {speakers}"
    return f"the {utterances} and of the {speakers}, the wider of each end"


def seeds_table(compared: SetComparison) -> Table:
    """Experiments with several seeds, their seeds read together."""
    body = []
    for group in compared.groups:
        rates = group.error_rates
        cells = (
            ", ".join(group.names),
            group.kind,
            group.cut or "-",
            str(len(group.seeds)),
            f"{sum(rates) / len(rates):.2f}",
            f"{min(rates):.2f} to {max(rates):.2f}",
        )
        body.append(cells if compared.is_small else (*cells, *_change(group.change)))
    note = "Mean over runs."
    if not compared.is_small:
        note = (
            f"Mean over runs, each against its own phase 0. Bootstrap of {_drawn(compared)}, each"
            " drawn with all its runs."
        )
    columns = ("phase", "kind", "cut", "runs", "mean Err", "range")
    header = (*columns, *_change_header(compared, "phase 0"))
    return Table(f"{_set_name(compared)}, seeds together", header, body, (note,))
