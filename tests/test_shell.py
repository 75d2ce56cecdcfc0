"""Shell scripts: short lines, clean under shellcheck, each stage defined once."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAX_COLUMNS = 100
MADE_BY_RECIPES = {"exp", "data", "dump"}


def is_ours(path: Path) -> bool:
    """Whether a script is in the repository: no link to one, and not made by a recipe."""
    return not path.is_symlink() and not MADE_BY_RECIPES & set(path.relative_to(ROOT).parts)


FOLDERS = ("egs2", "tests", "benchmarks")
SCRIPTS = [path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.sh") if is_ours(path)]
SCRIPTS.append(ROOT / ".ci/run")


def test_scripts_of_all_folders_are_seen() -> None:
    names = {str(path.relative_to(ROOT)) for path in SCRIPTS}
    assert {"egs2/TEMPLATE/common.sh", "egs2/mini_an4/asr1/run.sh", "tests/slurm/run.sh"} <= names


# Those that do nothing but hand their options on.
RUNS = [
    path
    for name in ("run.sh", "run_small.sh")
    for path in ROOT.glob(f"egs2/**/{name}")
    if is_ours(path)
]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: str(path.relative_to(ROOT)))
def test_who_ends_a_recipe_ends_what_it_runs(path: Path) -> None:
    """A signal to the process of run.sh alone must reach the script that has the trainings."""
    commands = path.read_text().split("\n\n")[-1].splitlines()
    assert commands[0].startswith("exec ")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_line_of_a_script_is_long(path: Path) -> None:
    lines = path.read_text().splitlines()
    long = [f"line {n}: {line}" for n, line in enumerate(lines, 1) if len(line) > MAX_COLUMNS]
    assert long == []


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not on PATH")
def test_scripts_are_clean_under_shellcheck() -> None:
    done = subprocess.run(["shellcheck", *SCRIPTS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_stages_of_a_cascade_stand_once() -> None:
    templates = [path for path in SCRIPTS if "TEMPLATE" in path.parts]
    for definition in ("do_stage() {", "need() {", 'log "Stage 18:'):
        holders = [path.name for path in templates if definition in path.read_text()]
        assert holders == ["common.sh"], definition
