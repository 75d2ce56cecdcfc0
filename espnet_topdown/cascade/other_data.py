"""Lists that phases read instead of their base's: checked, and their shape files made.

Before the first phase trains. Shape files lie in the cascade's directory; they follow from the
lists and the vocabulary, and are made again where these changed. Normalisation stays the base's.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.launch import Launch, run_tool
from espnet_topdown.cascade.phase_config import config_under
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_data import SHAPES, NewShapes, PathNameType, new_shapes
from espnet_topdown.plan.plan import Phase
from espnet_topdown.text_files import read_table

MAKER = "espnet_topdown.bin.data_shapes"
MADE_OF = "made_of.json"  # in a directory of shape files, written last


def needed(cascade: Cascade, phases: Sequence[Phase]) -> dict[str, tuple[NewShapes, Phase]]:
    """Shape files to make, by their directory, each with a phase that needs them."""
    wanted: dict[str, tuple[NewShapes, Phase]] = {}
    for phase in phases:
        for new in new_shapes(cascade.base.config, phase.data, phase.tokens):
            wanted.setdefault(new.directory, (new, phase))
    return wanted


def lacking(cascade: Cascade) -> dict[str, tuple[NewShapes, Phase]]:
    """Those of `needed` that are not there, or were made of other lists."""
    wanted = needed(cascade, cascade.phases).items()
    return {
        name: (new, phase)
        for name, (new, phase) in wanted
        if not _is_made(cascade.paths.shapes / name, new)
    }


def check_lists(cascade: Cascade) -> None:
    """Refuse lists that do not belong together, of those whose shape files are not made yet.

    Raises:
        TopdownError: one has utterances that another lacks, or none.
    """
    faults = []
    for new, phase in lacking(cascade).values():
        fault = _list_fault(new.rows)
        if fault:
            faults.append(f"{phase.name}: {fault}")
    check.refuse(faults, "the data of the plan cannot be trained on")


def _list_fault(rows: Sequence[PathNameType]) -> str | None:
    try:
        tables = {path: read_table(Path(path)) for path, _, _ in rows}
    except TopdownError as error:
        return str(error)
    (first, expected), *others = tables.items()
    for path, table in others:
        only = sorted(expected.keys() ^ table.keys())
        if only:
            return (
                f"{first} and {path} are not of the same utterances ({len(only)} are in one alone:"
                f" {', '.join(only[:3])}); mend the directory, such as by stages 3 and 4 of asr.sh"
            )
    return None


def prepare(cascade: Cascade, launch: Launch) -> None:
    """Make the shape files that phases need and that are not there.

    Raises:
        TopdownError: what stands in the lists cannot be read, or is too short for the model.
    """
    for name, (new, phase) in lacking(cascade).items():
        place = cascade.paths.shapes / name
        lists = ", ".join(path for path, *_ in new.rows)
        print(f"{phase.name}: making shape files of {lists}; log {place}.log", flush=True)
        _make(cascade, launch, new, phase, place)


def _make(cascade: Cascade, launch: Launch, new: NewShapes, phase: Phase, place: Path) -> None:
    """Make the files in a directory that takes its place when all are there."""
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    of_base = cascade.base.config[SHAPES.format(part=new.part)]
    like = {Path(path).name: path for path in of_base}
    asked: dict[str, Any] = {
        "task": cascade.base.task,
        "config": config_under(cascade, phase, cascade.base.directory),
        "part": new.part,
        "rows": new.rows,
        "files": {},
    }
    for data, file in new.files.items():
        own = like[file] if Path(like[file]).exists() else None
        asked["files"][data] = [file, own]
    made_of = _made_of(new)
    files.write_json(part / "asked.json", asked)
    argv = ["--asked", str(part / "asked.json"), "--output", str(part)]
    run_tool(launch, MAKER, argv, Path(f"{place}.log"))
    files.write_json(part / MADE_OF, made_of)
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    files.sync_directory(place.parent)


def _is_made(place: Path, new: NewShapes) -> bool:
    if not (place / MADE_OF).exists():
        return False
    try:
        return files.read_object(place / MADE_OF) == _made_of(new)
    except TopdownError:
        # A list is gone, or the file is damaged: told where the files are needed.
        return False


def _made_of(new: NewShapes) -> Mapping[str, str]:
    """Hashes of all that the shape files follow from."""
    paths = [path for path, _, _ in new.rows]
    if new.tokens:
        paths.append(new.tokens)
    return {path: files.sha256(Path(path)) for path in paths}
