"""How trainings share a machine, and what is told of those that ended early."""

import json
import shlex
import sys
from types import SimpleNamespace

import pytest

from espnet_topdown import gpus, warm
from espnet_topdown.cascade.header import fixed_lstm, fixed_threads
from espnet_topdown.cascade.launch import (
    Launch,
    check_base,
    default_threads,
    failure,
    gpu_share,
    start_training,
)
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment


@pytest.fixture(autouse=True)
def eight_gpus(monkeypatch):
    """A machine with eight GPUs."""
    monkeypatch.setattr(gpus, "devices", lambda: 8)


@pytest.mark.parametrize(
    ("variable", "threads"), [("3", 3), ("2,1", 2), (" 4 ", 4), ("", 5), ("0", 5)]
)
def test_threads_are_those_of_the_environment(variable, threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(5)))
    assert default_threads(Launch()) == threads


@pytest.mark.parametrize("variable", ["abc", "-1", "1.5", "\u00b2"])
def test_threads_that_are_no_number_are_refused(variable, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with pytest.raises(TopdownError, match="OMP_NUM_THREADS=.* is no number of threads"):
        default_threads(Launch())


def lstm_of(cascade, monkeypatch, value: str | None) -> str:
    """ESPNET_TOPDOWN_LSTM of the trainings of a run that is begun under `value`."""
    monkeypatch.delenv("ESPNET_TOPDOWN_LSTM", raising=False)
    if value is not None:
        monkeypatch.setenv("ESPNET_TOPDOWN_LSTM", value)
    paths = CascadePaths(cascade, cascade.parent / "base")
    if not paths.header.exists():
        paths.header.write_text(json.dumps({"base": "base"}))
    lstm = fixed_lstm(paths)
    fixed_threads(paths, None, 1, lstm)
    return lstm


def test_trainings_compute_lstm_layers_as_those_of_the_first_run(tmp_path, monkeypatch):
    assert lstm_of(tmp_path, monkeypatch, "onednn") == "onednn"
    # Another shell, or another node.
    assert lstm_of(tmp_path, monkeypatch, None) == "onednn"
    assert lstm_of(tmp_path, monkeypatch, "") == "onednn"


def test_other_lstm_layers_than_those_of_the_first_run_are_refused(tmp_path, monkeypatch):
    assert lstm_of(tmp_path, monkeypatch, None) == ""
    with pytest.raises(TopdownError, match="ESPNET_TOPDOWN_LSTM=onednn: every training in .* is"):
        lstm_of(tmp_path, monkeypatch, "onednn")


def test_another_word_for_lstm_layers_is_refused_before_a_phase(tmp_path, monkeypatch):
    with pytest.raises(TopdownError, match="ESPNET_TOPDOWN_LSTM is 'mkl'; it can be 'onednn'"):
        lstm_of(tmp_path, monkeypatch, "mkl")


@pytest.mark.parametrize("cmd", [None, "run.pl"])
def test_of_several_gpus_the_launcher_runs_here_and_a_cluster_has_its_own_python(
    cmd, tmp_path, monkeypatch
):
    """The python3 of PATH need not be the one that has ESPnet, as under cron."""
    started = []
    monkeypatch.setattr(warm, "start", lambda command, **_: started.append(command.argv))
    launch = Launch(ngpu=2, cmd=cmd, python="/opt/a b/python3" if cmd is None else "python3.11")
    start_training(launch, "asr", tmp_path, threads=1, variables={"A": "b c"})
    (words,) = started
    assert words[:3] == [sys.executable, "-m", "espnet2.bin.launch"]
    inner = words[words.index("--") + 1 :]
    assert inner[:3] == ["env", "OMP_NUM_THREADS=1", "A=b c"]
    assert inner[3] == (sys.executable if cmd is None else "python3.11")
    given = words[words.index("--cmd") + 1]
    assert given == (cmd or f"{shlex.quote(sys.executable)} -m espnet_topdown.warm")


@pytest.mark.parametrize(
    ("launch", "visible", "shares"),
    [
        (dict(ngpu=1, jobs=2), None, ["0", "1"]),
        (dict(ngpu=2, jobs=2), "4,5,6,7", ["4,5", "6,7"]),
        (dict(ngpu=1, jobs=2), " GPU-5f-1, MIG-a0/1/0", ["GPU-5f-1", "MIG-a0/1/0"]),
        # One GPU for two trainings is a choice.
        (dict(ngpu=1, jobs=2), "0,0", ["0", "0"]),
        (dict(ngpu=1, jobs=1), None, [None]),
        (dict(ngpu=1, jobs=1), "3", [None]),
        (dict(ngpu=0, jobs=2), None, [None, None]),
        (dict(ngpu=1, jobs=2, cmd="slurm.pl"), None, [None, None]),
    ],
)
def test_trainings_side_by_side_get_gpus_of_their_own(launch, visible, shares):
    given = [gpu_share(Launch(**launch), slot, visible) for slot in range(launch["jobs"])]
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in given] == shares


