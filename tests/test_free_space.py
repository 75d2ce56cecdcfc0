"""What would not fit on the disk is refused before anything is downloaded."""

import os
import re
import runpy
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "free_space.py"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``said(free GB, venv)``: the message of the script, None where it has none."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def run(free_gb: float, venv: Path) -> str | None:
        usage = Usage(0, 0, int(free_gb * 10**9))
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(venv)])
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            return str(end.code)
        return None

    return run


def test_a_disk_of_two_gigabytes_is_refused_with_the_need(said, tmp_path: Path) -> None:
    venv = tmp_path / "a b" / ".venv"
    message = said(2.0, venv)
    assert message.startswith(
        f"installing needs 10.5 GB in {venv} and {tmp_path}, and 2.0 GB are free. Make room"
    )
    assert said(10.4, venv) is not None
    assert said(10.6, venv) is None


def test_an_environment_that_has_torch_needs_little(said, tmp_path: Path) -> None:
    (tmp_path / "venv/lib/python3.11/site-packages/torch").mkdir(parents=True)
    assert said(2.1, tmp_path / "venv") is None
    assert "needs 2.0 GB" in said(1.9, tmp_path / "venv")


def steps_of_make(venv: Path) -> str:
    """What ``make install`` would run."""
    words = ["make", "--dry-run", "install", f"PYTHON={sys.executable}", f"VENV={venv}"]
    own = {key: value for key, value in os.environ.items() if key != "CHECK_SPACE"}
    done = subprocess.run(
        words, cwd=SCRIPT.parents[1], env=own, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_make_asks_it_before_it_makes_an_environment(tmp_path: Path) -> None:
    steps = steps_of_make(tmp_path / "new")
    asked, made = steps.index("free_space.py"), steps.index("-m venv")
    assert asked < made < steps.index("pip install")


def test_a_compiler_that_pip_will_need_is_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [code] = re.findall(r" -c '(import os, shutil, sys; .*)'\n", steps_of_make(tmp_path / "new"))
    monkeypatch.delenv("CXX", raising=False)
    expected = {}
    for version in ((3, 12, 0), (3, 13, 0)):
        monkeypatch.setattr(sys, "version_info", version)
        for compiler in (None, "/usr/bin/g++"):
            monkeypatch.setattr("shutil.which", lambda _, found=compiler: found)
            with pytest.raises(SystemExit) as end:
                exec(code)
            expected[version, compiler] = end.value.code
    [refused] = [key for key, said in expected.items() if said]
    assert refused == ((3, 13, 0), None)
    assert expected[refused].startswith("Python 3.13 needs g++, by which pip builds editdistance;")
