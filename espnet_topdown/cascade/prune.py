"""Removes what finished phases no longer need: epoch files and the checkpoint to resume from.

Kept are all averages and links, the files that they stand for, and so all that a child, decoding or
`verify` reads. The base and unfinished phases are left alone. Neither torch nor ESPnet is needed.
"""

from collections.abc import Collection
from pathlib import Path

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import is_prunable
from espnet_topdown.experiment.quality import ranked


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
        directory = cascade.paths.phase_dir(name)
        best_first = ranked(dict(enumerate(record["dev"]["curve"], 1)), cascade.criterion.mode)
        kept = {f"{epoch}epoch.pth" for epoch in best_first[:keep_epochs]}
        removed = _remove(directory, kept | {cascade.phase_model_name})
        if removed:
            size = sum(removed.values()) / 1e6
            lines.append(f"{name}: removed {', '.join(removed)} ({size:.1f} MB)")
    return lines


def _remove(directory: Path, kept: Collection[str]) -> dict[str, int]:
    """Remove checkpoint and epoch files but for `kept`; names and bytes of what is gone."""
    paths = sorted(directory.glob("*.pth"), reverse=True)  # the checkpoint first
    # What links stand for: ESPnet's valid.acc.best.pth is a link to an epoch's file.
    kept = {*kept, *(path.resolve().name for path in paths if path.is_symlink())}
    removed = {}
    for path in paths:
        if is_prunable(path.name) and path.name not in kept and not path.is_symlink():
            removed[path.name] = path.stat().st_size
            path.unlink()
    return removed
