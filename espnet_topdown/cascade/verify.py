"""Re-checks a finished cascade from its files: keys, parents, links, and the bytes of all others.

Finds a change of a single weight. Needs neither torch nor ESPnet.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.run import absent_lists, check_finished, noted_in
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.measured import changed, read_measured
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import (
    EPOCHS,
    PROOF,
    RECORD,
    REDO,
    is_as_written,
    is_prunable,
)

# Texts of a finished phase that its trainer writes anew where the model files are whole: it has
# nothing to train.
_TEXTS = (PROOF, EPOCHS)
_REWRITE = "move it and record.json away and rerun"


def verify(cascade: Cascade, records: Records) -> list[str]:
    """Check every finished phase.

    Returns:
        a line for each phase that passed.

    Raises:
        TopdownError: the faults of all phases, one a line; or no phase is finished.
    """
    passed = []
    faults: list[str] = []
    # Its faults are told with all others, not instead of them.
    with noted_in(faults):
        check_finished(cascade, records, lists=False)
    faults += _measurement_faults(cascade)
    for name, record in records.items():
        own = [f"{name}: {fault}" for fault in _faults(cascade, name, record)]
        faults += own
        if not own:
            models = _model_count(cascade.paths.phase_dir(name), record)
            passed.append(f"{name}: {models}, frozen tensors and parent as recorded")
    directory = cascade.paths.directory
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise TopdownError(
            f"{directory}: {len(faults)} fault(s); restore what changed from a copy, or train a"
            f" phase anew with {REDO}:\n{lines}"
        )
    if not passed:
        raise TopdownError(f"{directory}: no phase is finished, so there is nothing to verify")
    absent = absent_lists(records)
    if absent:
        passed.append(
            f"note: {len(absent)} list(s) that were read are not here and were not compared:"
            f" {', '.join(absent[:3])}; run in the recipe directory to compare them"
        )
    return passed


def _measurement_faults(cascade: Cascade) -> Iterator[str]:
    """Dev values that were measured of a model that is another one now."""
    path = cascade.paths.measured
    measured = read_measured(path)
    for name in measured:
        model = cascade.model_file(cascade.paths.phase_dir(name))
        if model.exists() and changed(measured, name, model):
            yield f"{path} was measured of another {model} than is there"


def _model_count(directory: Path, record: Mapping[str, Any]) -> str:
    """``4 model files (1 pruned)``."""
    there = sum((directory / name).exists() for name in record["files"])
    pruned = len(record["files"]) - there
    return f"{there} model files" + (f" ({pruned} pruned)" if pruned else "")


def _faults(cascade: Cascade, name: str, record: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a finished phase."""
    directory = cascade.paths.phase_dir(name)
    if not is_as_written(directory, record):
        yield f"{directory / RECORD} is not as it was written; move it away and rerun"
    yield from _byte_faults(directory, record, cascade.phase_model_name)
    yield from _link_faults(directory, record)


def _is_pruned(path: Path) -> bool:
    """Whether a model file is gone and may be; the absence of others is told when they are read."""
    return not path.exists() and is_prunable(path.name)


def _byte_faults(directory: Path, record: Mapping[str, Any], model: str) -> list[str]:
    """Files of which a byte is not what it was when the phase was recorded.

    The model file that children are keyed by among them, which is never pruned.
    """
    expected = {**record["bytes"], model: record["model_sha256"]}
    faults: list[str] = []
    # Pruned, it would be trained from its start.
    can_rewrite = (directory / "checkpoint.pth").exists()
    for name, digest in expected.items():
        if name == model or not _is_pruned(directory / name):
            cure = f"; {_REWRITE}" if can_rewrite and name in _TEXTS else ""
            with noted_in(faults):
                _check_bytes(directory / name, digest, cure)
    return faults


def _check_bytes(path: Path, expected: str, cure: str) -> None:
    """Refuse a file whose bytes are others than those of which the SHA-256 was recorded."""
    if not path.exists():
        raise TopdownError(f"{path} is gone{cure}")
    if files.sha256(path) != expected:
        raise TopdownError(f"{path} is not what was recorded (its bytes changed){cure}")


def _link_faults(directory: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Links such as ``latest.pth`` that point elsewhere, or at nothing."""
    for name, target in record["links"].items():
        path = directory / name
        if not path.is_symlink() or str(path.readlink()) != target:
            yield f"{path} is no link to {target}, as recorded"
        elif not path.exists():
            yield f"{path} points to {target}, which is gone"
