"""One phase after its last epoch: exact averages, every epoch's numbers, and the proof.

The proof is that frozen tensors are the parent's in every model file and that fresh layers moved.
It and the numbers are left in ``<output_dir>/topdown``, the proof last.
"""

import datetime
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import check, files
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.averages import Criteria
from espnet_topdown.experiment.phase_dir import EPOCHS, PROOF, is_prunable
from espnet_topdown.training import averages, checkpoint, repair
from espnet_topdown.training.checkpoint import CHECKPOINT
from espnet_topdown.training.phase_start import Begun


def finish(
    begun: Begun, output_dir: Path, criteria: Criteria, counts: Sequence[int], *, ngpu: int = 0
) -> None:
    """Write exact averages, the epochs' numbers and the proof that frozen tensors are the parent's.

    Args:
        begun: the phase as `phase_start.begin` left it.
        output_dir: the phase's directory, all of whose epochs are done.
        criteria: ``best_model_criterion``.
        counts: ``keep_nbest_models``.
        ngpu: GPUs that this process has trained on.

    Raises:
        TopdownError: a frozen tensor moved, or a fresh layer did not.
    """
    last = checkpoint.load(output_dir / CHECKPOINT)
    reporter = checkpoint.reporter_of(last)
    averaged = averages.write_averages(output_dir, reporter, criteria, counts, begun.frozen)
    final = f"{reporter.get_epoch()}epoch.pth"
    frozen = checkpoint.fingerprints(begun.frozen)
    # Two criteria may have the same best epoch: each file is read once.
    names = dict.fromkeys([final, *averaged])
    prints = {name: _prints_of(output_dir / name) for name in names}
    # checkpoint.pth is the largest of the files: it is not read a second time.
    prints[CHECKPOINT] = checkpoint.fingerprints(last["model"])
    for name, own in prints.items():
        _check_frozen(own, frozen, name)
    unmoved = _unmoved(begun, prints[final])
    proof = {
        "files": {name: checkpoint.state_fingerprint(own) for name, own in prints.items()},
        "frozen": frozen,
        "unmoved": unmoved,
        "machine": machine(ngpu),
    }
    # The proof says that all of it is done, so it comes last.
    files.write_json(output_dir / EPOCHS, epochs(reporter))
    files.write_json(output_dir / PROOF, proof)
    repair.clear(output_dir)
    logging.info(
        f"top-down: proved in {len(prints)} model files that {len(frozen)} frozen tensors are the"
        f" parent's; trainable tensors that did not move: {listed(unmoved)}"
    )


def is_proved(output_dir: Path) -> bool:
    """Whether the phase has ended and every model file is as its proof says.

    Those that `prune` removes may be gone; nothing is trained again for them.
    """
    try:
        proof = files.read_object(output_dir / PROOF, files=check.MAPPING, frozen=check.MAPPING)
        files.read_rows(output_dir / EPOCHS)
        # A file that neither is there nor may be gone is missed when it is read.
        paths = map(output_dir.joinpath, proof["files"])
        left = [path for path in paths if path.exists() or not is_prunable(path.name)]
        found = {path.name: checkpoint.state_fingerprint(_prints_of(path)) for path in left}
    except TopdownError:
        # Not there yet, or damaged: written anew at the end of what is resumed.
        return False
    if not found.items() <= proof["files"].items():
        return False
    repair.clear(output_dir)
    return True


def _prints_of(path: Path) -> dict[str, str]:
    return checkpoint.fingerprints(checkpoint.load_state(path, mapped=True))


def machine(ngpu: int) -> dict[str, str | None]:
    """What this process trains with: torch, its CUDA, and the GPU, None for the CPU.

    Not by whether CUDA has started: where there is a GPU, ESPnet starts it at its import, whatever
    trains (train/trainer.py, 202511 and 202611).
    """
    gpu = torch.cuda.get_device_name() if ngpu else None
    return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpu": gpu}


def _check_frozen(prints: Mapping[str, str], frozen: Mapping[str, str], file: str) -> None:
    moved = [tensor for tensor, digest in frozen.items() if prints.get(tensor) != digest]
    if moved:
        raise TopdownError(f"{file}: frozen tensors are not the parent's: {', '.join(moved[:8])}")


def _unmoved(begun: Begun, prints: Mapping[str, str]) -> list[str]:
    """Trainable tensors that stand where they started.

    Single ones may: softmax ignores the bias of its keys, for instance. A whole layer may not.
    """
    unmoved = []
    for layer, tensors in begun.trainable.items():
        still = [tensor for tensor in tensors if prints[tensor] == begun.start[tensor]]
        if len(still) == len(tensors):
            raise TopdownError(
                f"layer {layer} is trainable but did not move from its start: no valid update"
                " reached it"
            )
        if layer in begun.sides.fresh and _equals_parent(begun, tensors, prints):
            raise TopdownError(f"layer {layer} should be fresh but equals the parent's")
        unmoved += still
    return unmoved


def _equals_parent(begun: Begun, tensors: Sequence[str], prints: Mapping[str, str]) -> bool:
    parent = begun.parent.state if begun.parent else {}
    # Of another vocabulary, the parent has no tensor that this one could equal.
    theirs = {tensor: parent[tensor] for tensor in tensors if tensor in parent}
    return checkpoint.fingerprints(theirs) == {tensor: prints[tensor] for tensor in tensors}


def epochs(reporter: Any) -> list[dict[str, Any]]:
    """Numbers of every epoch: metrics of training and validation, wall time in seconds."""
    rows = []
    for epoch in range(1, reporter.get_epoch() + 1):
        row: dict[str, Any] = {"epoch": epoch}
        for part, metrics in reporter.stats[epoch].items():
            row[part] = {metric: _number(value) for metric, value in metrics.items()}
        rows.append(row)
    return rows


def _number(value: Any) -> float | None:
    """A metric or a wall time as a number that JSON can hold."""
    match value:
        case datetime.timedelta():
            number = value.total_seconds()
        case {"__timedelta_seconds__": seconds}:
            # As ESPnet 202611 writes a wall time (espnet2/train/reporter.py); an older one, by
            # which a base of a newer one is looked at, leaves it as it stands.
            number = float(seconds)
        case _:
            number = float(value)
    return number if math.isfinite(number) else None
