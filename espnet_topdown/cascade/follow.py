"""A cascade watched while it is trained: redrawn in place on a terminal, appended elsewhere.

What a phase and the whole cascade look like is said by `espnet_topdown.cascade.text` and
`espnet_topdown.cascade.progress`.
"""

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_topdown import gpus, locks
from espnet_topdown.cascade import text
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.order import waits_of
from espnet_topdown.cascade.progress import standing
from espnet_topdown.errors import listed
from espnet_topdown.experiment.phase_dir import LOCK
from espnet_topdown.table import counted

REFRESH_S = 2.0
# ECMA-48: to the beginning of so many lines above, and clear from there on.
_UP_AND_CLEAR = "\x1b[{}F\x1b[J"


def follow(cascade: Cascade) -> None:
    """Show where a cascade stands until nobody trains it any more, or until Ctrl-C."""
    shown = _Screen() if _is_terminal() else _Log()
    try:
        while True:
            # Looked at first: what ends between the two is in the view.
            goes_on = is_trained(cascade)
            lines = view(cascade)
            if not goes_on:
                break
            shown.show(lines)
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        # What is watched is not stopped by looking away.
        print()
        return
    shown.end(lines)


def is_trained(cascade: Cascade) -> bool:
    """Whether a run holds the cascade, or a training that it left goes on."""
    of_phases = [cascade.paths.phase_dir(phase.name) / LOCK for phase in cascade.phases]
    return any(map(locks.holder, [cascade.paths.lock, *of_phases]))


def view(cascade: Cascade) -> list[str]:
    """The lines of ``status``, then what trains now, and what waits for what."""
    records = cascade.read_records()
    skipped = cascade.judge(records).skipped
    attempts = Ledger(cascade.paths.ledger).last_attempts()
    waits = waits_of(cascade.phases, cascade.plan)
    failed = {name for name, last in attempts.items() if text.has_failed_now(cascade, last)}
    ended = {*records, *skipped, *failed}
    now, waiting = [], []
    for phase in cascade.phases:
        if phase.name in ended:
            continue
        last = attempts.get(phase.name, {})
        if text.trains(cascade, phase, last):
            now.append(f"{standing(cascade, phase)}{_gpus(last)}")
        else:
            needed = waits[phase.name]
            over = {name: records if name in needed.finished else ended for name in needed.names}
            missing = [name for name, done in over.items() if name not in done]
            waiting.append(f"{phase.name} for {listed(missing, 'a free place (run --jobs)')}")
    lines = text.status(cascade, records).splitlines()
    for heading, what in (("now:", now), ("waiting:", waiting)):
        if what:
            lines += ["", heading, *(f"  {line}" for line in what)]
    return lines


def _gpus(start: Mapping[str, Any]) -> str:
    """On which GPUs its last attempt was started, as far as the runner handed them out.

    Those are of this machine, which tells how busy they are.
    """
    count = start.get("ngpu")
    if not count:
        return ""
    names = start.get(gpus.VARIABLE)
    if not names:
        return f", on {counted(count, 'GPU')}"
    load = gpus.load(names.split(","))
    return f", on GPU {names}{load and f' ({load})'}"


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class _Screen:
    """Lines of a terminal that are drawn over one another."""

    def __init__(self) -> None:
        self.drawn = 0

    def show(self, lines: Sequence[str]) -> None:
        size = shutil.get_terminal_size()
        # A line that wraps, or one above the screen, could not be drawn over; the newest are below.
        fitting = [line[: size.columns - 1] for line in lines[-(size.lines - 1) :]]
        self._clear()
        print("\n".join(fitting), flush=True)
        self.drawn = len(fitting)

    def end(self, lines: Sequence[str]) -> None:
        self._clear()
        print("\n".join(lines), flush=True)

    def _clear(self) -> None:
        if self.drawn:
            print(_UP_AND_CLEAR.format(self.drawn), end="")


class _Log:
    """A file or a pipe: gets the lines that are new since the last look."""

    def __init__(self) -> None:
        self.before: Sequence[str] = ()

    def show(self, lines: Sequence[str]) -> None:
        new = [line for line in lines if line and line not in self.before]
        if new:
            print("\n".join(new), flush=True)
        self.before = lines

    def end(self, lines: Sequence[str]) -> None:
        self.show(lines)
