"""A cascade as one small table of plain words: what each model is, and how many words it got wrong.

Takes the data of a page (`espnet_topdown.results.pages`); differences, intervals and tests are left
to the page's own tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from espnet_topdown.plan.kinds import BASE_KIND, CONTROL, KINDS, RESTART
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.table import Table, counted, shown

Row = Mapping[str, Any]


def summary(data: Mapping[str, Any]) -> Table:
    """The table of a cascade.

    Args:
        data: of its page, as `results.json` has it.
    """
    phases = data["phases"]
    sets = [one for one in data["sets"] if one["metric"] == "wer"]
    texts = list(dict.fromkeys(text for row in phases for text in row["perplexity"]))
    header = ["model", "what it is", *(f"words wrong, {one['dataset']}" for one in sets)]
    header += [*(f"perplexity, {text}" for text in texts), "chosen by dev"]
    lines = []
    for place, row in enumerate(phases):
        errors = [_error(one["cells"][place]["score"]) for one in sets]
        perplexities = [shown(row["perplexity"].get(text), ".2f") for text in texts]
        chosen = "chosen" if row["best"] else ""
        lines.append((row["name"], _what(row), *errors, *perplexities, chosen))
    return Table("In short", header, lines, list(_notes(phases, sets)))


def _what(row: Row) -> str:
    """What a model is, in words."""
    if row["kind"] == BASE_KIND:
        return "trained as usual"
    what = f"{row['kind']}, cut {row['cut']}" if row["cut"] else row["kind"]
    if row["kind"] == RESTART:
        what = "trained as usual once more, from another start"
    elif row["frozen"] or row["factors"]:
        what = ", ".join(_sides(row))
    if row["reads"]:
        what += f" ({row['reads']})"
    return f"control: {what}" if row["role"] == CONTROL else what


def _sides(row: Row) -> Iterator[str]:
    """What becomes of the layers of a phase that keeps some."""
    draws = KINDS[row["kind"]].draws
    if row["frozen"]:
        yield f"keeps {layer_span(row['frozen'])} frozen"
    if row["factors"]:
        is_all = not row["frozen"] and not draws
        learning = "everything" if is_all else layer_span(list(row["factors"]))
        yield f"trains {learning} on{_share(row['factors'])}"
    if draws:
        yield "the rest drawn and trained anew"


def _share(factors: Mapping[str, float]) -> str:
    """The factors on the learning rate of kept layers that learn; nothing of the whole rate."""
    ends = dict.fromkeys(f"{rate:.3g}" for rate in (min(factors.values()), max(factors.values())))
    return "" if list(ends) == ["1"] else f" at {' to '.join(ends)} of the learning rate"


def _error(score: Row | None) -> str:
    return "-" if score is None else f"{score['err_rate']:.1f} %"


def _notes(phases: Sequence[Row], sets: Sequence[Row]) -> Iterator[str]:
    for one in sets:
        score = next(cell["score"] for cell in one["cells"] if cell["score"])
        words = counted(score["words"], "word")
        yield f"{one['dataset']}: {words}; wrong are those taken for another, left out or put in."
    yield "The dev set alone chooses, never a test set."
    if len(phases) > 1:
        yield ("One run each: whether a way of training is better, only several seeds can say.")
