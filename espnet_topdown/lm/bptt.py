"""Windows of a stream: an ESPnet2 iterator over columns of one text.

Their length is random in training and fixed in validation. Reading text is `corpus`'s; carrying the
state from window to window is `stream_model`'s. "Reference" is salesforce/awd-lstm-lm.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch import Tensor

from espnet_topdown import check
from espnet_topdown.errors import TopdownError

# Keys and values as ESPnet2's trainer takes them.
Batch = tuple[list[str], dict[str, Any]]


def _is_probability(value: Any) -> bool:
    return check.is_number(value) and 0 <= value <= 1


RULES = {
    "bptt": check.whole(1),
    "sigma": check.NOT_NEGATIVE,
    "short_probability": check.Must("within [0, 1]", _is_probability),
    "min_frames": check.whole(1),
}
BATCH_SIZE = {"batch_size": check.whole(1)}


@dataclass(frozen=True)
class Windows:
    """How a training stream is cut (``bptt_conf``); the defaults are the published recipe's.

    Attributes:
        bptt: frames of a validation window and mean of most training windows; the learning rate
            belongs to this length.
        sigma: standard deviation of the length, frames.
        short_probability: how often the mean is half of `bptt`.
        min_frames: shortest drawn length.

    Raises:
        TopdownError: a value out of its range.
    """

    bptt: int = 70
    sigma: float = 5.0
    short_probability: float = 0.05
    min_frames: int = 5

    def __post_init__(self) -> None:
        check.refuse_options("bptt_conf", check.faults(asdict(self), RULES))

    def draw(self, rng: np.random.RandomState) -> int:
        """One length in frames: normal around `bptt` or half of it, cut off at `min_frames`.

        There is no upper limit. Source: the reference's main.py, `train`.
        """
        is_short = rng.random_sample() < self.short_probability
        mean = self.bptt / 2 if is_short else self.bptt
        frames = int(rng.normal(mean, self.sigma))
        return max(self.min_frames, frames)


def columns(ids: Tensor, count: int) -> Tensor:
    """The stream (tokens,) as (length, count) of equal contiguous columns; the rest is dropped.

    Source: the reference's utils.py, `batchify`.
    """
    length = len(ids) // count
    rows = ids[: length * count].view(count, length)
    return rows.t().contiguous()


class BpttIterFactory(AbsIterFactory):
    """Builds the windows of an epoch.

    The lengths of epoch e come from the seed and e alone, so that a resumed run sees what it would
    have seen. A window is ``{"tokens", "targets"}``, each (frames, columns), and ``{"reset":
    bool}``; in training also `lr_scale`, the drawn length over `bptt`.

    Args:
        ids: the stream, (tokens,).
        count: number of columns (``batch_size``).
        windows: how to cut.
        seed: of the run; None for windows of fixed length (validation).

    Raises:
        TopdownError: no such number, or the stream is too short for a window.
    """

    def __init__(self, ids: Tensor, count: int, windows: Windows, seed: int | None) -> None:
        check.refuse_options("a stream", check.faults({"batch_size": count}, BATCH_SIZE))
        self.columns = columns(ids, count)
        self.windows = windows
        self.seed = seed
        # One target a column; training leaves the last one out (see `_drawn`).
        shortest = 2 if seed is None else 3
        if len(self.columns) < shortest:
            raise TopdownError(
                f"a stream of {len(ids)} tokens in {count} columns has {len(self.columns)} tokens a"
                f" column; at least {shortest} are needed: give more text or a smaller batch size"
            )

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Iterator[Batch]:
        """The windows of an epoch, in order.

        `shuffle` is ESPnet2's and unused: a stream has one order.
        """
        if self.seed is None:
            return self._fixed()
        # A generator of its own for each epoch: a checkpoint need not hold its state. The reference
        # draws from NumPy's global one.
        return self._drawn(np.random.RandomState(self.seed + epoch))

    def _fixed(self) -> Iterator[Batch]:
        """Windows of `bptt` frames over every target."""
        frames = self.windows.bptt
        for start in range(0, len(self.columns) - 1, frames):
            yield self._window(start, frames)

    def _drawn(self, rng: np.random.RandomState) -> Iterator[Batch]:
        """Windows of random length."""
        start = 0
        # A single last target is left out, as in the reference's main.py, `train`.
        while start < len(self.columns) - 2:
            frames = self.windows.draw(rng)
            # Of the length that was drawn, even where the stream ends sooner: so in the reference.
            yield self._window(start, frames, lr_scale=frames / self.windows.bptt)
            start += frames

    def _window(self, start: int, frames: int, **scale: float) -> Batch:
        """The window of at most `frames` frames from `start` on."""
        stop = min(start + frames, len(self.columns) - 1)
        tokens = self.columns[start:stop]
        targets = self.columns[start + 1 : stop + 1]
        batch = {"tokens": tokens, "targets": targets, "reset": start == 0}
        return [f"frame{start}"], batch | scale
