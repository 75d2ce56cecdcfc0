"""Model files: their tensors, the fingerprints of these, and ESPnet's record of the epochs.

Says nothing about layers. Everything is loaded with ``weights_only=True``. ESPnet is touched only
through the reporter state that its checkpoints carry.
"""

import hashlib
import re
import time
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import archives, files
from espnet_topdown.errors import TopdownError

State = dict[str, torch.Tensor]
CHECKPOINT = "checkpoint.pth"  # a whole training: model, optimisers, reporter
# Contents whose checksums were found right by this process.
_checked: set[tuple[int, ...]] = set()
_TICK_NS = 100_000_000  # longer than any file system's that trainings write to


class DamagedError(TopdownError):
    """A model file that was cut off, or in which a byte changed: another must take its place."""


def _reason(error: Exception) -> str:
    """What torch says is wrong with a file, without its advice to load what may run code."""
    told = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    first = told[1] if told else str(error).partition("\n")[0]
    return first.partition(". ")[0] or type(error).__name__


def load(path: Path, *, mapped: bool = True, tensors: bool = True) -> Any:
    """What the torch file `path` holds, on the CPU.

    Args:
        path: the file.
        mapped: whether tensors are read from it when they are used. It must not be written in place
            meanwhile (the process would die of SIGBUS): our own are replaced by a rename, and
            ESPnet's are put aside before they are written again.
        tensors: whether they are used; else their bytes are not checked, which are nearly all.

    Raises:
        DamagedError: the file is torn, or has changed since it was written.
        TopdownError: it is missing, or whole as far as can be told and holds more than tensors and
            plain types.
        OSError: it cannot be read.
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
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> TopdownError:
    """The error about a file that torch does not load."""
    if archives.damage(path):
        return DamagedError(
            f"{path} is torn or is not a model file ({_reason(error)}); restore it or name another"
        )
    return TopdownError(
        f"{path} cannot be loaded as tensors and plain types alone ({_reason(error)}), and no"
        " damage is seen in it; name another, or save its tensors alone"
    )


def _check_sums(path: Path, *, tensors: bool) -> None:
    """Refuse an archive in which a byte changed, which torch.load itself would take for a weight.

    Its checksums are read at 1 GB/s and more, once in a process for what does not change.
    """
    content = _content(path)
    # What is no archive is told by torch.
    if content in _checked or not zipfile.is_zipfile(path):
        return
    damage = archives.damage(path, only="*" if tensors else "*/data.pkl")
    if damage:
        raise DamagedError(
            f"{path} has changed since it was written ({damage}); restore it or name another"
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


@cache
def _plain_types() -> list[Any]:
    """Types besides tensors in ESPnet 202511's reporter state (train/reporter.py)."""
    import datetime

    import numpy as np

    scalar_dtypes = [type(np.dtype(name)) for name in ("float32", "float64", "int64", "bool")]
    # Of NumPy 1 and of NumPy 2: a file knows the one that it was written under.
    scalars = map(_scalar_of, ("numpy.core.multiarray", "numpy._core.multiarray"))
    return [datetime.timedelta, np.dtype, np.ndarray, *scalar_dtypes, *scalars]


def _scalar_of(module: str) -> Any:
    """NumPy's function that makes a scalar, under its name in `module`.

    torch knows a function by the names that it has (2.5 takes no others).
    """
    import numpy as np

    reduced: Any = np.float64(0).__reduce__()

    def scalar(*args: Any) -> Any:
        return reduced[0](*args)

    scalar.__module__ = module
    scalar.__qualname__ = "scalar"
    return scalar


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
