"""A run.sh that is killed alone, and its rerun at once: no step is left to write beside it."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import SETS, TEMPLATE, run
from waiting import wait_until

import espnet_topdown
from espnet_topdown.processes import has_ended
from espnet_topdown.recipe import datadir

ROOT = Path(espnet_topdown.__file__).parents[1]
COMMON = ROOT / "egs2/TEMPLATE/common.sh"
# Holds a directory as a stage does, and does its work in a child.
STAGE = f"set -euo pipefail; . {COMMON}; hold out out; sh -c "


def test_a_rerun_waits_for_what_a_killed_script_left_writing(tmp_path: Path) -> None:
    first_work = "echo > began; while [ ! -e go ]; do sleep 0.02; done; echo first >> out/lines"
    words = ["bash", "-c", f"{STAGE} '{first_work}'; true"]
    first = subprocess.Popen(words, cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    first.kill()
    first.wait()
    second = subprocess.Popen(
        ["bash", "-c", f"{STAGE} 'echo second >> out/lines'"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    assert "out is in use by another run; waiting" in second.stdout.readline()
    (tmp_path / "go").touch()
    assert second.wait() == 0
    assert (tmp_path / "out/lines").read_text() == "first\nsecond\n"


def lock_in_bash(use: str) -> str:
    """What a script says that uses directories so, and gives way at once where it must wait."""
    words = ["bash", "-c", f". {COMMON}; {use}; echo it has them"]
    script = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert script.stdout is not None
    said = script.stdout.readline()
    script.kill()
    script.wait()
    return said


def test_who_reads_keeps_writers_out_and_lets_readers_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = f". {COMMON}; hold dump; share dump; echo; exec sleep 60"
    with subprocess.Popen(["bash", "-c", first], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        assert lock_in_bash("share dump") == "it has them\n"
        assert "dump is in use by another run; waiting for it" in lock_in_bash("hold dump")
        reader.kill()
    assert lock_in_bash("hold dump") == "it has them\n"


def test_what_cannot_be_locked_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert lock_in_bash("share missing") == "it has them\n"
    assert not Path("missing").exists()


def test_a_lock_that_can_only_be_read_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a colleague's; root may write to any file, so that a directory stands for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump/.lock").mkdir(parents=True)
    for use in ("hold dump", "share dump"):
        assert lock_in_bash(f"set -e; {use}") == "it has them\n"
    first = f". {COMMON}; share dump; echo; exec sleep 60"
    with subprocess.Popen(["bash", "-c", first], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        assert "dump is in use by another run; waiting for it" in lock_in_bash("hold dump")
        reader.kill()


def test_a_lock_that_cannot_be_opened_keeps_writers_alone_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump/.lock").symlink_to("missing/lock")
    assert lock_in_bash("set -e; share dump") == "it has them\n"
    assert lock_in_bash("hold dump") == ""
    said = "cannot write to dump: its .lock can neither be written nor read; have it made readable"
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("stage", ["3", "4", "5"])
def test_data_that_another_run_writes_are_waited_for(recipe: Path, stage: str) -> None:
    words = [str(TEMPLATE / "asr.sh"), *SETS, "--ngpu", "0", "--stage", stage, "--stop_stage", "5"]
    with (recipe / "data/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as script:
            assert script.stdout is not None
            lines = [script.stdout.readline() for _ in range(2)]
            script.kill()
    assert "data is in use by another run; waiting for it" in lines[1]


def test_a_file_system_without_locks_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flock").write_text("#!/bin/sh\necho flock: No locks available >&2\nexit 71\n")
    (tmp_path / "flock").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for use in ("hold dump", "share dump"):
        assert lock_in_bash(f"set -e; {use}") == "it has them\n"


KILLED = """#!/bin/sh
case "$*" in
    *"espnet_topdown results"*) [ -e killed ] || { touch killed; kill -9 $PPID; exit 0; } ;;
esac
exec PYTHON "$@"
"""


def test_a_script_killed_while_it_writes_its_table_leaves_nothing_to_its_rerun(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*SETS, "--token_type", "char", "--nj", "1", "--use_lm", "false", "--ngpu", "0"]
    options += ["--asr_exp", "exp/x", "--skip_train", "true"]
    assert run("asr.sh", *options, "--stage", "3", "--stop_stage", "3").returncode == 0
    results = Path("exp/x/inference_asr_model_valid.acc.ave")
    datadir.write_table(results / "test" / "text", {"d1": "NO", "d2": "NO"})
    datadir.write_table(results / "org" / "dev" / "text", {"c1": "YES"})
    program = tmp_path / "bin" / "python3"
    program.parent.mkdir()
    program.write_text(KILLED.replace("PYTHON", sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert run("asr.sh", *options, "--stage", "13").returncode == -signal.SIGKILL
    assert run("asr.sh", *options, "--stage", "13").returncode == 0
    assert Path("exp/x/RESULTS.md").exists()
    assert not list(Path("exp").rglob("*.tmp"))


def test_a_second_preparation_waits_for_one_that_a_killed_script_left(recipe: Path) -> None:
    """Its own options count then, in all files."""
    Path("local/data.sh").write_text(
        '#!/usr/bin/env bash\nif [ "$2" = first ]; then\n'
        "    touch began; while [ ! -e go ]; do sleep 0.02; done\n"
        'fi\necho "$2" > data/options\n'
    )
    words = [str(TEMPLATE / "asr.sh"), *SETS, "--stop_stage", "1", "--local_data_opts"]
    first = subprocess.Popen([*words, "--x first"])
    try:
        wait_until(Path("began").exists)
        first.kill()
        first.wait()
        second = subprocess.Popen([*words, "--x second"], stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        said = ""
        while "waiting" not in said:
            said = second.stdout.readline()
            assert said, "it did not wait"
    finally:
        # What the killed script left ends by it.
        Path("go").touch()
    assert second.wait() == 0
    assert Path("data/options").read_text() == "second\n"


STEP = """
import os, sys, time
from pathlib import Path
from espnet_topdown.recipe import formats
from espnet_topdown.warm.groups import end_with_parent

def work(*piece):
    Path(f"pid.{piece[0]}").write_text(str(os.getpid()))
    time.sleep(60)

formats._write_piece = work
end_with_parent()
Path("pid.0").write_text(str(os.getpid()))
formats._run([(1,), (2,)], 2)
"""


def test_a_step_and_its_processes_end_with_the_script_that_started_them(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = ["bash", "-c", f"{sys.executable} step.py; true"]
    script = subprocess.Popen(words, cwd=tmp_path, env=environment)
    files = [tmp_path / f"pid.{n}" for n in range(3)]
    wait_until(lambda: all(file.exists() and file.read_text() for file in files))
    script.send_signal(signal.SIGKILL)
    script.wait()
    wait_until(lambda: all(has_ended(int(file.read_text())) for file in files))
