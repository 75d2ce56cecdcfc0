"""Progress of a running cascade.

One line that rewrites itself on a terminal, a few plain lines in a log.
"""

import sys
import time
from collections.abc import Sequence

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.plan import Phase

REFRESH_S = 1.0


class Display:
    """Says which phase began and ended; on a terminal also where it stands between."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade
        self.is_terminal = sys.stderr.isatty()
        self.drawn = 0.0
        self.width = 0

    def started(self, phase: Phase) -> None:
        """Announce a training."""
        frozen, total = self.cascade.facts.frozen_parameters(phase)
        cut = f", cut {phase.cut}" if phase.cut else ""
        where = self.cascade.phase_dir(phase) / "train.log"
        self._say(
            f"{phase.name}: {phase.kind}{cut}, seed {phase.seed}, {frozen:,} of {total:,}"
            f" parameters frozen; log {where}"
        )

    def finished(self, phase: Phase) -> None:
        """Announce a finished phase with its dev criterion and verdict."""
        judgement = self.cascade.judge()
        verdict = (
            ""
            if phase.is_control
            else ", accepted"
            if judgement.accepted[phase.name]
            else ", rejected"
        )
        self._say(
            f"{phase.name}: finished, {self.cascade.dev_name}"
            f" {judgement.dev[phase.name]:.4f}{verdict}"
        )

    def failed(self, phase: Phase, reason: str) -> None:
        """Announce a phase that failed."""
        self._say(f"{phase.name}: FAILED: {reason}")

    def update(self, phases: Sequence[Phase]) -> None:
        """Redraw the line, at most once a second and only on a terminal."""
        if not self.is_terminal or time.monotonic() - self.drawn < REFRESH_S:
            return
        self.drawn = time.monotonic()
        parts = []
        for phase in phases:
            progress = read_progress(self.cascade.phase_dir(phase) / "train.log")
            if progress is None:
                parts.append(f"{phase.name} starting")
                continue
            curve = self.cascade.curve(progress.results)
            dev = (
                f" {self.cascade.dev[1]} {curve[-1]:.4f}" if curve and curve[-1] is not None else ""
            )
            left = f", {progress.time_left} left" if progress.time_left else ""
            parts.append(f"{phase.name} epoch {progress.epoch}/{progress.max_epoch}{dev}{left}")
        line = "; ".join(parts)
        print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
        self.width = len(line)

    def close(self) -> None:
        """End the line that rewrites itself."""
        if self.width:
            print(file=sys.stderr)
            self.width = 0

    def _say(self, text: str) -> None:
        self.close()
        print(text, file=sys.stderr, flush=True)
