"""Progress of a training, read from the log that ESPnet writes (train/trainer.py.

Epoch lines and their results).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STARTED = re.compile(r"(\d+)/(\d+)epoch started(?:\. Estimated time to finish: (.+))?")
_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_SECTION = re.compile(r"\[(\w+)\] ([^\[]*)")
_VALUE = re.compile(r"([\w.]+)=([-+.\deE]+|nan|inf|-inf)(?=,|\s|$)")


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Epoch under way, epochs planned, ESPnet's estimate of the time left, results so far.
    """

    epoch: int
    max_epoch: int
    time_left: str | None
    results: tuple[dict[str, Any], ...]


def read_progress(log: Path) -> Progress | None:
    """Progress from `log`, None before the first epoch.

    `results` has a row for each finished epoch: ``epoch`` and, for ``train`` and ``valid``, a
    mapping of their metrics.
    """
    if not log.exists():
        return None
    text = log.read_text(encoding="utf-8", errors="replace")
    started = list(_STARTED.finditer(text))
    if not started:
        return None
    rows = []
    for number, body in _RESULTS.findall(text):
        row: dict[str, Any] = {"epoch": int(number)}
        for section, values in _SECTION.findall(body):
            row[section] = {key: float(value) for key, value in _VALUE.findall(values)}
        rows.append(row)
    last = started[-1]
    return Progress(int(last[1]), int(last[2]), last[3], tuple(rows))
