"""Model files: loading, exact averages, fingerprints of tensors, and repair after a kill.

Says nothing about layers. Loads with ``weights_only=True`` throughout. ESPnet is touched only
through the reporter state that its checkpoints carry.
"""

import hashlib
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import PROOF

State = dict[str, torch.Tensor]
SAFE_COPY = (  # last complete checkpoint, kept while ESPnet overwrites checkpoint.pth in place
    "checkpoint.good.pth"
)


def load(path: Path) -> Any:
    """What the torch file `path` holds, on the CPU.

    Raises:
        TopdownError: the file is missing, torn, or holds more than tensors and plain types.
    """
    if not path.exists():
        raise TopdownError(f"no model file {path}")
    try:
        with torch.serialization.safe_globals(_plain_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # the unpickler meets damage with errors of many kinds, IndexError among them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TopdownError(
            f"{path} is torn or is not a model file ({reason}); restore it or name another"
        ) from None


def _plain_types() -> list[Any]:
    """Types besides tensors in ESPnet 202511's reporter state (train/reporter.py.

    Wall times and numpy scalars).
    """
    import datetime

    import numpy as np

    scalar_dtypes = [type(np.dtype(name)) for name in ("float32", "float64", "int64", "bool")]
    return [datetime.timedelta, np.dtype, np.ndarray, np._core.multiarray.scalar, *scalar_dtypes]


def load_state(path: Path) -> State:
    """The state dict in `path`; a whole ``checkpoint.pth`` gives its ``model``.

    Errors as in `load`.
    """
    data = load(path)
    if isinstance(data, dict) and isinstance(data.get("model"), dict):
        data = data["model"]
    if not isinstance(data, dict) or not data or not all(torch.is_tensor(v) for v in data.values()):
        raise TopdownError(f"{path} holds no state dict of a model")
    return dict(data)


def fingerprint(tensor: torch.Tensor) -> str:
    """SHA-256 over dtype, shape and bytes of a tensor of any device and layout, in hexadecimal."""
    raw = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{raw.dtype}{tuple(raw.shape)}".encode())
    digest.update(raw.reshape(-1).view(torch.uint8).numpy().tobytes() if raw.numel() else b"")
    return digest.hexdigest()


def state_fingerprint(fingerprints: Mapping[str, str]) -> str:
    """One SHA-256 for a set of named tensors, from their fingerprints, independent of their order."""
    lines = "\n".join(f"{name} {fingerprints[name]}" for name in sorted(fingerprints))
    return hashlib.sha256(lines.encode()).hexdigest()


def reporter_of(checkpoint: Mapping[str, Any]) -> Any:
    """ESPnet's `Reporter` in the state that a whole checkpoint carries."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    reporter.load_state_dict(checkpoint["reporter"])
    return reporter


def average(states: Iterable[State]) -> State:
    """Mean of state dicts, summed in the order given; integer tensors are summed, as ESPnet does.

    Source: main_funcs/average_nbest_models.py of ESPnet 202611, whose result this equals bit for
    bit. ESPnet <= 202511 gives wrong averages for every (criterion, n) after the first.
    """
    total: State = {}
    count = 0
    for state in states:
        total = {k: total[k] + v for k, v in state.items()} if total else dict(state)
        count += 1
    return {k: v if str(v.dtype).startswith("torch.int") else v / count for k, v in total.items()}


def averaged_file(phase: str, metric: str, count: int) -> str:
    """ESPnet's name of the average of the `count` best epochs."""
    return f"{phase}.{metric}.ave_{count}best.pth"


