"""A training's directory after a kill: back to the end of its last complete epoch."""

import logging
import shutil
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import REDO
from espnet_topdown.training.averages import Criteria
from espnet_topdown.training.checkpoint import (
    CHECKPOINT,
    State,
    fingerprints,
    load,
    load_state,
    reporter_of,
    save,
)

# The last complete checkpoint, kept while ESPnet overwrites checkpoint.pth in place.
SAFE_COPY = "checkpoint.good.pth"


def keep_safe_copy(directory: Path) -> None:
    """Copy the complete ``checkpoint.pth`` before ESPnet writes the next one over it.

    ESPnet (train/trainer.py, run) writes it in place; a hard link would be torn with it.
    """
    source = directory / CHECKPOINT
    if source.exists():
        with files.replacing(directory / SAFE_COPY, durable=False) as temporary:
            shutil.copyfile(source, temporary)


def repair(directory: Path, criteria: Criteria, nbest: int) -> Any | None:
    """Bring a killed training's directory back to the end of its last complete epoch.

    A torn checkpoint.pth is replaced by the safe copy (or removed, when the first epoch was being
    written); the epoch's own file, ``latest.pth``, the ``best`` links and the set of kept epoch
    files are rebuilt from it.

    Args:
        directory: output directory of the training.
        criteria: ``best_model_criterion``.
        nbest: the largest of ``keep_nbest_models``.

    Returns:
        ESPnet's `Reporter` at that epoch, None when training starts from the beginning.
    """
    checkpoint = _last_complete(directory)
    if checkpoint is None:
        return None
    reporter = reporter_of(checkpoint)
    _rebuild_epoch(directory, checkpoint["model"], reporter.get_epoch())
    _rebuild_best(directory, reporter, criteria, nbest)
    return reporter


def _last_complete(directory: Path) -> Any | None:
    path = directory / CHECKPOINT
    safe = directory / SAFE_COPY
    if not path.exists() and not safe.exists():
        return None
    try:
        return load(path)
    except TopdownError as torn:
        if not safe.exists():
            logging.warning(
                f"{torn}; it was the first epoch's, so training starts from the beginning"
            )
            path.unlink(missing_ok=True)
            return None
        logging.warning(f"{torn}; going back to the epoch before it")
    try:
        checkpoint = load(safe)
    except TopdownError as error:
        raise TopdownError(
            f"neither {CHECKPOINT} nor the copy kept of the one before it can be read ({error});"
            " nothing is left to resume from: start over in another directory, or a phase of a"
            f" cascade with {REDO}"
        ) from None
    with files.replacing(path) as temporary:
        shutil.copyfile(safe, temporary)
    return checkpoint


def _rebuild_epoch(directory: Path, model: State, epoch: int) -> None:
    path = directory / f"{epoch}epoch.pth"
    # ESPnet writes it after checkpoint.pth: it may be torn or missing. A whole one stays as it is,
    # since ours has other bytes (the archive's name in it).
    if not _holds(path, model):
        save(model, path)
    files.link(directory / "latest.pth", f"{epoch}epoch.pth")


def _holds(path: Path, model: State) -> bool:
    """Whether the model file is whole and has these very tensors."""
    try:
        return fingerprints(load_state(path)) == fingerprints(model)
    except TopdownError:
        return False


def _rebuild_best(directory: Path, reporter: Any, criteria: Criteria, nbest: int) -> None:
    """Link the best epochs, and remove the files of epochs that ESPnet would not have kept."""
    kept = {reporter.get_epoch()}
    for part, metric, mode in criteria:
        if not reporter.has(part, metric):
            continue
        best = reporter.get_best_epoch(part, metric, mode)
        files.link(directory / f"{part}.{metric}.best.pth", f"{best}epoch.pth")
        kept.update(reporter.sort_epochs(part, metric, mode)[:nbest])
    for path in directory.glob("[0-9]*epoch.pth"):
        epoch = int(path.name.removesuffix("epoch.pth"))
        if epoch not in kept:
            path.unlink()
