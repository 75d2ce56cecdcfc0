"""Re-checks a finished cascade from its files.

Keys, parents, and the fingerprint of every model file.

Needs torch, not ESPnet. Finds a change of a single weight.
"""

from collections.abc import Iterator
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.prune import is_prunable
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import EPOCHS, PROOF, read_record
from espnet_topdown.plan.plan import Phase
from espnet_topdown.training import checkpoint


def verify(cascade: Cascade) -> list[str]:
    """Check every finished phase.

    Returns:
        a line for each phase that passed.

    Raises:
        TopdownError: the faults of all phases, one a line; or no phase is finished.
    """
    passed, faults = [], []
    try:
        cascade.check_finished()
    except TopdownError as error:
        faults.append(str(error))
    for phase in cascade.phases:
        record = read_record(cascade.phase_dir(phase))
        if record is None:
            continue
        found = list(_faults(cascade, phase, record))
        faults += found
        if not found:
            there = sum((cascade.phase_dir(phase) / name).exists() for name in record["files"])
            gone = (
                f" ({len(record['files']) - there} pruned)" if there < len(record["files"]) else ""
            )
            passed.append(
                f"{phase.name}: {there} model files{gone}, frozen tensors and parent as recorded"
            )
    if faults:
        raise TopdownError(
            f"{cascade.directory}: {len(faults)} fault(s):\n"
            + "\n".join(f"  {fault}" for fault in faults)
        )
    if not passed:
        raise TopdownError(
            f"{cascade.directory}: no phase is finished, so there is nothing to verify"
        )
    return passed


def _faults(cascade: Cascade, phase: Phase, record: dict[str, Any]) -> Iterator[str]:
    directory = cascade.phase_dir(phase)
    try:
        proof = files.read_object(directory / PROOF, files=check.MAPPING, frozen=check.MAPPING)
    except TopdownError as error:
        yield f"{phase.name}: {error}"
        return
    if proof["files"] != record["files"]:
        yield f"{phase.name}: proof.json and record.json disagree about the model files"
    for name, expected in record["files"].items():
        if not (directory / name).exists() and is_prunable(name):
            continue
        try:
            state = checkpoint.load_state(directory / name)
        except TopdownError as error:
            yield f"{phase.name}: {error}"
            continue
        prints = {tensor: checkpoint.fingerprint(value) for tensor, value in state.items()}
        if checkpoint.state_fingerprint(prints) != expected:
            moved = [
                tensor for tensor, digest in proof["frozen"].items() if prints.get(tensor) != digest
            ]
            what = (
                f"frozen tensors changed: {', '.join(moved[:4])}"
                if moved
                else "a trained tensor changed"
            )
            yield f"{phase.name}: {name} is not what was recorded ({what})"
    epochs = directory / EPOCHS
    if epochs.exists() and cascade.curve(files.read_json(epochs)) != record["dev"]["curve"]:
        yield f"{phase.name}: record.json and {epochs} disagree about the dev curve"
    path = directory / cascade.parent_model
    if not path.exists():
        yield f"{phase.name}: {path} is gone"
    elif files.sha256(path) != record["model_sha256"]:
        yield f"{phase.name}: {path} is not what was recorded (its bytes changed)"
