"""Runs what starts CUDA in a process of its own: others fork the one that runs the tests."""

import multiprocessing
from collections.abc import Callable


def in_new_process(work: Callable[..., None], *args: object) -> None:
    """Call a function of a module in a new interpreter; its exception fails the test."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=args)
    process.start()
    process.join()
    assert process.exitcode == 0
