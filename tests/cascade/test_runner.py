"""Cascades through the command line: order, decisions, reruns, kills, and what stops them."""

import datetime
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cascades import PLAN, copied, fails, hashes, outcomes, run, words
from tiny import HOLD

from espnet_topdown import files, locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement
from espnet_topdown.cascade.launch import Launch
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.records import curve_fault
from espnet_topdown.cascade.runner import _data_directories, _Run
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import read_record


def judged(directory) -> Judgement:
    cascade = Cascade.reopen(directory)
    return cascade.judge(cascade.read_records())


def wait_for(path, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} is not there after {timeout_s} s"
        time.sleep(0.005)


def start_and_hold(base, place, *options: str) -> subprocess.Popen[bytes]:
    """A runner in a process of its own, whose trainers wait for their end after one epoch."""
    command = [sys.executable, "-m", "espnet_topdown", *words(base, place), *options]
    held = os.environ | {HOLD: "checkpoint.pth"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, env=held, stdout=quiet, stderr=quiet)


def test_cascade_trains_in_order_and_links_the_best_on_dev(finished, base):
    judgement = judged(finished)
    assert outcomes(finished) == [("phase1", "done"), ("phase2", "done")]
    best = (finished / "best").resolve()
    values = {"phase0": base, "phase1": finished / "phase1", "phase2": finished / "phase2"}
    assert best == values[judgement.best].resolve()
    assert judgement.dev[judgement.best] == max(judgement.dev.values())
    assert read_record(finished / "phase2")["parent"] == "phase1"
    assert read_record(finished / "phase1")["parent"].startswith("../")


def test_rerun_of_a_finished_cascade_trains_nothing_and_says_so(finished, base, capsys):
    before = (finished / "ledger.jsonl").read_bytes()
    run(base, finished.parent, PLAN)
    assert "nothing to do: all phases" in capsys.readouterr().out
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_while_a_cascade_trains_no_script_rewrites_what_it_reads(
    finished, base, tmp_path, monkeypatch
):
    lists = Cascade.reopen(finished).base.lists()
    places = {Path(file).parent / ".lock" for file in lists}
    for path in places:
        path.touch()
    copy = copied(finished, base, tmp_path)
    kept = set()

    def look(cascade) -> None:
        """What a script that would write there finds."""
        for path in places:
            with path.open() as descriptor:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    kept.add(path)

    monkeypatch.setattr(Cascade, "store", look)
    run(base, copy.parent, PLAN)
    assert kept == places


def test_appended_phases_are_trained_and_the_old_ones_left_alone(finished, base, tmp_path):
    copy = copied(finished, base, tmp_path)
    run(
        base,
        tmp_path,
        "phases: [{cut: decoder}, {cut: encoder.1}, {cut: encoder.0}, {control: restart, answers:"
        " phase1}]",
    )
    assert outcomes(copy)[2:] == [("phase3", "done"), ("restart_phase1", "done")]
    assert {k: v for k, v in hashes(copy).items() if k in hashes(finished)} == hashes(finished)


@pytest.mark.slow
def test_every_kind_trains_side_by_side(base, tmp_path):
    plan = (
        "phases: [{cut: decoder}, {control: restart}, {control: continue}, {control: unfrozen},"
        " {control: bottom_up}]"
    )
    cascade = run(base, tmp_path, plan, "--jobs", "2")
    assert sorted(hashes(cascade)) == [
        "bottom_up_phase1",
        "continue_phase1",
        "phase1",
        "restart_phase1",
        "unfrozen_phase1",
    ]
    judgement = judged(cascade)
    assert judgement.best in ("phase0", "phase1")
    assert set(judgement.accepted) == {"phase1"}


def test_cascade_ends_after_rejections_in_a_row(base, tmp_path):
    """No accuracy can gain 1.0, so the first phase is rejected and the others are left out."""
    plan = (
        "{patience: 1, min_gain: 1.0, phases: [{cut: decoder}, {cut: encoder.1}, {control:"
        " restart}]}"
    )
    cascade = run(base, tmp_path, plan)
    assert sorted(hashes(cascade)) == ["phase1", "restart_phase1"]
    assert judged(cascade).skipped == {"phase2", "restart_phase2"}


