"""Progress of a training, read from the logs that ESPnet writes.

The lines are those of espnet2/train/trainer.py (run) and espnet2/train/reporter.py (log_message).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STARTED = re.compile(r"(\d+)/(\d+)epoch started(?:\. Estimated time to finish: (.+))?")
_PART_OF_A_SECOND = re.compile(r"\.\d+(?= second)")
_RESULTS = re.compile(r"(\d+)epoch results: (.*)")
_PART = re.compile(r"\[(\w+)\] ([^\[]*)")
_VALUE = re.compile(r"([^\s,=]+)=(.*?)(?=, [^\s,=]+=|,?\s*$)")
# A time is in the words of humanfriendly's format_timespan: 1 hour, 2 minutes and 3.5 seconds.
_TIMES = re.compile(r"([\d.]+) (year|week|day|hour|minute|second)s?\b")
_UNITS_S = {"year": 52 * 604800, "week": 604800, "day": 86400, "hour": 3600, "minute": 60}


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Args:
        epoch: number of the epoch under way, from 1.
        max_epoch: epochs planned.
        time_left: ESPnet's estimate, in its words but for parts of a second; None in the first
            epoch.
        results: a row for each finished epoch: its number under ``epoch``, and under ``train`` and
            ``valid`` a mapping of their metrics.
    """

    epoch: int
    max_epoch: int
    time_left: str | None
    results: tuple[dict[str, Any], ...]


def read_progress(log: Path) -> Progress | None:
    """Progress from `log` and those of the attempts that it went on from, None before any epoch.

    Args:
        log: the newest, ``train.log``; the older ones stand beside it.
    """
    started: re.Match[str] | None = None
    rows: dict[int, dict[str, Any]] = {}
    for attempt in _attempts(log):
        lines = attempt.read_text(encoding="utf-8", errors="replace").splitlines()
        # Without the many of parts of an epoch, since a display reads them all each second.
        text = "\n".join(line for line in lines if "epoch started" in line or "results:" in line)
        for started in _STARTED.finditer(text):
            # Epochs that a resumed training repeats count by its own results.
            rows = {epoch: row for epoch, row in rows.items() if epoch < int(started[1])}
        rows |= {int(number): _row(number, body) for number, body in _RESULTS.findall(text)}
    if started is None:
        return None
    return Progress(
        epoch=int(started[1]),
        max_epoch=int(started[2]),
        time_left=started[3] and _PART_OF_A_SECOND.sub("", started[3]),
        results=tuple(rows[epoch] for epoch in sorted(rows)),
    )


def trained_epochs(directory: Path) -> int:
    """Epochs after which the training in `directory` will go on; 0 where it will begin."""
    # Without it ESPnet starts anew.
    return finished_epochs(directory) if (directory / "checkpoint.pth").exists() else 0


def finished_epochs(directory: Path) -> int:
    """The last epoch that the log of a training reports as finished, 0 for none."""
    progress = read_progress(directory / "train.log")
    if progress is None or not progress.results:
        return 0
    return int(progress.results[-1]["epoch"])


def _attempts(log: Path) -> list[Path]:
    """The logs of a training, oldest first: ESPnet's launcher renames train.log to train.1.log."""
    numbered = re.compile(rf"{re.escape(log.stem)}\.(\d+){re.escape(log.suffix)}")
    names = map(numbered.fullmatch, (path.name for path in log.parent.glob("*")))
    older = sorted(filter(None, names), key=lambda name: int(name[1]), reverse=True)
    paths = [log.with_name(name[0]) for name in older]
    return list(filter(Path.exists, [*paths, log]))


def _row(number: str, body: str) -> dict[str, Any]:
    """The results of one epoch from the text of its log line."""
    row: dict[str, Any] = {"epoch": int(number)}
    for part, metrics in _PART.findall(body):
        values = {name: _number(value) for name, value in _VALUE.findall(metrics)}
        row[part] = {name: value for name, value in values.items() if value is not None}
    return row


def _number(text: str) -> float | None:
    """A metric, or a time in seconds; None for anything else."""
    try:
        return float(text)
    except ValueError:
        parts = [float(number) * _UNITS_S.get(unit, 1) for number, unit in _TIMES.findall(text)]
        return sum(parts) if parts else None
