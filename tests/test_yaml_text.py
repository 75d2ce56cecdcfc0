"""YAML of strangers: nothing in it executes, grows without end or is lost in silence."""

import tracemalloc
from pathlib import Path

import pytest
import yaml

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.plan.plan_file import parse_plan, plan_text, read_plan
from espnet_topdown.yaml_text import load_yaml


def bomb(form: str) -> str:
    """About 400 bytes that stand for 10^9 values and more."""
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 10):
        aliases = ", ".join([f"*l{level - 1}"] * 9)
        lines.append(form.format(f"l{level}: &l{level}", aliases))
    return "\n".join(lines) + "\n"


LISTS = bomb("{} [{}]")
MERGES = bomb("{} {{<<: [{}]}}").replace("[x, x, x, x, x, x, x, x, x]", "{x: 1}")
# Of twice the size of the one before each.
CHAIN = "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 1100))])
REFUSED = {
    "lists": (LISTS, "its aliases stand for .* values; write it out without them"),
    "merges": (MERGES, "its aliases stand for"),
    "inside itself": ("a: &a [*a]", "an alias stands inside its own anchor"),
    "deep": ("[" * 800, "it is nested too deeply"),
    "code": ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    "no number": ("0x_", "invalid literal for int"),
    "a date": ("!!timestamp 2026-11-27", "could not determine a constructor"),
    "a set": ("!!set {a, b}", "could not determine a constructor"),
    "bytes": ("!!binary aGVsbG8=", "could not determine a constructor"),
    "more than a float can count": (CHAIN, "its aliases stand for more than 1,000,000 values"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("read", [read_plan, read_config])
def test_what_is_not_to_be_held_is_refused_by_its_file_without_holding_it(
    case: str, read: object, tmp_path: Path
) -> None:
    text, message = REFUSED[case]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    tracemalloc.start()
    with pytest.raises(TopdownError, match=f"{path} is not YAML: (?s:.*){message}"):
        read(path)  # type: ignore[operator]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6


def test_aliases_that_spare_some_words_are_read() -> None:
    text = "a: &a {lr: 1}\nb: *a\nc: {<<: *a, d: 2}\n"
    assert load_yaml(text, "t") == {"a": {"lr": 1}, "b": {"lr": 1}, "c": {"lr": 1, "d": 2}}


def test_what_looks_like_a_date_is_text() -> None:
    for text in ("2026-11-27", "2026-11-27 10:00:00", "2020-99-99"):
        assert load_yaml(f"wandb_project: {text}", "t") == {"wandb_project": text}


def test_a_key_that_stands_twice_is_refused_where_that_is_asked() -> None:
    assert load_yaml("a: 1\na: 2", "t") == {"a": 2}
    with pytest.raises(TopdownError, match="t is not YAML: the key 'a' stands twice"):
        load_yaml("a: 1\na: 2", "t", is_ours=True)


def test_what_pyyaml_wrote_is_read_as_it_was(tmp_path: Path) -> None:
    """A config.yaml has every token of a vocabulary: without quotes where they are text to it."""
    numbers = ["1.e4", "1e5", "1E5", "1e-3", "-.5e3", "1_000", "0x1f", "0o17", "017", "12:30", ".5"]
    words = ["no", "Y", "null", "~", "=", "<<", "2016-09-26", ".inf", "", " ", "#", "- x", "*b"]
    signs = ["\x85", "\u2028", "\ufeff", "\U0001f600", "'", '"', "%", "@", "`", "|", ": "]
    values = [*numbers, *words, *signs, 1e-5, 1e20, float("inf"), 3, True, None]
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"token_list": values}), encoding="utf-8")
    assert read_config(path) == {"token_list": values}


def test_a_plan_s_number_may_be_written_as_in_yaml_1_2() -> None:
    for text, value in (("1e-3", 0.001), ("1.e4", 1e4), ("-.5E+1", -5.0), ("'1e-3'", "1e-3")):
        assert load_yaml(text, "t", is_ours=True) == value


def test_a_plan_s_copy_is_read_as_the_plan() -> None:
    """A cascade keeps one; a name there that looks like a number has quotes, too."""
    plan = parse_plan("phases: [{cut: decoder, name: '1e-3'}, {cut: encoder.1, name: '1.e4'}]")
    assert [entry.name for entry in plan.entries] == ["1e-3", "1.e4"]
    assert parse_plan(plan_text(plan)) == plan
