"""Perplexities of a language-model study: contrasts and phases over seeds, from the records alone.

A text is one stream, so that nothing but the seed can be resampled: intervals are Student's t over
the seeds' own differences. What is compared with what is `espnet_topdown.study.contrasts`'s part.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from espnet_topdown.plan.kinds import BASE_KIND
from espnet_topdown.results.significance import t_interval
from espnet_topdown.study.contrasts import Pair, Record, questions
from espnet_topdown.table import Table

Interval = tuple[float, float]


@dataclass(frozen=True)
class PerplexityContrast:
    """One question on one text: (first, second) perplexity of each pair.

    `interval` is None for a single seed.
    """

    question: str
    text: str
    pairs: tuple[Pair, ...]
    values: tuple[tuple[float, float], ...]

    @property
    def differences(self) -> list[float]:
        """First minus second, seed by seed; negative where the first is better."""
        return [first - second for first, second in self.values]

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the mean difference."""
        return t_interval(self.differences)

    @property
    def verdict(self) -> str:
        """ "lower" or "higher" where the interval says so, else "not shown"."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "not shown"
        return "lower" if self.interval[1] < 0 else "higher"


def texts(records: Sequence[Record]) -> list[str]:
    """Names of the texts with a perplexity, such as "test (stream)".

    None in a study of error rates.
    """
    return list(
        dict.fromkeys(
            name for r in records for phase in r["phases"] for name in phase.get("perplexity") or {}
        )
    )


def contrasts(records: Sequence[Record], text: str) -> list[PerplexityContrast]:
    """The answers to all questions that have one on `text`."""
    found = []
    for question, pairs in questions(records).items():
        pairs = [
            pair
            for pair in pairs
            if all(text in (x["perplexity"] or {}) for x in (pair.first, pair.second))
        ]
        values = tuple((p.first["perplexity"][text], p.second["perplexity"][text]) for p in pairs)
        if pairs:
            found.append(PerplexityContrast(question, text, tuple(pairs), values))
    return found


def summary(found: Iterable[PerplexityContrast]) -> list[str]:
    """The verdicts as sentences."""
    return [
        f"- {c.question}: {fmean(c.differences):+.2f} ({c.verdict}); the first has the lower"
        f" perplexity in {sum(d < 0 for d in c.differences)} of {len(c.pairs)}"
        f" seed{'s' if len(c.pairs) > 1 else ''}."
        for c in found
    ]


def contrast_table(text: str, found: Iterable[PerplexityContrast]) -> Table:
    """All questions on one text over seeds, with their verdicts."""
    header = ("question", "seeds", "mean perplexities", "difference", "95 %, seeds", "verdict")
    rows = []
    for contrast in found:
        first, second = map(fmean, zip(*contrast.values, strict=True))
        seeds = ", ".join(str(pair.seed) for pair in contrast.pairs)
        means = f"{first:.2f} - {second:.2f}"
        differences = f"{fmean(contrast.differences):+.2f}", _interval(contrast.interval)
        rows.append((contrast.question, seeds, means, *differences, contrast.verdict))
    notes = (
        (
            "Negative: the first has the lower perplexity. Best: by the dev criterion among the"
            " runs of that kind, phase 0 left out; best control of any kind: chosen among more runs"
            " than there are top-down phases."
        ),
        (
            "95 %: Student's t over the seeds' differences, not corrected for the number of"
            " questions. Verdict: only where it leaves out 0."
        ),
    )
    return Table(f"What holds: perplexity, {text}", header, tuple(rows), notes)


def phases_table(records: Sequence[Record]) -> Table:
    """Perplexities of each phase over seeds, and their differences to phase 0."""
    names = list(dict.fromkeys(phase["name"] for record in records for phase in record["phases"]))
    columns = texts(records)
    rows = []
    for name in names:
        by_seed = {
            r["seed"]: p
            for r in records
            for p in r["phases"]
            if p["name"] == name and p["perplexity"]
        }
        if not by_seed:
            continue
        phase = next(iter(by_seed.values()))
        cells = []
        for text in columns:
            values = {
                seed: p["perplexity"][text]
                for seed, p in by_seed.items()
                if text in p["perplexity"]
            }
            cells += [_spread(values.values()), _difference(records, values, text)]
        rows.append((name, phase["kind"], phase["cut"] or "-", str(len(by_seed)), *cells))
    header = ["phase", "kind", "cut", "seeds"]
    header += [cell for text in columns for cell in (text, "- phase 0")]
    note = (
        "Mean over seeds, in brackets lowest to highest; differences to each seed's own phase 0"
        " with Student's t, 95 %."
    )
    return Table("Perplexity of every phase over seeds", tuple(header), tuple(rows), (note,))


def _spread(values: Iterable[float]) -> str:
    values = list(values)
    return f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def _difference(records: Sequence[Record], values: Mapping[int, float], text: str) -> str:
    base = {
        r["seed"]: p["perplexity"][text]
        for r in records
        for p in r["phases"]
        if p["kind"] == BASE_KIND and text in (p["perplexity"] or {})
    }
    differences = [value - base[seed] for seed, value in values.items() if seed in base]
    if not any(differences):
        return "-"
    return f"{fmean(differences):+.2f} ({_interval(t_interval(differences))})"


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval[0]:+.2f} to {interval[1]:+.2f}"
