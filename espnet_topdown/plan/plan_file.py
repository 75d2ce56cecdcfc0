"""Plans as files: reading and checking YAML without a model, and writing it.

All faults of a plan are reported at once, each with its place and the nearest valid names.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.plan import BASE, CONTROLS, DROPOUT, INIT_PARAM, TIED, Entry, Plan

# What a phase's training may change: epochs, batch, optimiser, schedule, augmentation and logging.
OVERRIDES = (
    *("max_epoch", "patience", "early_stopping_criterion", "num_iters_per_epoch"),
    *(
        "batch_type",
        "batch_size",
        "batch_bins",
        "valid_batch_type",
        "valid_batch_size",
        "valid_batch_bins",
        "accum_grad",
    ),
    *("optim", "optim_conf", "grad_clip", "grad_clip_type", "grad_noise", "exclude_weight_decay"),
    *("exclude_weight_decay_conf", "scheduler", "scheduler_conf", "val_scheduler_criterion"),
    *(
        "specaug",
        "specaug_conf",
        "rir_scp",
        "rir_apply_prob",
        "noise_scp",
        "noise_apply_prob",
        "noise_db_range",
    ),
    *(
        "log_level",
        "log_interval",
        "num_workers",
        "num_att_plot",
        "use_matplotlib",
        "use_tensorboard",
        "use_wandb",
    ),
    *("wandb_project", "wandb_entity", "wandb_model_log_interval", "max_cache_size"),
)


def read_plan(path: Path | str) -> Plan:
    """Read the YAML file `path`; errors as in `parse_plan`."""
    try:
        return parse_plan(Path(path).read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise TopdownError(f"cannot read the plan {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TopdownError(f"the plan {path} is not UTF-8 text") from None


class _Loader(yaml.SafeLoader):
    """YAML without anything that executes, and without a key that stands twice (PyYAML takes the
    last).
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_plan(text: str, source: str = "plan") -> Plan:
    """Read and check a plan, without a model.

    Raises:
        TopdownError: every fault found, one a line, each with the place in the plan and the nearest
            valid names.
    """
    try:
        data = yaml.load(text, _Loader)
        json.dumps(data, default=str, skipkeys=True)  # finds an alias inside its own anchor
    except (yaml.YAMLError, ValueError) as error:  # PyYAML: ValueError for a date that is none
        raise TopdownError(f"{source} is not YAML: {error}") from None
    plan, faults = _parse(data)
    if faults:
        raise TopdownError(
            f"{source} has {len(faults)} fault(s):\n" + "\n".join(f"  - {f}" for f in faults)
        )
    assert plan is not None
    return plan


def plan_text(plan: Plan) -> str:
    """The plan as YAML that `parse_plan` reads back to an equal plan."""
    default = Plan(())
    data = {k: v for k, v in asdict(plan).items() if k != "entries" and v != getattr(default, k)}
    data["phases"] = [
        {k: v for k, v in asdict(e).items() if v not in (None, {})} for e in plan.entries
    ]
    return yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _parse(data: Any) -> tuple[Plan | None, list[str]]:
    if not isinstance(data, Mapping):
        return None, [f"a plan is a mapping with 'phases', not {type(data).__name__}"]
    faults: list[str] = []
    known = [f.name for f in fields(Plan) if f.name != "entries"]
    faults += [
        f"unknown key '{k}'; {nearest(k, [*known, 'phases'])}"
        for k in data
        if k not in known and k != "phases"
    ]
    items = data.get("phases")
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        faults.append("'phases' must be a list with at least one item, such as '- cut: decoder'")
        items = []
    values = {k: data[k] for k in known if k in data}
    _check_settings(values, "the plan", faults)
    _check_header(values, faults)
    entries = tuple(_entry(item, f"phase item {n}", faults) for n, item in enumerate(items, 1))
    if faults:
        return None, faults
    if values.get("dev_criterion") is not None:
        values["dev_criterion"] = tuple(values["dev_criterion"])
    return Plan(entries, **values), []


