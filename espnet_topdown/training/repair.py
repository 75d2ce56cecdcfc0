"""A training's directory after a kill: back to the end of its last complete epoch."""

import logging
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.averages import Criteria
from espnet_topdown.experiment.phase_dir import REDO
from espnet_topdown.training import gradients
from espnet_topdown.training.checkpoint import (
    CHECKPOINT,
    DamagedError,
    State,
    fingerprints,
    load,
    load_state,
    reporter_of,
    save,
)

# The last complete checkpoint, aside while ESPnet writes the next one.
SAFE = "checkpoint.good.pth"


def put_aside(directory: Path) -> None:
    """Rename the complete ``checkpoint.pth`` before ESPnet writes the next one.

    ESPnet (train/trainer.py, run) writes it in place: a hard link would be torn with it, and a copy
    of a large one takes seconds. Until the next one is written there is no ``checkpoint.pth``.
    """
    path = directory / CHECKPOINT
    if path.exists():
        path.rename(directory / SAFE)


def clear(directory: Path) -> None:
    """Remove what was put aside: the training has ended."""
    (directory / SAFE).unlink(missing_ok=True)
    gradients.clear(directory)


def repair(directory: Path, criteria: Criteria, nbest: int) -> Any | None:
    """Bring a killed training's directory back to the end of its last complete epoch.

    A torn or missing checkpoint.pth is replaced by the one put aside (or removed, when the first
    epoch was being written); the epoch's own file, ``latest.pth``, the ``best`` links and the set
    of kept epoch files are rebuilt from it.

    Args:
        directory: output directory of the training.
        criteria: ``best_model_criterion``.
        nbest: the largest of ``keep_nbest_models``.

    Returns:
        ESPnet's `Reporter` at that epoch, None when training starts from the beginning.

    Raises:
        TopdownError: epochs were trained, and no checkpoint that can be read is left of them; or
            one holds what this package does not load: it stays as it is.
    """
    checkpoint = _last_complete(directory)
    if checkpoint is None:
        return None
    if checkpoint.get("scaler") == {}:
        # Of epochs under AMP without a GPU: where there is one, torch refuses it, and ESPnet
        # begins a new one for None.
        save({**checkpoint, "scaler": None}, directory / CHECKPOINT)
    reporter = reporter_of(checkpoint)
    _rebuild_epoch(directory, checkpoint["model"], reporter.get_epoch())
    _rebuild_best(directory, reporter, criteria, nbest)
    return reporter


def _last_complete(directory: Path) -> Any | None:
    path = directory / CHECKPOINT
    safe = directory / SAFE
    if path.exists():
        try:
            return load(path)
        except DamagedError as torn:
            logging.warning(f"{torn}; going back to the epoch before it, or to the beginning")
            # No kill leaves this: before the second epoch is saved, the first is put aside.
            if not safe.exists() and any(directory.glob("[0-9]*epoch.pth")):
                raise TopdownError(_nothing_left(torn)) from None
    if not safe.exists():
        # What was torn was the first epoch's.
        path.unlink(missing_ok=True)
        return None
    try:
        checkpoint = load(safe)
    except DamagedError as error:
        raise TopdownError(_nothing_left(error)) from None
    # Over the torn one, once this one is known to be whole.
    safe.rename(path)
    files.sync_directory(directory)
    return checkpoint


def _nothing_left(error: TopdownError) -> str:
    return (
        f"neither {CHECKPOINT} nor one put aside before it can be read ({error}); nothing is left"
        " to resume from: bring one back from a copy, or start over in another directory, or a"
        f" phase of a cascade with {REDO}"
    )


def _rebuild_epoch(directory: Path, model: State, epoch: int) -> None:
    path = directory / f"{epoch}epoch.pth"
    # ESPnet writes it after checkpoint.pth: it may be torn or missing. A whole one stays as it is,
    # since ours has other bytes (the archive's name in it).
    if not _holds(path, model):
        save(model, path)
    files.link(directory / "latest.pth", f"{epoch}epoch.pth")


def _holds(path: Path, model: State) -> bool:
    """Whether the model file is whole and has these very tensors."""
    if not path.exists():
        return False
    try:
        return fingerprints(load_state(path)) == fingerprints(model)
    except DamagedError:
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
