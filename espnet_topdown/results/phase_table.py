"""The table of a cascade's phases: what was trained, what dev says, and how far to believe it.

Tables of error counts are `espnet_topdown.results.tables`'s.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from espnet_topdown.errors import listed
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.kinds import PLAIN, USUAL_CONTROLS
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.results.cells import dashed, hundredths, log_digits, shown, time_text
from espnet_topdown.results.rows import Effort, PhaseResult, bases, effort_to, texts_of
from espnet_topdown.table import Table


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
        perplexities = [shown(row.perplexity.get(text), hundredths) for text in texts]
        body.append((*cells, shown(effort_to(row, base), _effort), *perplexities))
    notes = [*_column_notes(rows)]
    if unfinished:
        notes.append(f"Not finished: {', '.join(unfinished)}.")
    notes += [*_stop_notes(rows), *_loaded_notes(rows)]
    if not (decoded or texts):
        notes.append("No phase was decoded, so there are no error rates.")
    header = [*columns, "to phase 0's best", *(f"ppl {text}" for text in texts)]
    return Table("Phases", header, body, notes)


def _frozen(row: PhaseResult) -> str:
    size = f" of {row.parameters:,}" if row.parameters else ""
    return f"{100 * row.frozen_share:.1f} %{size}"


# Header -> cell, in the order of the table; kept_lr and reads only where they tell something.
PHASE_COLUMNS: Mapping[str, Callable[[PhaseResult], str]] = {
    "phase": lambda row: row.name,
    "kind": lambda row: row.kind,
    "cut": lambda row: dashed(row.cut),
    "kept_lr": lambda row: dashed(row.kept_lr),
    "reads": lambda row: dashed(row.reads),
    "frozen": _frozen,
    "dev": lambda row: shown(row.dev, log_digits),
    "accepted": lambda row: {True: "yes", False: "no", None: "-"}[row.accepted],
    "best": lambda row: "best" if row.best else "",
    "seed": lambda row: str(row.seed),
    "epochs": lambda row: str(row.epochs),
    "time": lambda row: shown(row.hours, time_text),
}


def _effort(effort: Effort) -> str:
    return f"{effort.epochs} ({shown(effort.hours, time_text)})"


def shows_kept_lr(rows: Iterable[PhaseResult]) -> bool:
    """Whether a phase's kept layers may learn at factors that its kind does not tell."""
    return any(row.kind not in PLAIN or row.has_own_rates for row in rows)


def _column_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """What the columns mean."""
    criteria = ", ".join(dict.fromkeys(row.criterion.name for row in rows))
    yield f"dev: {criteria}. It alone decides what is accepted and best, never a test set."
    yield from _dev_set_notes(rows)
    yield from _control_notes(rows)
    # Of a phase 0, the base is the row itself.
    with_bases = zip(rows, bases(rows), strict=True)
    if any(base not in (None, row) for row, base in with_bases):
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
    by_set = grouped(rows, lambda row: row.dev_set)
    # Most are of the base's own validation set and tokens.
    by_set.pop("", None)
    for dev_set, several in by_set.items():
        others = {_own_name(row) for row in rows if row.dev_set != dev_set}
        # Without seed or cascade, where that leaves no doubt.
        names = [row.name if _own_name(row) in others else _own_name(row) for row in several]
        # Each seed has a phase 0 of its own.
        there = [row.base_dev for row in several if row.base_dev is not None]
        # One number where both ends are written alike.
        ends = dict.fromkeys(map(log_digits, (min(there), max(there)) if there else ()))
        yield (
            f"The dev values of {listed(dict.fromkeys(names))} are on {dev_set} (phase 0 has"
            f" {' to '.join(ends) or 'no value there'}), and are compared with no value on other"
            " data or tokens."
        )
        if any(row.accepted is False for row in several):
            yield (
                f"A phase is accepted on {dev_set} where it is better there than the best before it"
                " (measured.json has that one's value, where it was trained on other data)."
            )


def _own_name(row: PhaseResult) -> str:
    """The name in its cascade, of one that stands as SEED/PHASE or CASCADE/PHASE too."""
    return row.name.rpartition("/")[2]


def _control_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """By what a reader knows a control: by its kind, unless a candidate can have it too."""
    controls = {row.kind for row in rows if row.is_control}
    candidates = {row.kind for row in rows if not row.is_control}
    usual = set(USUAL_CONTROLS)
    unclear = (controls - usual) | (candidates & usual)
    if controls and not unclear:
        yield f"Controls ({', '.join(USUAL_CONTROLS)}) are never accepted or best."
    if controls and unclear:
        yield "Controls, of whatever kind, have - under accepted; they are never accepted or best."


def _stop_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """Which phases the median rule ended, and what that means for comparing them."""
    for row in rows:
        if row.stopped is not None:
            yield f"{row.name}: stopped at epoch {row.stopped} by the median rule, on dev."
    if any(row.stop_from is not None for row in rows):
        yield (
            "What the median rule could have stopped is compared with no other phase, except where"
            " the best is asked for: dev chose which of them were trained in full."
        )


def _loaded_notes(rows: Sequence[PhaseResult]) -> Iterable[str]:
    """Which fresh layers started from a pre-trained checkpoint."""
    by_layers = grouped(rows, lambda row: row.loaded)
    by_layers.pop((), None)
    for layers, several in by_layers.items():
        # Phases of several cascades share their names.
        where = ", ".join(dict.fromkeys(row.name for row in several))
        yield f"Loaded from a pre-trained checkpoint, not drawn, in {where}: {layer_span(layers)}."
