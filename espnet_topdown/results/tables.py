"""The tables of error counts, with the notes that say how far to believe them.

Numbers come from `espnet_topdown.results.compare`; what is put on one page is decided in
`espnet_topdown.results.pages`.
"""

from collections.abc import Callable, Iterable, Sequence

from espnet_topdown.errors import listed
from espnet_topdown.grouping import grouped
from espnet_topdown.results.cells import dashed, difference, interval_text, p_text, shown
from espnet_topdown.results.compare import FEWEST
from espnet_topdown.results.comparison import Cell, Change, SetComparison, of_words
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.significance import RESAMPLES
from espnet_topdown.table import Table, counted

COUNTS = ("Snt", "Wrd", "Corr", "Sub", "Del", "Ins", "Err", "S.Err")
UNITS = {"wer": "word", "cer": "character", "ter": "token"}
# Of a set, in units of the metric, below which a note says how little its numbers show.
FEW = {"wer": 1000, "cer": 5000, "ter": 2000}
# Segments of MAPSSWE, below which its normal tail finds too many differences.
FEW_SEGMENTS = 50
# Which phase a row is of.
PHASE = ("phase", "kind", "cut", "seed")

Columns = dict[str, Callable[[Cell], str]]  # header -> what a `Cell` has there


def _phase(row: PhaseResult) -> tuple[str, ...]:
    return row.name, row.kind, dashed(row.cut), str(row.seed)


def overview_tables(rows: Sequence[PhaseResult], sets: Sequence[SetComparison]) -> list[Table]:
    """Word error rates of every phase, a column a set: a table for each way of decoding several."""
    tables = []
    for inference, several in grouped(of_words(sets), lambda compared: compared.inference).items():
        if len(several) == 1:
            continue  # the set's own table has all of it
        body = []
        for place, row in enumerate(rows):
            rates = [_rate(compared.cells[place]) for compared in several]
            body.append((*_phase(row), *rates))
        notes = ["Err: all errors in percent of the reference words."]
        if not all(compared.is_small for compared in several):
            notes.append(
                "In brackets the difference to phase 0 in percentage points; intervals are in the"
                " tables of the single sets."
            )
        header = (*PHASE, *(compared.dataset for compared in several))
        tables.append(Table(f"WER of all sets ({inference})", header, body, tuple(notes)))
    return tables


def _rate(cell: Cell) -> str:
    if cell.score is None:
        return "-"
    rate = cell.score.columns()[COUNTS.index("Err")]
    return f"{rate} ({difference(cell.change.points)})" if cell.change else rate


def set_table(rows: Sequence[PhaseResult], compared: SetComparison) -> Table:
    """Error counts of every phase on one set, and their differences to phase 0."""
    tested = "the phase selected on dev against its phase 0"
    return _counts_table(compared, PHASE, list(map(_phase, rows)), "phase 0", tested)


def pair_table(names: tuple[str, str], compared: SetComparison) -> Table:
    """Error counts of two experiments on one set, and the difference of the second to the first."""
    labels = [(name,) for name in names]
    return _counts_table(compared, ("experiment",), labels, "first", "the second against the first")


def _counts_table(
    compared: SetComparison,
    header: Sequence[str],
    labels: Sequence[Sequence[str]],
    base: str,
    tested: str,
) -> Table:
    """The counts of every cell of a set.

    Args:
        compared: the set.
        header: of the labels.
        labels: what a row begins with, its name first.
        base: what differences are to.
        tested: what MAPSSWE compares.
    """
    columns = _difference_columns(compared, base)
    # MAPSSWE is a test of word errors.
    if columns and compared.metric == "wer":
        columns["MAPSSWE p (Holm)"] = _p
    body = []
    for label, cell in zip(labels, compared.cells, strict=True):
        counts = ("not decoded", *("-",) * (len(COUNTS) - 1))
        if cell.score is not None:
            counts = cell.score.columns()
        body.append((*label, *counts, *(show(cell) for show in columns.values())))
    notes = [
        *_size_notes(compared),
        *_token_notes(compared),
        *_change_notes(compared, base),
        _tie_note(compared, [label[0] for label in labels]),
        *_test_notes(compared, tested),
    ]
    return Table(_set_name(compared), (*header, *COUNTS, *columns), body, notes)


def _set_name(compared: SetComparison) -> str:
    return f"{compared.metric.upper()}: {compared.dataset} ({compared.inference})"


def _difference_columns(compared: SetComparison, base: str) -> Columns:
    """The columns of a difference, which a small set does not have."""
    if compared.is_small:
        return {}
    return {
        f"Err - {base}": lambda one: shown(one.change, _points),
        "95 % interval": lambda one: shown(one.change, _interval),
    }


def _points(change: Change) -> str:
    return difference(change.points)


def _interval(change: Change) -> str:
    return interval_text(change.interval)


def _p(cell: Cell) -> str:
    if cell.test is None or cell.test.p is None:
        return "-"
    sign = " sign" if cell.test.z is None else ""
    return f"{p_text(cell.test.p)} ({shown(cell.p_holm, p_text)}){sign}"


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


def _token_notes(compared: SetComparison) -> Iterable[str]:
    if compared.own_tokens:
        names = listed(compared.own_tokens)
        yield f"The tokens of {names} are others: no rate of theirs compares with the rest."


def _change_notes(compared: SetComparison, base: str) -> Iterable[str]:
    if any(cell.change for cell in compared.cells):
        yield (
            f"Err - {base}: percentage points, negative is better. Interval: paired bootstrap,"
            f" {RESAMPLES} resamples of {_drawn(compared)}; it covers the choice of test data, not"
            " of the seed."
        )


def _tie_note(compared: SetComparison, names: Sequence[str]) -> str:
    ties = [
        f"{name} {cell.score.ties}"
        for name, cell in zip(names, compared.cells, strict=True)
        if cell.score and cell.score.ties
    ]
    return (
        "Utterances with alignments of one cost and different numbers of errors, of which sclite's"
        f" choice counts: {listed(ties)}."
    )


def _test_notes(compared: SetComparison, tested: str) -> Iterable[str]:
    tests = [cell.test for cell in compared.cells if cell.test and cell.test.p is not None]
    fewest = min((test.segments for test in tests), default=FEW_SEGMENTS)
    if compared.selects:
        yield "No p value: this set selected the phase, so a difference on it is no finding."
    if tests:
        yield (
            f"MAPSSWE: {tested}, two-sided; in brackets corrected (Holm) for the tests of"
            " these phases on all sets."
        )
    if fewest < FEW_SEGMENTS:
        yield (
            f"MAPSSWE takes its mean for normal, which needs some {FEW_SEGMENTS} segments; here"
            f" there are as few as {fewest}."
        )
    if any(test.z is None for test in tests):
        yield (
            "sign: all segments differ by the same number of errors, so this p is the exact sign"
            " test's."
        )


def _drawn(compared: SetComparison) -> str:
    """What the bootstrap draws, in words."""
    utterances = counted(compared.example.sentences, "utterance")
    speakers = counted(compared.speakers, "speaker")
    both = f"the {utterances} and of the {speakers}, the wider of each end"
    words = {
        ("utterances",): f"the {utterances}",
        ("speakers",): f"the {speakers}",
        ("utterances", "speakers"): both,
    }
    return words[compared.units]
