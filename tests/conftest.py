"""Shared by all tests: one import of ESPnet, one thread, one warm process, tiny data.

The warm process is forked before any torch operation, so that its children are free to run some.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import tiny

from espnet_topdown.warm.child import BLIND

Train = Callable[..., Path]


def pytest_configure() -> None:
    """What tests start behaves as it does from a terminal, whoever runs the tests."""
    # Jobs in the background of a script ignore Ctrl-C, and so does all that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A make within make says where it is.
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import ESPnet with the tests as the warm process does, blind to GPUs.

    Where there is one, its import would start CUDA, and this process is forked.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in BLIND.items():
            patch.setenv(name, value)
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``gpu`` where torch can use none."""
    if item.get_closest_marker("gpu") is None:
        return
    import torch

    with pytest.MonkeyPatch.context() as patch:
        # Asked in another way, torch would start CUDA here.
        patch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
        has_gpu = torch.cuda.is_available()
    if not has_gpu:
        pytest.skip("needs a GPU, and torch.cuda.is_available() is False")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Answers of ESPnet that the user's cache holds are none of a test's, nor a test's of his."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def without_reports() -> None:
    """Cascades in tests take no seconds for their pages; `tests/cascade/test_fresh_report.py`."""
    from espnet_topdown import cli

    cli.WITH_REPORT = False


@pytest.fixture(scope="session")
def espnet() -> None:
    """ESPnet imported once for the whole session, torch on one thread."""
    import torch

    torch.set_num_threads(1)
    import espnet_topdown.training.tasks  # noqa: F401


@pytest.fixture(scope="session")
def warm_process(espnet: None) -> Iterator[str]:
    """A warm process forked from this one, so that cascades in tests do not import ESPnet again."""
    from espnet_topdown import warm
    from espnet_topdown.warm import server

    with tempfile.TemporaryDirectory() as scratch:
        socket = str(Path(scratch) / "socket")
        pid = os.fork()
        if pid == 0:
            # Pytest's handlers and streams go: children log to files of their own.
            logging.root.handlers.clear()
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            _hold_where_asked()
            try:
                server.serve(Path(socket), preload=())
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


def _hold_where_asked() -> None:
    import torch

    save = torch.save

    def save_and_hold(state: object, path: object, *args: object, **kwargs: object) -> None:
        save(state, path, *args, **kwargs)
        if Path(str(path)).name == os.environ.get(tiny.HOLD):
            signal.pause()

    torch.save = save_and_hold


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny training and validation data."""
    return tiny.write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture
def train(espnet: None, data: Path) -> Train:
    """``train(directory, config)``: one training by the real command, in this process.

    Returns the directory.
    """

    def run(directory: Path, config: dict[str, object], *extra: str) -> Path:
        from espnet_topdown.bin.train import main

        main(tiny.command(data, directory, config, *extra))
        return directory

    return run
