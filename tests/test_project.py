"""What stands beside the code: version, licence, citation and contributor's guide agree with it."""

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import espnet_topdown

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "espnet_topdown"


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py tells setuptools."""
    told: dict[str, Any] = {}
    setuptools = SimpleNamespace(setup=told.update, find_packages=lambda **_: [])
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    runpy.run_path(str(ROOT / "setup.py"))
    return told


@pytest.fixture
def citation() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_versions_agree(metadata: dict[str, Any], citation: dict[str, Any]) -> None:
    assert metadata["version"] == espnet_topdown.__version__
    assert citation["version"] == espnet_topdown.__version__


def test_licences_agree(metadata: dict[str, Any], citation: dict[str, Any]) -> None:
    text = (ROOT / "LICENSE").read_text()
    assert metadata["license"] == citation["license"] == "Apache-2.0"
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in text


def test_paper_to_cite_is_the_readmes(citation: dict[str, Any]) -> None:
    paper = citation["preferred-citation"]
    bibtex = (ROOT / "README.md").read_text().split("```bibtex")[1]
    names = [f"{author['family-names']}, {author['given-names']}" for author in paper["authors"]]
    assert f"author = {{{' and '.join(names)}}}" in bibtex
    assert f"title = {{{paper['title']}}}" in bibtex
    assert f"year = {{{paper['year']}}}" in bibtex


def test_code_map_names_every_folder_of_the_package() -> None:
    code_map = (ROOT / "CONTRIBUTING.md").read_text().split("## Code map")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in code_map.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)/`", row)}
    assert len(rows) == 9
    assert named == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_files_that_the_contributors_guide_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|sh|md))`", text)
    assert len(names) > 12
    places = (ROOT, PACKAGE, ROOT / "egs2/TEMPLATE", ROOT / "egs2/mini_an4/asr1")
    missing = [name for name in names if not any((place / name).exists() for place in places)]
    assert missing == ["corpora/NAME.py", "tests/corpora/fake_NAME.py"]


def test_make_takes_an_environment_whose_name_has_a_blank(tmp_path: Path) -> None:
    venv = tmp_path / "my venv"
    tools = ("ruff", "mypy", "shellcheck")
    for name in tools:
        tool = venv / "bin" / name
        tool.parent.mkdir(parents=True, exist_ok=True)
        tool.write_text(f"#!/bin/sh\necho ran {name}\n")
        tool.chmod(0o755)
    # What has been installed is newer than setup.py.
    for stamp in (".installed", ".linters"):
        (venv / stamp).touch()
    command = ["make", "lint", f"VENV={venv}", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("ran ")] == [
        "ran ruff",
        "ran ruff",
        "ran mypy",
        "ran shellcheck",
    ]


def test_make_names_what_is_no_python_and_the_cure() -> None:
    command = ["make", "install", "PYTHON=python3.99"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert "python3.99 is no Python that runs; choose one of 3.11 to 3.13 with PYTHON=" in said
    # Make's own line alone stands beside it.
    assert len(said.splitlines()) == 2


@pytest.mark.parametrize("can_have_all", [True, False])
def test_make_says_what_it_installs_before_pip_is_silent(
    can_have_all: bool, tmp_path: Path
) -> None:
    python = tmp_path / "python3"
    # Its environment is a directory with a pip that takes the tested versions, or refuses them.
    python.write_text(
        '#!/bin/sh\ncase "$*" in *%d.%d*) echo 3.11 ;; '
        f"*--constraint*) {'true' if can_have_all else 'false'} ;; "
        '*venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;; esac\n'
    )
    python.chmod(0o755)
    command = ["make", "install", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    # A continued line of make's is two of these.
    shown = [line.split()[0] for line in said if line.strip()[:4] != "echo"]
    pip = f'"{tmp_path}/venv/bin/python"'
    assert shown == [str(python), "Installing", pip, pip, "touch"]
    assert (
        "Not all versions of .ci/constraints-3.11.txt fit here: taking the newest that do"
        in done.stderr
    ) is not can_have_all


def test_nothing_stands_at_the_top_by_accident() -> None:
    # Some programs leave downloads and locks where they were started.
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout, or no git")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    top = {line.split("/")[0] for line in files.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE"),
        *("setup.py", "pyproject.toml", "Makefile"),
        *("espnet_topdown", "egs2", "conf", "tests", "benchmarks"),
    }