@pytest.mark.parametrize(
    ("launch", "visible", "message"),
    [
        (
            dict(ngpu=2, jobs=2),
            "0,1",
            "needs 4 GPUs, .* has 8, of which .*=0,1 names 2; give fewer jobs",
        ),
        (dict(ngpu=1, jobs=1), "-1", "needs 1 GPU, .*=-1 names 0; give --ngpu 0, or --cmd"),
        (dict(ngpu=1), "", "needs 1 GPU, .*= names 0"),
        (dict(ngpu=1), "NoDevFiles", "names 0"),
        # CUDA sees nothing behind a name that is none.
        (dict(ngpu=2), "0,-1,1", "names 1"),
        (dict(ngpu=2, jobs=2), "0,0,1,1", "the GPUs 0,0, one of them twice"),
        (dict(ngpu=2, jobs=1), "0,0", "the GPUs 0,0, one of them twice"),
        # Nor behind the number of a GPU that is not there.
        (dict(ngpu=2), "0,8,1", "names 1"),
    ],
)
def test_gpus_that_are_not_there_are_refused(launch, visible, message):
    with pytest.raises(TopdownError, match=message):
        gpu_share(Launch(**launch), 0, visible)


def test_no_more_gpus_are_handed_out_than_the_machine_has(monkeypatch):
    monkeypatch.setattr(gpus, "devices", lambda: 2)
    assert gpu_share(Launch(ngpu=1, jobs=2), 1, None) == {"CUDA_VISIBLE_DEVICES": "1"}
    with pytest.raises(TopdownError, match="needs 4 GPUs, and this machine has 2; give fewer jobs"):
        gpu_share(Launch(ngpu=1, jobs=4), 0, None)


@pytest.mark.parametrize(
    ("variable", "launch", "expected"),
    [
        ("3", dict(jobs=2, cmd="slurm.pl"), 3),
        ("", dict(cmd="slurm.pl"), 1),
        ("", dict(jobs=2), 4),
        ("", dict(jobs=20), 1),
    ],
)
def test_threads_are_the_variables_else_a_share_of_eight_cpus(
    variable, launch, expected, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert default_threads(Launch(**launch)) == expected


def test_a_failed_training_tells_our_message_with_its_indented_lines_alone(tmp_path):
    log = "INFO: 1/3epoch started\ntrain.py: error: two faults:\n  - a\n# Ended\n  - b\n"
    (tmp_path / "train.log").write_text(log)
    assert failure(tmp_path) == "two faults:\n  - a\n  - b"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (-9, "training was killed by SIGKILL (the kernel does so for want of memory; else"),
        (-7, "training was killed by SIGBUS; the end of"),
        (1, "training ended early; the end of"),
    ],
)
def test_a_training_that_was_killed_tells_the_signal_by_its_name(status, said, tmp_path):
    (tmp_path / "train.log").write_text("INFO: 1/3epoch started\n")
    assert failure(tmp_path, status).startswith(said)


def test_a_lost_worker_of_a_data_loader_tells_what_it_lacks_as_a_rule(tmp_path):
    error = "RuntimeError: DataLoader worker (pid(s) 14112) exited unexpectedly"
    (tmp_path / "train.log").write_text(f"INFO: 1/3epoch started\n{error}\n# Ended (code 1)\n")
    said = failure(tmp_path, 1)
    assert "ended early (memory or /dev/shm is what a worker lacks as a rule: lower num" in said
    assert error in said


@pytest.mark.parametrize("full", ["phase", "temporary"])
def test_a_full_disk_is_told_by_its_place(full, tmp_path, monkeypatch):
    places = {"phase": tmp_path / "phase", "temporary": tmp_path / "temporary"}
    free = {place: 0 if name == full else 10**9 for name, place in places.items()}
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(places["temporary"]))
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free[place]))
    said = failure(places["phase"], 1)
    assert said == f"the disk of {places[full]} is full (0.0 MB free); make room and run again"


@pytest.mark.parametrize("launch", [dict(ngpu=2), dict(ngpu=1, num_nodes=2, cmd="slurm.pl")])
def test_a_stream_is_refused_several_processes_before_its_first_phase(launch, tmp_path):
    base = Experiment(tmp_path, {"model": "lm_stream"}, "lm")
    with pytest.raises(TopdownError, match="a stream model, whose state cannot be split"):
        check_base(Launch(**launch), base)
    check_base(Launch(ngpu=1), base)
    check_base(Launch(**launch), Experiment(tmp_path, {}, "lm"))
