"""Progress of a run: one line that rewrites itself on a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Sequence

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement
from espnet_topdown.experiment.train_log import read_progress, trained_epochs
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
        # The counts come before any epoch, so that they can be held against the plan.
        frozen, total = self.cascade.facts.frozen_parameters(phase)
        cut = f", cut {phase.parting}" if phase.parting else ""
        sides = phase.sides(self.cascade.facts.names)
        rate = f", kept_lr {sides.rates_text}" if sides.learning else ""
        log = self.cascade.paths.phase_dir(phase.name) / "train.log"
        epochs = trained_epochs(log.parent)
        resumes = f", goes on after epoch {epochs}" if epochs else ""
        self.say(
            f"{phase.name}: {phase.kind}{cut}{rate}, seed {phase.seed}, {frozen:,} of"
            f" {total:,} parameters frozen{resumes}; log {log}"
        )

    def finished(self, phase: Phase, judgement: Judgement, stopped: str | None = None) -> None:
        """Announce a finished phase with its dev criterion and, for a candidate, the verdict.

        Args:
            phase: just recorded.
            judgement: with it.
            stopped: why it ended early; None: it was trained in full.
        """
        # None of a control.
        is_accepted = judgement.accepted.get(phase.name)
        verdict = {True: ", accepted", False: ", rejected", None: ""}[is_accepted]
        dev = f"{self.cascade.criterion.name} {judgement.dev[phase.name]:.4f}"
        end = f"; {stopped}" if stopped else ""
        self.say(f"{phase.name}: finished, {dev}{verdict}{end}")

    def failed(self, phase: Phase, reason: str) -> None:
        """Announce a phase that failed."""
        self.say(f"{phase.name}: FAILED: {reason}")

    def update(self, phases: Sequence[Phase]) -> None:
        """Redraw the line, at most once a second and only on a terminal."""
        if not self.is_terminal or time.monotonic() - self.drawn < REFRESH_S:
            return
        line = "; ".join(standing(self.cascade, phase) for phase in phases)
        # Blanks cover what is left of a longer line before.
        print("\r" + line.ljust(self.width), end="", file=sys.stderr, flush=True)
        self.width = len(line)
        self.drawn = time.monotonic()

    def close(self) -> None:
        """End the line that rewrites itself."""
        if self.width:
            print(file=sys.stderr)
            self.width = 0

    def say(self, text: str) -> None:
        """Print a line of its own; the line that rewrites itself goes on below."""
        self.close()
        print(text, file=sys.stderr, flush=True)


def standing(cascade: Cascade, phase: Phase) -> str:
    """Where a training is, as far as its log tells.

    Returns:
        such as ``phase1 epoch 3/10 acc 0.812 (phase 0 then 0.801), 5 minutes left``.
    """
    progress = read_progress(cascade.paths.phase_dir(phase.name) / "train.log")
    if progress is None:
        return f"{phase.name} starting"
    criterion = cascade.criterion
    curve = criterion.curve(progress.results)
    dev = ""
    if curve and curve[-1] is not None:
        epochs = progress.results[-1]["epoch"]
        dev = f" {criterion.metric} {curve[-1]:.3f}{_base_then(cascade, phase, epochs)}"
    left = f", {progress.time_left} left" if progress.time_left else ""
    return f"{phase.name} epoch {progress.epoch}/{progress.max_epoch}{dev}{left}"


def _base_then(cascade: Cascade, phase: Phase, epochs: int) -> str:
    """The criterion of phase 0 after as many epochs, where both have one dev set and vocabulary.

    Of as many decimals as the log has, so that rounding makes no gain.
    """
    is_of_its_own = any([phase.valid_set, cascade.vocabulary(phase)])
    base = cascade.criterion.curve(cascade.facts.epochs)[:epochs]
    if is_of_its_own or len(base) < epochs or base[-1] is None:
        return ""
    return f" (phase 0 then {base[-1]:.3f})"
