"""Model files: their tensors, the fingerprints of these, and ESPnet's record of the epochs.

Says nothing about layers. Everything is loaded with ``weights_only=True``. ESPnet is touched only
through the reporter state that its checkpoints carry.
"""

import fnmatch
import hashlib
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.errors import TopdownError

State = dict[str, torch.Tensor]
CHECKPOINT = "checkpoint.pth"  # a whole training: model, optimisers, reporter
# Contents whose checksums were found right by this process.
_checked: set[tuple[int, ...]] = set()
_TICK_NS = 100_000_000  # longer than any file system's that trainings write to


def _reason(error: Exception) -> str:
    """What torch says is wrong with a file, without its advice to load what may run code."""
    told = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    if told:
        return told[1]
    first = str(error).partition("\n")[0].partition(". ")[0]
    return first or type(error).__name__


def load(path: Path, *, mapped: bool = True, tensors: bool = True) -> Any:
    """What the torch file `path` holds, on the CPU.

    Args:
        path: the file.
        mapped: whether tensors are read from it when they are used. It must not be written in place
            meanwhile (the process would die of SIGBUS): our own are replaced by a rename, and
            ESPnet's are put aside before they are written again.
        tensors: whether they are used; else their bytes are not checked, which are nearly all.

    Raises:
        TopdownError: the file is missing, torn, changed since it was written, or holds more than
            tensors and plain types.
    """
    if not path.exists():
        raise TopdownError(f"no model file {path}")
    _check_sums(path, tensors=tensors)
    try:
        # A file of torch < 1.6 is no archive and cannot be mapped.
        is_mapped = mapped and zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(_plain_types()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_mapped)
    # The unpickler meets damage with errors of many kinds, IndexError among them.
    except Exception as error:
        raise TopdownError(
            f"{path} is torn or is not a model file ({_reason(error)}); restore it or name another"
        ) from None


def _check_sums(path: Path, *, tensors: bool) -> None:
    """Refuse an archive in which a byte changed, which torch.load itself would take for a weight.

    Its checksums are read at 1 GB/s and more, once in a process for what does not change. A file of
    torch < 1.6 has none.
    """
    content = _content(path)
    if content in _checked:
        return
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            changed = archive.testzip() if tensors else None
            # What stands beside the tensors; a wrong checksum is an error here.
            for name in fnmatch.filter(archive.namelist(), "*/data.pkl"):
                archive.read(name)
    # Damaged headers end in errors of many kinds, NotImplementedError among them.
    except Exception as error:
        changed = str(error)
    if changed is not None:
        raise TopdownError(
            f"{path} has changed since it was written (a checksum is wrong: {changed}); restore it"
            " or name another"
        )
    # What has just been written could be written again in the same tick of the file system's clock.
    if tensors and time.time_ns() - content[-1] > _TICK_NS:
        _checked.add(content)


def _content(path: Path) -> tuple[int, ...]:
    """What tells that a file still holds the same: its place on disk, its size, its last change."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def save(data: Any, path: Path) -> None:
    """Write the torch file `path` in one step; equal data give equal bytes.

    torch.save puts the name of the file that it opens into the archive, and that of a temporary
    file holds the process's number: here it is given an open one, which has no name.
    """
    with files.replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save(data, stream)


def _plain_types() -> list[Any]:
    """Types besides tensors in ESPnet 202511's reporter state (train/reporter.py)."""
    import datetime

    import numpy as np
    from numpy._core.multiarray import scalar

    scalar_dtypes = [type(np.dtype(name)) for name in ("float32", "float64", "int64", "bool")]
    return [datetime.timedelta, np.dtype, np.ndarray, scalar, *scalar_dtypes]


def load_state(path: Path, *, mapped: bool = False) -> State:
    """The state dict in `path`; a whole ``checkpoint.pth`` gives its ``model``.

    Args:
        path: the file.
        mapped: as for `load`.

    Raises:
        TopdownError: as `load`; or the file holds no state dict.
    """
    data = load(path, mapped=mapped)
    match data:
        case {"model": dict() as state} | (dict() as state):
            if state and all(map(torch.is_tensor, state.values())):
                return dict(state)
    raise TopdownError(f"{path} holds no state dict of a model")


def reporter_of(checkpoint: Mapping[str, Any]) -> Any:
    """ESPnet's `Reporter` in the state that a whole checkpoint carries."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    reporter.load_state_dict(checkpoint["reporter"])
    return reporter


def read_reporter(path: Path) -> Any:
    """ESPnet's `Reporter` in a whole checkpoint, of which the tensors are not looked at.

    Raises:
        TopdownError: as `load`; or the file holds no reporter.
    """
    data = load(path, tensors=False)
    match data:
        case {"reporter": _}:
            return reporter_of(data)
        case _:
            raise TopdownError(f"{path} holds no epochs of a training")


def fingerprint(tensor: torch.Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of a tensor of any device and layout, in hexadecimal."""
    raw = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{raw.dtype}{tuple(raw.shape)}".encode())
    # An empty tensor cannot be viewed as bytes.
    if raw.numel():
        digest.update(raw.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprints(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """The `fingerprint` of every tensor."""
    return {name: fingerprint(tensor) for name, tensor in state.items()}


def state_fingerprint(prints: Mapping[str, str]) -> str:
    """One SHA-256 for a set of named tensors, whatever their order.

    Args:
        prints: tensor name -> its `fingerprint`.
    """
    lines = "\n".join(f"{name} {prints[name]}" for name in sorted(prints))
    return hashlib.sha256(lines.encode()).hexdigest()
