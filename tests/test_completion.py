"""Bash completes our command line, by the script that the command prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.cli import ACTIONS, main

pytest.importorskip("shtab", reason="needs shtab, which setup.py names")

# Bash calls a completion with the words of the line and the place of the one that is typed.
COMPLETE = """\
source completion.bash
COMP_WORDS=("$@")
COMP_CWORD=$(( $# - 1 ))
complete -p espnet-topdown > /dev/null || exit 9
_shtab_espnet_topdown
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe directory with the script, as a user's shell has it."""
    directory = tmp_path_factory.mktemp("recipe")
    words = [sys.executable, "-m", "espnet_topdown", "completion"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (directory / "completion.bash").write_text(done.stdout)
    (directory / "exp" / "asr_train").mkdir(parents=True)
    (directory / "rn dom.yaml").touch()
    return directory


def completed(place: Path, *words: str) -> set[str]:
    command = ["bash", "--noprofile", "--norc", "-c", COMPLETE, "bash", "espnet-topdown", *words]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.splitlines()) - {""}


def test_every_command_is_completed(place: Path) -> None:
    assert completed(place, "") >= set(ACTIONS)
    assert completed(place, "st") == {"status"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "--f"], {"--follow"}),
        (["run", "ex"], {"exp"}),
        (["run", "exp/asr_train", "--pl"], {"--plan"}),
        (["run", "exp/asr_train", "--plan", "rn"], {"rnn", "rn dom.yaml"}),
        (["results", "exp/"], {"exp/asr_train"}),
        (["decode", "--decode", "b"], {"best"}),
    ],
)
def test_options_files_plans_and_choices_are_completed(
    words: list[str], expected: set[str], place: Path
) -> None:
    assert completed(place, *words) == expected


def test_without_shtab_its_name_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit, match="1"):
        main(["completion"])
    assert "completion needs the package shtab: pip install shtab" in capsys.readouterr().err
