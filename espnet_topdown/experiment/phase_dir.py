"""A phase's directory.

What its trainer and the runner leave there, and the record that marks it as finished.

A phase is done only when its record is there; the record is written last, by rename. Neither torch
nor ESPnet is needed.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError

START = (  # settings, layers, parent and the fresh layers' start, written before the first epoch
    "topdown/start.json"
)
EPOCHS = "topdown/epochs.json"  # every epoch's metrics and wall times
PROOF = "topdown/proof.json"  # fingerprints of frozen tensors and of every model file, written last
LOCK = "topdown/lock"  # held by the trainer while it lives
RECORD = "record.json"
_TYPES = {
    **{
        "phase": str,
        "kind": str,
        "parent": str,
        "model_sha256": str,
        "seed": int,
        "epochs": int,
        "hours": int | float,
    },
    **{"key": dict, "dev": dict, "files": dict},
}


def read_record(directory: Path) -> dict[str, Any] | None:
    """The record of a finished phase, None when it is not finished.

    Raises:
        TopdownError: it is damaged, or of another phase.
    """
    path = directory / RECORD
    if not path.exists():
        return None
    record = files.read_object(path, **_TYPES)
    if record["phase"] != directory.name:
        raise TopdownError(
            f"{path} is of {record['phase']}, not of {directory.name}; move it away and rerun"
        )
    curve = record["dev"].get("curve")
    if not curve or not isinstance(curve, list) or not all(_is_finite(value) for value in curve):
        raise TopdownError(f"{path} is damaged (no valid dev.curve); move it away and rerun")
    return record


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Mark the phase in `directory` as finished."""
    files.write_json(directory / RECORD, record)
