"""One phase after its last epoch.

Exact averages, every epoch's numbers, and the proof that frozen tensors are the parent's.

Proof and numbers are left in ``<output_dir>/topdown``, the proof last.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import EPOCHS, PROOF
from espnet_topdown.training import checkpoint
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.phase_start import Begun


def finish(
    begun: Begun, output_dir: Path, criteria: Sequence[Sequence[str]], nbest: Sequence[int]
) -> None:
    """Write exact averages, the epochs' record and the proof that frozen tensors are the parent's.

    Raises:
        TopdownError: a frozen tensor moved, or a fresh layer did not.
    """
    last = checkpoint.load(output_dir / "checkpoint.pth")
    reporter = checkpoint.reporter_of(last)
    targets = _write_averages(output_dir, reporter, criteria, nbest, begun.frozen)
    final = f"{reporter.get_epoch()}epoch.pth"
    proof: dict[str, Any] = {
        "files": {},
        "frozen": {n: checkpoint.fingerprint(t) for n, t in begun.frozen.items()},
    }
    for name in dict.fromkeys([final, "checkpoint.pth", *targets]):
        state = (
            last["model"] if name == "checkpoint.pth" else checkpoint.load_state(output_dir / name)
        )
        prints = {n: checkpoint.fingerprint(t) for n, t in state.items()}
        _check_frozen(prints, proof["frozen"], name)
        proof["files"][name] = checkpoint.state_fingerprint(prints)
        if name == final:
            proof["unmoved"] = _check_moved(begun, state, prints)
    files.write_json(output_dir / EPOCHS, epochs(reporter))
    files.write_json(output_dir / PROOF, proof)
    (output_dir / checkpoint.SAFE_COPY).unlink(missing_ok=True)
    unmoved = ", ".join(proof["unmoved"]) or "none"
    logging.info(
        f"top-down: proved in {len(proof['files'])} model files that {len(begun.frozen)} frozen"
        f" tensors are the parent's; fresh tensors that did not move: {unmoved}"
    )


def _check_frozen(prints: Mapping[str, str], frozen: Mapping[str, str], name: str) -> None:
    moved = [tensor for tensor, digest in frozen.items() if prints.get(tensor) != digest]
    if moved:
        raise TopdownError(f"{name}: frozen tensors are not the parent's: {', '.join(moved[:8])}")


def _check_moved(begun: Begun, state: State, prints: Mapping[str, str]) -> list[str]:
    """Single tensors that stand where they started; a whole layer that does is an error."""
    unmoved = []
    for layer, tensors in begun.trainable.items():
        still = [t for t in tensors if prints[t] == begun.start[t]]
        if len(still) == len(tensors):
            raise TopdownError(
                f"layer {layer} is trainable but did not move from its start: no valid update"
                " reached it"
            )
        if layer in begun.sides.fresh and begun.parent is not None:
            same = [t for t in tensors if torch.equal(state[t], begun.parent.state[t])]
            if len(same) == len(tensors):
                raise TopdownError(f"layer {layer} should be fresh but equals the parent's")
        unmoved += still
    return unmoved


def _write_averages(
    output_dir: Path,
    reporter: Any,
    criteria: Sequence[Sequence[str]],
    nbest: Sequence[int],
    frozen: State,
) -> list[str]:
    """ESPnet's averaged models (main_funcs/average_nbest_models.py), exact.

    Frozen tensors are written back, not averaged.

    Returns:
        names of the files that the links stand for.
    """
    targets = []
    for phase, metric, mode in criteria:
        if not reporter.has(phase, metric):
            continue
        ranked = reporter.sort_epochs(phase, metric, mode)
        counts = [n for n in nbest if 0 < n <= len(ranked)] or [1]
        for count in counts:
            name = checkpoint.averaged_file(phase, metric, count)
            if count == 1:
                files.link(output_dir / name, f"{ranked[0]}epoch.pth")
                targets.append(f"{ranked[0]}epoch.pth")
                continue
            mean = checkpoint.average(
                checkpoint.load_state(output_dir / f"{e}epoch.pth") for e in ranked[:count]
            )
            with files.replacing(output_dir / name) as temporary:
                torch.save({**mean, **frozen}, temporary)
            targets.append(name)
        files.link(
            output_dir / f"{phase}.{metric}.ave.pth",
            checkpoint.averaged_file(phase, metric, max(counts)),
        )
    return targets


def epochs(reporter: Any) -> list[dict[str, Any]]:
    """Numbers of every epoch: metrics of training and validation, wall time in seconds."""
    rows = []
    for epoch in range(1, reporter.get_epoch() + 1):
        row: dict[str, Any] = {"epoch": epoch}
        for phase, stats in reporter.stats[epoch].items():
            row[phase] = {key: _number(value) for key, value in stats.items()}
        rows.append(row)
    return rows


def _number(value: Any) -> float | None:
    seconds = value.total_seconds() if hasattr(value, "total_seconds") else float(value)
    return seconds if math.isfinite(seconds) else None
