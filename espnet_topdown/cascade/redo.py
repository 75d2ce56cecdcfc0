"""Begun, failed or finished phases set aside, so that they are trained anew; nothing is deleted."""

import sys
from collections.abc import Collection, Sequence

from espnet_topdown import files, locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.run import named
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.phase_config import changes_of
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import DECODING, LOCK, holds_training
from espnet_topdown.plan.plan import Phase


def set_aside(cascade: Cascade, records: Records, names: Sequence[str]) -> None:
    """Move the directories of phases to ``aside/``, and say so in the ledger.

    What was redone already and has not changed or failed since stays: the same command goes on
    after a kill.

    Args:
        cascade: whose lock the caller holds, and whose ledger has no open attempts.
        records: of its finished phases.
        names: of phases, or their numbers.

    Raises:
        TopdownError: no such phase, one that was never begun or is being trained, or finished
            phases that were trained from one of them and are not among them.
    """
    note_moves(cascade)
    ledger = Ledger(cascade.paths.ledger)
    wanted = {named(cascade, name) for name in names}
    phases = [phase for phase in cascade.phases if phase.name in wanted]
    moving: list[str] = []
    for phase in phases:
        # What is made from one that is moved has to follow it.
        follows = not _made_from(phase, records).isdisjoint(moving)
        if not follows and _is_redone(cascade, phase, records, ledger):
            print(
                f"{phase.name} was redone already, and nothing that it depends on has changed"
                " since: going on with it",
                file=sys.stderr,
            )
            continue
        _check_begun(cascade, phase)
        moving.append(phase.name)
    _check_children(cascade, records, moving, wanted)
    for name in moving:
        _move(cascade, name)
    note_moves(cascade)
    best = cascade.paths.directory / "best"
    if moving and best.is_symlink():
        cascade.paths.link_best(cascade.judge(cascade.read_records()).best)


def note_moves(cascade: Cascade) -> None:
    """Tell the ledger of every directory set aside that it does not know: a kill came between."""
    ledger = Ledger(cascade.paths.ledger)
    known = {event.get("aside") for event in ledger.events()}
    for path in sorted(cascade.paths.aside.glob("*.*")):
        place = cascade.paths.relative(path)
        if place not in known:
            ledger.append("redo", path.name.rpartition(".")[0], aside=place)


def _is_redone(cascade: Cascade, phase: Phase, records: Records, ledger: Ledger) -> bool:
    """Whether a redo of the phase was begun, and nothing says that another one is wanted."""
    if not ledger.is_redone(phase.name):
        return False
    is_begun = phase.name in records or holds_training(cascade.paths.phase_dir(phase.name))
    return not is_begun or not changes_of(cascade, phase, records)


def _check_begun(cascade: Cascade, phase: Phase) -> None:
    directory = cascade.paths.phase_dir(phase.name)
    if not directory.exists():
        raise TopdownError(f"{phase.name} was not begun yet; leave it out of --redo")
    for lock, used in ((LOCK, "trained"), (DECODING, "decoded")):
        owner = locks.holder(directory / lock)
        if owner is not None:
            raise TopdownError(
                f"{directory} is still {used} by {owner}; wait for it, or stop it, and rerun"
            )


def _check_children(
    cascade: Cascade, records: Records, moving: Collection[str], wanted: Collection[str]
) -> None:
    """Refuse to leave a finished phase behind of which something is trained anew."""
    # A dict for its order.
    lost = dict.fromkeys(moving)
    for phase in cascade.phases:
        if phase.name in records and not _made_from(phase, records).isdisjoint(lost):
            lost[phase.name] = None
    left = list(lost)[len(moving) :]
    if left:
        every = [phase.name for phase in cascade.phases if phase.name in {*wanted, *left}]
        raise TopdownError(
            f"finished phases were trained from what --redo names, or stopped against it:"
            f" {', '.join(left)}. Redo them"
            f" too:\n  {cascade.redo_command(every)}"
        )


def _made_from(phase: Phase, records: Records) -> set[str]:
    """Names of its parent, and of those that the rule which may end it compares it with."""
    parent = phase.parent
    if phase.name in records:
        # Where the plan says `best`, the record knows which that was.
        parent = records[phase.name]["parent"]
    return {parent, *phase.compared_with}


def _move(cascade: Cascade, name: str) -> None:
    number = 1
    while (place := cascade.paths.aside / f"{name}.{number}").exists():
        number += 1
    place.parent.mkdir(exist_ok=True)
    cascade.paths.phase_dir(name).rename(place)
    files.sync_directory(cascade.paths.directory)
    print(f"{name}: set aside as {place}", file=sys.stderr)
