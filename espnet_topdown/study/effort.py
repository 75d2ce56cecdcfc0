"""How long phases take: epochs until they are as good on dev as phase 0 became.

Dev curves in, ratios and their table out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from espnet_topdown.errors import listed
from espnet_topdown.results.rows import epochs_to
from espnet_topdown.results.significance import t_interval
from espnet_topdown.study.records import Record, by_name
from espnet_topdown.table import Table

# Of phase 0's best dev value.
SHARES = (0.95, 1.0)


@dataclass(frozen=True)
class Ratio:
    """Epochs of a phase over those of its phase 0, until both have a share of phase 0's best.

    Args:
        asked: seeds that have both.
        reached: those in which the phase got there.
        mean: geometric mean of their ratios; None where it never did.
        interval: 95 %, by Student's t over seeds of the log ratio; None unless all got there, as
            those that did are the fast ones.
    """

    asked: int
    reached: int
    mean: float | None
    interval: tuple[float, float] | None


def ratio(records: Sequence[Record], name: str, share: float) -> Ratio:
    """The epochs of the phase called `name`, over those of each seed's own phase 0."""
    logs: list[float] = []
    asked = 0
    for record in records:
        phase, phase0 = record.runs.named(name), record.runs.base
        # On other data phase 0 has no curve to be compared with.
        if phase is None or phase.dev_set or phase0.dev is None:
            continue
        asked += 1
        mine = epochs_to(phase, phase0.dev, share)
        theirs = epochs_to(phase0, phase0.dev, share)
        if mine is not None and theirs is not None:
            logs.append(math.log(mine / theirs))
    if not logs:
        return Ratio(asked=asked, reached=0, mean=None, interval=None)
    interval = t_interval(logs) if len(logs) == asked else None
    if interval is not None:
        interval = (math.exp(interval[0]), math.exp(interval[1]))
    return Ratio(
        asked=asked,
        reached=len(logs),
        mean=math.exp(fmean(logs)),
        interval=interval,
    )


def effort_table(records: Sequence[Record]) -> Table:
    """Epochs and time of each phase, and how soon it is as good on dev as phase 0 became."""
    planned = " Without a verdict."
    if records[0].analysis is None:
        planned = " Not planned before the runs."
    rows = []
    for name, runs in by_name(records).items():
        # A base trained elsewhere may have epochs without times.
        hours = [run.hours for run in runs if run.hours is not None]
        ratios = [_ratio(ratio(records, name, share)) for share in SHARES]
        triggers = [str(run.trigger) for run in runs if run.trigger is not None]
        row = (
            name,
            runs[0].kind,
            str(len(runs)),
            f"{fmean(run.epochs for run in runs):.1f}",
            f"{60 * fmean(hours):.1f}" if hours else "-",
            *ratios,
            listed(triggers, "-"),
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
                " by Student's t over seeds of the log ratio. Where not all seeds got there, it is"
                " the mean of those that did, and too low. A dash: dev is another set than phase"
                " 0's."
                f"{planned}"
            ),
            (
                "Trigger: epoch after which weights were averaged (NT-ASGD), seed by seed. A dash:"
                " there was none, or records of an earlier version do not say."
            ),
            (
                "Wall time on a machine that other work shared: epochs can be compared, minutes"
                " only roughly."
            ),
        ),
    )


def _ratio(found: Ratio) -> str:
    if not found.asked:
        return "-"
    if found.mean is None:
        return f"reached in 0 of {found.asked}"
    text = f"{found.mean:.2f}"
    if found.reached < found.asked:
        return f"{text} (reached in {found.reached} of {found.asked})"
    if found.interval is None:
        return text
    low, high = found.interval
    return f"{text} ({low:.2f} to {high:.2f})"
