"""The reference of all keys of a plan, made of the rules that check them.

``espnet-topdown plan --keys`` prints it, and ``conf/topdown/KEYS.md`` is it.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from espnet_topdown.plan import rules
from espnet_topdown.plan.plan import Entry, Plan
from espnet_topdown.plan.rules import Key
from espnet_topdown.plan.topdown_conf import TopdownConf

WIDTH = 100
INTRODUCTION = """\
# Keys of a plan

A plan is YAML: a header, and under `phases` a list of items that are trained from the first to the
last. `espnet-topdown plan EXP --plan PLAN` checks it and prints its phases; all faults are told at
once. A key that is left out takes its default.

```yaml
parent: previous
train: {max_epoch: 20}
phases:
- cut: decoder
- {every: 2, stop: encoder.0}
- control: restart
```
"""


def reference() -> str:
    """All keys with their meaning, their rule, their default and an example, as Markdown."""
    item_forms = ", ".join(f"`{form}`" for form in rules.ITEM_FORMS)
    sections = [
        INTRODUCTION,
        _section("In the header", rules.HEADER, Plan(entries=())),
        _section("In the header, for all phases, or in an item", rules.PHASE, Plan(entries=())),
        _section("In an item", rules.ITEM, Entry()),
        _paragraph(
            f"An item has exactly one of {item_forms}; or `control` with `cut`, `keep` or `draw`;"
            " or none of them, with a `kind` that keeps everything or nothing."
        ),
        _section("In `train`", rules.TRAIN, None),
        _paragraph(
            f"And these of ESPnet's, as its training command takes them: {_other_options()}. What"
            " else a training has is the base's: architecture and normalisation; data and tokens"
            " have keys of their own."
        ),
        _section(
            "In `topdown_conf` of a training config: one phase", rules.TOPDOWN_CONF, TopdownConf()
        ),
    ]
    return "\n".join(sections)


def _other_options() -> str:
    """Training options that a plan may change and that have no rule of ours."""
    return ", ".join(f"`{option}`" for option in rules.OVERRIDES if option not in rules.TRAIN)


def _section(title: str, keys: Mapping[str, Key], defaults: Any) -> str:
    """A heading and an item for each key.

    Args:
        title: the heading.
        keys: what can stand there.
        defaults: an object whose attributes of the same names are the defaults; None where the
            base's settings are.
    """
    lines = [f"## {title}", ""]
    for name, key in keys.items():
        lines += _wrapped(f"- `{name}`: {'. '.join(_words(name, key, defaults))}.", indent="  ")
        lines += [f"  `{key.example}`", ""]
    return "\n".join(lines)


def _words(name: str, key: Key, defaults: Any) -> Iterator[str]:
    yield _capitalised(key.means)
    if key.valid:
        yield f"One of {', '.join(key.valid)}"
    else:
        yield f"It must be {key.be}"
    default = getattr(defaults, name, None)
    # The default of a key without a value is in its meaning.
    is_value = isinstance(default, str | int | float)
    if is_value:
        yield f"Default: {default}"


def _capitalised(text: str) -> str:
    # str.capitalize() makes the rest small: ESPnet's would be espnet's.
    return text[:1].upper() + text[1:]


def _paragraph(text: str) -> str:
    return "\n".join([*_wrapped(text), ""])


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
