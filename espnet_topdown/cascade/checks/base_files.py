"""Whether the files of a base that phases begin from are whole: model files, and lists of data.

Damage would otherwise end the first phase, or be in the record of what it began from. Neither torch
nor ESPnet is needed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from espnet_topdown import archives
from espnet_topdown.check import list_in
from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_data import SHAPES, rows_of
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.text_files import read_table

# Types of data whose lists have a line for each utterance.
_TABLES = ("text", "sound", "kaldi_ark", "npy")
_SIZES = re.compile(r"\d+(,\d+)*")
_CURE = "bring back what the base was trained on, or prepare the data again"


def faults(base: Experiment, models: Sequence[Path]) -> list[str]:
    """What is damaged of a base.

    Args:
        base: the base.
        models: its model file, and those that this is the mean of where it is computed anew.
    """
    found = []
    for path in models:
        damage = archives.damage(path)
        if damage is None:
            continue
        cure = "bring it back from a copy"
        if ".ave" in path.name:
            cure += ", or run the training's stage again, which averages anew"
        found.append(f"{path} is damaged ({damage}); {cure}")
    for part in DATA_PARTS:
        found += _list_faults(base.config, part)
    return found


def _list_faults(config: Mapping[str, Any], part: str) -> Iterator[str]:
    """Lists that cannot be read, and those without an utterance that a shape file counts."""
    counted: dict[str, Set[str]] = {}
    for path in _files(map(str, list_in(config, SHAPES.format(part=part)))):
        try:
            counted[path] = _counted(path)
        except TopdownError as error:
            yield str(error)
    # A stream counts nothing, and some data need not have every utterance.
    if not counted or config.get("allow_variable_data_keys"):
        return
    for path in _files(path for path, _, kind in rows_of(config, part) if kind in _TABLES):
        try:
            there = read_table(Path(path)).keys()
        except TopdownError as error:
            yield str(error)
            continue
        lacking = sorted(set().union(*counted.values()) - there)
        if lacking:
            yield (
                f"{path} lacks {len(lacking)} of the utterances in {' and '.join(counted)}"
                f" ({some_of(lacking, 3)}); {_CURE}"
            )


def _counted(shape: str) -> Set[str]:
    """The utterances that a shape file has sizes of.

    Raises:
        TopdownError: it cannot be read, or has no sizes of one.
    """
    sizes = read_table(Path(shape))
    unfit = [name for name, value in sizes.items() if not _SIZES.fullmatch(value)]
    if unfit:
        raise TopdownError(f"{shape} has no sizes of {some_of(unfit, 3)}; {_CURE}")
    return sizes.keys()


def _files(paths: Iterable[str]) -> list[str]:
    """Those that are files: of data that were split into parts, a list is a directory."""
    return [path for path in paths if Path(path).is_file()]
