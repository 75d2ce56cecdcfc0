"""Plans as files: reading and checking YAML without a model, and writing it.

All faults of a plan are reported at once, each with its place and the nearest valid names.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.plan.kinds import CONTROL_KINDS
from espnet_topdown.plan.plan import BASE, DROPOUT, INIT_PARAM, TIED, Entry, Plan

# What a phase's training may change: epochs, batch, optimiser, schedule, augmentation and logging.
OVERRIDES = tuple(
    """
    max_epoch patience early_stopping_criterion num_iters_per_epoch
    batch_type batch_size batch_bins valid_batch_type valid_batch_size valid_batch_bins accum_grad
    optim optim_conf grad_clip grad_clip_type grad_noise
    exclude_weight_decay exclude_weight_decay_conf
    scheduler scheduler_conf val_scheduler_criterion
    specaug specaug_conf
    rir_scp rir_apply_prob noise_scp noise_apply_prob noise_db_range
    log_level log_interval num_workers num_att_plot max_cache_size
    use_matplotlib use_tensorboard use_wandb wandb_project wandb_entity wandb_model_log_interval
    """.split()
)
TRAIN = {"train.max_epoch": check.whole(1)}
TAKEN_NAMES = (BASE, "best", "previous", "base")
ITEM_FORMS = ("cut", "every", "sweep", "control")  # an item of 'phases' has exactly one of these


def _is_criterion(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    part, metric, mode = value
    return part == "valid" and isinstance(metric, str) and mode in ("min", "max")


def _is_layer_order(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(name, str) and check.is_names(parts) for name, parts in value.items())


def _is_directory_name(value: object) -> bool:
    if not isinstance(value, str) or value.startswith("."):
        return False
    plain = value.translate(str.maketrans("", "", "_-."))
    return plain.isalnum()


PLAIN_NAME = Must(
    "a name without a directory", lambda value: isinstance(value, str) and "/" not in value
)
SETTINGS = {
    "dropout": check.one_of(DROPOUT),
    "tied": check.one_of(TIED),
    "init_param": check.one_of(INIT_PARAM),
    "train": Must("a mapping of ESPnet training options", check.MAPPING.holds),
}
HEADER = {
    "dev_criterion": Must("[valid, METRIC, min|max]", _is_criterion),
    "parent": PLAIN_NAME,
    "parent_model": PLAIN_NAME,
    "min_gain": Must("a number >= 0", lambda value: check.is_number(value) and value >= 0),
    "patience": check.whole(1),
    "layers": Must(
        "a mapping from layer name to a list of name prefixes, lowest layer first",
        _is_layer_order,
    ),
}
ITEM = {
    "control": check.one_of(CONTROL_KINDS),
    "every": check.whole(1),
    "cut": check.NAME,
    "start": check.NAME,
    "stop": check.NAME,
    "parent": check.NAME,
    "sweep": check.NAMES,
    "answers": check.NAMES,
    "seed": check.whole(0),
    "name": Must("a plain directory name", _is_directory_name),
}


def read_plan(path: Path | str) -> Plan:
    """Read the YAML file `path`; errors as in `parse_plan`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise TopdownError(f"cannot read the plan {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TopdownError(f"the plan {path} is not UTF-8 text") from None
    return parse_plan(text, str(path))


class _Loader(yaml.SafeLoader):
    """YAML without anything that executes, and without a key that stands twice.

    PyYAML itself takes the last of two equal keys.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                problem = f"the key '{key.value}' stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
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
    faults: list[str] = []
    plan = _plan(data, faults)
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise TopdownError(f"{source} has {len(faults)} fault(s):\n{lines}")
    return plan


def plan_text(plan: Plan) -> str:
    """The plan as YAML that `parse_plan` reads back to an equal plan."""
    default = Plan(entries=())
    data = {}
    for key, value in asdict(plan).items():
        if key != "entries" and value != getattr(default, key):
            data[key] = value
    data["phases"] = [_without_defaults(asdict(entry)) for entry in plan.entries]
    return yaml.safe_dump(_plain(data), sort_keys=False, allow_unicode=True)


def _without_defaults(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in item.items() if value not in (None, {})}


def _plain(value: Any) -> Any:
    """The same as dicts with text keys and lists, which YAML's safe dumper writes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _plan(data: Any, faults: list[str]) -> Plan:
    """The plan in `data`; what is wrong with it is added to `faults`, and then it is no plan."""
    if not isinstance(data, Mapping):
        faults.append(f"a plan is a mapping with 'phases', not {type(data).__name__}")
        return Plan(entries=())
    known = [field.name for field in fields(Plan) if field.name != "entries"]
    faults += check.unknown_keys(data, [*known, "phases"])
    items = data.get("phases")
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        faults.append("'phases' must be a list with at least one item, such as '- cut: decoder'")
        items = []
    values = {key: data[key] for key in known if data.get(key) is not None}
    faults += [f"the plan: {fault}" for fault in _settings_faults(values)]
    faults += check.faults(values, HEADER)
    entries = []
    for number, item in enumerate(items, 1):
        entries.append(_entry(item, f"phase item {number}", faults))
    if faults:
        return Plan(entries=())
    if values.get("dev_criterion") is not None:
        values["dev_criterion"] = tuple(values["dev_criterion"])
    return Plan(entries=tuple(entries), **values)


def _entry(item: Any, where: str, faults: list[str]) -> Entry:
    """One item of ``phases``; what is wrong with it is added to `faults`."""
    if not isinstance(item, Mapping):
        faults.append(f"{where} must be a mapping such as 'cut: decoder', not {item!r}")
        return Entry()
    known = [field.name for field in fields(Entry)]
    values = {key: item[key] for key in known if item.get(key) is not None}
    own = check.unknown_keys(item, known)
    own += _form_faults(values)
    own += check.faults(values, ITEM)
    if values.get("name") in TAKEN_NAMES:
        own.append(f"the name '{values['name']}' is taken")
    own += _settings_faults(values)
    faults += [f"{where}: {fault}" for fault in own]
    for key in ("sweep", "answers"):
        if check.is_names(values.get(key)):
            values[key] = (values[key],) if isinstance(values[key], str) else tuple(values[key])
    return Entry(**values)


def _form_faults(values: Mapping[str, Any]) -> list[str]:
    forms = [form for form in ITEM_FORMS if values.get(form) is not None]
    if len(forms) == 1 or forms == ["cut", "control"]:
        return []
    asked = ", ".join(forms) or "none"
    return [f"must have exactly one of {', '.join(ITEM_FORMS)}; it has {asked}"]


def _settings_faults(values: dict[str, Any]) -> list[str]:
    """Faults of the settings that a plan and its items share; YAML's `off` is put right."""
    check.read_off(values, "dropout")
    messages = check.faults(values, SETTINGS)
    train = values.get("train")
    if not isinstance(train, Mapping):
        return messages
    epochs = check.faults({"train.max_epoch": train.get("max_epoch")}, TRAIN)
    return messages + epochs + [_override_fault(key) for key in train if key not in OVERRIDES]


def _override_fault(key: str) -> str:
    return (
        f"train.{key} cannot differ from the base (architecture, tokens, data, normalisation, seed"
        f" and output_dir are the base's); {nearest(key, OVERRIDES)}"
    )
