"""What the file of a record must hold, key by key: the format of ``records/MODEL/seedN.json``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import BASE_KIND, CANDIDATE, CONTROL, KINDS
from espnet_topdown.plan.plan import DROPOUT
from espnet_topdown.recognise import but
from espnet_topdown.study import analysis

ADVICE = "give records that 'study run' wrote"
# Format 1, which had no such number, held every reference and hypothesis in full.
FORMAT = 2
# What earlier versions did not record.
LATER = (
    *("train_loss", "lr", "trigger", "loaded", "small_texts", "analysis", "training"),
    *("counted", "speakers", "selected_on"),
    *("reads", "dev_set", "base_dev", "stop_from", "stopped", "kept_lr", "factors"),
)
# What a record of every format has.
BEGINNING = {"model", "seed", "phases"}


def _is_settings(value: Any) -> bool:
    try:
        return value == "" or isinstance(json.loads(value), dict)
    except (TypeError, ValueError):
        return False


def _are_counts(value: Any) -> bool:
    of_sets = value.values() if isinstance(value, dict) else [None]
    return all(
        isinstance(counts, list) and list(map(type, counts)) == [int] * 4 + [str]
        for of_set in of_sets
        for counts in (of_set.values() if isinstance(of_set, dict) else [None])
    )


HEADER = {
    "model": check.NAME,
    "seed": check.whole(0),
    "plan": check.TEXT,
    "dev_name": check.NAME,
    "complete": check.SWITCH,
    "made": check.MAPPING,
    "data": check.MAPPING,
    "references": check.MAPPING,
    "phases": check.LIST,
    "misheard": check.MAPPING,
    "speakers": check.MAPPING,
    "selected_on": Must("a list of sets", check.all_in_list(check.is_text)),
    "training": check.MAPPING,
    "analysis": Must("a plan of analysis", lambda value: not analysis.faults(value)),
}
PHASE = {
    "name": check.NAME,
    "kind": check.one_of((BASE_KIND, *KINDS)),
    "role": check.one_of((CANDIDATE, CONTROL)),
    "cut": check.NAME,
    "frozen_share": check.NUMBER,
    "dev": check.NUMBER,
    "accepted": check.SWITCH,
    "best": check.SWITCH,
    "seed": check.whole(0),
    "epochs": check.whole(0),
    "hours": check.NUMBER,
    "curve": check.LIST,
    "perplexity": check.MAPPING,
    "frozen": check.LIST,
    "settings": Must("settings in JSON, or an empty text", _is_settings),
    "parameters": check.whole(1),
    "dropout": check.one_of(DROPOUT),
    "model_sha256": check.TEXT,
    "decoded": check.LIST,
    "counted": Must("five counts an utterance of each set", _are_counts),
    "train_loss": check.LIST,
    "lr": check.LIST,
    "trigger": check.whole(0),
    "loaded": check.LIST,
    "small_texts": check.LIST,
    "reads": check.TEXT,
    "dev_set": check.TEXT,
    "base_dev": check.NUMBER,
    "stop_from": check.whole(1),
    "stopped": check.whole(1),
    "kept_lr": check.TEXT,
    "factors": check.MAPPING,
}


def check_record(path: Path, stored: Any) -> None:
    """Refuse what is not a record of this format.

    Args:
        path: of the file.
        stored: its JSON.

    Raises:
        TopdownError: it is no record, one of an earlier format, or damaged.
    """
    if not isinstance(stored, dict) or not stored.keys() >= BEGINNING:
        raise TopdownError(f"{path} is not the record of a seed{but(path)}; {ADVICE}")
    if stored.get("format") != FORMAT:
        raise TopdownError(
            f"{path} has another format than this version reads; where the experiments still are,"
            f" record it again with `python3 -m espnet_topdown.study record {stored['model']}"
            f" --seeds {stored['seed']}`"
        )
    # Phases are looked at only once they are known to be a list.
    faults = _faults(stored, HEADER) or _phase_faults(stored["phases"])
    if faults:
        raise TopdownError(f"{path} is damaged ({'; '.join(faults)}); {ADVICE}")


def _phase_faults(phases: Sequence[Any]) -> list[str]:
    if not phases:
        return ["phase 0 is missing"]
    faults = []
    for place, phase in enumerate(phases):
        own = _faults(phase, PHASE) or _dev_faults(phase)
        faults += [f"phase {place}: {fault}" for fault in own]
    return faults


def _dev_faults(phase: Mapping[str, Any]) -> list[str]:
    """What dev selects by is a value of the curve."""
    dev = phase["dev"]
    # Without one a phase is worse than any other, and phase 0 no start of a cascade.
    if dev is None and phase["kind"] != BASE_KIND:
        return []
    return [] if dev in (phase["curve"] or []) else [f"dev {dev} is none of its curve"]


def _faults(values: Any, rules: Mapping[str, Must]) -> list[str]:
    if not isinstance(values, dict):
        return [f"must be a mapping, not {values!r}"]
    missing = [f"{key} is missing" for key in rules if key not in {*LATER, *values}]
    unknown = check.unknown_keys(values, [*rules, "format"])
    return missing + unknown + check.faults(values, rules)