def parent_state(
    directory: Path, name: str, criteria: Sequence[Sequence[str]], nbest: Sequence[int]
) -> State:
    """The weights of a trained experiment's model file, averages recomputed exactly where ESPnet's
    may be wrong.

    Args:
        directory: the experiment.
        name: a model file in it, such as ``valid.acc.ave.pth``.
        criteria: the experiment's ``best_model_criterion``.
        nbest: the experiment's ``keep_nbest_models``.

    Raises:
        TopdownError: no such file; or an average that may be wrong and whose epoch files are gone.
    """
    path = directory / name
    if not path.exists():
        near = ", ".join(sorted(p.name for p in directory.glob("*.pth"))) or "no model file"
        raise TopdownError(f"no model file {path}; the directory has: {near}")
    real = path.resolve().name
    which = next(
        ((c, n) for c in criteria for n in nbest if real == averaged_file(c[0], c[1], n)), None
    )
    if which is None or (directory / PROOF).exists():
        return load_state(path)  # an epoch's own file, or an average that this package wrote
    (phase, metric, mode), count = which
    epochs = _best_epochs(directory, phase, metric, mode, count)
    sources = [directory / f"{epoch}epoch.pth" for epoch in epochs]
    if epochs and all(source.exists() for source in sources):
        return average(load_state(source) for source in sources)
    if len(criteria) == 1 and len([n for n in nbest if n > 1]) == 1:
        return load_state(path)
    raise TopdownError(
        f"{path} is an average that ESPnet <= 202511 may have got wrong (it kept {len(criteria)}"
        " criteria), and it cannot be recomputed, since the epoch files or checkpoint.pth are"
        " gone. Name another file as parent_model, such as valid.acc.best.pth"
    )


def _best_epochs(directory: Path, phase: str, metric: str, mode: str, count: int) -> list[int]:
    if not (directory / "checkpoint.pth").exists():
        return []
    reporter = reporter_of(load(directory / "checkpoint.pth"))
    if not reporter.has(phase, metric):
        return []
    return list(reporter.sort_epochs(phase, metric, mode)[:count])


# -- repair
# -----------------------------------------------------------------------------------------------------------


def keep_safe_copy(directory: Path) -> None:
    """Copy the complete ``checkpoint.pth`` before ESPnet writes the next one over it.

    ESPnet (train/trainer.py, run) writes checkpoint.pth in place; a hard link would be torn with
    it.
    """
    source, target = directory / "checkpoint.pth", directory / SAFE_COPY
    if source.exists():
        with files.replacing(target, durable=False) as temporary:
            shutil.copyfile(source, temporary)


def repair(directory: Path, criteria: Sequence[Sequence[str]], nbest: int) -> Any | None:
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
    path, safe = directory / "checkpoint.pth", directory / SAFE_COPY
    if not path.exists() and not safe.exists():
        return None
    try:
        checkpoint = load(path)
    except TopdownError as torn:
        if not safe.exists():
            logging.warning(
                f"{torn}; it was the first epoch's, so training starts from the beginning"
            )
            path.unlink(missing_ok=True)
            return None
        logging.warning(f"{torn}; going back to the epoch before it")
        checkpoint = load(safe)
        with files.replacing(path) as temporary:
            shutil.copyfile(safe, temporary)
    reporter = reporter_of(checkpoint)
    _rebuild_links(directory, checkpoint["model"], reporter, criteria, nbest)
    return reporter


def _rebuild_links(
    directory: Path, model: State, reporter: Any, criteria: Sequence[Sequence[str]], nbest: int
) -> None:
    epoch = reporter.get_epoch()
    with files.replacing(directory / f"{epoch}epoch.pth") as temporary:
        torch.save(model, temporary)
    files.link(directory / "latest.pth", f"{epoch}epoch.pth")
    kept = {epoch}
    for phase, metric, mode in criteria:
        if not reporter.has(phase, metric):
            continue
        files.link(
            directory / f"{phase}.{metric}.best.pth",
            f"{reporter.get_best_epoch(phase, metric, mode)}epoch.pth",
        )
        kept |= set(reporter.sort_epochs(phase, metric, mode)[:nbest])
    for path in directory.glob("[0-9]*epoch.pth"):
        if int(path.name.removesuffix("epoch.pth")) not in kept:
            path.unlink()
