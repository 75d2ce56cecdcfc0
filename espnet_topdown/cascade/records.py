"""Records of finished phases: what one holds, and whether the plan still asks for the same.

A finished phase is never trained again, so what it depends on may not change behind its back.
"""

import json
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.cascade import Cascade, read_header
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.experiment.config import phase_key
from espnet_topdown.experiment.phase_dir import EPOCHS, PROOF, RECORD
from espnet_topdown.plan.plan import Phase


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
        TopdownError: the dev criterion is not finite in every epoch, or a file is gone or damaged.
    """
    directory = cascade.paths.phase_dir(phase.name)
    rows = files.read_json(directory / EPOCHS)
    proof = files.read_json(directory / PROOF)
    criterion = cascade.criterion
    curve = criterion.curve(rows)
    diverged = [epoch for epoch, value in enumerate(curve, 1) if not check.is_number(value)]
    if diverged or not curve:
        # Without any epoch, the criterion is missing from the first.
        epoch = diverged[0] if diverged else 1
        raise TopdownError(
            f"{phase.name}: the dev criterion {criterion.name} is not finite in epoch {epoch}:"
            " training has diverged. Lower its learning rate"
        )
    return {
        "phase": phase.name,
        "kind": phase.kind,
        "cut": phase.cut,
        "seed": phase.seed,
        "parent": cascade.paths.relative(cascade.parent_dir(phase, records)),
        "key": key(cascade, phase, records),
        "dev": {"criterion": list(criterion), "curve": curve},
        "epochs": len(rows),
        "hours": hours,
        "threads": threads,
        "files": proof["files"],
        "model_sha256": files.sha256(directory / cascade.parent_model),
        "unmoved": proof["unmoved"],
        "finished": files.now(),
    }


def key(cascade: Cascade, phase: Phase, records: Records) -> dict[str, Any]:
    """What decides the phase's result now (see `phase_key`), as it reads back from JSON.

    Raises:
        TopdownError: a list or the parent's model file cannot be read.
    """
    config = cascade.phase_config(phase, records)
    now = phase_key(config, cascade.parent_file(phase, records))
    # Tuples become lists, keys text: else a recorded key would differ from its own source.
    return json.loads(json.dumps(now))


@files.hashing_once()
def check_finished(cascade: Cascade, records: Records) -> None:
    """Compare every finished phase with what the plan asks for now.

    Raises:
        TopdownError: keys of finished phases changed (the message shows all differences), or the
            plan lost a phase.
    """
    _check_none_lost(cascade)
    messages = []
    for phase in cascade.phases:
        if phase.name not in records:
            continue
        lines = files.differences(records[phase.name]["key"], key(cascade, phase, records))
        if lines:
            head = (
                f"{phase.name} is finished, but what it depends on changed (recorded -> now); undo"
                " that, or give another --dir:"
            )
            messages.append("\n  ".join([head, *lines]))
    if messages:
        raise TopdownError("\n".join(messages))


def _check_none_lost(cascade: Cascade) -> None:
    """Refuse a plan without a phase that is finished; its record is found on disk alone."""
    directory = cascade.paths.directory
    names = {phase.name for phase in cascade.phases}
    lost = []
    for record in sorted(directory.glob(f"*/{RECORD}")):
        phase_dir = record.parent
        # A link, such as `best`, stands for a phase that is found by its own name.
        if phase_dir.name not in names and not phase_dir.is_symlink():
            lost.append(phase_dir.name)
    if lost:
        raise TopdownError(
            f"{directory} has finished phases that the plan no longer has: {', '.join(lost)}. Give"
            " the plan of that directory (phases may be appended), or another --dir"
        )


def check_first(cascade: Cascade, records: Records, first: str) -> None:
    """Check that the phases before `first` are finished.

    Args:
        cascade: whose phases these are.
        records: of its finished phases.
        first: a phase's name or number.

    Raises:
        TopdownError: no such phase, or one before it is not finished.
    """
    names = [phase.name for phase in cascade.phases]
    # As the shell's --phase 3 means phase3.
    wanted = f"phase{first}" if first.isdigit() else first
    if wanted not in names:
        raise TopdownError(f"no phase '{first}'; {nearest(wanted, names)}")
    before = names[: names.index(wanted)]
    missing = [name for name in before if name not in records]
    if missing:
        raise TopdownError(
            f"cannot go on with {wanted}: {', '.join(missing)} must be finished first; leave out"
            " --phase"
        )


def fixed_threads(cascade: Cascade, asked: int | None, default: int) -> int:
    """The threads of every training in a cascade, torch's: those of its first run.

    With others, sums would differ in the last bit, and a resumed phase from an undisturbed one.

    Args:
        cascade: stored already.
        asked: threads that the user asks for; None: whatever the cascade has.
        default: for the first run, where none are asked for.

    Raises:
        TopdownError: others are asked for now.
    """
    header = read_header(cascade.paths)
    fixed = header.get("threads")
    if fixed is None:
        threads = asked or default
        files.write_json(cascade.paths.header, {**header, "threads": threads})
        return threads
    if asked not in (None, fixed):
        raise TopdownError(
            f"--threads {asked}: every training in {cascade.paths.directory} has {fixed}, fixed by"
            " its first run, since sums differ in the last bit otherwise; leave the option out, or"
            " give another --dir"
        )
    return fixed
