"""A cascade is watched to its end: what trains now, what waits, in place or line by line."""

import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from made_cascade import made, record

from espnet_topdown import locks
from espnet_topdown.cascade import follow
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.progress import standing
from espnet_topdown.cascade.text import trains

LOG = """\
1/3epoch started
1epoch results: [train] loss=2, [valid] acc=0.6
2/3epoch started. Estimated time to finish: 5 minutes
"""


@pytest.fixture
def cascade(tmp_path: Path) -> Cascade:
    return made(tmp_path)


@pytest.fixture
def training(cascade: Cascade) -> Path:
    """The first phase in its second epoch; the directory whose lock its trainer would hold."""
    directory = cascade.paths.phase_dir("phase1")
    (directory / "topdown").mkdir(parents=True)
    (directory / "train.log").write_text(LOG)
    Ledger(cascade.paths.ledger).append("start", "phase1", attempt=1, ngpu=2, threads=1)
    return directory


def test_the_view_tells_what_trains_and_what_waits_for_what(
    cascade: Cascade, training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow.gpus, "load", lambda names: "93 %" if names == ["3"] else "")
    with locks.locked(training / follow.LOCK, "training"):
        lines = follow.view(cascade)
    assert lines[lines.index("now:") :] == [
        "now:",
        "  phase1 epoch 2/3 acc 0.600 (phase 0 then 0.500), 5 minutes left, on 2 GPUs",
        "",
        "waiting:",
        "  phase2 for phase1",
        "  restart_phase1 for a free place (run --jobs)",
    ]
    details = {"attempt": 2, "ngpu": 1, "CUDA_VISIBLE_DEVICES": "3"}
    Ledger(cascade.paths.ledger).append("start", "phase1", **details)
    with locks.locked(training / follow.LOCK, "training"):
        assert ", 5 minutes left, on GPU 3 (93 %)\n" in "\n".join(follow.view(cascade))
    details = {"attempt": 3, "ngpu": 1, "CUDA_VISIBLE_DEVICES": "4"}
    Ledger(cascade.paths.ledger).append("start", "phase1", **details)
    with locks.locked(training / follow.LOCK, "training"):
        assert ", 5 minutes left, on GPU 4\n" in "\n".join(follow.view(cascade))


