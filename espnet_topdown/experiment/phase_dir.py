"""A phase's directory: the files in it, and the record that marks the phase as finished.

A phase is done only when its record is there; the record is written last, by rename. Neither torch
nor ESPnet is needed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError

# What was asked, layers, parent and the fresh layers' start; written before the first epoch.
START = "topdown/start.json"
# Every epoch's metrics and wall times.
EPOCHS = "topdown/epochs.json"
# Fingerprints of frozen tensors and of every model file; written by the trainer as its last.
PROOF = "topdown/proof.json"
# Held by the trainer while it lives.
LOCK = "topdown/lock"
# Written by the runner, last of all.
RECORD = "record.json"

_RECORD_RULES = {
    "phase": check.TEXT,
    "kind": check.TEXT,
    "parent": check.TEXT,
    "model_sha256": check.TEXT,
    "seed": check.WHOLE,
    "epochs": check.WHOLE,
    "hours": check.NUMBER,
    "key": check.MAPPING,
    "dev": check.MAPPING,
    "files": check.MAPPING,
}


def _is_curve(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(check.is_number(v) for v in value)


_DEV_RULES = {"curve": Must("a list of numbers, one an epoch", _is_curve)}


def read_record(directory: Path) -> dict[str, Any] | None:
    """The record of a finished phase, None when it is not finished.

    Raises:
        TopdownError: it is damaged, or of another phase.
    """
    path = directory / RECORD
    if not path.exists():
        return None
    record = files.read_object(path, **_RECORD_RULES)
    if record["phase"] != directory.name:
        raise TopdownError(
            f"{path} is of {record['phase']}, not of {directory.name}; move it away and rerun"
        )
    lacking = check.lacking(record["dev"], _DEV_RULES)
    if lacking:
        raise files.damaged(path, f"dev.{lacking[0]}")
    return record


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Mark the phase in `directory` as finished."""
    files.write_json(directory / RECORD, record)
