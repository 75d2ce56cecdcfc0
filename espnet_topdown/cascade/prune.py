"""Removes what finished phases no longer need: epoch files and the checkpoint to resume from.

Kept are all averages and links, the files that they stand for, and so all that a child, decoding or
`verify` reads. The base and unfinished phases are left alone. Neither torch nor ESPnet is needed.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.errors import TopdownError


def prune(cascade: Cascade, records: Records, keep_epochs: int) -> list[str]:
    """Prune every finished phase, controls and rejected ones included.

    Args:
        cascade: not being trained by another process; the caller holds its lock.
        records: of the finished phases.
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
    for name, record in records.items():
        best_first = _best_first(record["dev"]["curve"], cascade.criterion.mode)
        kept = {f"{epoch}epoch.pth" for epoch in best_first[:keep_epochs]}
        kept.add(cascade.parent_model)
        paths = _removable(cascade.paths.phase_dir(name), kept)
        if not paths:
            continue
        size = sum(path.stat().st_size for path in paths)
        for path in paths:
            path.unlink()
        removed = ", ".join(path.name for path in paths)
        lines.append(f"{name}: removed {removed} ({size / 1e6:.1f} MB)")
    return lines


def _removable(directory: Path, kept: set[str]) -> list[Path]:
    """Checkpoint and epoch files in `directory`, without `kept` and what links stand for."""
    linked = {path.resolve().name for path in directory.glob("*.pth") if path.is_symlink()}
    candidates = [directory / "checkpoint.pth", *sorted(directory.glob("[0-9]*epoch.pth"))]
    removable = []
    for path in candidates:
        is_needed = path.name in kept or path.name in linked
        if path.is_file() and not path.is_symlink() and not is_needed:
            removable.append(path)
    return removable


def is_prunable(name: str) -> bool:
    """Whether `prune` can have removed a model file of this name."""
    return re.fullmatch(r"checkpoint\.pth|\d+epoch\.pth", name) is not None


def _best_first(curve: Sequence[float], mode: str) -> list[int]:
    """Epochs, the best first; of equal ones the earlier."""
    sign = -1 if mode == "max" else 1
    return sorted(range(1, len(curve) + 1), key=lambda epoch: sign * curve[epoch - 1])
