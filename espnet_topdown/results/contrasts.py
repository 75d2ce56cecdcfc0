"""Phases of cascades against their controls, and cascades of one base against one another.

Rows and what was counted in, tables out. What is compared is `espnet_topdown.results.questions`'s
part; one seed says nothing about a way of training, so no verdict stands here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations

from espnet_topdown.results.cells import difference, interval_text, log_digits, shown
from espnet_topdown.results.compare import intervals_of
from espnet_topdown.results.comparison import SetComparison
from espnet_topdown.results.questions import Runs, best_phase, of_one_seed
from espnet_topdown.results.rows import PhaseResult, texts_of
from espnet_topdown.results.tables import COUNTS
from espnet_topdown.table import Table

NOTE = (
    "One trained model each: the interval covers the choice of test data, not of the seed. Whether"
    " the way of training differs, only several seeds can say (python3 -m espnet_topdown.study)."
)


@dataclass(frozen=True)
class CascadeRows:
    """The rows of one cascade among those of a page.

    Args:
        name: of the cascade; "" where it is the only one.
        runs: phase 0 and its phases, by their own names.
        places: of each of `runs` among the rows of the page.
    """

    name: str
    runs: Runs
    places: tuple[int, ...]

    def place(self, phase: PhaseResult) -> int:
        """Where a phase stands on the page."""
        return self.places[self.runs.phases.index(phase)]


@dataclass(frozen=True)
class RowPair:
    """A question, and the places of the two rows that answer it."""

    question: str
    first: int
    second: int


def of_controls(parts: Sequence[CascadeRows]) -> list[RowPair]:
    """Each cascade's phases against their controls, and its best against as many restarts."""
    row_pairs = []
    for part in parts:
        prefix = f"{part.name}: " if part.name else ""
        for question, pair in of_one_seed(part.runs).items():
            # Of a single seed an arm is a single run.
            (first,), (second,) = pair.first, pair.second
            row_pairs.append(RowPair(prefix + question, part.place(first), part.place(second)))
    return row_pairs


def of_cascades(parts: Sequence[CascadeRows]) -> list[RowPair]:
    """Every two cascades of one base: their best phases, and their phases of one name."""
    row_pairs = []
    for one, other in combinations(parts, 2):
        # Those of one base share a row of the page, their phase 0.
        if one.places[0] != other.places[0]:
            continue
        firsts, seconds = best_phase(one.runs), best_phase(other.runs)
        if firsts is not None and seconds is not None:
            question = f"best of {one.name} - best of {other.name}"
            row_pairs.append(RowPair(question, one.place(firsts), other.place(seconds)))
        for phase in one.runs.phases[1:]:
            twin = other.runs.named(phase.name)
            if twin is not None:
                question = f"{one.name}/{phase.name} - {other.name}/{phase.name}"
                row_pairs.append(RowPair(question, one.place(phase), other.place(twin)))
    return row_pairs


def error_table(
    heading: str, row_pairs: Sequence[RowPair], rows: Sequence[PhaseResult], compared: SetComparison
) -> Table | None:
    """The answers on one set.

    None where no question has both its phases decoded, or the set is too small for differences.
    """
    if compared.is_small:
        return None
    # By the place of the row.
    decoded = {place: cell.score for place, cell in enumerate(compared.cells) if cell.score}
    known = [each for each in row_pairs if decoded.keys() >= {each.first, each.second}]
    if not known:
        return None
    pairs = [(each.first, each.second) for each in known]
    intervals = intervals_of(decoded, pairs, compared.units)
    err = COUNTS.index("Err")
    body = []
    for each, interval in zip(known, intervals, strict=True):
        first, second = decoded[each.first], decoded[each.second]
        row = (
            each.question,
            rows[each.first].name,
            rows[each.second].name,
            first.columns()[err],
            second.columns()[err],
            difference(first.err_rate - second.err_rate),
            interval_text(interval),
        )
        body.append(row)
    header = ("question", "first", "second", "first's Err", "second's Err", "difference")
    where = f"{compared.dataset} ({compared.inference})"
    return Table(f"{heading}: WER, {where}", (*header, "95 % interval"), body, (NOTE,))


def dev_table(
    heading: str, row_pairs: Sequence[RowPair], rows: Sequence[PhaseResult]
) -> Table | None:
    """The same by dev, and by perplexity where that was measured; None of no question."""
    # Values of different data or tokens do not stand side by side.
    pairs = [(each.question, rows[each.first], rows[each.second]) for each in row_pairs]
    pairs = [
        (question, first, second)
        for question, first, second in pairs
        if first.dev_set == second.dev_set
    ]
    if not pairs:
        return None
    compared = list(chain.from_iterable(both for _, *both in pairs))
    small = set().union(*(row.small_texts for row in compared))
    header = ["question", "first", "second", "first's dev", "second's dev"]
    columns = []
    for text in texts_of(compared):
        header.append(f"ppl {text}")
        columns.append(partial(_perplexities, "{:.2f} - {:.2f}".format, text))
        # A text with few tokens has its values told, and no difference of them.
        if text not in small:
            header.append(f"ppl {text}: difference")
            columns.append(partial(_perplexities, _difference, text))
    body = []
    for question, first, second in pairs:
        devs = shown(first.dev, log_digits), shown(second.dev, log_digits)
        measured = [cell(first, second) for cell in columns]
        body.append([question, first.name, second.name, *devs, *measured])
    note = "Dev has selected epochs and phases: no test of it stands here."
    return Table(f"{heading}: dev", header, body, (note,))


def _difference(first: float, second: float) -> str:
    return difference(first - second)


def _perplexities(
    form: Callable[[float, float], str], text: str, first: PhaseResult, second: PhaseResult
) -> str:
    """Those of both on a text, in a form; a dash where one of them was not measured."""
    if text in first.perplexity and text in second.perplexity:
        return form(first.perplexity[text], second.perplexity[text])
    return "-"
