"""YAML that anyone may have written, read without running, expanding or losing any of it."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import yaml

from espnet_topdown.errors import TopdownError

# Values that aliases may add: a text of 400 bytes can stand for thousands of millions.
MOST_ADDED = 1_000_000
# Explicit tags of YAML 1.1: their values are Python's dates, bytes, sets and tuples.
_NOT_OF_JSON = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("timestamp", "binary", "set", "omap", "pairs")
)


class _Loader(yaml.SafeLoader):
    """YAML without anything that executes, and aliases only as far as they can be written out."""

    def get_single_node(self) -> yaml.Node | None:
        # Before anything is made of the nodes: merge keys (<<) multiply there already.
        node = super().get_single_node()
        if node is not None:
            _check_size(node)
        return node


# In YAML 1.1, which PyYAML reads, 2026-11-27 is a date, which no JSON can hold.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag != "tag:yaml.org,2002:timestamp"]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag not in _NOT_OF_JSON
}


class _OwnLoader(_Loader):
    """Refuses a key that stands twice, of which PyYAML takes the last, and reads 1e-3 as a number.

    Files of ESPnet's need PyYAML's numbers: it wrote a token 1.e4 without quotes, as the text that
    it is to PyYAML.
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


class _OwnDumper(yaml.SafeDumper):
    """Quotes the text 1e-3, which `_OwnLoader` would read as a number."""


for _own in (_OwnLoader, _OwnDumper):
    _own.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )


def load_yaml(text: str, source: str, *, is_ours: bool = False) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        source: where it comes from, for messages.
        is_ours: whether it is a file of this package's: 1e-3 is a number there, as in YAML 1.2, and
            a key that stands twice in a mapping is refused. Else it is read as PyYAML does.

    Raises:
        TopdownError: it is not YAML, or its aliases stand for more than can be held.
    """
    try:
        return yaml.load(text, _OwnLoader if is_ours else _Loader)
    except RecursionError:
        raise TopdownError(f"{source} is not YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        # PyYAML raises a plain ValueError for a number that is none, such as 0x_.
        raise TopdownError(f"{source} is not YAML: {_told(error)}") from None


def dump_yaml(value: Any) -> str:
    """A file of ours, which `load_yaml` reads back to an equal value."""
    return yaml.dump(value, Dumper=_OwnDumper, sort_keys=False, allow_unicode=True)


def _told(error: Exception) -> str:
    """PyYAML's words, with the cure where it says no more than what it met."""
    # What it calls a text that it did not open itself; the message names the source.
    words = str(error).replace('in "<unicode string>", line', "in line")
    met_tab = "character '\\t'" in words
    return f"indent with spaces, not with tabs: {words}" if met_tab else words


def _check_size(root: yaml.Node) -> None:
    """Refuse aliases that add too much, or that stand inside their own anchor."""
    sizes: dict[int, int] = {}
    added = _size(root, sizes) - len(sizes)
    if added > MOST_ADDED:
        problem = (
            f"its aliases stand for more than {MOST_ADDED:,} values; write it out without them"
        )
        raise _fault(problem, root)


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The values that a node stands for; `sizes` has those of the nodes in it, 0 while open."""
    sizes[id(node)] = 0
    size = 1
    for child in _children(node):
        if sizes.get(id(child)) == 0:
            raise _fault("an alias stands inside its own anchor", child)
        size += sizes.get(id(child)) or _size(child, sizes)
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    match node:
        case yaml.MappingNode():
            yield from itertools.chain.from_iterable(node.value)
        case yaml.SequenceNode():
            yield from node.value


def _fault(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
