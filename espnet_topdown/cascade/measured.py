"""Dev values that were measured by validation alone, as ``measured.json`` of a cascade keeps them.

They are measured by `espnet_topdown.cascade.measuring`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.judgement import best_value
from espnet_topdown.experiment.quality import Criterion

# What is measured, by the name of a phase and its validation set, "" for its own.
Measured = Mapping[str, Mapping[str, Mapping[str, Any]]]


_RULES = {"made_of": check.MAPPING, "rows": check.ROWS}


def _is_entry(value: Any) -> bool:
    return isinstance(value, Mapping) and not check.lacking(value, _RULES)


def _are_entries(value: object) -> bool:
    return isinstance(value, Mapping) and all(map(_is_entry, value.values()))


def read_measured(path: Path) -> Measured:
    """All that was measured in a cascade; empty where nothing was.

    Raises:
        TopdownError: the file is damaged.
    """
    if not path.exists():
        return {}
    measured = files.read_object(path)
    if not all(map(_are_entries, measured.values())):
        raise files.damaged(path, "measurement")
    return measured


def values(
    measured: Measured, criterion: Criterion, models: Mapping[str, str]
) -> dict[tuple[str, str], float]:
    """(phase, validation set) -> the criterion at the best of the models that were measured.

    Args:
        measured: all that was measured.
        criterion: of the cascade.
        models: hashes of phases' model files; what was measured of another does not count.
    """
    found = {}
    for name, own in measured.items():
        for valid_set, entry in own.items():
            model = entry["made_of"].get("model")
            if models.get(name, model) != model:
                continue  # the phase was redone since
            value = best_value(criterion.curve(entry["rows"]), criterion.mode)
            if value is not None:
                found[name, valid_set] = value
    return found


def changed(measured: Measured, name: str, model: Path) -> bool:
    """Whether the model of a phase that was measured is another now.

    Raises:
        TopdownError: it cannot be read.
    """
    digest = files.sha256(model)
    return any(entry["made_of"].get("model") != digest for entry in measured[name].values())
