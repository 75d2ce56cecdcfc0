"""A phase's directory: the files in it, and the record that marks the phase as finished.

A phase is done only when its record is there; the record is written last, by rename. Neither torch
nor ESPnet is needed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.check import Must, mapping_in
from espnet_topdown.errors import TopdownError

# The key that the runner began the phase with; written before its first attempt.
BEGUN = "topdown/begun.json"
# What the trainer began it with: its options and lists, layers, parent and the fresh layers' start.
# Written before the first epoch.
START = "topdown/start.json"
# Every epoch's metrics and wall times.
EPOCHS = "topdown/epochs.json"
# Fingerprints of frozen tensors and of every model file; written by the trainer as its last.
PROOF = "topdown/proof.json"
# Held by the trainer while it lives.
LOCK = "topdown/lock"
DECODING = "topdown/decoding"  # the lock of who decodes it
# Written by the runner, last of all.
RECORD = "record.json"

# The way out of a phase that was begun with something else.
REDO = "'espnet-topdown run EXP --plan PLAN --redo PHASE'"

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
    "base": check.MAPPING,
    "bytes": check.MAPPING,
    "links": check.MAPPING,
}


def _is_curve(value: object) -> bool:
    return bool(value) and check.all_in_list(check.is_number)(value)


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


def holds_training(directory: Path) -> bool:
    """Whether there is anything in `directory` that a training could be resumed from."""
    return any(directory.glob("*.pth"))


def is_prunable(name: str) -> bool:
    """Whether `prune` can have removed a model file of this name."""
    return re.fullmatch(r"checkpoint\.pth|\d+epoch\.pth", name) is not None


def read_begun(directory: Path) -> dict[str, Any] | None:
    """The key that the phase was begun with, None where nothing was trained yet.

    Raises:
        TopdownError: the file is damaged.
    """
    path = directory / BEGUN
    if not path.exists() or not holds_training(directory):
        return None
    return files.read_object(path, settings=check.MAPPING, files=check.MAPPING)


def write_begun(directory: Path, key: Mapping[str, Any]) -> None:
    """Say what the phase is begun with."""
    files.write_json(directory / BEGUN, key)


def key_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lines ``what: old -> new`` in which two keys of a phase differ.

    The epochs that its parent is an average of may be gone, and older keys do not name them.
    """
    shared = mapping_in(old, "parent_epochs").keys() & mapping_in(new, "parent_epochs").keys()
    compared = []
    for key in (old, new):
        epochs = mapping_in(key, "parent_epochs")
        compared.append({**key, "parent_epochs": {name: epochs[name] for name in sorted(shared)}})
    before, after = compared
    return files.differences(before, after)


def check_unfinished(directory: Path) -> None:
    """Refuse to train in the directory of a finished phase.

    A job may have waited in a queue while a later run did its work.

    Raises:
        TopdownError: its record is there.
    """
    if (directory / RECORD).exists():
        raise TopdownError(
            f"{directory} is finished ({RECORD} is there); to train again, give another output"
            " directory"
        )


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Mark the phase in `directory` as finished."""
    files.write_json(directory / RECORD, {**record, "sha256": record_sum(record)})


def is_as_written(directory: Path, record: Mapping[str, Any]) -> bool:
    """Whether not a byte of the record in `directory` has changed."""
    is_whole = (directory / RECORD).read_bytes() == files.json_text(record).encode()
    return is_whole and record.get("sha256") == record_sum(record)


def stopped_at(record: Mapping[str, Any]) -> int | None:
    """The epoch after which the median rule ended a recorded phase; None: it did not."""
    epoch: int | None = mapping_in(record, "stop").get("epoch")
    return epoch


def record_sum(record: Mapping[str, Any]) -> str:
    """SHA-256 of what a record says, its own ``sha256`` apart."""
    said = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
