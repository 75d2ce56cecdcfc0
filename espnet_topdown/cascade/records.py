"""The record of a finished phase: what it holds."""

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from espnet_topdown import check, files, locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.phase_config import bar_of, check_as_begun, key
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import (
    BEGUN,
    EPOCHS,
    PROOF,
    START,
    read_begun,
)
from espnet_topdown.plan.plan import Phase

# Besides model files: what decoding or a child reads, and what proves the phase.
_HASHED = ("config.yaml", START, BEGUN, EPOCHS, PROOF)


def make_record(
    cascade: Cascade, phase: Phase, records: Records, *, hours: float, threads: int
) -> dict[str, Any]:
    """The record of a phase whose trainer has just ended well, leaving epochs and proof.

    Args:
        cascade: whose phase it is.
        phase: not recorded yet.
        records: of the phases finished before it.
        hours: wall time of all its attempts.
        threads: torch's, of its training.

    Raises:
        TopdownError: the dev criterion is not finite in every epoch, a file is gone or damaged, or
            what the phase was begun with has changed while it was trained.
    """
    directory = cascade.paths.phase_dir(phase.name)
    rows = files.read_rows(directory / EPOCHS)
    proof = files.read_object(directory / PROOF, files=check.MAPPING, frozen=check.MAPPING)
    criterion = cascade.criterion
    curve = criterion.curve(rows)
    fault = curve_fault(curve)
    if fault:
        raise TopdownError(f"the dev criterion {criterion.name} {fault}")
    # Not the key of now: what the phase was trained with is what it was begun with.
    check_as_begun(cascade, phase, records)
    record = {
        "phase": phase.name,
        "kind": phase.kind,
        "cut": phase.cut,
        **_choices(phase),
        "seed": phase.seed,
        "parent": cascade.paths.relative(cascade.parent_dir(phase, records)),
        "key": read_begun(directory) or key(cascade, phase, records),
        "dev": {"criterion": list(criterion), "curve": list(curve)},
        "base": cascade.judged_base(records),
        "epochs": len(rows),
        "hours": hours,
        "threads": threads,
        "files": proof["files"],
        "model_sha256": files.sha256(directory / cascade.phase_model_name),
        "bytes": _file_hashes(directory),
        "links": _links(directory),
        "unmoved": proof["unmoved"],
        "machine": proof["machine"],
        "finished": locks.now(),
    }
    if phase.stop is not None:
        record["stop"] = _stop(cascade, phase, records, curve)
    return record


def curve_fault(curve: Sequence[float | None]) -> str | None:
    """Why no phase is judged by a dev curve; None where all its values are finite."""
    finite = list(takewhile(check.is_number, curve))
    # Without any epoch, the criterion is missing from the first.
    if len(finite) == max(len(curve), 1):
        return None
    later = any(map(check.is_number, curve[len(finite) :]))
    why = "though it is in later ones" if later else "training has diverged"
    return (
        f"is not finite in epoch {len(finite) + 1}: {why}. Lower its learning rate, or see its"
        " train.log"
    )


def _stop(
    cascade: Cascade, phase: Phase, records: Records, curve: Sequence[float | None]
) -> dict[str, Any]:
    """What the stopping rule made of a phase: with what it was compared, and whether it ended it.

    Raises:
        TopdownError: the training went on after the rule ended it.
    """
    stop = {"epoch": None, "reason": None, "compared_with": list(phase.compared_with)}
    bar = bar_of(cascade, phase, records)
    epoch = bar.stops_at(curve) if bar else None
    if bar is None or epoch is None:
        return stop
    if epoch < len(curve):
        raise TopdownError(
            f"{phase.name}: the median rule ended it after epoch {epoch}, and {len(curve)} epochs"
            " were trained"
        )
    return stop | {"epoch": epoch, "reason": bar.told(curve, epoch)}


def _choices(phase: Phase) -> dict[str, Any]:
    """What a record says of layers by name and of factors; nothing where the plan says nothing."""
    choices = {"keep": list(phase.keep), "draw": list(phase.draw), "kept_lr": phase.kept_lr}
    return {key: value for key, value in choices.items() if value not in ([], None)}


def _file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every model file of a phase, and of the texts that its result depends on."""
    models = [path.name for path in sorted(directory.glob("*.pth")) if not path.is_symlink()]
    names = [name for name in (*models, *_HASHED) if (directory / name).exists()]
    return {name: files.sha256(directory / name) for name in names}


def _links(directory: Path) -> dict[str, str]:
    """What ``latest.pth``, ``valid.acc.best.pth`` and the like point to."""
    links = [path for path in sorted(directory.glob("*.pth")) if path.is_symlink()]
    return {link.name: str(link.readlink()) for link in links}
