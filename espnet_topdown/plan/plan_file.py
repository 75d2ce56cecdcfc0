"""Plans as files: reading and checking YAML without a model, and writing it.

All faults of a plan are reported at once, each with its place and the nearest valid names.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from espnet_topdown import check, recognise
from espnet_topdown.errors import TopdownError, listed, nearest
from espnet_topdown.plan import rules, stopping
from espnet_topdown.plan.kinds import KINDS, THAW
from espnet_topdown.plan.plan import Entry, Plan
from espnet_topdown.plan.shipped import shipped_plans
from espnet_topdown.plan.sides import PARTING, choice_faults, kind_of
from espnet_topdown.plan.stopping import StopEarly
from espnet_topdown.yaml_text import dump_yaml, load_yaml

# How a value of YAML becomes that of a `Plan` or an `Entry`; what is not here stays as it is.
_READ_BY: Mapping[str, Callable[[Any], Any]] = {
    "dev_criterion": tuple,
    "stop_early": StopEarly.read,
    **dict.fromkeys(("sweep", "answers", "keep", "draw"), check.as_names),
}


def read_plan(path: Path | str) -> Plan:
    """The plan in the YAML file `path`.

    Raises:
        TopdownError: it cannot be read; or as `parse_plan`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        shipped = ", ".join(shipped_plans())
        own = Path("conf/topdown", f"{path}.yaml")
        here = f"; this recipe's own is given as {own}" if own.is_file() else ""
        raise TopdownError(
            f"cannot read the plan {path}: {error.strerror}{recognise.but(Path(path))}{here};"
            f" shipped, and taken by name, are {shipped}"
        ) from None
    except UnicodeDecodeError:
        what = recognise.but(Path(path))
        raise TopdownError(f"the plan {path} is not UTF-8 text{what}") from None
    return parse_plan(text, str(path))


def parse_plan(text: str, source: str = "plan") -> Plan:
    """The plan in the YAML `text`, checked without a model.

    Args:
        text: YAML.
        source: where it comes from, for messages.

    Raises:
        TopdownError: every fault, one a line, each with the place in the plan and the nearest valid
            names.
    """
    data = load_yaml(text, source, is_ours=True)
    kind = recognise.kind_of_data(data)
    if kind not in (recognise.PLAN, ""):
        # Not each of its keys, which may be hundreds.
        raise TopdownError(
            f"{source} is not a plan but {kind}; give a plan such as conf/topdown/rnn.yaml, or a"
            f" shipped one by its name: {', '.join(shipped_plans())}"
        )
    faults = _plan_faults(data)
    check.refuse(faults, f"{source} has {len(faults)} fault(s)")
    return _plan(data)


def plan_text(plan: Plan) -> str:
    """The plan as YAML that `parse_plan` reads back to an equal plan."""
    data = _given_keys(plan, Plan(entries=()))
    data.pop("entries", None)
    data["phases"] = [_given_keys(entry, Entry()) for entry in plan.entries]
    return dump_yaml(_plain(data))


def _given_keys(item: Plan | Entry, default: Plan | Entry) -> dict[str, Any]:
    values = asdict(item).items()
    return {key: value for key, value in values if value != getattr(default, key)}


def _plain(value: Any) -> Any:
    """The same as dicts with text keys and lists, which YAML's safe dumper writes."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return list(map(_plain, value))
        case _:
            return value


def _known(of: type[Plan] | type[Entry]) -> list[str]:
    """Keys that a plan's header or item can have."""
    # `entries` are `phases` in the file.
    return [field.name for field in fields(of) if field.name != "entries"]


def _given(data: Mapping[str, Any], of: type[Plan] | type[Entry]) -> dict[str, Any]:
    """The known keys with what they were given; None takes the default."""
    values = {key: data[key] for key in _known(of) if data.get(key) is not None}
    check.read_off(values, "dropout")
    return values


def _read(data: Mapping[str, Any], of: type[Plan] | type[Entry]) -> dict[str, Any]:
    """The values of a plan's header or item in which nothing is wrong, as `of` holds them."""
    values = _given(data, of)
    for key in _READ_BY.keys() & values.keys():
        values[key] = _READ_BY[key](values[key])
    return values


def _plan(data: Mapping[str, Any]) -> Plan:
    """The plan in `data`, in which nothing is wrong."""
    entries = tuple(Entry(**_read(item, Entry)) for item in data["phases"])
    return Plan(entries=entries, **_read(data, Plan))


