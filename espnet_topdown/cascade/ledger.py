"""What happened: an append-only ledger of attempts, one `start` and one `end` event each.

What a finished phase leaves is the part of `espnet_topdown.experiment.phase_dir`. Neither torch nor
ESPnet is needed.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import RECORD
from espnet_topdown.experiment.train_log import read_progress


class Ledger:
    """The append-only file ``ledger.jsonl`` of a cascade, a JSON object a line, one `start` and one
    `end` an attempt.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def events(self) -> list[dict[str, Any]]:
        """All whole lines, oldest first; a line torn by a kill is passed over.

        Raises:
            TopdownError: a line is JSON but no event.
        """
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if not isinstance(event, dict) or not _is_event(event):
                raise TopdownError(
                    f"{self.path} is damaged ({line[:40]!r} is no event); remove that line and"
                    " rerun"
                )
            found.append(event)
        return found

    def append(self, event: str, phase: str, **details: Any) -> None:
        """Add one event, durable when this returns."""
        line = json.dumps(
            {"time": files.now(), "event": event, "phase": phase, **details}, ensure_ascii=False
        )
        with self.path.open("a+b") as stream:
            if stream.tell() and not self._ends_whole():
                stream.write(b"\n")  # the line before was torn by a kill
            stream.write(line.encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"

    def close_dangling(self) -> None:
        """End every attempt that was killed before its end.

        `done` where its record was written, else `killed`.

        Its wall time is told by the last line of its log.
        """
        open_attempts: dict[str, dict[str, Any]] = {}
        for event in self.events():
            if event["event"] == "start":
                open_attempts[event["phase"]] = event
            elif event["event"] == "end":
                open_attempts.pop(event["phase"], None)
        for phase, start in open_attempts.items():
            directory = self.path.parent / phase
            done, wall_s = (directory / RECORD).exists(), 0.0
            if (log := directory / "train.log").exists():
                wall_s = max(
                    0.0, log.stat().st_mtime - datetime.fromisoformat(start["time"]).timestamp()
                )
            details = {"wall_s": round(wall_s, 3), "epochs": finished_epochs(directory)}
            self.append(
                "end",
                phase,
                attempt=start["attempt"],
                outcome="done" if done else "killed",
                **details,
            )

    def attempts(self, phase: str) -> int:
        """How often the training of `phase` was started."""
        return sum(event["event"] == "start" and event["phase"] == phase for event in self.events())

    def hours(self, phase: str) -> float:
        """Wall time of all attempts of `phase` that ended, in hours."""
        return (
            sum(
                e.get("wall_s", 0.0)
                for e in self.events()
                if e["event"] == "end" and e["phase"] == phase
            )
            / 3600
        )


def _is_event(event: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a line of a ledger."""
    if not all(isinstance(event.get(key), str) for key in ("time", "event", "phase")):
        return False
    try:
        datetime.fromisoformat(event["time"])
    except ValueError:
        return False
    is_number = isinstance(event.get("wall_s", 0.0), int | float)
    return is_number and (event["event"] != "start" or isinstance(event.get("attempt"), int))


def finished_epochs(directory: Path) -> int:
    """The last epoch that a phase's log reports as finished, 0 for none."""
    progress = read_progress(directory / "train.log")
    return progress.results[-1]["epoch"] if progress and progress.results else 0
