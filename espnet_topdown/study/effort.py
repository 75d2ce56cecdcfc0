"""How long phases take: epochs until they are as good on dev as phase 0 became.

Dev curves in, ratios out; the table is `espnet_topdown.study.tables`'s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from espnet_topdown.results.questions import base
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.significance import t_interval
from espnet_topdown.study.records import Record

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


def epochs_to(phase: PhaseResult, best: float, share: float) -> int | None:
    """The first epoch with at least `share` of `best` on dev; None where there is none."""
    is_max = phase.dev_name.endswith("max")
    enough = best * share if is_max else best / share
    for epoch, value in enumerate(phase.curve, 1):
        if value is None:
            continue
        if (value >= enough) if is_max else (value <= enough):
            return epoch
    return None


def ratio(records: Sequence[Record], name: str, share: float) -> Ratio:
    """The epochs of the phase called `name`, over those of each seed's own phase 0."""
    logs: list[float] = []
    asked = 0
    for record in records:
        phase, phase0 = record.runs.named(name), base(record.runs)
        if phase is None or phase0 is None or phase0.dev is None:
            continue
        asked += 1
        mine, theirs = (epochs_to(each, phase0.dev, share) for each in (phase, phase0))
        if mine is not None and theirs is not None:
            logs.append(math.log(mine / theirs))
    mean = math.exp(sum(logs) / len(logs)) if logs else None
    interval = t_interval(logs) if len(logs) == asked else None
    if interval is not None:
        interval = (math.exp(interval[0]), math.exp(interval[1]))
    return Ratio(asked=asked, reached=len(logs), mean=mean, interval=interval)
