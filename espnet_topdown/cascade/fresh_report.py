"""Keeps the report of a cascade fresh while it is trained, by a process of its own.

The pages load scipy and matplotlib and take seconds: no training waits for them, and what stands in
their way is told and stops nothing.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from espnet_topdown import warm
from espnet_topdown.errors import reported_in
from espnet_topdown.text_files import log_lines
from espnet_topdown.warm.groups import Group

REPORT = "report.html"


class FreshReport:
    """Writes a cascade's pages after each of its phases; one process at a time.

    Where the ``with`` ends well, the pages have all phases that ended.

    Args:
        directory: of the cascade.
        say: what tells the user.
        is_wanted: False: nothing is written.
    """

    def __init__(
        self, directory: Path, say: Callable[[str], None], *, is_wanted: bool = True
    ) -> None:
        self.directory = directory
        self.say = say
        self.is_wanted = is_wanted
        self._writer: warm.Handle | Group | None = None
        self._is_stale = False
        self._is_told = False
        self._scratch = tempfile.TemporaryDirectory(prefix="espnet_topdown.report.")

    def renew(self) -> None:
        """A phase has ended: write the pages, or once more where they are being written."""
        self._is_stale = self.is_wanted
        self.look()

    def look(self) -> None:
        """Take note of pages that were written, and start what waits; returns at once."""
        if self._writer is not None:
            status = self._writer.poll()
            if status is None:
                return
            self._writer = None
            self._tell(status)
        if self._is_stale:
            self._is_stale = False
            words = [sys.executable, "-m", "espnet_topdown", "results", str(self.directory)]
            self._writer = warm.start(warm.Command(None, words, self._log))

    def __enter__(self) -> "FreshReport":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        elif self._writer is not None:
            # What it has written is whole.
            self._writer.terminate()
        self._scratch.cleanup()

    def _finish(self) -> None:
        while self._writer is not None:
            self._writer.wait()
            self.look()

    @property
    def _log(self) -> Path:
        return Path(self._scratch.name) / "results.log"

    def _tell(self, status: int) -> None:
        """Say where the pages are, once, or why they were not written."""
        if status == 0 and not self._is_told:
            self._is_told = True
            link = (self.directory.absolute() / REPORT).as_uri()
            self.say(f"report, renewed after each phase: {link}")
        if status != 0:
            lines = log_lines(self._log)
            why = reported_in(lines) or "\n".join(lines[-3:])
            self.say(f"note: the report was not written: {why}")
