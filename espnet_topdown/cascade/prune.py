"""Removes what finished phases no longer need.

Epoch files that no link points to, and the checkpoint to resume from.

Kept are all averages and links, the files that they stand for, and so all that a child, decoding or
`verify` reads. The base and unfinished phases are left alone. Neither torch nor ESPnet is needed.
"""

import re
from pathlib import Path

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import read_record
from espnet_topdown.plan.plan import Phase


def prune(cascade: Cascade, keep_epochs: int) -> list[str]:
    """Prune every finished phase, controls and rejected ones included.

    Args:
        cascade: not being trained by another process; the caller holds its lock.
        keep_epochs: epoch files to keep besides those that links point to: the best by the dev
            criterion.

    Returns:
        a line for each phase that lost files.

    Raises:
        TopdownError: `keep_epochs` is negative.
    """
    if keep_epochs < 0:
        raise TopdownError(f"--keep_epochs must be a whole number >= 0, not {keep_epochs}")
    lines = []
    for phase in cascade.phases:
        files = removable(cascade, phase, keep_epochs)
        size = sum(path.stat().st_size for path in files)
        for path in files:
            path.unlink()
        if files:
            lines.append(
                f"{phase.name}: removed {', '.join(path.name for path in files)}"
                f" ({size / 1e6:.1f} MB)"
            )
    return lines


def removable(cascade: Cascade, phase: Phase, keep_epochs: int) -> list[Path]:
    """The files that `prune` would remove from a phase, none before it is finished."""
    directory = cascade.phase_dir(phase)
    record = read_record(directory)
    if record is None:
        return []
    kept = {path.resolve().name for path in directory.glob("*.pth") if path.is_symlink()} | {
        cascade.parent_model
    }
    kept |= {
        f"{epoch}epoch.pth"
        for epoch in _best_epochs(record["dev"]["curve"], cascade.dev[2])[:keep_epochs]
    }
    candidates = [directory / "checkpoint.pth", *sorted(directory.glob("[0-9]*epoch.pth"))]
    return [
        path
        for path in candidates
        if path.is_file() and not path.is_symlink() and path.name not in kept
    ]


def is_prunable(name: str) -> bool:
    """Whether `prune` can have removed a model file of this name."""
    return re.fullmatch(r"checkpoint\.pth|\d+epoch\.pth", name) is not None


def _best_epochs(curve: list[float], mode: str) -> list[int]:
    """Epochs, the best first; of equal ones the earlier."""
    sign = -1 if mode == "max" else 1
    return sorted(range(1, len(curve) + 1), key=lambda epoch: sign * curve[epoch - 1])
