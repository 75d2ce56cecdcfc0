"""When NT-ASGD begins to average: the rule, in numbers alone.

Its use in training is `espnet_topdown.lm.nt_asgd`'s.
"""

import math
from collections.abc import Sequence

NONMONO = 5  # n of the paper


def fires(losses: Sequence[float], loss: float, nonmono: int) -> bool:
    """Whether a validation loss is worse than the best of all but the last `nonmono` before it.

    Source: algorithm 1 of arXiv 1708.02182, as the loop over epochs of the reference's main.py
        reads it: it leaves out the `nonmono` epochs before this one.
    """
    earlier = losses[:-nonmono]
    return bool(earlier) and loss > min(earlier)


def trigger_epoch(losses: Sequence[float | None], nonmono: int = NONMONO) -> int | None:
    """The first epoch, from 1, whose validation loss starts the averaging; None where none does.

    A loss that is missing or not finite neither fires nor counts.
    """
    before: list[float] = []
    for epoch, loss in enumerate(losses, 1):
        if loss is None or not math.isfinite(loss):
            continue
        if fires(before, loss, nonmono):
            return epoch
        before.append(loss)
    return None