def test_a_phase_whose_training_imports_espnet_still_is_being_trained(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trainer holds no lock yet. What an earlier run began is interrupted all the same."""
    cascade.paths.phase_dir("phase1").mkdir()
    ledger = Ledger(cascade.paths.ledger)
    with monkeypatch.context() as earlier:
        earlier.setattr(locks, "now", lambda: "2020-01-01T00:00:00+00:00")
        ledger.append("start", "phase1", attempt=1, ngpu=0, threads=1)
    with locks.locked(cascade.paths.lock, "cascade"):
        assert "interrupted: will go on" in follow.view(cascade)[3]
        ledger.append("start", "phase1", attempt=2, ngpu=0, threads=1)
        lines = follow.view(cascade)
    assert lines[3].split() == ["phase1", "top_down", "decoder", "training"]
    assert lines[lines.index("now:") + 1] == "  phase1 starting"
    assert "interrupted: will go on" in follow.view(cascade)[3]


def test_accuracy_over_other_tokens_is_not_compared_with_phase_0(
    cascade: Cascade, training: Path
) -> None:
    phase = replace(cascade.phases[0], tokens="char/tokens.txt")
    assert standing(cascade, phase) == "phase1 epoch 2/3 acc 0.600, 5 minutes left"


def test_phase_0_then_is_that_of_the_same_epoch_where_first_epochs_are_lost(
    cascade: Cascade, training: Path
) -> None:
    (training / "train.log").write_text("3/9epoch started\n3epoch results: [valid] acc=0.5\n")
    said = standing(cascade, cascade.phases[0])
    assert said == "phase1 epoch 3/9 acc 0.500 (phase 0 then 0.700)"


def test_the_base_has_hours_as_phases_have(cascade: Cascade) -> None:
    header, _, base, *_ = follow.view(cascade)
    at = header.index("hours")
    assert (base.split()[0], base[at : at + 5].strip()) == ("phase0", "0.60")


def test_a_pipe_gets_each_line_once_and_the_end(
    cascade: Cascade,
    training: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    looks = iter([True, True, True, False])
    monkeypatch.setattr(follow, "is_trained", lambda _: next(looks))
    monkeypatch.setattr(follow, "REFRESH_S", 0.0)
    follow.follow(cascade)
    out = capsys.readouterr().out
    assert out.count("phase2 for phase1") == 1
    assert out.count("phase   ") == 1
    assert "\x1b" not in out
    looks = iter([False])
    follow.follow(cascade)
    assert capsys.readouterr().out == out


def test_a_cascade_is_trained_while_a_run_or_a_training_lives(
    cascade: Cascade, training: Path
) -> None:
    assert not follow.is_trained(cascade)
    for lock in (cascade.paths.lock, training / follow.LOCK):
        with locks.locked(lock, "training"):
            assert follow.is_trained(cascade)


def test_a_phase_does_not_wait_for_one_that_is_left_out(tmp_path: Path) -> None:
    """Phase 1 is worse than phase 0, so that phase 2 is spared and the sweep can start."""
    phases = "[{cut: decoder}, {cut: encoder.1}, {sweep: [encoder.1], parent: best}]"
    cascade = made(tmp_path, f"{{patience: 1, phases: {phases}}}")
    record(cascade, "phase1", 0.1)
    assert follow.view(cascade)[-2:] == ["waiting:", "  phase3 for a free place (run --jobs)"]


def test_a_phase_that_this_run_has_tried_in_vain_does_not_wait(cascade: Cascade) -> None:
    ledger = Ledger(cascade.paths.ledger)
    with locks.locked(cascade.paths.lock, "run"):
        # Closed for a run that was killed.
        ledger.append("end", "phase1", outcome="killed")
        assert "  phase1 for a free place (run --jobs)" in follow.view(cascade)
        ledger.append("end", "phase1", outcome="failed", reason="it diverged")
        lines = follow.view(cascade)
    assert lines[lines.index("waiting:") + 1 :] == [
        "  phase2 for phase1",
        "  restart_phase1 for a free place (run --jobs)",
    ]
    # The next run tries it again.
    assert "  phase1 for a free place (run --jobs)" in follow.view(cascade)


def test_whether_anybody_trains_is_looked_at_before_what_there_is(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends between the two would be missing from the last view otherwise."""
    looked = []
    monkeypatch.setattr(follow, "is_trained", lambda _: looked.append("lock"))
    monkeypatch.setattr(follow, "view", lambda _: looked.append("view") or [])
    follow.follow(cascade)
    assert looked == ["lock", "view"]


class Terminal:
    """``status --follow`` on a terminal of its own, and what it has written there."""

    def __init__(self, directory: Path) -> None:
        self.ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "espnet_topdown", "status", str(directory), "--follow"]
        size = {"TERM": "xterm", "COLUMNS": "60", "LINES": "40"}
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        environment = os.environ | size
        self.process = subprocess.Popen(words, env=environment, start_new_session=True, **streams)
        os.close(theirs)
        self.written = ""

    def read_until(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.written and time.monotonic() < deadline:
            self.written += self._read()
        assert text in self.written

    def end(self) -> int:
        status = self.process.wait(60)
        while rest := self._read():
            self.written += rest
        os.close(self.ours)
        return status

    def _read(self) -> str:
        try:
            return os.read(self.ours, 65536).decode()
        except OSError:  # nobody has the other side open
            return ""


def test_a_terminal_is_redrawn_in_place_until_the_training_ends(
    cascade: Cascade, training: Path
) -> None:
    with locks.locked(training / follow.LOCK, "training"):
        terminal = Terminal(cascade.paths.directory)
        terminal.read_until("waiting:")
        terminal.read_until("\x1b[")
    assert terminal.end() == 0
    # Drawn over are as many lines as there were, none longer than the screen is wide.
    drawn, after = terminal.written.split("\x1b[", 1)
    lines = drawn.replace("\r\n", "\n").splitlines()
    assert after.startswith(f"{len(lines)}F\x1b[J")
    assert max(map(len, lines)) < 60
    assert terminal.written.rstrip().endswith("restart_phase1 for a free place (run --jobs)")


def test_ctrl_c_ends_the_watching_alone(cascade: Cascade, training: Path) -> None:
    with locks.locked(training / follow.LOCK, "training"):
        terminal = Terminal(cascade.paths.directory)
        terminal.read_until("waiting:")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert "Traceback" not in terminal.written
    assert "KeyboardInterrupt" not in terminal.written


@pytest.mark.parametrize(
    ("began", "is_training"),
    [("2026-10-25T02:10:00+01:00", True), ("2026-10-25T02:40:00+02:00", False)],
)
def test_a_phase_that_began_after_the_clocks_went_back_is_training(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch, began: str, *, is_training: bool
) -> None:
    since = datetime.fromisoformat("2026-10-25T02:50:00+02:00")
    owner = locks.Holder("process 1", since)
    held = {cascade.paths.lock: owner}
    monkeypatch.setattr(locks, "holder", held.get)
    last = {"event": "start", "time": began}
    assert trains(cascade, cascade.phases[0], last) is is_training
