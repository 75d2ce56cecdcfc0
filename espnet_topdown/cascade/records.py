"""Records of finished phases: what one holds, and whether the plan still asks for the same.

A finished phase is never trained again, so what it depends on may not change behind its back.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.base_check import check_as_judged
from espnet_topdown.cascade.cascade import Cascade, read_header
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.order import ready, waits_of
from espnet_topdown.check import list_in
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.experiment.keys import phase_key
from espnet_topdown.experiment.phase_data import new_shapes, without_shapes
from espnet_topdown.experiment.phase_dir import (
    BEGUN,
    EPOCHS,
    MACHINE,
    PROOF,
    RECORD,
    START,
    key_changes,
    read_begun,
)
from espnet_topdown.experiment.quality import sign
from espnet_topdown.plan.plan import Phase, names_by

# Besides model files: what decoding or a child reads, and what proves the phase.
_HASHED = ("config.yaml", START, BEGUN, EPOCHS, PROOF, MACHINE)
# ESPnet's name of an average: part, metric, number of epochs.
_AVERAGE = re.compile(r"([^.]+)\.(.+)\.ave_(\d+)best\.pth")


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
    diverged = [epoch for epoch, value in enumerate(curve, 1) if not check.is_number(value)]
    if diverged or not curve:
        # Without any epoch, the criterion is missing from the first.
        epoch = diverged[0] if diverged else 1
        raise TopdownError(
            f"{phase.name}: the dev criterion {criterion.name} is not finite in epoch {epoch}:"
            " training has diverged. Lower its learning rate"
        )
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
        "dev": {"criterion": list(criterion), "curve": curve},
        "base": cascade.judged_base(records),
        "epochs": len(rows),
        "hours": hours,
        "threads": threads,
        "files": proof["files"],
        "model_sha256": files.sha256(directory / cascade.parent_model),
        "bytes": _file_hashes(directory),
        "links": _links(directory),
        "unmoved": proof["unmoved"],
        "machine": proof.get("machine"),
        "finished": files.now(),
    }
    if phase.stop is not None:
        record["stop"] = _stop(cascade, phase, records, curve)
    return record


def _stop(
    cascade: Cascade, phase: Phase, records: Records, curve: Sequence[float | None]
) -> dict[str, Any]:
    """What the stopping rule made of a phase: with what it was compared, and whether it ended it.

    Raises:
        TopdownError: the training went on after the rule ended it, or ended without it.
    """
    stop = {"epoch": None, "reason": None, "compared_with": list(phase.compared_with)}
    bar = cascade.bar(phase, records)
    epoch = None if bar is None else bar.stops_at(curve)
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
    texts = [name for name in _HASHED if (directory / name).exists()]
    return {name: files.sha256(directory / name) for name in [*models, *texts]}


def _links(directory: Path) -> dict[str, str]:
    """What ``latest.pth``, ``valid.acc.best.pth`` and the like point to."""
    links = [path for path in sorted(directory.glob("*.pth")) if path.is_symlink()]
    return {link.name: str(link.readlink()) for link in links}


def key(cascade: Cascade, phase: Phase, records: Records, *, lists: bool = True) -> dict[str, Any]:
    """What decides the phase's result now (see `phase_key`), as it reads back from JSON.

    Raises:
        TopdownError: a list or the parent's model file cannot be read.
    """
    config = cascade.phase_config(phase, records)
    # They follow from the lists and the tokens, which count, and lie in the cascade.
    made = new_shapes(cascade.base.config, phase.data, phase.tokens)
    config = without_shapes(config, made)
    parent = cascade.parent_file(phase, records)
    now = phase_key(config, parent, _averaged_epochs(cascade, parent), lists=lists)
    # Tuples become lists, keys text: else a recorded key would differ from its own source.
    return json.loads(json.dumps(now))


def _averaged_epochs(cascade: Cascade, parent: Path | None) -> list[Path]:
    """The base's epoch files that its average is recomputed from; none where it is read itself.

    As `espnet_topdown.training.averages` does, but without torch.
    """
    base = cascade.base.directory
    if parent is None or parent.parent != base or (base / PROOF).exists():
        return []
    named_average = _AVERAGE.fullmatch(parent.resolve().name)
    if named_average is None or not (base / "checkpoint.pth").exists():
        return []
    part, metric, count = named_average.groups()
    criteria = list_in(cascade.base.config, "best_model_criterion")
    modes = [mode for *criterion, mode in criteria if criterion == [part, metric]]
    if not modes:
        return []
    ranked = _ranked(cascade.facts.epochs, part, metric, modes[0])
    paths = [base / f"{epoch}epoch.pth" for epoch in ranked[: int(count)]]
    return paths if all(map(Path.exists, paths)) else []


def _ranked(rows: Sequence[Mapping[str, Any]], part: str, metric: str, mode: str) -> list[int]:
    """Epochs that have the criterion, the best first; of equal ones the earlier."""
    values = {}
    for row in rows:
        value = row.get(part, {}).get(metric)
        if value is not None:
            values[row["epoch"]] = -sign(mode) * value
    return sorted(values, key=values.__getitem__)


def changes_of(
    cascade: Cascade, phase: Phase, records: Records, *, lists: bool = True
) -> list[str]:
    """Lines ``what: before -> now`` since the phase was finished, or begun; none before that.

    Args:
        cascade: whose phase it is.
        phase: finished, begun, or neither.
        records: of its finished phases.
        lists: False compares only those lists that are there, seen from the current directory.

    Raises:
        TopdownError: a list or the parent's model file cannot be read.
    """
    before = cascade.begun_key(phase, records)
    if before is None:
        return []
    now = key(cascade, phase, records, lists=lists)
    if not lists:
        here = {path: value for path, value in before["files"].items() if path in now["files"]}
        before = {**before, "files": here}
    return key_changes(before, now)


def check_as_begun(cascade: Cascade, phase: Phase, records: Records) -> None:
    """Refuse to go on with a phase that was begun with something else.

    Raises:
        TopdownError: settings, parent or lists changed since; or as `changes_of`.
    """
    lines = changes_of(cascade, phase, records)
    if lines:
        head = (
            f"{phase.name} was begun with something else (begun with -> now); undo that, or train"
            f" it anew with\n    {cascade.redo_command([phase.name])}"
        )
        raise TopdownError("\n  ".join([head, *lines]))


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
    messages = []
    for phase in can_start:
        try:
            check_as_begun(cascade, phase, records)
        except TopdownError as error:
            messages.append(str(error))
    if messages:
        raise TopdownError("\n".join(messages))


def absent_lists(records: Records) -> list[str]:
    """Lists that finished phases read and that are not there, seen from the current directory."""
    names = [name for record in records.values() for name in record["key"].get("files", {})]
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
            " the plan of that directory (phases may be appended), or another --dir (--topdown_dir"
            " of run.sh)"
        )


def named(cascade: Cascade, asked: str) -> str:
    """The name of the phase that is asked for by its name or number.

    Raises:
        TopdownError: no such phase.
    """
    names = [phase.name for phase in cascade.phases]
    # As the shell's --phase 3 means phase3.
    wanted = f"phase{asked}" if asked.isdigit() else asked
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
    names = [phase.name for phase in cascade.phases]
    wanted = named(cascade, first)
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
    # The ledger knows them where the header was lost.
    fixed = header.get("threads") or Ledger(cascade.paths.ledger).threads()
    threads = fixed or asked or default
    if header.get("threads") is None:
        files.write_json(cascade.paths.header, {**header, "threads": threads})
    if asked not in (None, threads):
        raise TopdownError(
            f"--threads {asked}: every training in {cascade.paths.directory} has {threads}, fixed"
            " by its first run, since sums differ in the last bit otherwise; leave the option out,"
            " or give another --dir (--topdown_dir of run.sh)"
        )
    return threads
