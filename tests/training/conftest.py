"""Bases that the phases of these tests start from, trained once."""

from pathlib import Path

import pytest
import tiny
from tiny_phases import SEVERAL, conformer

from espnet_topdown.training.checkpoint import State


@pytest.fixture(scope="session")
def base(espnet: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conformer with BatchNorm, averages of 3 and 5 epochs by two criteria."""
    from espnet_topdown.bin import train

    directory = tmp_path_factory.mktemp("conformer") / "base"
    train.main(tiny.command(data, directory, conformer()))
    return directory


@pytest.fixture(scope="session")
def base_state(base: Path) -> State:
    """The weights that phases take from `base`."""
    from espnet_topdown.training.averages import exact_state

    criteria = SEVERAL["best_model_criterion"]
    return exact_state(base, "valid.acc.ave.pth", criteria, SEVERAL["keep_nbest_models"])


@pytest.fixture(scope="session")
def lm_base(espnet: None, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with tied embedding and softmax."""
    from espnet_topdown.bin import train

    directory = tmp_path_factory.mktemp("lm") / "base"
    train.main(tiny.command(data, directory, tiny.lm_config()))
    return directory
