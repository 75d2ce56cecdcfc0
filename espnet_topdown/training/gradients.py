"""Gradients that an epoch leaves: of its last batches, too few for a step of ``accum_grad``.

ESPnet (train/trainer.py, train_one_epoch; 202511 and 202611) lets the first step of the next epoch
use them, and no checkpoint has them. They are kept beside it, so that a training goes on after a
kill as it would have without.
"""

from pathlib import Path
from typing import Any

import torch

from espnet_topdown.training import checkpoint

# Not .pth: they are no model.
FILES = "gradients.*epoch.pt"


def _file(directory: Path, epoch: int) -> Path:
    return directory / FILES.replace("*", str(epoch))


def keep(model: torch.nn.Module, directory: Path, epoch: int, scaler: Any) -> None:
    """Write what an epoch has left, before its checkpoint is; those of the one before stay.

    Args:
        model: of the training.
        directory: its output directory.
        epoch: that has just been trained.
        scaler: of mixed precision, by whose scale gradients are multiplied; None without.
    """
    left = {name: own.grad for name, own in _parameters(model).items() if own.grad is not None}
    # Of an interrupted run that came as far.
    _file(directory, epoch).unlink(missing_ok=True)
    if left:
        data = {"scale": _scale(scaler), "gradients": left}
        checkpoint.save(data, _file(directory, epoch))
    needed = [_file(directory, epoch - 1), _file(directory, epoch)]
    for path in directory.glob(FILES):
        if path not in needed:
            path.unlink()


def restore(model: torch.nn.Module, directory: Path, epoch: int, scaler: Any) -> None:
    """Give a training that is resumed what the epoch before has left, to what learns there.

    Args:
        model: of the training; one that this process has trained has its gradients.
        directory: its output directory.
        epoch: that is to be trained.
        scaler: as of `keep`, which may have had another or none.
    """
    path = _file(directory, epoch - 1)
    parameters = _parameters(model)
    has_own = any(own.grad is not None for own in parameters.values())
    if has_own or not path.exists():
        return
    stored = checkpoint.load(path, mapped=False)
    factor = _scale(scaler) / stored["scale"]
    for name, gradient in stored["gradients"].items():
        own = parameters.get(name)
        if own is not None and own.requires_grad:
            own.grad = gradient.to(own.device) * factor


def clear(directory: Path) -> None:
    """Remove them: the training has ended."""
    for path in directory.glob(FILES):
        path.unlink()


def _scale(scaler: Any) -> float:
    return 1.0 if scaler is None else float(scaler.get_scale())


def _parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    # Inside what ESPnet wraps around it for several GPUs.
    return dict(getattr(model, "module", model).named_parameters())
