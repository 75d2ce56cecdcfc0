"""Running the commands of a study, and reading what its experiments heard."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.locks import has_ended
from espnet_topdown.study import recording


def test_failed_command_stops_the_study_with_its_words() -> None:
    with pytest.raises(TopdownError, match="failed .*: false --seed 1"):
        recording.run_all([["false", "--seed", "1"], ["true"]], 1)


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_ended_leaves_none_of_its_commands(
    sent: signal.Signals, tmp_path: Path
) -> None:
    code = "import sys; from espnet_topdown.study import recording\n"
    code += "recording.run_all([sys.argv[1:]], 1)"
    # As run.sh: a script whose own child does the work.
    script = f"sh -c 'echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60'"
    words = [sys.executable, "-c", code, "bash", "-c", f"{script}; true"]
    study = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((tmp_path / "pid").exists)
    study.send_signal(sent)
    study.wait()
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: has_ended(pid))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.02)


def scored(experiment: Path, ref: str, hyp: str) -> Path:
    folder = experiment / "decode" / "test" / "score_wer"
    folder.mkdir(parents=True)
    (folder / "ref.trn").write_text(ref)
    (folder / "hyp.trn").write_text(hyp)
    return experiment


def test_hypotheses_that_differ_are_read_with_their_case(tmp_path: Path) -> None:
    ref = "Ja nein\t(a-a1)\ndoch\t(b-b1)\n"
    hyp = "ja  @ ;tag nein;x\t(a-a1)\ndoch\t(b-b1)\n"
    references: dict[str, dict[str, str]] = {}
    heard = recording.read_hypotheses(scored(tmp_path, ref, hyp), references)
    assert heard == {"decode/test": {"a-a1": "ja nein"}}
    assert references == {"decode/test": {"a-a1": "Ja nein", "b-b1": "doch"}}


def test_references_other_than_the_base_had_are_refused(tmp_path: Path) -> None:
    references: dict[str, dict[str, str]] = {}
    recording.read_hypotheses(scored(tmp_path / "1", "ja\t(a-a1)\n", "ja\t(a-a1)\n"), references)
    other = scored(tmp_path / "2", "nein\t(a-a1)\n", "ja\t(a-a1)\n")
    with pytest.raises(TopdownError, match="differs from phase0's references; decode and score"):
        recording.read_hypotheses(other, references)
