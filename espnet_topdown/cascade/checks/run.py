"""Whether a run can go on with what is finished and begun, and from where."""

import contextlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.base import check_as_judged
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.order import ready, waits_of
from espnet_topdown.cascade.phase_config import changes_of, check_as_begun
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.plan import names_by


def check_begun(cascade: Cascade, records: Records) -> None:
    """Compare every phase that was interrupted, and would go on first, with what it was begun with.

    Raises:
        TopdownError: as `check_as_begun`, for all of them.
    """
    skipped = cascade.judge(records).skipped
    waits = waits_of(cascade.phases, cascade.plan)
    can_start = ready(
        cascade.phases, waits, finished=records, failed=(), running=(), skipped=skipped
    )
    messages: list[str] = []
    for phase in can_start:
        with noted_in(messages):
            check_as_begun(cascade, phase, records)
    if messages:
        raise TopdownError("\n".join(messages))


@contextlib.contextmanager
def noted_in(faults: list[str]) -> Iterator[None]:
    """What is refused inside is one fault more, so that all can be told together."""
    try:
        yield
    except TopdownError as error:
        faults.append(str(error))


def absent_lists(records: Records) -> list[str]:
    """Lists that finished phases read and that are not there, seen from the current directory."""
    names = chain.from_iterable(record["key"].get("files", {}) for record in records.values())
    return [name for name in dict.fromkeys(names) if not Path(name).exists()]


@files.hashing_once()
def check_finished(cascade: Cascade, records: Records, *, lists: bool = True) -> None:
    """Compare every finished phase with what the plan asks for now.

    Args:
        cascade: whose phases these are.
        records: of its finished phases.
        lists: False compares only those lists that are there, seen from the current directory.

    Raises:
        TopdownError: keys of finished phases changed (the message shows all differences), or the
            plan lost a phase.
    """
    _check_none_lost(cascade)
    check_as_judged(cascade.paths, cascade.model_file(cascade.base.directory))
    finished = [phase for phase in cascade.phases if phase.name in records]
    # A change that several phases have in common is told once.
    changed = names_by(
        finished, lambda phase: tuple(changes_of(cascade, phase, records, lists=lists)) or None
    )
    messages = []
    for common, names in changed.items():
        verb, depend = ("is", "it depends") if len(names) == 1 else ("are", "they depend")
        head = (
            f"{', '.join(names)} {verb} finished, but what {depend} on changed (recorded -> now);"
            " undo that, give another --dir (--topdown_dir of run.sh), or train anew with\n"
            f"    {cascade.redo_command(names)}"
        )
        messages.append("\n  ".join([head, *common]))
    if messages:
        raise TopdownError("\n".join(messages))


def _check_none_lost(cascade: Cascade) -> None:
    """Refuse a plan without a phase that is finished; its record is found on disk alone."""
    known = cascade.by_name
    lost = [place.name for place in cascade.paths.recorded() if place.name not in known]
    if lost:
        raise TopdownError(
            f"{cascade.paths.directory} has finished phases that the plan no longer has:"
            f" {', '.join(lost)}. Give the plan of that directory (phases may be appended), or"
            " another --dir (--topdown_dir of run.sh)"
        )


def named(cascade: Cascade, asked: str) -> str:
    """The name of the phase that is asked for by its name or number.

    Raises:
        TopdownError: no such phase.
    """
    names = cascade.by_name
    wanted = asked
    # As the shell's --phase 3 means phase3.
    if asked.isdigit() and asked not in names:
        wanted = f"phase{asked}"
    if wanted not in names:
        raise TopdownError(f"no phase '{asked}'; {nearest(wanted, names)}")
    return wanted


def check_first(cascade: Cascade, records: Records, first: str) -> None:
    """Check that the phases before `first` are finished.

    Args:
        cascade: whose phases these are.
        records: of its finished phases.
        first: a phase's name or number.

    Raises:
        TopdownError: no such phase, or one before it is not finished.
    """
    names = list(cascade.by_name)
    wanted = named(cascade, first)
    before = names[: names.index(wanted)]
    missing = [name for name in before if name not in records]
    if missing:
        raise TopdownError(
            f"cannot go on with {wanted}: {', '.join(missing)} must be finished first; leave out"
            " --phase"
        )
