"""Which of a training's metrics measure quality, so that a cascade can be judged by them.

ESPnet reports times, counts and learning rates beside them (espnet2/train/trainer.py). Neither
torch nor ESPnet is needed.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from espnet_topdown.errors import listed


class Criterion(NamedTuple):
    """What decides on dev: of an experiment, a cascade or a phase.

    Args:
        part: ESPnet's name for the data, ``valid``.
        metric: as ESPnet's reporter names it, ``acc`` or ``loss``.
        mode: ``max`` or ``min``, whichever is better.
    """

    part: str
    metric: str
    mode: str

    @classmethod
    def parse(cls, name: str) -> "Criterion":
        """The criterion that is written as `name`; the parts that a text lacks are empty."""
        part, _, rest = name.partition(" ")
        metric, _, mode = rest.rpartition(" ")
        return cls(part, metric, mode)

    @property
    def name(self) -> str:
        """The criterion as a reader writes it, ``valid acc max``."""
        return " ".join(self)

    def curve(self, rows: Iterable[Mapping[str, Any]]) -> list[float | None]:
        """Its value in each epoch, None where it was not measured.

        Args:
            rows: the epochs, as in ``epochs.json``.
        """
        return [row.get(self.part, {}).get(self.metric) for row in rows]


# Metrics of ESPnet's models, and names made of them: cer_ctc, loss_interctc_layer6, acc_asr.
_BETTER = {
    **dict.fromkeys(("acc", "accuracy", "bleu", "f1"), "max"),
    **dict.fromkeys(("loss", "cer", "wer", "ter", "per", "nll", "ppl", "perplexity"), "min"),
}
_BOOKKEEPING = re.compile(
    r"time|.*_time|total_count|.*count|optim\d*_.*|lr|.*_lr\d*|loss_scale|grad_norm|clip"
    r"|.*gpu.*|.*_mem|.*_memory|weight"
)
# Of fewer epochs nothing can be said about whether a metric moves.
FEWEST_EPOCHS = 3


def measures_quality(metric: str) -> bool:
    """Whether `metric` may measure quality: it is no time, count, rate or size."""
    return not _BOOKKEEPING.fullmatch(metric)


def better(metric: str) -> str | None:
    """Which values of a metric are better, ``max`` or ``min``; None for one of a user's own."""
    ways = {_BETTER[word] for word in metric.split("_") if word in _BETTER}
    # Of words that contradict one another, such as acc_loss, nothing follows.
    return ways.pop() if len(ways) == 1 else None


def sign(mode: str) -> int:
    """1 where more is better, ``max``, and -1 where less is, ``min``."""
    return 1 if mode == "max" else -1


def best_of(values: Iterable[float], mode: str) -> float:
    """The best of some values; `mode` as for `sign`."""
    return max(values, key=lambda value: sign(mode) * value)


def ranked(values: Mapping[int, float], mode: str) -> list[int]:
    """Epochs by their values, the best first; of equal ones the earlier.

    Args:
        values: epoch -> value, the earlier first.
        mode: as for `sign`.
    """
    return sorted(values, key=values.__getitem__, reverse=sign(mode) > 0)


def criterion_fault(
    criterion: Sequence[str], rows: Sequence[Mapping[str, Any]], *, source: str
) -> str | None:
    """Why a dev criterion cannot judge; None where it can.

    Args:
        criterion: part (``valid``), metric, and ``max`` or ``min``.
        rows: the base's epochs; none where they are not known.
        source: the base, for the message.
    """
    part, metric, mode = criterion
    asked = f"the dev criterion {' '.join(criterion)}"
    valid = f"valid: {listed(_judging(part, rows), 'those of its log')}"
    if not measures_quality(metric):
        return f"{asked} does not measure quality; {valid}"
    values = _values(part, metric, rows)
    if rows and not values:
        return f"{asked} is in no epoch of {source}; {valid}"
    way = better(metric)
    if way not in (None, mode):
        return f"{asked} would select the worst: of {metric} the {way} is the best; {valid}"
    if not _moves(values) and len(values) >= FEWEST_EPOCHS:
        return (
            f"{asked} is {values[0]:g} in all {len(values)} epochs of {source}, so it cannot tell"
            f" phases apart; {valid}"
        )
    return None


def _judging(part: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The criteria that could judge, such as ``[valid, acc, max]``."""
    seen = itertools.chain.from_iterable(row.get(part, {}) for row in rows)
    # A metric of a user's own has no better.
    for metric in filter(better, filter(measures_quality, dict.fromkeys(seen))):
        if _moves(_values(part, metric, rows)):
            yield f"[{part}, {metric}, {better(metric)}]"


def _values(part: str, metric: str, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """The finite values of a metric, epoch by epoch."""
    values = [row.get(part, {}).get(metric) for row in rows]
    return [value for value in values if value is not None and math.isfinite(value)]


def _moves(values: Sequence[float]) -> bool:
    return len(set(values)) > 1
