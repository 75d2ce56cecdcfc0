"""Disturbances other than kills: torn checkpoints, a full disk, signals, two runs, a wild clock."""

import datetime
import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import points
import pytest
from waiting import wait_until

from espnet_topdown import locks, warm
from espnet_topdown.cascade import attempt
from espnet_topdown.cascade.launch import Launch
from espnet_topdown.experiment.phase_dir import LOCK


def third_checkpoint(place, phase: str) -> int:
    """The write point of a phase's last checkpoint, the one before it being put aside."""
    return numbers_of(place, phase, "torch.save", "checkpoint.pth")[2]


def second_put_aside(place, phase: str) -> int:
    """Where a phase's second checkpoint is about to be put aside, over the first one."""
    return numbers_of(place, phase, "os.rename", "checkpoint.good.pth")[1]


def numbers_of(place, phase: str, event: str, file: str) -> list[int]:
    """The write points of a phase's file."""
    wanted = (phase, event, f"{phase}/{file}")
    return [p.number for p in place.points if (p.role, p.event, p.path) == wanted]


def in_phase2(place, trial: harness.Trial) -> None:
    """Leave the cascade as a kill in the third epoch of phase 2 does."""
    trial.start(points.Fault("phase2", second_put_aside(place, "phase2"))).wait()


def start_and_hold(place, trial: harness.Trial, until: str) -> harness.Run:
    """A run whose trainer of phase 1 waits at its third checkpoint for the file `until`."""
    run = trial.start(
        points.Fault("phase1", third_checkpoint(place, "phase1"), hold=trial.place / until)
    )
    wait_until(lambda: "struck" in trial.trace.read_text() if trial.trace.exists() else False)
    return run


def truncate(path: Path, size: Callable[[int], int]) -> None:
    os.truncate(path, size(path.stat().st_size))


