"""Where everything of a cascade is: plan, header, model facts, ledger, lock, phases and their base.

Places alone; no file is read here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.experiment.phase_dir import RECORD
from espnet_topdown.plan.plan import BASE
from espnet_topdown.recognise import named

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
        """Where the base is, and how every training computes."""
        return self.directory / HEADER

    @property
    def model_facts(self) -> Path:
        """The facts of the base's model, as they were when the cascade was last run."""
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

    @property
    def shapes(self) -> Path:
        """Shape files of lists that phases read instead of the base's, a directory each."""
        return self.directory / "shapes"

    @property
    def measured(self) -> Path:
        """Dev values that were measured by validation alone."""
        return self.directory / "measured.json"

    def phase_dir(self, name: str) -> Path:
        """Directory of a phase; that of ``phase0`` is the base."""
        return self.base if name == BASE else self.directory / name

    def recorded(self) -> list[Path]:
        """Directories that hold a phase's record."""
        places = [path.parent for path in sorted(self.directory.glob(f"*/{RECORD}"))]
        # A link, such as `best`, stands for a phase that is found by its own name.
        return [place for place in places if not place.is_symlink()]

    def relative(self, path: Path) -> str:
        """`path` as seen from the cascade, so that what names it can be moved along."""
        return os.path.relpath(_with_parents_resolved(path), self.directory.resolve())

    def absolute(self, relative: str) -> Path:
        """The path that `relative` names, as seen from the cascade."""
        return seen_from(self.directory, relative)

    def link_best(self, name: str) -> None:
        """Point ``best`` at the phase called `name`, an ordinary experiment directory."""
        files.link(self.directory / "best", self.relative(self.phase_dir(name)))


def seen_from(directory: Path, relative: str) -> Path:
    """The path that `relative` names as seen from `directory`, as the kernel follows links."""
    # Where `directory` is below a link, its ``..`` is not what stands before it in the path.
    is_plain = directory.resolve() == Path(os.path.normpath(directory.absolute()))
    start = directory if is_plain else directory.resolve()
    return Path(os.path.normpath(start / relative))


def _with_parents_resolved(path: Path) -> Path:
    """`path` with the links above it followed: it may be a link itself, and keeps its name."""
    plain = Path(os.path.normpath(path.absolute()))
    return plain.parent.resolve() / plain.name


def is_cascade(directory: Path) -> bool:
    """Whether a cascade was run in `directory`."""
    return (directory / HEADER).exists()


def default_directory(base: Path, plan: Path) -> Path:
    """``exp/asr_x`` and ``conf/topdown/rnn.yaml`` give ``exp/asr_x_topdown_rnn``."""
    base = named(base)
    return base.with_name(f"{base.name}_topdown_{plan.stem}")
