"""Which ESPnet is used, told by itself, and whether it is new enough."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown import versions
from espnet_topdown.errors import TopdownError


def test_an_espnet_on_the_path_alone_is_known_by_its_own_word(tmp_path: Path) -> None:
    (tmp_path / "espnet2").mkdir()
    (tmp_path / "espnet2/__init__.py").write_text('__version__ = "202406"\n')
    script = (
        "import sys; from espnet_topdown.versions import versions; print(versions()['espnet']);"
        " print('torch' in sys.modules)"
    )
    repository = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{repository}"}
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["202406", "False"]


@pytest.mark.parametrize(
    ("espnet", "torch", "said"),
    [
        ("202301", "2.12.0", "espnet >= 202402 is needed, and found is 202301"),
        ("202511", "2.1.2+cu118", "torch >= 2.5 is needed, and found is 2.1.2"),
        (None, None, "espnet >= 202402 is needed, and found is not installed; torch >= 2.5"),
    ],
)
def test_what_is_too_old_is_told_with_what_is_needed(
    espnet: str | None, torch: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "espnet_version", lambda: espnet)
    monkeypatch.setattr(versions, "torch_version", lambda: torch)
    with pytest.raises(TopdownError) as caught:
        versions.check_versions()
    assert said in str(caught.value)


@pytest.mark.parametrize("espnet", ["202402", "202511", "202612", "0.0.0"])
def test_what_is_new_enough_or_does_not_know_its_version_is_taken(
    espnet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "espnet_version", lambda: espnet)
    monkeypatch.setattr(versions, "torch_version", lambda: "2.12.0")
    versions.check_versions()


# What a package that fails to import does -> what is told of it.
FAILS = {
    "import none_such": "ModuleNotFoundError: No module named 'none_such'",
    "raise OSError('cannot load') from OSError('undefined symbol: torch_x')": (
        "OSError: undefined symbol: torch_x"
    ),
    "import math; math.float": "AttributeError: module 'math' has no attribute 'float'",
}


@pytest.mark.parametrize("does", FAILS)
def test_an_espnet_that_cannot_be_imported_is_told_with_the_cause_and_the_versions(
    does: str, tmp_path: Path
) -> None:
    """By both that import it: a recipe's process that keeps it warm, and stage 11 without one."""
    fake = {
        "espnet2/__init__.py": "__version__ = '202511'",
        "espnet2/tasks/__init__.py": "",
        "espnet2/tasks/abs_task.py": "import torchaudio",
        "torchaudio.py": does,
    }
    for name, code in fake.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code + "\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"}
    package = [sys.executable, "-m", "espnet_topdown"]
    for words in (
        [*package, "-m", "espnet2.bin.asr_train"],
        [*package[:2], "espnet_topdown.warm.server", str(tmp_path / "socket")],
    ):
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert (
            f"espnet_topdown.bin.train cannot be imported by {sys.executable}: {FAILS[does]}; found"
            " are espnet 202511, torch "
        ) in done.stderr
        assert ", torchaudio " in done.stderr
        assert "Traceback" not in done.stderr
