"""How soon a phase is as good on dev as its phase 0 became: epochs, and the time that they took."""

from dataclasses import dataclass

from espnet_topdown.experiment.quality import sign
from espnet_topdown.results.rows import PhaseResult


@dataclass(frozen=True)
class Effort:
    """What it took to get there.

    Args:
        epochs: the first epoch that is good enough.
        hours: that share of the training's wall time; None where that was not recorded.
    """

    epochs: int
    hours: float | None


def epochs_to(phase: PhaseResult, best: float, share: float = 1.0) -> int | None:
    """The first epoch with at least `share` of `best` on dev; None where there is none."""
    way = sign(phase.dev_name)
    # More of a loss than the best is worse: of that, a share is a larger value.
    enough = best * share if way > 0 else best / share
    for epoch, value in enumerate(phase.curve, 1):
        if value is not None and way * value >= way * enough:
            return epoch
    return None


def effort_to(phase: PhaseResult, phase0: PhaseResult | None) -> Effort | None:
    """What a phase needed to be as good as its phase 0 became; None where it never was.

    None, too, where the best value of phase 0 is not known.
    """
    if phase0 is None:
        return None
    # A phase on another validation set is measured against phase 0 there.
    best = phase.base_dev if phase.dev_set else phase0.dev
    epochs = None if best is None else epochs_to(phase, best)
    if epochs is None:
        return None
    hours = None if phase.hours is None else phase.hours * epochs / len(phase.curve)
    return Effort(epochs=epochs, hours=hours)
