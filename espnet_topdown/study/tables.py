"""The tables and sentences of a study: contrasts over seeds, seed by seed, cost, what is missing.

Numbers come from `espnet_topdown.study.contrasts`; pages are put together in
`espnet_topdown.study.pages`.
"""

from collections.abc import Sequence

import numpy as np

from espnet_topdown.plan.kinds import CONTROL_KINDS, TOP_DOWN
from espnet_topdown.results import significance
from espnet_topdown.study.contrasts import Contrast, Interval
from espnet_topdown.study.questions import best_top_down
from espnet_topdown.study.records import Record, of_kind, phases_of
from espnet_topdown.table import Table


def contrast_table(dataset: str, contrasts: Sequence[Contrast]) -> Table:
    """All questions over seeds, with their verdicts."""
    rows = []
    for contrast in contrasts:
        # Every seed was scored on the same words, so the mean of rates is the rate of all.
        first, second = np.mean(contrast.rates, axis=0)
        row = (
            contrast.question,
            ", ".join(str(pair.seed) for pair in contrast.pairs),
            f"{first:.2f} - {second:.2f}",
            f"{contrast.points:+.2f}",
            _range(contrast.utterances),
            _range(contrast.speakers),
            contrast.verdict,
        )
        rows.append(row)
    return Table(
        heading=f"What holds: WER, {dataset}",
        header=(
            "question",
            "seeds",
            "mean Err",
            "difference",
            "95 %, utterances",
            "95 %, speakers",
            "verdict",
        ),
        rows=rows,
        notes=_contrast_notes(len(contrasts)),
    )


def _contrast_notes(questions: int) -> Sequence[str]:
    return (
        (
            "Percentage points of WER, negative: the first has fewer errors. Best: by the dev"
            " criterion among the runs of that kind, phase 0 left out."
        ),
        (
            "Best control of any kind: chosen among more runs than there are top-down phases, so"
            " not at equal budget."
        ),
        (
            f"Paired bootstrap, {significance.RESAMPLES} resamples of utterances, and of speakers,"
            " with all their seeds."
        ),
        (
            "Verdict: only where both intervals lie on one side of 0. No interval covers the"
            f" choice of the few seeds, and none is corrected for the {questions} questions asked."
        ),
    )


def seed_table(dataset: str, contrasts: Sequence[Contrast]) -> Table:
    """The same questions seed by seed, with p values."""
    p_values = [test.p for contrast in contrasts for test in contrast.tests]
    # One correction over the whole table, taken out again in the order of its rows.
    corrected = iter(significance.holm(p_values))
    rows = []
    for contrast in contrasts:
        answers = zip(contrast.pairs, contrast.rates, contrast.tests, strict=True)
        for pair, (first, second), test in answers:
            row = (
                contrast.question,
                str(pair.seed),
                *pair.names,
                f"{first:.2f}",
                f"{second:.2f}",
                f"{first - second:+.2f}",
                _p(test.p),
                _p(next(corrected)),
            )
            rows.append(row)
    header = "question", "seed", "first", "second", "Err", "Err", "difference"
    return Table(
        heading=f"Seed by seed: WER, {dataset}",
        header=(*header, "MAPSSWE p", "Holm"),
        rows=rows,
        notes=("MAPSSWE: two-sided. Holm: corrected for all tests of this table.",),
    )


def cost_table(records: Sequence[Record]) -> Table:
    """Training cost of each kind over all seeds."""
    phases = phases_of(records)
    rows = []
    for kind in dict.fromkeys(phase.kind for phase in phases):
        runs = of_kind(kind, phases)
        epochs = sum(run.epochs for run in runs) / len(runs)
        # A base trained elsewhere may have epochs without times.
        hours = [run.hours for run in runs if run.hours is not None]
        minutes = f"{60 * sum(hours) / len(hours):.2f}" if hours else "-"
        rows.append((kind, str(len(runs)), f"{epochs:.1f}", minutes))
    return Table(
        heading="Training cost",
        header=("kind", "runs", "mean epochs", "mean minutes"),
        rows=rows,
        notes=(
            "Wall time on a machine that other work shared: epochs compare, minutes only roughly.",
        ),
    )


def summary(contrasts: Sequence[Contrast]) -> list[str]:
    """The verdicts as sentences."""
    lines = []
    for contrast in contrasts:
        many = len(contrast.pairs)
        better = sum(first < second for first, second in contrast.rates)
        lines.append(
            f"- {contrast.question}: {contrast.points:+.2f} points ({contrast.verdict}); the first"
            f" has fewer errors in {better} of {many} seed{'s' if many > 1 else ''}."
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
    selected = best_top_down(record)
    if selected is None:
        return "none trained"
    cuts = {phase.cut for phase in of_kind(TOP_DOWN, record.phases)}
    return f"{selected.cut} of {len(cuts)} trained"


def _range(interval: Interval) -> str:
    low, high = interval
    return f"{low:+.2f} to {high:+.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value >= 0.001 else "<0.001"
