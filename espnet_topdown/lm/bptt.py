"""Windows of a stream.

An ESPnet2 iterator over columns of one text, of random length in training, fixed in validation.

Reading text is `corpus`'s; carrying the state is `stream_model`'s.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from torch import Tensor

from espnet_topdown.errors import TopdownError

Batch = tuple[list[str], dict[str, Tensor | bool | float]]


@dataclass(frozen=True)
class Windows:
    """How a training stream is cut (``bptt_conf``); the defaults are the published recipe's.

    Attributes:
        bptt: frames of a validation window and mean of most training windows; the learning rate
            belongs to this length.
        sigma: standard deviation of the length, frames.
        short_probability: how often the mean is half of `bptt`.
        min_frames: shortest drawn length.
    """

    bptt: int = 70
    sigma: float = 5.0
    short_probability: float = 0.05
    min_frames: int = 5

    def __post_init__(self) -> None:
        if (
            self.bptt < 1
            or self.min_frames < 1
            or self.sigma < 0
            or not 0 <= self.short_probability <= 1
        ):
            raise TopdownError(
                f"bptt_conf: {self}; bptt and min_frames are at least 1, sigma at least 0,"
                " short_probability within [0, 1]."
            )

    def draw(self, rng: np.random.RandomState) -> int:
        """One length in frames: normal around `bptt` or half of it, cut off at `min_frames`."""
        mean = self.bptt / 2 if rng.random_sample() < self.short_probability else self.bptt
        return max(self.min_frames, int(rng.normal(mean, self.sigma)))


def columns(ids: Tensor, count: int) -> Tensor:
    """The stream as (length, count) of equal contiguous columns.

    What does not fill a row is dropped.
    """
    length = len(ids) // count
    return ids[: length * count].view(count, length).t().contiguous()


class BpttIterFactory(AbsIterFactory):
    """Builds an epoch's windows.

    The lengths of epoch e come from the seed and e alone, so that a resumed run sees what it would
    have seen. A window is ``{"tokens", "targets"}``, each (frames, columns), and ``{"reset":
    bool}``; in training also `lr_scale`, the drawn length over `bptt`.

    Args:
        ids: the stream, (tokens,).
        count: number of columns (``batch_size``).
        windows: how to cut.
        seed: of the run; None for windows of fixed length (validation).

    Raises:
        TopdownError: the stream is too short for a window.
    """

    def __init__(self, ids: Tensor, count: int, windows: Windows, seed: int | None) -> None:
        self.columns = columns(ids, count)
        self.windows = windows
        self.seed = seed
        shortest = 2 if seed is None else 3
        if len(self.columns) < shortest:
            raise TopdownError(
                f"a stream of {len(ids)} tokens in {count} columns has {len(self.columns)} tokens a"
                f" column; at least {shortest} are needed: give more text or a smaller batch size."
            )

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> Iterator[Batch]:
        """The windows of an epoch, in order.

        `shuffle` is ESPnet2's and unused: a stream has one order.
        """
        lengths = self._fixed() if self.seed is None else self._drawn(epoch)
        for start, frames, extra in lengths:
            stop = min(start + frames, len(self.columns) - 1)
            batch = {
                "tokens": self.columns[start:stop],
                "targets": self.columns[start + 1 : stop + 1],
            }
            yield [f"frame{start}"], batch | {"reset": start == 0} | extra

    def _fixed(self) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Start and length of windows of `bptt` frames over every target."""
        for start in range(0, len(self.columns) - 1, self.windows.bptt):
            yield start, self.windows.bptt, {}

    def _drawn(self, epoch: int) -> Iterator[tuple[int, int, dict[str, float]]]:
        """Start and length of random windows; as published, a single last target is left out."""
        rng = np.random.RandomState(self.seed + epoch)
        start = 0
        while start < len(self.columns) - 2:
            frames = self.windows.draw(rng)
            yield start, frames, {"lr_scale": frames / self.windows.bptt}
            start += frames
