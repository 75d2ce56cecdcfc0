"""Shared by all tests.

One import of ESPnet, one thread, and one warm process forked before any torch operation.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tiny.py, for tests in subdirectories too


@pytest.fixture(scope="session")
def espnet() -> None:
    """ESPnet imported once for the whole session, torch on one thread."""
    import torch

    torch.set_num_threads(1)
    import espnet_topdown.training.tasks  # noqa: F401


@pytest.fixture(scope="session")
def warm_process(espnet: None) -> Iterator[str]:
    """A warm process forked from this one, so that cascades in tests do not import ESPnet again."""
    from espnet_topdown import warm, warm_server

    with tempfile.TemporaryDirectory() as scratch:
        socket = str(Path(scratch) / "socket")
        pid = os.fork()
        if pid == 0:
            logging.root.handlers.clear()  # pytest's; children log to their own files
            sys.stdout, sys.stderr = (open(descriptor, "w", closefd=False) for descriptor in (1, 2))
            try:
                warm_server.serve(Path(socket), preload=())
            finally:
                os._exit(0)
        before = os.environ.get(warm.SOCKET)
        os.environ[warm.SOCKET] = socket
        yield socket
        os.environ.pop(warm.SOCKET)
        if before is not None:
            os.environ[warm.SOCKET] = before
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny training and validation data."""
    import tiny

    return tiny.write_data(tmp_path_factory.mktemp("data"))


Train = Callable[..., Path]


@pytest.fixture
def train(espnet: None, data: Path) -> Train:
    """``train(directory, config)``: one training by the real command, in this process.

    Returns the directory.
    """
    import tiny

    def run(directory: Path, config: dict[str, object], *extra: str) -> Path:
        from espnet_topdown.bin.train import main

        main(tiny.command(data, directory, config, *extra))
        return directory

    return run
