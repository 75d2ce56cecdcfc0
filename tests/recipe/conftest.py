"""Shared by the tests of recipes: a recipe directory."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from recipes import REPOSITORY, TEMPLATE, write_set


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe directory beside a copy of TEMPLATE, with tones as data and this python3."""
    directory = tmp_path / "egs2" / "toy" / "asr1"
    shutil.copytree(TEMPLATE.parent, tmp_path / "egs2" / "TEMPLATE")
    (directory / "local").mkdir(parents=True)
    for name in ("cmd.sh", "path.sh"):
        (directory / name).symlink_to(f"../../TEMPLATE/asr1/{name}")
    (directory / "local" / "data.sh").write_text('#!/usr/bin/env bash\necho "data.sh: $*"\n')
    (directory / "local" / "data.sh").chmod(0o755)
    (directory / "conf").mkdir()
    (directory / "conf" / "train_x.yaml").touch()
    write_set(directory / "data" / "train", {"a1": 0.5, "a2": 0.05, "b1": 0.4}, "GO ON")
    write_set(directory / "data" / "dev", {"c1": 0.3}, "YES")
    write_set(directory / "data" / "test", {"d1": 0.3, "d2": 0.05}, "NO")
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("ESPNET_ROOT", raising=False)
    return directory


@pytest.fixture
def fake_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The asr.sh, still empty, of a checkout that ESPNET_ROOT names."""
    template = tmp_path / "checkout" / "egs2" / "TEMPLATE" / "asr1"
    for name in ("utils", "scripts", "pyscripts", "steps"):
        (template / name).mkdir(parents=True)
    (tmp_path / "checkout" / "tools").mkdir()
    (tmp_path / "checkout" / "tools" / "extra_path.sh").touch()
    (template / "asr.sh").touch(mode=0o755)
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path / "checkout"))
    return template / "asr.sh"
