"""Where everything of a cascade is: plan, header, model facts, ledger, lock, phases and their base.

Places alone; nothing is read here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.plan.plan import BASE

HEADER = "cascade.json"


@dataclass(frozen=True)
class CascadePaths:
    """The places of one cascade.

    Args:
        directory: of the cascade.
        base: directory of the base, which is phase 0.
    """

    directory: Path
    base: Path

    @property
    def plan(self) -> Path:
        """The plan, as it was when the cascade was last run."""
        return self.directory / "plan.yaml"

    @property
    def header(self) -> Path:
        """Where the base is, and torch's threads of every training."""
        return self.directory / HEADER

    @property
    def model_facts(self) -> Path:
        """The facts of the base's model."""
        return self.directory / "model.json"

    @property
    def ledger(self) -> Path:
        """Every attempt, one event a line."""
        return self.directory / "ledger.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the one process that may change the cascade."""
        return self.directory / ".lock"

    @property
    def aside(self) -> Path:
        """Phases that were redone, as they were: ``PHASE.1``, ``PHASE.2``."""
        return self.directory / "aside"

    def phase_dir(self, name: str) -> Path:
        """Directory of a phase; that of ``phase0`` is the base."""
        return self.base if name == BASE else self.directory / name

    def relative(self, path: Path) -> str:
        """`path` as seen from the cascade, so that what names it can be moved along."""
        return os.path.relpath(path, self.directory)

    def absolute(self, relative: str) -> Path:
        """The path that `relative` names, as seen from the cascade."""
        return Path(os.path.normpath(self.directory / relative))

    def link_best(self, name: str) -> None:
        """Point ``best`` at the phase called `name`, an ordinary experiment directory."""
        files.link(self.directory / "best", self.relative(self.phase_dir(name)))


def is_cascade(directory: Path) -> bool:
    """Whether a cascade was run in `directory`."""
    return (directory / HEADER).exists()


def default_directory(base: Path, plan: Path) -> Path:
    """``exp/asr_x`` and ``conf/topdown/rnn.yaml`` give ``exp/asr_x_topdown_rnn``."""
    return base.with_name(f"{base.name}_topdown_{plan.stem}")
