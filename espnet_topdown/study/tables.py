"""The tables and sentences of a study: what holds over seeds, by seed and speaker, effort, nulls.

Numbers come from `espnet_topdown.study.answers`, `espnet_topdown.study.contrasts` and
`espnet_topdown.study.effort`; pages are put together in `espnet_topdown.study.pages`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from espnet_topdown.plan.kinds import TOP_DOWN, USUAL_CONTROLS
from espnet_topdown.results import significance
from espnet_topdown.results.cells import dashed, difference, interval_text, p_text, shown
from espnet_topdown.results.questions import FROM_SCRATCH, best_phase, candidates
from espnet_topdown.study import inference
from espnet_topdown.study.answers import (
    PRIMARY,
    Answer,
    Values,
    data_read,
    scratch_values,
    variance_of,
)
from espnet_topdown.study.contrasts import Contrast
from espnet_topdown.study.records import Record, by_name, phases_of
from espnet_topdown.table import Table, counted


@dataclass(frozen=True)
class Measure:
    """How the numbers of a study are called.

    Args:
        name: of the measure, in headings.
        better: verdict where the first of a question has lower values.
        worse: verdict where it has higher ones.
        unit: of a difference, behind the number.
    """

    name: str
    better: str
    worse: str
    unit: str


WER = Measure("WER", "fewer errors", "more errors", " points")
PERPLEXITY = Measure("perplexity", "lower", "higher", "")
LOG_PERPLEXITY = Measure("100 x log perplexity", "lower", "higher", "")


def answer_table(
    measure: Measure,
    dataset: str,
    answers: Sequence[Answer],
    contrasts: Sequence[Contrast] = (),
    *,
    is_planned: bool = False,
) -> Table:
    """All questions over seeds, with their verdicts; `contrasts` are those of the answers.

    Where `is_planned`, a plan of analysis asks them.
    """
    rows = []
    for place, answer in enumerate(answers):
        first, second = map(fmean, zip(*answer.values, strict=True))
        row = [
            answer.question,
            str(len(answer.pairs)),
            f"{first:.2f} - {second:.2f}",
            difference(answer.mean),
            shown(answer.interval, interval_text),
            f"{shown(answer.p, p_text)} ({shown(answer.p_holm, p_text)})",
            shown(answer.p_pooled, p_text),
        ]
        if contrasts:
            row.append(interval_text(contrasts[place].test_data))
        rows.append((*row, answer.verdict(measure.better, measure.worse)))
    header = ["question", "seeds", "means", "difference", "95 %, seeds", "p (Holm)", "p, pooled"]
    if contrasts:
        header.append("95 %, test data")
    return Table(
        heading=f"What holds: {measure.name}, {dataset}",
        header=(*header, "verdict"),
        rows=rows,
        notes=_answer_notes(answers, is_planned=is_planned),
    )


def _answer_notes(answers: Sequence[Answer], *, is_planned: bool) -> Sequence[str]:
    """Which runs are compared, and what verdict and p are of."""
    arms = (
        f"{FROM_SCRATCH.capitalize()}: the mean of phase 0 and of the restarts, which are trained"
        " alike. Best: by the dev criterion among the runs of that kind, phase 0 left out."
    )
    if is_planned:
        # The questions' words and their arms are its author's.
        arms = (
            "Which runs are compared, the plan of analysis says: of several either the mean, or the"
            " one that the dev criterion selects (of equals the first that the plan names); the"
            " table seed by seed tells which."
        )
    has_primary = any(answer.question.startswith(PRIMARY) for answer in answers)
    primary = ", the primary one for itself alone" if has_primary else ""
    return (
        f"Negative: the first is better. {arms}",
        (
            "Verdict: by Student's t over the seeds' differences alone, corrected (Holm) for the"
            f" questions of this table that compare different runs{primary}; none for fewer than"
            f" {inference.FEWEST_SEEDS} seeds, nor where all differ by the same amount. No evidence"
            " of a difference is no evidence of equality."
        ),
        (
            "p, pooled: the same difference, tested with the variance of a single run, pooled over"
            " all ways of training on the same data; not corrected. A sensitivity check: it takes"
            " all ways to vary alike."
        ),
    )


def test_data_note(unit: str) -> str:
    """What the interval over test data is of."""
    drawn = unit if unit == "speakers" else f"{unit} within each speaker"
    return (
        f"95 %, test data: bootstrap, {significance.RESAMPLES} resamples of {drawn}, with these"
        " trained models. It says whether they differ on speech like this set, not whether the way"
        " of training does."
    )


def seed_table(measure: Measure, dataset: str, answers: Sequence[Answer]) -> Table:
    """The same questions seed by seed."""
    rows = []
    for answer in answers:
        for pair, (first, second) in zip(answer.pairs, answer.values, strict=True):
            values = f"{first:.2f}", f"{second:.2f}", difference(first - second)
            asked = answer.question, str(pair.seed), *map(_arm, pair.names)
            rows.append((*asked, *values))
    return Table(
        heading=f"Seed by seed: {measure.name}, {dataset}",
        header=("question", "seed", "first", "second", "first's", "second's", "difference"),
        rows=rows,
    )


def _arm(names: str) -> str:
    many = names.count(",") + 1
    return names if many == 1 else counted(many, "run")


def speaker_table(dataset: str, contrasts: Sequence[Contrast]) -> Table | None:
    """The differences on each speaker; None where speakers were resampled."""
    speakers = list(contrasts[0].by_speaker) if contrasts else []
    if len(speakers) < 2:
        return None
    rows = []
    for contrast in contrasts:
        points = [f"{contrast.by_speaker[speaker]:+.2f}" for speaker in speakers]
        rows.append((contrast.answer.question, *points))
    return Table(
        heading=f"Speaker by speaker: WER, {dataset}",
        header=("question", *speakers),
        rows=rows,
        notes=(
            "Mean difference over seeds. These speakers are taken as they are, not as a sample.",
        ),
    )


def arm_table(measure: Measure, dataset: str, records: Sequence[Record], values: Values) -> Table:
    """The values of each phase over seeds, and of all runs from scratch."""
    rows, notes = [], []
    several = data_read(records)
    for data in several:
        on_data = on_which_data(data, several)
        scratch = list(scratch_values(records, values, data).values())
        if scratch:
            rows.append((f"{FROM_SCRATCH}{on_data}", "-", "-", *_spread(scratch)))
        variance = variance_of(records, values, [data])
        if variance is not None:
            notes.append(
                f"Standard deviation of a run under other seeds, pooled over all ways of"
                f" training{on_data}: {variance.deviation:.2f} ({variance.freedom} degrees of"
                " freedom)."
            )
    for name, (phase, *_) in by_name(records).items():
        of_seeds = [values[r.seed, name] for r in records if (r.seed, name) in values]
        if of_seeds:
            rows.append((name, phase.kind, dashed(phase.cut), *_spread(of_seeds)))
    return Table(
        heading=f"Every phase over seeds: {measure.name}, {dataset}",
        header=("phase", "kind", "cut", "runs", "mean", "lowest to highest"),
        rows=rows,
        notes=notes,
    )


def on_which_data(data: str, several: Sequence[str]) -> str:
    """Which data is meant, where phases of a study read different ones."""
    if len(several) == 1:
        return ""
    return f" on {data}" if data else " on the base's data"


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    return str(len(values)), f"{fmean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def null_table(
    measure: Measure,
    dataset: str,
    records: Sequence[Record],
    values: Values,
    rate_of_test_data: Callable[[inference.Split], float] | None = None,
) -> Table | None:
    """How often each rule calls runs from scratch different from runs from scratch.

    None where there are too few of them to part in two groups.
    """
    scratch = list(scratch_values(records, values).values())
    split = inference.null_splits(len(scratch), len(records))
    if split is None:
        return None
    variance = variance_of(records, values, [""])
    over_seeds, pooled = inference.null_rates(scratch, split, variance)
    rates = {"t over seeds, of one question": over_seeds, "t by the pooled variance": pooled}
    if rate_of_test_data is not None:
        rates["resampled test data (no verdict follows from it)"] = rate_of_test_data(split)
    rows = [(rule, shown(rate, _percent)) for rule, rate in rates.items()]
    draws = len(split.first)
    return Table(
        heading=f"Null: {measure.name}, {dataset}",
        header=("rule", "called different"),
        rows=rows,
        notes=(
            (
                f"{draws} random draws of {len(records)} of the {len(scratch)} runs from scratch"
                " against as many others: nothing differs but the seed, so 5 % is right. The draws"
                " share their runs, so a rate is itself uncertain. They are means of runs, and say"
                " nothing about a best one that dev selects."
            ),
        ),
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"


def summary(measure: Measure, answers: Sequence[Answer]) -> list[str]:
    """The verdicts as sentences."""
    lines = []
    for answer in answers:
        many = len(answer.pairs)
        better = sum(difference < 0 for difference in answer.differences)
        lines.append(
            f"- {answer.question}: {answer.mean:+.2f}{measure.unit}"
            f" ({answer.verdict(measure.better, measure.worse)}); the first is better in {better}"
            f" of {counted(many, 'seed')}."
        )
    return lines


def coverage(records: Sequence[Record]) -> list[str]:
    """Which cuts dev selected and what was not measured, as sentences."""
    of_seeds = list(map(_selected_cut, records))
    is_same = len(of_seeds) > 1 and len(set(of_seeds)) == 1
    cuts = f"{of_seeds[0]}, in every seed" if is_same else ", ".join(of_seeds)
    among = " (phase 0 excluded)"
    if records[0].analysis is not None:
        # Which need not be the best of the cascade that a planned question asks about.
        among += ", among all candidates; a question may name fewer of them (see Seed by seed)"
    lines = [f"- Cut selected on dev{among}, by seed: {cuts}."]
    phases = phases_of(records)
    kinds = {phase.kind for phase in phases}
    lines += [f"- Control {kind}: not measured." for kind in USUAL_CONTROLS if kind not in kinds]
    if not any(phase.dropout == "off" for phase in phases):
        lines.append("- Dropout off in the frozen layers: not measured.")
    return lines


def _selected_cut(record: Record) -> str:
    selected = best_phase(record.runs)
    tried = len(candidates(record.runs))
    if selected is None:
        # Values on several dev sets select none.
        return "none, as phases have dev sets of their own" if tried else "none trained"
    # A phase without a cut is known by its kind.
    cut = selected.cut or selected.kind
    # One cut can have been trained by several kinds.
    kind = f" ({selected.kind})" if selected.cut and selected.kind != TOP_DOWN else ""
    return f"{cut}{kind} of {tried} candidates"
