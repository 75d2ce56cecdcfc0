"""One base and one finished cascade, which several modules look at."""

from pathlib import Path

import pytest
import tiny
from cascades import PLAN, run


@pytest.fixture(scope="session")
def base(warm_process: str, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained transformer experiment."""
    from espnet_topdown.bin.train import main

    directory = tmp_path_factory.mktemp("exp") / "asr"
    main(tiny.command(data, directory, tiny.asr_config("transformer", "rnn")))
    return directory


@pytest.fixture(scope="session")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cascade of two phases; its plan is ``plan.yaml`` beside it."""
    return run(base, tmp_path_factory.mktemp("finished"), PLAN)


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other training and validation data, without shape files."""
    directory = tiny.write_data(tmp_path_factory.mktemp("noisy"), utterances=6, seed=1)
    for shapes in directory.glob("*/*_shape"):
        shapes.unlink()
    return directory
