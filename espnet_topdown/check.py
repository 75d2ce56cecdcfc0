"""Checks of mappings that people or other programs wrote: what each key must hold, in words.

The only schema checker here: plans, `topdown_conf`, training configs, records, ledgers and model
facts all give `faults` their rules. Nothing is repaired.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espnet_topdown.errors import TopdownError, nearest


@dataclass(frozen=True)
class Must:
    """A rule for one value.

    Args:
        be: what it must be, in words that end the sentence "KEY must be ...".
        holds: whether a value is that.
        valid: the names to choose from, where there are such; the message gives the nearest.
    """

    be: str
    holds: Callable[[Any], bool]
    valid: tuple[str, ...] = ()

    def fault(self, key: str, value: object) -> str:
        """The message about a value that breaks the rule."""
        if self.valid:
            return f"{key} {value!r} is unknown; {nearest(str(value), self.valid)}"
        return f"{key} must be {self.be}, not {value!r}"


def faults(values: Mapping[str, Any], rules: Mapping[str, Must]) -> list[str]:
    """A message for every value that breaks its rule, in the order of `rules`.

    A key that is absent or None breaks none: what is left out takes its default.
    """
    given = {key: values[key] for key in rules if values.get(key) is not None}
    return [
        rules[key].fault(key, value) for key, value in given.items() if not rules[key].holds(value)
    ]


def lacking(values: Mapping[str, Any], rules: Mapping[str, Must]) -> list[str]:
    """The keys of `rules` that `values` lacks or whose rule it breaks, for files of our own."""
    return [key for key, rule in rules.items() if key not in values or not rule.holds(values[key])]


def refuse(faults: Iterable[str], title: str) -> None:
    """Raise all `faults` as one error under `title`, each on its own line, repeated ones once.

    Raises:
        TopdownError: there is a fault.
    """
    lines = [f"\n  - {fault}" for fault in dict.fromkeys(faults)]
    if lines:
        raise TopdownError(f"{title}:{''.join(lines)}")


def refuse_in(source: object, faults: Iterable[str]) -> None:
    """Raise all `faults` as one error, each on its own line behind `source`, repeated ones once.

    Raises:
        TopdownError: there is a fault.
    """
    lines = [f"{source}: {fault}" for fault in dict.fromkeys(faults)]
    if lines:
        raise TopdownError("\n".join(lines))


def refuse_options(name: str, faults: Sequence[str]) -> None:
    """Raise all `faults` of the options `name`, such as ``lm_conf``, as one line.

    Raises:
        TopdownError: there is a fault.
    """
    if faults:
        raise TopdownError(f"{name}: {'; '.join(faults)}")


def unknown_keys(values: Mapping[str, Any], known: Iterable[str]) -> list[str]:
    """A message for every key of `values` that is not in `known`, with the nearest that are."""
    known = list(known)
    unknown = [key for key in values if key not in known]
    return [f"unknown key '{key}'; {nearest(key, known)}" for key in unknown]


def read_off(values: dict[str, Any], key: str) -> None:
    """Take YAML's bare `off`, which YAML 1.1 reads as False, for the word that was written."""
    if values.get(key) is False:
        values[key] = "off"


# ESPnet writes null for an option that is not set, and leaves out one that came later.


def mapping_in(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under a key, such as ``optim_conf``; empty where it is null or not there."""
    nested: Mapping[str, Any] = values.get(key) or {}
    return nested


def list_in(values: Mapping[str, Any], key: str) -> Sequence[Any]:
    """The list under a key, such as ``init_param``; empty where it is null or not there."""
    items: Sequence[Any] = values.get(key) or ()
    return items


def whole(least: int) -> Must:
    """A whole number of at least `least`; True and False are none."""

    def holds(value: Any) -> bool:
        return is_whole(value) and value >= least

    at_least = "> 0" if least == 1 else f">= {least}"
    return Must(f"a whole number {at_least}", holds)


def one_of(valid: Iterable[str]) -> Must:
    """One of the names `valid`."""
    names = tuple(valid)
    return Must("a known name", lambda value: value in names, names)


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; True and False are none."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return bool(is_real and math.isfinite(value))


def is_text(value: Any) -> bool:
    """Whether `value` is text."""
    return isinstance(value, str)


def is_name(value: Any) -> bool:
    """Whether `value` is text, and not the empty one."""
    return is_text(value) and bool(value)


def is_mapping(value: Any) -> bool:
    """Whether `value` is a mapping."""
    return isinstance(value, Mapping)


def all_in_list(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether a value is a list, be it empty, each of whose items `holds`."""
    return lambda value: isinstance(value, list | tuple) and all(map(holds, value))


def is_names(value: Any) -> bool:
    """Whether `value` is a name or a list of at least one."""
    if isinstance(value, str):
        return is_name(value)
    return bool(value) and all_in_list(is_name)(value)


def as_names(value: str | Sequence[str]) -> tuple[str, ...]:
    """The names that `is_names` accepts: a single one may stand without a list."""
    return (value,) if isinstance(value, str) else tuple(value)


# Whether a value is a list of mappings, be it empty.
are_rows = all_in_list(is_mapping)

TEXT = Must("text", is_text)
NAME = Must("a name", is_name)
NAMES = Must("a list of names", is_names)
SWITCH = Must("true or false", lambda value: isinstance(value, bool))
MAPPING = Must("a mapping", is_mapping)
LIST = Must("a list", lambda value: isinstance(value, list))
ROWS = Must("a list of mappings", are_rows)
NUMBER = Must("a number", is_number)
WHOLE = Must("a whole number", is_whole)
NOT_NEGATIVE = Must("a number >= 0", lambda value: is_number(value) and value >= 0)
