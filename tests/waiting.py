"""Waits for what another process does."""

import time
from collections.abc import Callable

LONGEST_S = 120  # on a loaded machine


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail where it does not in two minutes."""
    deadline = time.monotonic() + LONGEST_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {LONGEST_S} s"
        time.sleep(0.005)
