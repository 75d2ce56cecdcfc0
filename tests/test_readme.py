"""What the README shows is run: its library example, its plan, its commands, the files it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.cli_parser import parser
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import parse_plan

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The README's code blocks in a language, without their indent."""
    fences = re.findall(rf"^( *)```{language}\n(.*?)^ *```", TEXT, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in fences]


def test_library_example_prints_a_phase_a_line() -> None:
    (code,) = blocks("python")
    assert len(code.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first = (
        "phase1 decoder 1000 frozen: decoder.0 output fresh: encoder.embed encoder.0 encoder.1"
        " encoder.2 encoder.3"
    )
    assert done.stdout.splitlines()[0] == first
    assert len(done.stdout.splitlines()) == 3


def test_plan_is_a_plan() -> None:
    plan = parse_plan(next(block for block in blocks("yaml") if "phases:" in block))
    names = ("encoder.embed", *(f"encoder.{k}" for k in range(4)), "decoder.0", "output")
    assert [p.cut for p in expand(plan, names, 0) if not p.is_control] == [
        "decoder",
        "encoder.2",
        "encoder.0",
    ]


@pytest.mark.parametrize(
    "line",
    [line for block in blocks("sh") for line in block.splitlines() if "espnet-topdown" in line],
)
def test_command_is_understood(line: str) -> None:
    words = line.split("#")[0].split("|")[0].split()
    parser().parse_args(words[1:])


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"make {target}" in TEXT


def test_files_that_it_names_exist() -> None:
    links = re.findall(r"\]\(([\w/.]+)\)", TEXT)
    recipes = re.findall(r"^\| `(egs2/[\w/]+)`", TEXT, re.MULTILINE)
    assert len(recipes) == 5
    assert [path for path in [*links, *recipes] if not (ROOT / path).exists()] == []


def test_results_come_from_the_generated_tables() -> None:
    section = TEXT.partition("\n## Results\n")[2].partition("\n## ")[0]
    generated: set[str] = set()
    for path in re.findall(r"\]\((egs2/[\w/]+RESULTS\.md)\)", section):
        generated |= set((ROOT / path).read_text().splitlines())
    rows = {line for line in section.splitlines() if line.startswith("|")}
    assert len(rows) > 4
    assert rows - generated == set()


def test_error_rates_of_the_recipe_come_from_its_tables() -> None:
    recipe = ROOT / "egs2/fsdd/asr1"
    told = set(re.findall(r"\d+\.\d\d(?= %)", (recipe / "README.md").read_text()))
    assert len(told) > 4
    assert told <= set(re.findall(r"\d+\.\d\d", (recipe / "RESULTS.md").read_text()))


def test_tested_classes_are_those_that_the_tests_build() -> None:
    import tested

    assert tested.table() in TEXT