def _plan_faults(data: Any) -> list[str]:
    """Everything that is wrong with a plan."""
    if not isinstance(data, Mapping):
        found = "nothing" if data is None else "something else"
        if isinstance(data, list):
            found = "a list, above which 'phases:' is missing"
        return [f"a plan has 'phases:' and below it items such as '- cut: decoder'; found {found}"]
    faults = check.unknown_keys(data, [*_known(Plan), "phases"])
    items = data.get("phases")
    if not isinstance(items, list) or not items:
        faults.append("'phases' must be a list with at least one item, such as '- cut: decoder'")
        items = []
    values = _given(data, Plan)
    faults += [f"the plan: {fault}" for fault in _phase_faults(values)]
    faults += check.faults(values, rules.HEADER)
    for number, item in enumerate(items, 1):
        faults += _item_faults(item, f"phase item {number}")
    return faults


def _item_faults(item: Any, where: str) -> list[str]:
    """Everything that is wrong with an item of ``phases``."""
    if not isinstance(item, Mapping):
        return [f"{where} must be a mapping such as 'cut: decoder', not {item!r}"]
    values = _given(item, Entry)
    kind = str(values.get("kind", THAW))
    name = str(values.get("name"))
    # Of the item itself: `values` has the known keys alone.
    faults = check.unknown_keys(item, _known(Entry))
    if values.get("thaw") and kind != THAW:
        faults.append(f"thaw: true is kind thaw, not {kind}; leave one of them out")
    faults += _form_faults(values)
    faults += [
        f"{key} does nothing without {needed}: give {needed}, or leave {key} out"
        for key, needed in rules.ACTS_WITH.items()
        if {key, needed} & values.keys() == {key}
    ]
    faults += [
        f"a control has the {key} of the phase that it answers; leave {key} out"
        for key in rules.NOT_OF_CONTROLS
        if {key, "control"} <= values.keys()
    ]
    faults += check.faults(values, rules.ITEM)
    faults += _stop_faults(values)
    faults += choice_faults(str(values.get("control") or kind_of(values)), values)
    if name.casefold() in rules.TAKEN_NAMES:
        faults.append(f"the name '{name}' is taken; give another")
    faults += _phase_faults(values)
    return [f"{where}: {fault}" for fault in faults]


def _form_faults(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the one key that says what an item is."""
    if "control" in values:
        if values.get("kind") or values.get("thaw"):
            return ["is a control or a candidate: give control or kind, not both"]
        # A control may have a cut or layers of its own, but no more than one.
        allowed = [{"control"}, *({"control", own} for own in PARTING)]
    else:
        kind = KINDS.get(kind_of(values))
        allowed = [{form} for form in rules.ITEM_FORMS]
        # A kind that keeps everything or nothing needs none.
        if kind and not kind.is_parted:
            allowed.append(set())
    forms = [form for form in rules.ITEM_FORMS if form in values]
    # What else stands there is told after the control.
    forms.sort(key=lambda form: form != "control")
    if set(forms) in allowed:
        return []
    return [f"must have exactly one of {', '.join(rules.ITEM_FORMS)}; it has {listed(forms)}"]


def _stop_faults(values: Mapping[str, Any]) -> list[str]:
    if "stop_early" in values and values.keys().isdisjoint({"sweep", "control"}):
        fault = (
            "stop_early ends variants that do not depend on one another: a sweep's phases, or the"
            " controls of one item; here it would end a link of a chain, whose child would change"
        )
        return [fault]
    return stopping.faults(values.get("stop_early"))


def _phase_faults(values: Mapping[str, Any]) -> list[str]:
    """Faults of the keys that a plan and its items share."""
    faults = check.faults(values, rules.PHASE)
    train = values.get("train")
    if not isinstance(train, Mapping):
        return faults
    # None too: these options of ESPnet's have no such value, but for those of what is off.
    off = {f"{key}_conf" for key, value in train.items() if value is None}
    asked = {**dict.fromkeys(rules.CONFS, check.MAPPING), **rules.TRAIN}
    faults += [
        f"train.{rule.fault(key, train[key])}"
        for key, rule in asked.items()
        if key in train and not rule.holds(train[key]) and not (train[key] is None and key in off)
    ]
    faults += [
        f"train.{key} cannot differ from the base (architecture, normalisation, seed and"
        " output_dir are the base's; other lists are given as 'data:', another token list as"
        f" 'tokens:'); {nearest(key, rules.OVERRIDES)}"
        for key in train
        if key not in rules.OVERRIDES
    ]
    return faults