@pytest.mark.parametrize("jobs", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_failed_phase_does_not_stop_the_independent_ones(base, tmp_path, capsys, jobs):
    diverging = "train: {optim: sgd, optim_conf: {lr: 1.0e+38}, grad_clip: 1.0e+38}"
    plan = (
        f"phases: [{{sweep: [decoder], {diverging}}}, {{sweep: [encoder.1]}}, {{cut: encoder.0,"
        " parent: phase1}]"
    )
    (tmp_path / "plan.yaml").write_text(plan)
    error = fails(capsys, *words(base, tmp_path), "--jobs", jobs)
    assert "1 phase(s) failed" in error
    assert "diverged" in error
    assert sorted(outcomes(tmp_path / "cascade")) == [("phase1", "failed"), ("phase2", "done")]
    events = Ledger(tmp_path / "cascade" / "ledger.jsonl").events()
    starts = [event for event in events if event["event"] == "start"]
    ends = [event for event in events if event["event"] == "end"]
    assert [(event["attempt"], event["threads"]) for event in starts] == [(1, 1), (1, 1)]
    assert [(event["ngpu"], event["num_nodes"]) for event in starts] == [(0, 1), (0, 1)]
    assert all(event["wall_s"] > 0 and "epochs" in event for event in ends)
    record = files.read_json(tmp_path / "cascade" / "phase2" / "record.json")
    assert (record["ngpu"], record["num_nodes"], record["machine"]["gpu"]) == (0, 1, None)


def test_a_phase_that_cannot_begin_holds_up_only_what_is_made_of_it(
    finished, base, tmp_path, capsys
):
    """Phase 2 was begun at another cut, which shows only once phase 1 is recorded again."""
    copy = copied(finished, base, tmp_path)
    for phase in ("phase1", "phase2"):
        (copy / phase / "record.json").unlink()
    (tmp_path / "plan.yaml").write_text(
        "phases: [{cut: decoder}, {cut: encoder.2}, {cut: encoder.1}, {control: restart, answers:"
        " phase1}]"
    )
    error = fails(capsys, *words(base, tmp_path))
    assert "phase2 was begun with something else" in error
    assert "and these wait for them: phase3" in error
    assert sorted(hashes(copy)) == ["phase1", "restart_phase1"]


def test_phase_with_a_non_finite_dev_criterion_is_not_recorded(base, tmp_path, capsys):
    plan = """
    dev_criterion: [valid, loss, min]
    parent_model: valid.acc.ave.pth
    train: {max_epoch: 1, optim: sgd, optim_conf: {lr: 1.0e+38}, grad_clip: 1.0e+38}
    phases: [{cut: decoder}]
    """
    (tmp_path / "plan.yaml").write_text(plan)
    error = fails(capsys, *words(base, tmp_path))
    assert "phase1: the dev criterion valid loss min is not finite in epoch 1: training" in error
    assert not (tmp_path / "cascade" / "phase1" / "record.json").exists()


@pytest.mark.parametrize(
    ("curve", "fault"),
    [
        ([0.5, 0.6], None),
        ([], "is not finite in epoch 1: training has diverged. Lower"),
        ([0.5, None], "is not finite in epoch 2: training has diverged. Lower"),
        ([0.5, None, 0.6], "is not finite in epoch 2: though it is in later ones. Lower"),
    ],
)
def test_a_curve_with_gaps_judges_no_phase(curve, fault):
    said = curve_fault(curve)
    assert said.startswith(fault) if fault else said is None


def test_second_run_on_a_directory_is_told_who_runs(finished, base, capsys):
    with locks.locked(finished / ".lock", "cascade"):
        error = fails(capsys, *words(base, finished.parent, cascade=finished))
    assert f"is in use: process {os.getpid()} on" in error


def test_sigkill_of_the_runner_and_a_rerun_end_bit_identical(finished, base, tmp_path):
    """The runner is killed while a phase trains.

    Its trainer ends with it, and the same command finishes the work.
    """
    (tmp_path / "plan.yaml").write_text(PLAN)
    runner = start_and_hold(base, tmp_path)
    wait_for(tmp_path / "cascade" / "phase1" / "checkpoint.pth")
    runner.kill()
    runner.wait()
    run(base, tmp_path, PLAN)
    assert hashes(tmp_path / "cascade") == hashes(finished)
    assert outcomes(tmp_path / "cascade")[0] == ("phase1", "killed")


@pytest.mark.slow
def test_sigkill_of_a_runner_with_two_trainers_and_a_rerun_end_bit_identical(base, tmp_path):
    plan = "phases: [{sweep: [decoder, encoder.1]}]"
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for place in (undisturbed, killed):
        place.mkdir()
        (place / "plan.yaml").write_text(plan)
    run(base, undisturbed, plan, "--jobs", "2")
    runner = start_and_hold(base, killed, "--jobs", "2")
    for phase in ("phase1", "phase2"):
        wait_for(killed / "cascade" / phase / "checkpoint.pth")
    runner.kill()
    runner.wait()
    run(base, killed, plan, "--jobs", "2")
    assert hashes(killed / "cascade") == hashes(undisturbed / "cascade")
    ends = sorted(outcomes(killed / "cascade"))
    assert ends == [(f"phase{n}", end) for n in (1, 2) for end in ("done", "killed")]


def test_orphaned_trainer_is_waited_for_not_joined_by_a_second_writer(
    finished, base, tmp_path, capsys, monkeypatch
):
    lock = tmp_path / "cascade" / "phase1" / "topdown" / "lock"
    pid = os.fork()
    if pid == 0:
        with locks.locked(lock, "training"):
            signal.pause()
    holder = locks.holder
    while holder(lock) is None:
        time.sleep(0.01)
    an_hour_ago = (datetime.datetime.now().astimezone() - datetime.timedelta(hours=1)).isoformat()
    start = {"time": an_hour_ago, "event": "start", "phase": "phase1", "attempt": 1}
    (tmp_path / "cascade" / "ledger.jsonl").write_text(json.dumps(start) + "\n")
    looks = []

    def look(path):
        """The orphan ends once it has been seen several times."""
        owner = holder(path)
        if path == lock and owner:
            looks.append(owner)
            if len(looks) == 4:
                (lock.parents[1] / "train.log").write_text("")
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        return owner

    monkeypatch.setattr(locks, "holder", look)
    run(base, tmp_path, PLAN)
    assert len(looks) == 4
    # The orphan's hour counts.
    assert json.loads((tmp_path / "cascade/phase1/record.json").read_text())["hours"] > 1
    assert f"still trained by process {pid}" in capsys.readouterr().err
    assert hashes(tmp_path / "cascade") == hashes(finished)


def test_sigterm_ends_the_training_and_leaves_a_state_that_goes_on(finished, base, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    runner = start_and_hold(base, tmp_path)
    wait_for(tmp_path / "cascade" / "phase1" / "topdown" / "start.json")
    runner.send_signal(signal.SIGTERM)
    assert runner.wait() == 143
    assert outcomes(tmp_path / "cascade") == [("phase1", "interrupted")]
    run(base, tmp_path, PLAN)
    assert hashes(tmp_path / "cascade") == hashes(finished)


def test_a_training_gets_a_place_that_none_has():
    taken = SimpleNamespace(trainings={"phase1": SimpleNamespace(slot=0)})
    assert _Run._free_slot(SimpleNamespace(**vars(taken), launch=Launch(jobs=2))) == 1


@pytest.mark.parametrize(("status", "outcome"), [(-9, "killed"), (1, "failed"), (None, "failed")])
def test_a_training_that_a_signal_ended_was_killed(status, outcome, tmp_path):
    told = []
    run = SimpleNamespace(_fail=lambda training, reason, outcome, **_: told.append(outcome))
    training = SimpleNamespace(directory=tmp_path, gave_way=lambda reason: False)
    _Run._give_up(run, training, status)
    assert told == [outcome]


def test_a_run_locks_the_directories_of_all_its_data():
    lists = {None: ["dump/raw/train/text"], "phase": ["exp/stats/train/speech_shape"]}
    cascade = SimpleNamespace(phases=["phase"], base=SimpleNamespace(lists=lists.get))
    names = ("dump/raw", "dump/raw/train", "exp/stats", "exp/stats/train")
    assert _data_directories(cascade) == [Path(name) for name in names]


def test_what_the_stopping_rule_left_out_does_not_wait_for_what_failed():
    phases = [SimpleNamespace(name=name) for name in ("phase1", "phase2", "restart")]
    run = SimpleNamespace(
        _settle=lambda: SimpleNamespace(skipped={"phase2"}),
        failures={"restart": "it diverged"},
        records={"phase1": {}},
        cascade=SimpleNamespace(phases=phases),
    )
    with pytest.raises(TopdownError) as caught:
        _Run.close(run)
    assert "it diverged" in str(caught.value)
    assert "wait for them" not in str(caught.value)


def test_a_record_has_the_hours_of_the_ledger(finished):
    hours = read_record(finished / "phase1")["hours"]
    assert hours == pytest.approx(Ledger(finished / "ledger.jsonl").hours("phase1"), abs=1e-3)
