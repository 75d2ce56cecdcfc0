"""What the README and the page behind it show is run: commands, plans, configs, library, links."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import yaml

from espnet_topdown.cli import main
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import parse_plan

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BEHIND = (ROOT / "espnet_topdown/README.md").read_text()
MOST_WORDS = 900
CASCADE = Path("exp/asr_train_x_topdown_plan")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a page in a language, without their indent."""
    fences = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", body, flags=re.MULTILINE) for indent, body in fences]


def commands(text: str) -> list[str]:
    """The lines of its shell blocks, without comments."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines]


def ours(text: str) -> list[list[str]]:
    """The words of each ``espnet-topdown`` command, after its name."""
    lines = [line.split() for line in commands(text)]
    return [words[1:] for words in lines if words[0] == "espnet-topdown"]


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_library_example_prints_a_phase_a_line() -> None:
    (code,) = blocks(BEHIND, "python")
    assert len(code.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first = (
        "phase1 decoder 1000 frozen: decoder.0 output fresh: encoder.embed encoder.0 encoder.1"
        " encoder.2 encoder.3"
    )
    assert done.stdout.splitlines()[0] == first
    assert len(done.stdout.splitlines()) == 3


def readme_plan() -> str:
    return next(block for block in blocks(README, "yaml") if "phases:" in block)


def test_plan_is_the_one_of_its_comments() -> None:
    names = ("encoder.embed", *(f"encoder.{k}" for k in range(4)), "decoder.0", "output")
    phases = expand(parse_plan(readme_plan()), names, 0)
    assert [p.cut for p in phases if not p.is_control] == ["decoder", "encoder.2", "encoder.0"]
    assert sum(p.is_control for p in phases) == 3


@pytest.fixture(scope="module")
def recipe(
    warm_process: str, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A recipe directory with the README's plan, its base, and a run.sh that decodes nothing."""
    from espnet_topdown.bin.train import main as train

    directory = tmp_path_factory.mktemp("recipe")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        config = tiny.asr_config("transformer", "rnn")
        train(tiny.command(data, Path("exp/asr_train_x"), config))
        Path("plan.yaml").write_text(readme_plan())
        Path("path.sh").touch()
        Path("run.sh").write_text('#!/bin/sh\nprintf "%s " "$@" >> called\necho >> called\n')
        Path("run.sh").chmod(0o755)
        yield directory


def test_commands_of_a_cascade_run_one_after_another(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ours(README):
        main([*words, "--threads", "1"] if words[0] == "run" else words)
    said = capsys.readouterr().out
    assert "decoder.1" in said
    assert (CASCADE / "best").exists() and (CASCADE / "report.html").exists()
    finished = {path.parent.name for path in CASCADE.glob("*/record.json")}
    assert finished == {"phase1", "phase2", "restart_phase1", "restart_phase2"}
    # Each phase, by the recipe's own run.sh.
    assert len(Path("called").read_text().splitlines()) == 4
    # What the page behind it adds; two cascades of one base, from one.
    for name in ("x_topdown_rnn", "x_topdown_slow"):
        shutil.copytree(CASCADE, f"exp/{name}", symlinks=True)
    for words in ours(BEHIND):
        main([word.replace("egs2/", f"{ROOT}/egs2/") for word in words])
    assert Path("exp/both/RESULTS.md").exists()


def test_one_phase_by_one_config(recipe: Path, data: Path) -> None:
    """The config trains a phase, and the recipe's scripts take the options."""
    from espnet_topdown.bin.train import main as train

    added = yaml.safe_load(blocks(section(README, "In your ESPnet"), "yaml")[0])
    config = tiny.asr_config("transformer", "rnn") | added
    train(tiny.command(data, Path("exp/by_config"), config))
    assert "proof" in " ".join(path.name for path in Path("exp/by_config").rglob("*"))
    (line,) = [line for line in commands(README) if line.startswith("./run.sh --stage 11")]
    assert line.endswith(
        '--asr_config conf/train_x_topdown.yaml --python "python3 -m espnet_topdown"'
    )
    asr = ROOT / "egs2/TEMPLATE/asr1/asr.sh"
    options = f"{line.removeprefix('./run.sh')} --print_asr_exp true"
    done = subprocess.run(["bash", "-c", f"{asr}{options}"], capture_output=True, text=True)
    assert done.stdout == "exp/asr_train_x_topdown_raw_bpe30\n", done.stderr


def test_every_other_command_is_run_by_ci_or_a_test_of_its_own() -> None:
    ci = (ROOT / ".ci/run").read_text()
    makefile = (ROOT / "Makefile").read_text()
    own = {"egs2/TEMPLATE/new_recipe.sh mycorpus": "tests/recipe/test_new_recipe.py"}
    for line in {*commands(README), *commands(BEHIND)}:
        words = line.split()
        if words[0] == "make":
            assert line in ci
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE)
        elif words[0] == "pip":
            assert f"-m {line}\n" in ci
        elif line in own:
            assert (ROOT / own[line]).exists() and (ROOT / words[0]).exists()
        else:
            # In the tests above.
            assert words[0] == "espnet-topdown" or line.startswith("./run.sh --stage 11"), line
    assert "make mini_an4" in README and "make mini_an4" in ci


@pytest.mark.parametrize("page", ["README.md", "espnet_topdown/README.md"])
def test_what_it_links_to_exists(page: str) -> None:
    place = ROOT / page
    links = re.findall(r"\]\(([\w./-]+)(?:#([\w-]+))?\)", place.read_text())
    assert len(links) > 5
    for path, anchor in links:
        target = place.parent / path
        assert target.exists(), path
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        anchors = {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in headings}
        assert not anchor or anchor in anchors


def test_recipes_of_the_table_are_all_there_are() -> None:
    named = re.findall(r"^\| `(egs2/[\w/]+)`", README, re.MULTILINE)
    there = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("egs2/*/*/run.sh")}
    assert set(named) == there
    assert len(named) == 6


def test_results_come_from_the_generated_tables() -> None:
    rows = [line.split("|")[1:-1] for line in section(README, "Results").splitlines()]
    rows = [row for row in rows if len(row) == 6][2:]
    assert len(rows) == 6
    generated: list[list[str]] = []
    for model, question, *numbers in rows:
        link = re.search(r"\((.*)\)", model)
        if link:
            lines = (ROOT / link[1]).read_text().splitlines()
            generated = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
        found = [row for row in generated if row[0].startswith(question) and {*numbers} <= {*row}]
        assert found, (question, numbers)


def test_error_rates_of_the_recipe_come_from_its_tables() -> None:
    recipe = ROOT / "egs2/fsdd/asr1"
    told = set(re.findall(r"\d+\.\d\d(?= %)", (recipe / "README.md").read_text()))
    assert len(told) > 4
    assert told <= set(re.findall(r"\d+\.\d\d", (recipe / "RESULTS.md").read_text()))


def test_tested_classes_are_those_that_the_tests_build() -> None:
    import tested

    assert tested.table() in BEHIND
