"""Seeds that a study needs, from the records of another.

The numbers are `espnet_topdown.study.inference`'s.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.questions import FROM_SCRATCH
from espnet_topdown.study import inference, perplexity
from espnet_topdown.study.answers import Values, data_read, scratch_values, variance_of
from espnet_topdown.study.contrasts import ErrorRates, spoken_sets
from espnet_topdown.study.records import Record, check_one_study, sealed_state
from espnet_topdown.study.tables import on_which_data
from espnet_topdown.table import Page, Table, counted


def power_page(studies: Mapping[str, Sequence[Record]], difference: float) -> Page:
    """Seeds that a study like each of these needs to show a difference.

    Args:
        studies: model -> records.
        difference: in points of WER, in perplexity and in a hundredth of its logarithm.

    Raises:
        TopdownError: a study has no two runs of one way of training, or `difference` is 0 or not
            finite.
    """
    if not difference or not math.isfinite(difference):
        raise TopdownError(
            f"--difference must not be {difference:g}; give the least that matters, such as 0.5"
        )
    shown = []
    for model, records in studies.items():
        check_one_study(model, records)
        sealed = sealed_state(records)
        if sealed:
            raise TopdownError(f"{model} is {sealed}")
        measured = _measured(records)
        if not measured:
            raise TopdownError(
                f"{model}: no way of training has two runs with different results, so how far runs"
                " differ is not known; record two seeds at least"
            )
        shown.append(power_table(model, measured, difference))
    return Page("Seeds that a study needs", shown)


def _measured(records: Sequence[Record]) -> dict[str, tuple[int, inference.Variance]]:
    """Name of a measure and its set -> runs from scratch a seed, variance of a run."""
    values_of = {
        f"WER, {dataset}": ErrorRates(records, dataset).values for dataset in spoken_sets(records)
    }
    for text in perplexity.texts(records):
        values_of[f"perplexity, {text}"] = values = perplexity.values(records, text)
        values_of[f"100 x log perplexity, {text}"] = perplexity.logs(values)
    measured = {}
    several = data_read(records)
    for (name, values), data in product(values_of.items(), several):
        variance = variance_of(records, values, [data])
        if variance is not None and variance.value:
            label = f"{name}{on_which_data(data, several)}"
            measured[label] = (_scratch_a_seed(records, values, data), variance)
    return measured


def _scratch_a_seed(records: Sequence[Record], values: Values, data: str) -> int:
    """Runs from scratch that every seed has; 1 where some have none."""
    seeds = [seed for seed, _ in scratch_values(records, values, data)]
    return max(1, min(seeds.count(record.seed) for record in records))


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
            beyond = f"over {inference.MOST_SEEDS:,}"
            cells = [beyond if seeds is None else str(seeds) for seeds in needed]
            rows.append((name, label, f"{variance.deviation:.3f}", *cells))
    return Table(
        heading=f"Seeds that show a difference of {difference:g}: {model}",
        header=("measured", "compared with", "deviation of a run", "80 % power", "90 % power"),
        rows=rows,
        notes=(
            (
                f"Student's t over seeds, two-sided at {100 * inference.ALPHA:.0f} %, for one"
                " question; a seed is one pair. Deviation: under other seeds, pooled over all ways"
                " of training of these records on the same data."
            ),
        ),
    )
