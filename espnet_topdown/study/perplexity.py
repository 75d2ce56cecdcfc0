"""Perplexities of a language-model study: contrasts and phases over seeds, from the records alone.

A text is one stream, so that nothing but the seed can be resampled: intervals are Student's t over
the seeds' own differences. What is compared with what is `espnet_topdown.study.questions`'s part.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from espnet_topdown.plan.kinds import BASE_KIND
from espnet_topdown.results.significance import t_interval
from espnet_topdown.study.questions import PhasePair, questions
from espnet_topdown.study.records import Record, RecordedPhase, phases_of
from espnet_topdown.table import Table

Interval = tuple[float, float]


@dataclass(frozen=True)
class PerplexityContrast:
    """One question on one text: (first, second) perplexity of each pair."""

    question: str
    text: str
    pairs: tuple[PhasePair, ...]
    values: tuple[tuple[float, float], ...]

    @property
    def differences(self) -> list[float]:
        """First minus second, seed by seed; negative where the first is better."""
        return [first - second for first, second in self.values]

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean difference; None for a single seed."""
        return t_interval(self.differences)

    @property
    def verdict(self) -> str:
        """What the interval says: "lower" or "higher", else "not shown"."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "not shown"
        return "lower" if self.interval[1] < 0 else "higher"


def texts(records: Sequence[Record]) -> list[str]:
    """Names of the texts with a perplexity, such as "test (stream)"; a study of errors has none."""
    names = [name for phase in phases_of(records) for name in phase.perplexity or {}]
    return list(dict.fromkeys(names))


def contrasts(records: Sequence[Record], text: str) -> list[PerplexityContrast]:
    """The answers to all questions that have one on `text`."""
    answers = []
    for question, pairs in questions(records).items():
        answered, values = [], []
        for pair in pairs:
            first, second = pair.first.perplexity_on(text), pair.second.perplexity_on(text)
            if first is not None and second is not None:
                answered.append(pair)
                values.append((first, second))
        if answered:
            answers.append(PerplexityContrast(question, text, tuple(answered), tuple(values)))
    return answers


def summary(contrasts: Iterable[PerplexityContrast]) -> list[str]:
    """The verdicts as sentences."""
    lines = []
    for contrast in contrasts:
        mean = fmean(contrast.differences)
        many = len(contrast.pairs)
        better = sum(difference < 0 for difference in contrast.differences)
        lines.append(
            f"- {contrast.question}: {mean:+.2f} ({contrast.verdict}); the first has the lower"
            f" perplexity in {better} of {many} seed{'s' if many > 1 else ''}."
        )
    return lines


def contrast_table(text: str, contrasts: Iterable[PerplexityContrast]) -> Table:
    """All questions on one text over seeds, with their verdicts."""
    rows = []
    for contrast in contrasts:
        first, second = map(fmean, zip(*contrast.values, strict=True))
        row = (
            contrast.question,
            ", ".join(str(pair.seed) for pair in contrast.pairs),
            f"{first:.2f} - {second:.2f}",
            f"{fmean(contrast.differences):+.2f}",
            _range(contrast.interval),
            contrast.verdict,
        )
        rows.append(row)
    return Table(
        heading=f"What holds: perplexity, {text}",
        header=("question", "seeds", "mean perplexities", "difference", "95 %, seeds", "verdict"),
        rows=rows,
        notes=(
            (
                "Negative: the first has the lower perplexity. Best: by the dev criterion among"
                " the runs of that kind, phase 0 left out; best control of any kind: chosen among"
                " more runs than there are top-down phases."
            ),
            (
                "95 %: Student's t over the seeds' differences, not corrected for the number of"
                " questions. Verdict: only where it leaves out 0."
            ),
        ),
    )


def phases_table(records: Sequence[Record]) -> Table:
    """Perplexities of each phase over seeds, and their differences to phase 0."""
    columns = texts(records)
    by_name: dict[str, dict[int, RecordedPhase]] = {}
    for record in records:
        for phase in record.phases:
            if phase.perplexity:
                by_name.setdefault(phase.name, {})[record.seed] = phase
    rows = []
    for name, by_seed in by_name.items():
        # A name stands for one kind and cut, whatever the seed.
        phase = next(iter(by_seed.values()))
        cells = []
        for text in columns:
            values = _values(by_seed, text)
            cells += [_spread(list(values.values())), _difference(records, values, text)]
        rows.append((name, phase.kind, phase.cut or "-", str(len(by_seed)), *cells))
    header = ["phase", "kind", "cut", "seeds"]
    for text in columns:
        header += [text, "- phase 0"]
    note = (
        "Mean over seeds, in brackets lowest to highest; differences to each seed's own phase 0"
        " with Student's t, 95 %."
    )
    return Table("Perplexity of every phase over seeds", header, rows, (note,))


def _values(by_seed: Mapping[int, RecordedPhase], text: str) -> dict[int, float]:
    """Seed -> perplexity on the text, of the seeds that have one."""
    values = {seed: phase.perplexity_on(text) for seed, phase in by_seed.items()}
    return {seed: value for seed, value in values.items() if value is not None}


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def _difference(records: Sequence[Record], values: Mapping[int, float], text: str) -> str:
    """Mean difference of each seed's value to that of its own phase 0."""
    phases = {r.seed: phase for r in records for phase in r.phases if phase.kind == BASE_KIND}
    bases = _values(phases, text)
    # Values and bases may come from different seeds where a study is not complete.
    differences = [value - bases[seed] for seed, value in values.items() if seed in bases]
    # Phase 0 itself differs from itself by nothing.
    if not any(differences):
        return "-"
    return f"{fmean(differences):+.2f} ({_range(t_interval(differences))})"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"
