"""Decodings of phases beside those of their phase 0: which are the same, and which are missing.

What was decoded is handed through.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from espnet_topdown.errors import listed
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.scoring import SetKey
from espnet_topdown.text_files import read_lines

CONFIG = "inference_config.yaml"  # that stage 12 of our asr.sh was given
Scored = TypeVar("Scored")
# asr.sh ends the name of a decoding's directory by that of the model file.
_MODEL = re.compile(r"(.*_asr_model_)(.+)")


def matched(
    rows: Sequence[PhaseResult], decoded: Sequence[Mapping[SetKey, Scored]]
) -> tuple[list[dict[SetKey, Scored]], list[str]]:
    """What was decoded, under one name where it is one decoding, and notes on what is missing.

    A decoding by ``valid.acc.ave.pth`` is that by ``valid.acc.ave_10best.pth`` where the one is a
    link to the other. A decoding of phase 0 alone is left out where phases were decoded on that set
    in another way.

    Args:
        rows: phases, each cascade beginning with its phase 0.
        decoded: for each row, key -> what was decoded.
    """
    names: dict[str, str] = {}
    renamed = []
    of_bases: dict[SetKey, None] = {}
    of_phases: dict[SetKey, None] = {}
    for row, sets in zip(rows, decoded, strict=True):
        own: dict[SetKey, Scored] = {}
        for (inference, dataset, metric), scored in sets.items():
            # The first that has it, a phase 0, names it.
            name = names.setdefault(_by_file(inference, row.directory), inference)
            own.setdefault((name, dataset, metric), scored)
        renamed.append(own)
        keys = of_bases if row.is_base else of_phases
        keys.update(dict.fromkeys(own))
    notes = [_note(key, "phase 0") for key in of_phases if key not in of_bases]
    phases_have = {(dataset, metric) for _, dataset, metric in of_phases}
    left_out = []
    for key in of_bases:
        if key not in of_phases and key[1:] in phases_have:
            left_out.append(key)
            notes.append(_note(key, "phases"))
    kept = [{key: own[key] for key in own if key not in left_out} for own in renamed]
    return kept, list(dict.fromkeys(notes))


def config_notes(rows: Sequence[PhaseResult]) -> list[str]:
    """Notes on decodings of one name by other configs than the first that has it, a phase 0."""
    firsts: dict[str, tuple[str, str]] = {}
    others: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        paths = [*row.directory.glob(f"*/*/{CONFIG}"), *row.directory.glob(f"*/*/*/{CONFIG}")]
        for path in sorted(paths):
            config = _said(path)
            inference, *dataset = path.parent.relative_to(row.directory).parts
            name = "/".join([_by_file(inference, row.directory), *dataset])
            known, first = firsts.setdefault(name, (config, row.name))
            if config != known:
                others.setdefault((name, first), []).append(row.name)
    return [
        f"{decoding} of {listed(names)}: decoded by another config than {first} ({CONFIG} in"
        " each): what differs may be that. Decode again what is old (stages 12 and 13,"
        " espnet-topdown decode)."
        for (decoding, first), names in others.items()
    ]


def _said(config: Path) -> str:
    """The lines of a config without comments, which ESPnet does not read."""
    lines = [re.sub(r"(^|\s)#.*", "", line).rstrip() for line in read_lines(config)]
    return "\n".join(filter(None, lines))


def _by_file(inference: str, directory: Path) -> str:
    """The name of a decoding with the model file that a link stands for."""
    parts = _MODEL.fullmatch(inference)
    if parts is None:
        return inference
    file = (directory / f"{parts[2]}.pth").resolve()
    return f"{parts[1]}{file.stem}"


def _note(key: SetKey, who: str) -> str:
    inference, dataset, _ = key
    return (
        f"Missing: {dataset} decoded as {inference}, of {who}; espnet-topdown decode and stages 12"
        " and 13 of the recipe take the same options."
    )
