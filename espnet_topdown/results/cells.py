"""Numbers as the cells of tables have them."""

from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")

hundredths = "{:.2f}".format
difference = "{:+.2f}".format


def shown(value: Value | None, form: Callable[[Value], str]) -> str:
    """A value as `form` writes it; a dash where there is none."""
    return "-" if value is None else form(value)


def dashed(text: str | None) -> str:
    """A text; a dash where there is none, or an empty one."""
    return text or "-"


def log_digits(value: float) -> str:
    """A value of the dev criterion with the digits that a training's log has.

    Source: espnet2/train/reporter.py (log_message, 202511).
    """
    return f"{value:.3f}" if 1e-3 < abs(value) <= 1e3 else f"{value:.3e}"


def time_text(hours: float) -> str:
    """A time in seconds, minutes or hours, whichever suits."""
    if hours >= 1:
        return f"{hours:.1f} h"
    seconds = 3600 * hours
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def interval_text(interval: tuple[float, float]) -> str:
    """An interval of differences."""
    low, high = interval
    return f"{low:+.2f} to {high:+.2f}"


def p_text(p: float) -> str:
    """A p value."""
    return f"{p:.3f}" if p >= 0.001 else "<0.001"
