"""Ending variants early by the median rule: what a plan asks, and where it ends a training.

The first variants of an item are trained in full. Each later one is compared with them alone, so
that what comes out depends neither on which ends first nor on how many are trained side by side.
Dev decides, as it does everywhere; training and records are not known here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must

RULE = "median"


@dataclass(frozen=True)
class StopEarly:
    """``stop_early`` of an item of a plan: a sweep, or the controls that one item makes.

    A variant ends after the first epoch, from `from_epoch` on, at which its best dev value so far
    is worse than the median of what the variants trained in full had reached by that epoch. The
    last epoch ends nothing.

    Source: the median stopping rule of Golovin et al., "Google Vizier: A Service for Black-Box
    Optimization", KDD 2017, section 3.2.2. It takes the median of running averages, which begin so
    low in training curves of ours that it would end next to nothing; here both sides are the best
    so far. Whatever is ended is then worse than the best of those that it was compared with.

    Args:
        rule: `RULE`; there is no other.
        from_epoch: the first epoch that can end a variant.
        full: variants that are trained in full, the first of the item.
    """

    rule: str = RULE
    from_epoch: int = 10
    full: int = 2

    @classmethod
    def read(cls, value: Any) -> "StopEarly":
        """As a plan gives it: ``median``, or a mapping in which `faults` finds nothing."""
        if value == RULE:
            return cls()
        return cls(**{key: given for key, given in value.items() if given is not None})


@dataclass(frozen=True)
class MedianStop:
    """The rule as one phase has it.

    Args:
        from_epoch: as in `StopEarly`.
        siblings: names of the phases that it is compared with, all of them trained in full.
    """

    from_epoch: int
    siblings: tuple[str, ...]


_KEYS = {
    "rule": check.one_of((RULE,)),
    "from_epoch": check.whole(1),
    "full": check.whole(1),
}


FORM = Must(
    f"{RULE} or a mapping such as {asdict(StopEarly())}",
    lambda value: value == RULE or isinstance(value, Mapping),
)


def faults(value: Any) -> list[str]:
    """What is wrong inside a plan's ``stop_early`` that has the right form."""
    if not isinstance(value, Mapping):
        return []
    found = check.unknown_keys(value, _KEYS) + check.faults(value, _KEYS)
    return [f"stop_early: {fault}" for fault in found]


@dataclass(frozen=True)
class Bar:
    """What a training must have reached by each epoch in order to go on.

    Args:
        criterion: the dev criterion, such as (``valid``, ``acc``, ``max``).
        from_epoch: the first epoch that can end the training.
        medians: one for each epoch from that one on, up to the last but one.
    """

    criterion: tuple[str, str, str]
    from_epoch: int
    medians: tuple[float, ...]

    @classmethod
    def over(
        cls,
        curves: Sequence[Sequence[float]],
        criterion: tuple[str, str, str],
        *,
        from_epoch: int,
        max_epoch: int,
    ) -> "Bar":
        """The medians of what each of `curves` had reached.

        A training that ended before an epoch, by ESPnet's own patience, counts with its best.

        Args:
            curves: dev criterion of each epoch of those trained in full.
            criterion: as above.
            from_epoch: as above.
            max_epoch: of the training that is compared.
        """
        reached = [_best_so_far(curve, criterion[2]) for curve in curves]
        medians = []
        # Not of the last epoch, after which nothing would be saved.
        for epoch in range(from_epoch, max_epoch):
            medians.append(median(best[min(epoch, len(best)) - 1] for best in reached))
        return cls(criterion=criterion, from_epoch=from_epoch, medians=tuple(medians))

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> "Bar":
        """The same, from what `to_conf` gave."""
        part, metric, mode = conf["criterion"]
        return cls((part, metric, mode), conf["from_epoch"], tuple(conf["medians"]))

    def to_conf(self) -> dict[str, Any]:
        """As ``topdown_conf`` holds it."""
        return {
            "criterion": list(self.criterion),
            "from_epoch": self.from_epoch,
            "medians": list(self.medians),
        }

    def stops_at(self, curve: Sequence[float | None]) -> int | None:
        """The epoch, counted from 1, after which a training with this curve ends; None: it goes on.

        Args:
            curve: dev criterion of each epoch so far; one without a finite value is passed over.
        """
        mode = self.criterion[2]
        # Of no epoch that is too early, and not of the last one.
        bars = dict(enumerate(self.medians, self.from_epoch))
        for epoch, best in enumerate(_best_so_far(curve, mode), 1):
            if best is not None and epoch in bars and _is_worse(best, bars[epoch], mode):
                return epoch
        return None

    def told(self, curve: Sequence[float | None], epoch: int) -> str:
        """Why a training with this curve ends after `epoch`."""
        best = _best_so_far(curve, self.criterion[2])[epoch - 1]
        bar = self.medians[epoch - self.from_epoch]
        return (
            f"stopped at epoch {epoch} by the median rule: its best {' '.join(self.criterion[:2])}"
            f" so far, {best:.4f}, is worse than {bar:.4f}, the median of those trained in full"
        )


def is_criterion(value: object) -> bool:
    """Whether a value is a dev criterion: ``valid``, a metric, and ``min`` or ``max``."""
    match value:
        case ["valid", str(), "min" | "max"]:
            return True
        case _:
            return False


_BAR = {
    "criterion": Must("a dev criterion", is_criterion),
    "from_epoch": check.WHOLE,
    "medians": Must("a list of numbers", check.all_in_list(check.is_number)),
}


def _is_bar(value: Any) -> bool:
    has_keys = isinstance(value, Mapping) and value.keys() == _BAR.keys()
    return has_keys and not check.lacking(value, _BAR)


BAR = Must(
    "a mapping of criterion ([valid, METRIC, min|max]), from_epoch and medians, one an epoch",
    _is_bar,
)


def _best_so_far(curve: Sequence[Any], mode: str) -> list[Any]:
    """The best value up to each epoch, None before the first finite one."""
    best: list[Any] = []
    last = None
    for value in curve:
        if check.is_number(value) and (last is None or _is_worse(last, value, mode)):
            last = value
        best.append(last)
    return best


def _is_worse(value: float, reference: float, mode: str) -> bool:
    return value < reference if mode == "max" else value > reference