DAMAGE = {
    "half": lambda path: truncate(path, lambda size: size // 2),
    "gone": lambda path: path.unlink(),
    "empty": lambda path: truncate(path, lambda size: 0),
    "one byte": lambda path: truncate(path, lambda size: 1),
    "one byte short": lambda path: truncate(path, lambda size: size - 1),
    "text": lambda path: path.write_text("no model"),
}


@pytest.mark.parametrize(
    "name",
    [
        "half",
        pytest.param("gone", marks=pytest.mark.slow),
        *(pytest.param(n, marks=pytest.mark.full) for n in list(DAMAGE)[2:]),
    ],
)
def test_a_damaged_checkpoint_costs_one_epoch(name, place, trial):
    in_phase2(place, trial)
    assert (trial.directory / "phase2" / "checkpoint.good.pth").exists()
    DAMAGE[name](trial.directory / "phase2" / "checkpoint.pth")
    trial.finish()
    # The killed epoch, and the one whose checkpoint was damaged.
    trial.check(place.expected, repeated=2)


@pytest.mark.slow
def test_a_damaged_epoch_file_and_lost_links_are_rebuilt(place, trial):
    in_phase2(place, trial)
    truncate(trial.directory / "phase2" / "2epoch.pth", lambda size: size // 2)
    for link in (trial.directory / "phase2").glob("*.best.pth"):
        link.unlink()
    trial.finish()
    trial.check(place.expected)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_training_and_the_same_command_goes_on(number, code, place, trial):
    run = start_and_hold(place, trial, "never")
    os.kill(run.pid, number)
    assert run.wait() == code
    assert run.gone()
    trial.finish()
    trial.check(place.expected)


def test_of_two_runs_at_once_one_is_told_who_runs(place, trial):
    first = start_and_hold(place, trial, "go")
    second = trial.start()
    assert second.wait() == 1
    assert f"is in use: process {first.pid} on" in second.output.read_text()
    assert "Traceback" not in second.output.read_text()
    (trial.place / "go").touch()
    assert first.wait() == 0
    trial.finish()
    trial.check(place.expected, repeated=0)


def test_a_second_trainer_gives_way_and_its_runner_waits(place, trial):
    """A trainer that an earlier run had queued takes the lock after the new runner has looked."""

    def late() -> None:
        start_training = attempt.start_training

        def started(launch: Launch, task: str, directory: Path, **options: Any) -> object:
            attempt.start_training = start_training
            pid = os.fork()
            if pid == 0:
                with locks.locked(directory / LOCK, "training"):
                    wait_until(lambda: "still trained by" in (trial.place / "run0.out").read_text())
                os._exit(0)
            wait_until(lambda: locks.holder(directory / LOCK) is not None)
            return start_training(launch, task, directory, **options)

        attempt.start_training = started

    run = trial.start(before=late)
    assert run.wait() == 0, run.output.read_text()
    assert "still trained by" in run.output.read_text()
    trial.finish()
    assert trial.result() == place.expected
    ledger = [
        json.loads(line) for line in (trial.directory / "ledger.jsonl").read_text().splitlines()
    ]
    assert [e["outcome"] for e in ledger if e["event"] == "end"] == ["gave way", "done", "done"]


def test_a_late_trainer_does_not_touch_a_finished_phase(place, trial, capfd):
    trial.finish()
    directory = trial.directory / "phase1"
    kept = [*directory.glob("*.pth"), directory / "config.yaml"]
    before = {path.name: path.read_bytes() for path in kept}
    words = ["asr", "--config", str(directory / "phase.yaml"), "--max_epoch", "99"]
    words += ["--output_dir", str(directory), "--resume", "true"]
    log = trial.place / "late.log"
    assert harness.Direct(warm.Command("espnet_topdown.bin.train", words, log)).wait() == 1
    # By the descriptor, since pytest has replaced sys.stderr.
    assert "is finished (record.json is there)" in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in kept} == before


def test_exp_can_be_moved_between_two_runs(place, trial, tmp_path):
    exp = tmp_path / "exp"
    exp.mkdir()
    shutil.copytree(place.base, exp / "base", symlinks=True)
    trial.base, trial.directory = exp / "base", exp / "cascade"
    in_phase2(place, trial)
    moved = exp.rename(tmp_path / "elsewhere")
    trial.base, trial.directory = moved / "base", moved / "cascade"
    trial.finish()
    expected = place.expected | {"phase1": place.expected["phase1"] | {"parent": "../base"}}
    assert place.expected["best"] == "phase2"
    trial.check(expected)


@pytest.mark.parametrize(
    "hour_s",
    [-3600, pytest.param(3600, marks=pytest.mark.slow)],
    ids=["back", "ahead"],
)
def test_a_clock_that_jumps_does_not_matter(place, trial, hour_s):
    """An hour at every look."""

    def wild() -> None:
        jumps = itertools.count(0, hour_s)
        began = time.time()
        time.time = lambda: began + next(jumps)

        class Clock(datetime.datetime):
            @classmethod
            def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
                return cls.fromtimestamp(time.time(), tz)

        datetime.datetime = Clock

    run = trial.start(before=wild)
    assert run.wait() == 0, run.output.read_text()
    for path in place.base.glob("*.pth"):
        os.utime(path, (0, 0), follow_symlinks=False)
    trial.finish()
    trial.check(place.expected, repeated=0)
    assert json.loads((trial.directory / "phase2" / "record.json").read_text())["hours"] > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB, which a cascade outgrows."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"no small file system: {done.stderr.strip() if done else 'no mount command'}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_stops_with_a_message_and_loses_nothing(place, trial, small_disk):
    trial.directory = small_disk / "cascade"
    for _ in range(3):  # whatever meets the full disk: the trainer, its log, the runner
        code = trial.start().wait()
        said = trial.runs[-1].output.read_text()
        assert code == 1
        assert "is full" in said or "No space left on device" in said, said
        assert "Traceback" not in said.split("the end of")[0], said
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    trial.finish()
    result, expected = trial.result(), place.expected
    for phase in harness.PHASES:
        assert result[phase]["files"] == expected[phase]["files"]
        assert result[phase]["dev"] == expected[phase]["dev"]
        assert result[phase]["names"] == expected[phase]["names"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "limit", [20_000, *(pytest.param(n, marks=pytest.mark.full) for n in (30, 300, 60_000))]
)
def test_a_quota_stops_with_a_message_and_loses_nothing(limit, place, trial):
    """No file may have more than `limit` bytes: a write of more fails half done."""
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    run = trial.start(before=limited)
    assert run.wait() == 1
    said = run.output.read_text()
    assert "Traceback" not in said.split("the end of")[0], said
    trial.finish()
    assert trial.result() == place.expected
