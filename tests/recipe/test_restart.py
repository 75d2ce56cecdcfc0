"""A run.sh that is killed alone, and its rerun at once: no step is left to write beside it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import espnet_topdown
from espnet_topdown.processes import has_ended

ROOT = Path(espnet_topdown.__file__).parents[1]
COMMON = ROOT / "egs2/TEMPLATE/common.sh"
# Holds a directory as a stage does, and does its work in a child.
STAGE = f"set -euo pipefail; . {COMMON}; hold out out; sh -c "


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.02)


def test_a_rerun_waits_for_what_a_killed_script_left_writing(tmp_path: Path) -> None:
    first_work = "echo > began; while [ ! -e go ]; do sleep 0.02; done; echo first >> out/lines"
    words = ["bash", "-c", f"{STAGE} '{first_work}'; true"]
    first = subprocess.Popen(words, cwd=tmp_path)
    wait_for((tmp_path / "began").exists)
    first.kill()
    first.wait()
    second = subprocess.Popen(
        ["bash", "-c", f"{STAGE} 'echo second >> out/lines'"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert second.stdout is not None
    assert "out is still written by an earlier run; waiting" in second.stdout.readline()
    (tmp_path / "go").touch()
    assert second.wait() == 0
    assert (tmp_path / "out/lines").read_text() == "first\nsecond\n"


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
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    script.send_signal(signal.SIGKILL)
    script.wait()
    wait_for(lambda: all(has_ended(int(file.read_text())) for file in files))
