"""What happened: an append-only ledger of attempts, one `start` and one `end` event each.

A `redo` event stands where a phase was set aside to be trained anew.

What a finished phase leaves is told by `espnet_topdown.experiment.phase_dir`. Neither torch nor
ESPnet is needed.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from espnet_topdown import check, files, locks
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import LOCK, RECORD
from espnet_topdown.experiment.train_log import finished_epochs


def _is_time(value: Any) -> bool:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return False
    return True


_EVENT = {
    "time": Must("a time in ISO 8601", _is_time),
    "event": check.NAME,
    "phase": check.NAME,
    "attempt": check.whole(1),
    "wall_s": check.NUMBER,
}


class Ledger:
    """The file ``ledger.jsonl`` of a cascade: an event a line, each a JSON object.

    Args:
        path: of the file, in the cascade's directory; it need not be there yet.
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
        events = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                event = json.loads(line)
            except ValueError:
                # Torn, or the empty end of the file.
                continue
            if not _is_event(event):
                shown = line[:40].decode(errors="replace")
                raise TopdownError(
                    f"{self.path} is damaged ({shown!r} is no event); remove that line and rerun"
                )
            events.append(event)
        return events

    def append(self, event: str, phase: str, **details: Any) -> None:
        """Add one event, durable when this returns."""
        values = {"time": locks.now(), "event": event, "phase": phase, **details}
        line = json.dumps(values, ensure_ascii=False)
        files.unshare(self.path)
        with files.naming(self.path), self.path.open("a+b") as stream:
            is_torn = stream.tell() > 0 and not self._ends_whole()
            if is_torn:
                # A kill left half a line: the new one must not continue it.
                stream.write(b"\n")
            stream.write(line.encode() + b"\n")
            # Durable before the training starts, or the attempt would be lost with the power.
            stream.flush()
            os.fsync(stream.fileno())

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"

    def close_dangling(self) -> None:
        """End every attempt that was killed before its end, but not one whose trainer lives on."""
        for phase in self.last_attempts():
            if locks.holder(self.path.parent / phase / LOCK) is None:
                self.close(phase)

    def close(self, phase: str) -> None:
        """End the last attempt of `phase`, where it has no end and nobody trains it any more.

        Its outcome is `done` where its record was written, else `killed`; its wall time is told by
        the last line of its log.
        """
        start = self.last_attempts().get(phase)
        if start is None or start["event"] != "start":
            return
        directory = self.path.parent / phase
        logged_s = max(0.0, _seconds_until_written(directory / "train.log", start["time"]))
        self.append(
            "end",
            phase,
            attempt=start["attempt"],
            outcome="done" if (directory / RECORD).exists() else "killed",
            wall_s=round(logged_s, 3),
            epochs=finished_epochs(directory),
        )

    def attempts(self, phase: str) -> int:
        """How often the training of `phase` was started."""
        own = [event["event"] for event in self.events() if event["phase"] == phase]
        return own.count("start")

    def hours(self, phase: str) -> float:
        """Wall time of all attempts of `phase` that ended, since its last redo, in hours."""
        # A start has none.
        since = self._since_redo().get(phase, [])
        return sum(event.get("wall_s", 0.0) for event in since) / 3600

    def is_redone(self, phase: str) -> bool:
        """Whether `phase` was set aside to be trained anew, and has not failed since."""
        since = self._since_redo().get(phase, [{"event": "none"}])
        outcomes = [event.get("outcome") for event in since]
        return since[0]["event"] == "redo" and "failed" not in outcomes

    def threads(self) -> int | None:
        """Torch's threads of the first attempt, None before it."""
        told = (event.get("threads") for event in self.events())
        return next(filter(check.is_whole, told), None)

    def last_attempts(self) -> dict[str, dict[str, Any]]:
        """The last event of each phase: the end of an attempt, or the start of one without end.

        A phase that was set aside since has none.
        """
        since = self._since_redo().items()
        return {phase: own[-1] for phase, own in since if own[-1]["event"] != "redo"}

    def _since_redo(self) -> dict[str, list[dict[str, Any]]]:
        """Phase -> its events from its last redo on, all where there was none."""
        since: dict[str, list[dict[str, Any]]] = {}
        for event in self.events():
            if event["event"] == "redo":
                since.pop(event["phase"], None)
            since.setdefault(event["phase"], []).append(event)
        return since


def _is_event(value: object) -> bool:
    """Whether a line's JSON is an event; one that starts an attempt says which."""
    if not isinstance(value, Mapping):
        return False
    needed = ["time", "event", "phase"]
    if value.get("event") == "start":
        needed.append("attempt")
    is_whole = all(value.get(key) is not None for key in needed)
    return is_whole and not check.faults(value, _EVENT)


def _seconds_until_written(path: Path, start: str) -> float:
    """Seconds from `start` until a file was last written, below 0 where that was before."""
    if not path.exists():
        return -1.0
    return path.stat().st_mtime - datetime.fromisoformat(start).timestamp()
