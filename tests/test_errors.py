"""What users see of an error: the program as they call it, and no traceback for a file's fault."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, program, reported, reported_in

PACKAGE = "/site-packages/espnet_topdown"


@pytest.mark.parametrize(
    ("argv0", "name"),
    [
        ("/venv/bin/espnet-topdown", "espnet-topdown"),
        (f"{PACKAGE}/__main__.py", "espnet-topdown"),
        (f"{PACKAGE}/cli.py", "espnet-topdown"),
        (f"{PACKAGE}/recipe/__main__.py", "espnet_topdown.recipe"),
        (f"{PACKAGE}/corpora/fsdd.py", "espnet_topdown.corpora.fsdd"),
        # A checkout in a directory of the same name.
        ("/src/espnet_topdown/espnet_topdown/lm/data.py", "espnet_topdown.lm.data"),
        # As the warm process calls its children.
        ("espnet_topdown.bin.model_facts", "espnet_topdown.bin.model_facts"),
        ("espnet2.bin.asr_train", "espnet2.bin.asr_train"),
    ],
)
def test_messages_name_the_program(argv0: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [argv0])
    assert program() == name


OTHERS = [
    "srun: error: Unable to create step",
    "gcc: error: no input files",
    "ValueError: error: x",
]
OURS = {
    "espnet-topdown: error: a": "a",
    "espnet_topdown.bin.train: error: a": "a",
    "train.py: error: a": "a",
    "python3 -m espnet_topdown.bin.model_facts: error: a": "a",
    "espnet-topdown run: error: argument --jobs: b": "argument --jobs: b",
}


@pytest.mark.parametrize("line", OTHERS)
def test_errors_of_other_programs_are_not_taken_for_ours(line: str) -> None:
    assert reported_in([line]) is None
    ours = "espnet_topdown.bin.train: error: ours"
    assert reported_in([line, ours, "  - more", line]) == "ours\n  - more"


@pytest.mark.parametrize("line", OURS)
def test_our_errors_are_found_in_a_log(line: str) -> None:
    assert reported_in(["INFO: 1/3epoch started", line]) == OURS[line]


def test_a_fault_of_the_system_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="1"), reported():
        (tmp_path / "none").read_text()
    said = capsys.readouterr().err
    assert said.endswith(f"{tmp_path}/none: No such file or directory; mend that and run again\n")
    with pytest.raises(FileNotFoundError), reported(system_faults=False):
        (tmp_path / "none").read_text()


def test_a_name_that_is_no_utf_8_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xe9"))
    with pytest.raises(SystemExit, match="1"), reported():
        files.write_text(tmp_path / "a.json", f'{{"base": "{place}"}}')
    assert "/b\\udce9; rename it and run again" in capsys.readouterr().err


def test_a_fault_of_a_library_keeps_its_traceback() -> None:
    with pytest.raises(OSError, match="no library"), reported():
        raise OSError("no library")


def test_a_reader_that_has_gone_is_no_error() -> None:
    code = "from espnet_topdown.errors import reported\nwith reported():\n    print('x\\n' * 99999)"
    command = f'"{sys.executable}" -c "{code}" | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("x\n", "")
    # But a command that was not done with its work has not succeeded.
    assert done.returncode == 141


def test_a_topdown_error_ends_with_status_1(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="1"), reported():
        raise TopdownError("nothing fits")
    assert capsys.readouterr().err.endswith(": error: nothing fits\n")


def test_every_line_of_a_message_is_found_in_a_log(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["espnet-topdown"])
    message = "one fault\nanother fault\n  of two lines"
    with pytest.raises(SystemExit), reported():
        raise TopdownError(message)
    log = [*capsys.readouterr().err.splitlines(), "# Ended (code 1)"]
    found = reported_in(log)
    assert found is not None
    told = [line.strip() for line in found.splitlines()]
    assert told == ["one fault", "another fault", "of two lines"]
