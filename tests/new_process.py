"""Runs what starts CUDA in a process of its own: others fork the one that runs the tests."""

import multiprocessing
import os
from collections.abc import Callable


def in_new_process(work: Callable[..., None], *args: object) -> None:
    """Call a function of a module in a new interpreter; its exception fails the test."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0


def search_path(*places: object) -> str:
    """PYTHONPATH of a new interpreter: these places, then those of this one.

    On a machine that reaches no package registry ESPnet itself may be on PYTHONPATH alone.
    """
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, places), *([given] if given else [])])
