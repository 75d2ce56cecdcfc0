"""One base, one undisturbed cascade and its write points for all trials."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import harness
import pytest
import tiny


@dataclass(frozen=True)
class Place:
    """Where trials happen, and what an undisturbed cascade gave, wrote and took."""

    root: Path
    base: Path
    expected: dict[str, object]
    points: list[harness.Point]
    duration_s: float
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def trial(self, *, direct: bool = False) -> harness.Trial:
        """A new cascade in a directory of its own."""
        return harness.Trial(self.base, self.root / f"trial{next(self.numbers)}", direct=direct)


@pytest.fixture(scope="session")
def place(espnet: None, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The base and an undisturbed cascade."""
    root = tmp_path_factory.mktemp("faults")
    base = harness.train_base(tiny.write_data(root / "data", utterances=4), root / "exp" / "base")
    trial = harness.Trial(base, root / "undisturbed")
    trial.finish()
    expected = trial.result()
    trial.check(expected, repeated=0)
    return Place(root, base, expected, trial.points(), trial.duration_s)


@pytest.fixture
def trial(place: Place) -> harness.Trial:
    """A new cascade."""
    return place.trial()