def _check_header(values: Mapping[str, Any], faults: list[str]) -> None:
    dev = values.get("dev_criterion")
    is_triple = (
        isinstance(dev, Sequence)
        and not isinstance(dev, str)
        and len(dev) == 3
        and isinstance(dev[1], str)
    )
    if dev is not None and not (is_triple and dev[0] == "valid" and dev[2] in ("min", "max")):
        faults.append(f"dev_criterion must be [valid, METRIC, min|max], not {dev!r}")
    for key in ("parent", "parent_model"):
        if values.get(key) is not None and not isinstance(values[key], str):
            faults.append(f"{key} must be a name, not {values[key]!r}")
        elif "/" in (values.get(key) or ""):
            faults.append(f"{key} must be a name without a directory, not {values[key]!r}")
    gain = values.get("min_gain", 0.0)
    if not _is_number(gain) or not 0 <= gain < math.inf:
        faults.append(f"min_gain must be a number >= 0, not {values['min_gain']!r}")
    patience = values.get("patience")
    if patience is not None and not (_is_int(patience) and patience > 0):
        faults.append(f"patience must be a whole number > 0 or null, not {patience!r}")
    layers = values.get("layers", {})
    if not isinstance(layers, Mapping) or not all(
        isinstance(k, str) and _is_names(v) for k, v in layers.items()
    ):
        faults.append(
            "layers must be a mapping from layer name to a list of name prefixes, lowest layer"
            " first"
        )


def _entry(item: Any, where: str, faults: list[str]) -> Entry:
    if not isinstance(item, Mapping):
        faults.append(f"{where} must be a mapping such as 'cut: decoder', not {item!r}")
        return Entry()
    known = [f.name for f in fields(Entry)]
    faults += [f"{where}: unknown key '{k}'; {nearest(k, known)}" for k in item if k not in known]
    values = {k: v for k, v in item.items() if k in known}
    chosen = [k for k in ("cut", "every", "sweep", "control") if values.get(k) is not None]
    if len(chosen) != 1 and not (chosen == ["cut", "control"]):
        faults.append(
            f"{where} must have exactly one of cut, every, sweep, control; it has"
            f" {', '.join(chosen) or 'none'}"
        )
    if values.get("every") is not None and not (_is_int(values["every"]) and values["every"] > 0):
        faults.append(f"{where}: every must be a whole number > 0, not {values['every']!r}")
    if values.get("control") is not None and values["control"] not in CONTROLS:
        faults.append(
            f"{where}: unknown control {values['control']!r};"
            f" {nearest(values['control'], CONTROLS)}"
        )
    for key in ("cut", "start", "stop", "name", "parent"):
        if values.get(key) is not None and not isinstance(values[key], str):
            faults.append(f"{where}: {key} must be a name, not {values[key]!r}")
    for key in ("sweep", "answers"):
        if values.get(key) is None:
            continue
        if not _is_names(values[key]):
            faults.append(f"{where}: {key} must be a list of names, not {values[key]!r}")
        else:
            values[key] = (values[key],) if isinstance(values[key], str) else tuple(values[key])
    if values.get("seed") is not None and not (_is_int(values["seed"]) and values["seed"] >= 0):
        faults.append(f"{where}: seed must be a whole number >= 0, not {values['seed']!r}")
    name = values.get("name")
    if isinstance(name, str) and (
        not name.replace("_", "").replace("-", "").replace(".", "").isalnum() or name[0] == "."
    ):
        faults.append(f"{where}: name '{name}' is not a plain directory name")
    if isinstance(name, str) and name in (BASE, "best", "previous", "base"):
        faults.append(f"{where}: the name '{name}' is taken")
    _check_settings(values, where, faults)
    return Entry(**values)


def _check_settings(values: dict[str, Any], where: str, faults: list[str]) -> None:
    """Checks of the settings that a plan and its items share."""
    for key, valid in (("dropout", DROPOUT), ("tied", TIED), ("init_param", INIT_PARAM)):
        value = (
            "off" if key == "dropout" and values.get(key) is False else values.get(key)
        )  # YAML 1.1 reads off as false
        if value is None:
            continue
        if value not in valid:
            faults.append(f"{where}: {key} '{value}' is unknown; {nearest(value, valid)}")
        values[key] = value
    train = values.get("train", {})
    if not isinstance(train, Mapping):
        faults.append(f"{where}: train must be a mapping of ESPnet training options, not {train!r}")
        return
    if not _is_int(epochs := train.get("max_epoch", 1)) or epochs < 1:
        faults.append(f"{where}: train.max_epoch must be a whole number > 0, not {epochs!r}")
    for key in train:
        if key not in OVERRIDES:
            faults.append(
                f"{where}: train.{key} cannot differ from the base (architecture, tokens, data,"
                f" normalisation, seed and output_dir are the base's); {nearest(key, OVERRIDES)}"
            )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(v, str) for v in value)
    )
