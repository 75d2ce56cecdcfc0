"""Progress of a training, read from the log that ESPnet writes.

The lines are those of espnet2/train/trainer.py (run) and espnet2/train/reporter.py (log_message).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STARTED = re.compile(r"(\d+)/(\d+)epoch started(?:\. Estimated time to finish: (.+))?")
_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_PART = re.compile(r"\[(\w+)\] ([^\[]*)")
_VALUE = re.compile(r"([\w.]+)=([-+.\deE]+|nan|inf|-inf)(?=,|\s|$)")


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Args:
        epoch: number of the epoch under way, from 1.
        max_epoch: epochs planned.
        time_left: ESPnet's estimate, in its words; None in the first epoch.
        results: a row for each finished epoch: its number under ``epoch``, and under ``train`` and
            ``valid`` a mapping of their metrics.
    """

    epoch: int
    max_epoch: int
    time_left: str | None
    results: tuple[dict[str, Any], ...]


def read_progress(log: Path) -> Progress | None:
    """Progress from `log`, None before the first epoch."""
    if not log.exists():
        return None
    text = log.read_text(encoding="utf-8", errors="replace")
    started = list(_STARTED.finditer(text))
    if not started:
        return None
    epoch, max_epoch, time_left = started[-1].groups()
    return Progress(
        epoch=int(epoch),
        max_epoch=int(max_epoch),
        time_left=time_left,
        results=tuple(_row(number, body) for number, body in _RESULTS.findall(text)),
    )


def _row(number: str, body: str) -> dict[str, Any]:
    """The results of one epoch from the text of its log line."""
    row: dict[str, Any] = {"epoch": int(number)}
    for part, metrics in _PART.findall(body):
        row[part] = {name: float(value) for name, value in _VALUE.findall(metrics)}
    return row
