"""``make demo`` takes digits where they can be had, else mini_an4, and says what that can show."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from recipes import REPOSITORY

ECHO = '#!/usr/bin/env bash\necho "$(basename "$(dirname "${PWD}")"): ${FSDD:-none}"\n'
# A clone as git would leave it, the fetch left out.
GIT = """#!/usr/bin/env bash
case "$*" in
    *init*) mkdir -p "${@: -1}/recordings" ;;
esac
"""
DIGITS = "egs2/fsdd_clean/asr1/exp/asr_train_asr_ctc_raw_en_word_topdown_ctc"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def egs2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's recipes with a run.sh that only says where it is and its FSDD, and no network."""
    directory = tmp_path / "egs2"
    local = "fsdd/asr1/local"
    shutil.copytree(REPOSITORY / "egs2" / local, directory / local)
    shutil.copy(REPOSITORY / "egs2/demo.sh", directory)
    for name in ("fsdd_clean", "mini_an4"):
        write(directory / name / "asr1/run.sh", ECHO)
    (directory / "fsdd_clean/asr1/local").symlink_to("../../fsdd/asr1/local")
    write(tmp_path / "bin/git", "#!/usr/bin/env bash\nexit 128\n")
    write(tmp_path / "bin/python3", '#!/usr/bin/env bash\necho "python3 $*"\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.delenv("FSDD", raising=False)
    monkeypatch.chdir(tmp_path)
    return directory


def demo() -> list[str]:
    """What it prints."""
    done = subprocess.run(["egs2/demo.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line]


def test_digits_that_are_named_are_taken(egs2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDD", "digits.tar.xz")
    where = egs2.parent / "digits.tar.xz"
    table = f"python3 -m espnet_topdown results --short {DIGITS}"
    assert demo() == [f"fsdd_clean: {where}", table]


def test_digits_are_fetched_where_the_repository_answers(egs2: Path) -> None:
    write(egs2.parent / "bin/git", GIT)
    assert demo()[0] == "fsdd_clean: none"
    fetched = egs2 / "fsdd_clean/asr1/downloads/free-spoken-digit-dataset/recordings"
    assert fetched.is_dir()
    # Once.
    (egs2.parent / "bin/git").write_text("#!/usr/bin/env bash\nexit 128\n")
    assert demo()[0] == "fsdd_clean: none"


def test_without_network_mini_an4_says_first_and_last_what_it_shows(egs2: Path) -> None:
    said = demo()
    told = said[:4]
    assert "it proves that the commands work, and nothing" in told[0]
    assert told[2].endswith("free-spoken-digit-dataset make demo")
    assert said[4] == "mini_an4: none"
    table = "python3 -m espnet_topdown results --short egs2/mini_an4/asr1/exp/asr_train_asr_rnn"
    assert said[5].startswith(table)
    assert said[6:] == told


def test_a_fetch_that_breaks_leaves_nothing_and_ends_in_mini_an4(egs2: Path) -> None:
    broken = GIT.replace("esac", "    *fetch*) exit 128 ;;\nesac")
    write(egs2.parent / "bin/git", broken)
    assert demo()[4] == "mini_an4: none"
    assert not (egs2 / "fsdd_clean/asr1/downloads/free-spoken-digit-dataset").exists()
