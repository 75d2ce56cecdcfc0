"""The tables and sentences of a study: what holds over seeds, by seed and speaker, effort, nulls.

Numbers come from `espnet_topdown.study.answers`, `espnet_topdown.study.contrasts` and
`espnet_topdown.study.effort`; pages are put together in `espnet_topdown.study.pages`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from espnet_topdown.plan.kinds import CONTROL_KINDS
from espnet_topdown.results import significance
from espnet_topdown.results.questions import FROM_SCRATCH, best_phase, candidates
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.tables import p_text
from espnet_topdown.study import inference
from espnet_topdown.study.answers import (
    PRIMARY,
    Answer,
    Interval,
    Values,
    scratch_values,
    variance_of,
)
from espnet_topdown.study.contrasts import Contrast
from espnet_topdown.study.effort import SHARES, Ratio, ratio
from espnet_topdown.study.records import Record, phases_of
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
    measure: Measure, dataset: str, answers: Sequence[Answer], contrasts: Sequence[Contrast] = ()
) -> Table:
    """All questions over seeds, with their verdicts; `contrasts` are those of the answers."""
    rows = []
    for place, answer in enumerate(answers):
        first, second = map(fmean, zip(*answer.values, strict=True))
        row = [
            answer.question,
            ", ".join(str(pair.seed) for pair in answer.pairs),
            f"{first:.2f} - {second:.2f}",
            f"{answer.mean:+.2f}",
            _range(answer.interval),
            f"{p_text(answer.p)} ({p_text(answer.p_holm)})",
            p_text(answer.p_pooled),
        ]
        if contrasts:
            row.append(_range(contrasts[place].test_data))
        rows.append((*row, answer.verdict(measure.better, measure.worse)))
    header = ["question", "seeds", "means", "difference", "95 %, seeds", "p (Holm)", "p, pooled"]
    if contrasts:
        header.append("95 %, test data")
    return Table(
        heading=f"What holds: {measure.name}, {dataset}",
        header=(*header, "verdict"),
        rows=rows,
        notes=(
            (
                f"Negative: the first is better. {FROM_SCRATCH.capitalize()}: the mean of phase 0"
                " and of the restarts, which are trained alike. Best: by the dev criterion among"
                " the runs of that kind, phase 0 left out."
            ),
            (
                "Verdict: by Student's t over the seeds' differences alone, corrected (Holm) for"
                f" the questions that compare different runs{_family_note(answers)}; none for fewer"
                f" than {inference.FEWEST_SEEDS} seeds. No evidence of a difference is no evidence"
                " of equality."
            ),
            (
                "p, pooled: the same difference by the variance of a single run, pooled over all"
                " ways of training of this study; not corrected. A sensitivity check: it takes all"
                " ways to vary alike."
            ),
        ),
    )


def _family_note(answers: Sequence[Answer]) -> str:
    if any(answer.question.startswith(PRIMARY) for answer in answers):
        return ", the primary one for itself alone"
    return ""


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
            difference = f"{first - second:+.2f}"
            names = [_arm(name) for name in pair.names]
            values = f"{first:.2f}", f"{second:.2f}", difference
            rows.append((answer.question, str(pair.seed), *names, *values))
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
    scratch = list(scratch_values(records, values).values())
    rows = []
    if scratch:
        rows.append((FROM_SCRATCH, "-", "-", *_spread(scratch)))
    for name, phase in _by_name(records).items():
        of_seeds = [values[r.seed, name] for r in records if (r.seed, name) in values]
        if of_seeds:
            rows.append((name, phase.kind, phase.cut or "-", *_spread(of_seeds)))
    variance = variance_of(records, values)
    notes = []
    if variance is not None:
        notes.append(
            f"Standard deviation of a run under other seeds, pooled over all ways of training:"
            f" {variance.deviation:.2f} ({variance.freedom} degrees of freedom)."
        )
    return Table(
        heading=f"Every phase over seeds: {measure.name}, {dataset}",
        header=("phase", "kind", "cut", "runs", "mean", "lowest to highest"),
        rows=rows,
        notes=notes,
    )


def _spread(values: Sequence[float]) -> tuple[str, str, str]:
    return str(len(values)), f"{fmean(values):.2f}", f"{min(values):.2f} to {max(values):.2f}"


def _by_name(records: Sequence[Record]) -> dict[str, PhaseResult]:
    """Name -> the first phase of that name, which stands for one kind and cut in every seed."""
    named: dict[str, PhaseResult] = {}
    for phase in phases_of(records):
        named.setdefault(phase.name, phase)
    return named


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
    variance = variance_of(records, values)
    over_seeds, pooled = inference.null_rates(scratch, split, variance)
    rates = {"t over seeds, of one question": over_seeds, "t by the pooled variance": pooled}
    if rate_of_test_data is not None:
        rates["resampled test data (no verdict follows from it)"] = rate_of_test_data(split)
    rows = [(rule, "-" if rate is None else f"{100 * rate:.1f} %") for rule, rate in rates.items()]
    draws = len(split.first)
    return Table(
        heading=f"Null: {measure.name}, {dataset}",
        header=("rule", "called different"),
        rows=rows,
        notes=(
            (
                f"{draws} random draws of {len(records)} of the {len(scratch)} runs from scratch"
                " against as many others: nothing differs but the seed, so 5 % is right. The draws"
                " share their runs, so a rate is itself uncertain."
            ),
        ),
    )


def effort_table(records: Sequence[Record]) -> Table:
    """Epochs and time of each phase, and how soon it is as good on dev as phase 0 became."""
    rows = []
    for name, phase in _by_name(records).items():
        runs = [run for run in phases_of(records) if run.name == name]
        # A base trained elsewhere may have epochs without times.
        hours = [run.hours for run in runs if run.hours is not None]
        ratios = [_ratio(ratio(records, name, share)) for share in SHARES]
        triggers = [str(run.trigger) for run in runs if run.trigger is not None]
        row = (
            name,
            phase.kind,
            str(len(runs)),
            f"{fmean(run.epochs for run in runs):.1f}",
            f"{60 * fmean(hours):.1f}" if hours else "-",
            *ratios,
            ", ".join(triggers) or "-",
        )
        rows.append(row)
    shares = [f"to {100 * share:.0f} %" for share in SHARES]
    return Table(
        heading="Effort",
        header=("phase", "kind", "runs", "mean epochs", "mean minutes", *shares, "trigger"),
        rows=rows,
        notes=(
            (
                "To 95 %, to 100 %: epochs until dev has that share of the best value of the same"
                " seed's phase 0, over the epochs that phase 0 needed for it; geometric mean, 95 %"
                " by Student's t over seeds of the log ratio, or how many seeds got there at all."
                f"{_if_planned(records)}"
            ),
            (
                "Trigger: epoch after which weights were averaged (NT-ASGD), seed by seed; - where"
                " there was none, or where records of an earlier version do not say."
            ),
            "Wall time on a machine that other work shared: epochs compare, minutes only roughly.",
        ),
    )


def _if_planned(records: Sequence[Record]) -> str:
    if records[0].analysis is None:
        return " Not planned before the runs."
    return " Planned before the runs, without a verdict."


def _ratio(found: Ratio) -> str:
    if found.mean is None:
        return f"reached in 0 of {found.asked}"
    text = f"{found.mean:.2f}"
    if found.reached < found.asked:
        return f"{text} (reached in {found.reached} of {found.asked})"
    return text if found.interval is None else f"{text} ({_span(found.interval)})"


def _span(interval: Interval) -> str:
    low, high = interval
    return f"{low:.2f} to {high:.2f}"


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
    cuts = ", ".join(_selected_cut(record) for record in records)
    lines = [f"- Cut selected on dev, by seed: {cuts}."]
    phases = phases_of(records)
    kinds = {phase.kind for phase in phases}
    lines += [f"- Control {kind}: not measured." for kind in CONTROL_KINDS if kind not in kinds]
    if all(phase.dropout != "off" for phase in phases):
        lines.append("- Dropout off in the frozen layers: not measured.")
    return lines


def _selected_cut(record: Record) -> str:
    selected = best_phase(record.runs)
    if selected is None:
        return "none trained"
    cuts = {phase.cut for phase in candidates(record.runs)}
    return f"{selected.cut} of {len(cuts)} trained"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"


def power_table(
    model: str, measured: Mapping[str, tuple[int, inference.Variance]], difference: float
) -> Table:
    """Seeds that a study needs to show a difference.

    Args:
        model: of the records.
        measured: what was measured on which set -> runs from scratch a seed, variance of a run.
        difference: to show, in the unit of the measure.
    """
    rows = []
    for name, (scratch, variance) in measured.items():
        for runs in dict.fromkeys((1, scratch)):
            label = f"{counted(runs, 'run')} {FROM_SCRATCH} a seed"
            # Of a difference between one run and the mean of so many others.
            deviation = variance.deviation * (1 + 1 / runs) ** 0.5
            needed = [inference.seeds_needed(difference, deviation, share) for share in (0.8, 0.9)]
            rows.append((name, label, f"{variance.deviation:.3f}", *map(str, needed)))
    return Table(
        heading=f"Seeds that show a difference of {difference:g}: {model}",
        header=("measured", "compared with", "deviation of a run", "80 % power", "90 % power"),
        rows=rows,
        notes=(
            (
                f"Student's t over seeds, two-sided at {100 * inference.ALPHA:.0f} %, for one"
                " question; a seed is one pair. Deviation: under other seeds, pooled over all ways"
                " of training of these records."
            ),
        ),
    )
