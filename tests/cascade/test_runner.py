"""Cascades through the command line: order, decisions, reruns, kills, and what stops them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny
import torch
import yaml

from espnet_topdown.cascade import ledger
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cli import main
from espnet_topdown.experiment import phase_dir
from espnet_topdown.training import checkpoint

PLAN = "phases: [{cut: decoder}, {cut: encoder.1}]"


@pytest.fixture(scope="module")
def base(warm_process, data, tmp_path_factory):
    """A trained transformer experiment."""
    from espnet_topdown.bin.train import main as train_main

    directory = tmp_path_factory.mktemp("exp") / "asr"
    train_main(tiny.command(data, directory, tiny.asr_config("transformer", "rnn")))
    return directory


@pytest.fixture(scope="module")
def finished(base, tmp_path_factory):
    """A finished cascade of two phases."""
    return run(base, tmp_path_factory.mktemp("finished"), PLAN)


def run(base, tmp_path, plan: str, *options: str):
    """``espnet-topdown run``; the cascade's directory."""
    (tmp_path / "plan.yaml").write_text(plan)
    main([*words(base, tmp_path), *options])
    return tmp_path / "cascade"


def words(base, tmp_path) -> list[str]:
    """The command line of `run` for the plan and the cascade below `tmp_path`.

    One thread, as several tests share cores.
    """
    return [
        "run",
        str(base),
        "--plan",
        str(tmp_path / "plan.yaml"),
        "--dir",
        str(tmp_path / "cascade"),
        "--threads",
        "1",
    ]


def hashes(cascade) -> dict[str, object]:
    """Fingerprints of every model file of every phase, from the records."""
    return {
        path.parent.name: json.loads(path.read_text())["files"]
        for path in sorted(cascade.glob("*/record.json"))
    }


def outcomes(cascade) -> list[tuple[str, str]]:
    events = ledger.Ledger(cascade / "ledger.jsonl").events()
    return [(e["phase"], e["outcome"]) for e in events if e["event"] == "end"]


def fails(capsys, *command: str) -> str:
    """The message of a command that must fail without a traceback."""
    with pytest.raises(SystemExit) as caught:
        main(list(command))
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_cascade_trains_in_order_and_links_the_best_on_dev(finished, base):
    judgement = Cascade.reopen(finished).judge()
    assert outcomes(finished) == [("phase1", "done"), ("phase2", "done")]
    best = (finished / "best").resolve()
    values = {"phase0": base, "phase1": finished / "phase1", "phase2": finished / "phase2"}
    assert best == values[
        max(judgement.dev, key=lambda name: judgement.dev[name])
    ].resolve() or judgement.dev[judgement.best] == max(judgement.dev.values())
    record = phase_dir.read_record(finished / "phase2")
    assert record["parent"] == "phase1"
    assert not os.path.isabs(phase_dir.read_record(finished / "phase1")["parent"])


def test_rerun_of_a_finished_cascade_trains_nothing_and_says_so(finished, base, capsys):
    before = (finished / "ledger.jsonl").read_bytes()
    run(base, finished.parent, PLAN)
    assert "nothing to do: all phases" in capsys.readouterr().out
    assert (finished / "ledger.jsonl").read_bytes() == before


def test_appended_phases_are_trained_and_the_old_ones_left_alone(finished, base, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    run(
        base,
        tmp_path,
        "phases: [{cut: decoder}, {cut: encoder.1}, {cut: encoder.0}, {control: restart, answers:"
        " phase1}]",
    )
    assert outcomes(copy)[2:] == [("phase3", "done"), ("restart_phase1", "done")]
    assert {k: v for k, v in hashes(copy).items() if k in hashes(finished)} == hashes(finished)


def relink(cascade, base) -> None:
    """A copied cascade knows its base by a relative path."""
    header = json.loads((cascade / "cascade.json").read_text())
    header["base"] = os.path.relpath(base, cascade)
    (cascade / "cascade.json").write_text(json.dumps(header))


def test_changed_plan_of_a_finished_phase_stops_with_a_diff(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(
        "phases: [{cut: decoder, train: {max_epoch: 3}}, {cut: encoder.1}]"
    )
    error = fails(
        capsys, "run", str(base), "--plan", str(tmp_path / "plan.yaml"), "--dir", str(finished)
    )
    assert "phase1 is finished, but what it depends on changed" in error
    assert "settings.max_epoch: 2 -> 3" in error


def test_plan_that_lost_a_finished_phase_is_refused(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    error = fails(
        capsys, "run", str(base), "--plan", str(tmp_path / "plan.yaml"), "--dir", str(finished)
    )
    assert "finished phases that the plan no longer has: phase2" in error


def test_changed_list_of_a_finished_phase_stops_with_its_name(
    finished, base, data, tmp_path, capsys
):
    text = (data / "train" / "text").read_text()
    try:
        (data / "train" / "text").write_text(text.replace("train00 ", "train00 f"))
        error = fails(
            capsys,
            "run",
            str(base),
            "--plan",
            str(finished.parent / "plan.yaml"),
            "--dir",
            str(finished),
        )
        assert f"files.{data}/train/text: " in error
    finally:
        (data / "train" / "text").write_text(text)


def test_workers_and_logging_are_no_part_of_the_key(finished, base, tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "{train: {log_interval: 7, num_workers: 1}, phases: [{cut: decoder}, {cut: encoder.1}]}"
    )
    main(
        [
            "run",
            str(base),
            "--plan",
            str(tmp_path / "plan.yaml"),
            "--dir",
            str(finished),
            "--dry_run",
        ]
    )


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
    judgement = Cascade.reopen(cascade).judge()
    assert judgement.best in ("phase0", "phase1")
    assert set(judgement.accepted) == {"phase1"}


@pytest.mark.parametrize(
    ("launch", "visible", "shares"),
    [
        (dict(ngpu=1, jobs=2), None, ["0", "1"]),
        (dict(ngpu=2, jobs=2), "4,5,6,7", ["4,5", "6,7"]),
        (dict(ngpu=1, jobs=1), None, [None]),
        (dict(ngpu=0, jobs=2), None, [None, None]),
        (dict(ngpu=1, jobs=2, cmd="slurm.pl"), None, [None, None]),
    ],
)
def test_trainings_side_by_side_get_gpus_of_their_own(launch, visible, shares):
    from espnet_topdown.cascade.runner import Launch, gpu_share

    found = [gpu_share(Launch(**launch), slot, visible) for slot in range(launch["jobs"])]
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in found] == shares


def test_more_jobs_than_gpus_are_refused():
    from espnet_topdown.cascade.runner import Launch, gpu_share
    from espnet_topdown.errors import TopdownError

    with pytest.raises(TopdownError, match="needs 4 GPUs, and CUDA_VISIBLE_DEVICES=0,1 names 2"):
        gpu_share(Launch(ngpu=2, jobs=2), 0, "0,1")


def test_cascade_ends_after_rejections_in_a_row(base, tmp_path):
    """No accuracy can gain 1.0, so the first phase is rejected and the others are left out."""
    plan = (
        "{patience: 1, min_gain: 1.0, phases: [{cut: decoder}, {cut: encoder.1}, {control:"
        " restart}]}"
    )
    cascade = run(base, tmp_path, plan)
    assert sorted(hashes(cascade)) == ["phase1", "restart_phase1"]
    assert Cascade.reopen(cascade).judge().skipped == {"phase2", "restart_phase2"}


@pytest.mark.parametrize("jobs", ["1", "2"])
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
    events = ledger.Ledger(tmp_path / "cascade" / "ledger.jsonl").events()
    assert [(e["attempt"], e["threads"]) for e in events if e["event"] == "start"] == [
        (1, 1),
        (1, 1),
    ]
    assert all(e["wall_s"] > 0 and "epochs" in e for e in events if e["event"] == "end")


def test_phase_with_a_non_finite_dev_criterion_is_not_recorded(base, tmp_path, capsys):
    plan = """
    dev_criterion: [valid, loss, min]
    parent_model: valid.acc.ave.pth
    phases: [{cut: decoder, train: {max_epoch: 1, optim: sgd, optim_conf: {lr: 1.0e+38}, grad_clip: 1.0e+38}}]
    """
    (tmp_path / "plan.yaml").write_text(plan)
    assert "the dev criterion valid loss min is not finite in epoch 1" in fails(
        capsys, *words(base, tmp_path)
    )
    assert not (tmp_path / "cascade" / "phase1" / "record.json").exists()


def test_dry_run_prints_phases_and_cost_and_trains_nothing(base, tmp_path, capsys):
    cascade = run(base, tmp_path, PLAN, "--dry_run")
    out = capsys.readouterr().out
    assert "phase2  top_down  encoder.1  phase1" in out
    assert "2 phase(s) to train, 4 epochs at most" in out
    assert not cascade.exists()


def test_status_says_what_is_finished_and_what_waits(finished, base, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    (copy / "phase2" / "record.json").unlink()
    main(["status", str(copy)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "finished" in lines["phase0"]
    assert "ed " in lines["phase1"]
    assert "done" in lines["phase2"]


def test_second_run_on_a_directory_is_told_who_runs(finished, base, capsys):
    from espnet_topdown import files

    with files.locked(finished / ".lock", "cascade"):
        error = fails(
            capsys,
            "run",
            str(base),
            "--plan",
            str(finished.parent / "plan.yaml"),
            "--dir",
            str(finished),
        )
    assert f"is in use: process {os.getpid()} on" in error


def test_verify_finds_a_planted_change_of_one_weight(finished, base, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    main(["verify", str(copy)])
    assert re.search(r"phase2: \d model files", capsys.readouterr().out)
    path = copy / "phase2" / "2epoch.pth"
    state = checkpoint.load_state(path)
    weight = state["encoder.encoders.2.norm1.weight"]
    weight[3] = torch.nextafter(weight[3], torch.tensor(9.0))
    torch.save(state, path)
    error = fails(capsys, "verify", str(copy))
    assert (
        "2epoch.pth is not what was recorded (frozen tensors changed:"
        " encoder.encoders.2.norm1.weight)" in error
    )


def test_verify_tells_pruned_files_from_lost_ones(finished, base, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    (copy / "phase1" / "checkpoint.pth").unlink()  # as `prune` does
    main(["verify", str(copy)])
    assert re.search(r"phase1: \d model files \(1 pruned\)", capsys.readouterr().out)
    for path in (copy / "phase2" / "record.json", copy / "phase2" / "topdown" / "proof.json"):
        data = json.loads(path.read_text())
        data["files"]["valid.loss.ave_2best.pth"] = "0" * 64
        path.write_text(json.dumps(data))
    record = json.loads((copy / "phase1" / "record.json").read_text())
    record["dev"]["curve"][0] += 0.25
    (copy / "phase1" / "record.json").write_text(json.dumps(record))
    error = fails(capsys, "verify", str(copy))
    assert "valid.loss.ave_2best.pth" in error and "disagree about the dev curve" in error


def test_link_to_the_best_phase_is_no_phase(finished, base, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    (copy / "best").unlink()
    (copy / "best").symlink_to("phase1")
    main(["verify", str(copy)])
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [
        "phase1",
        "phase2",
    ]


def test_cascade_can_be_moved(finished, base, tmp_path, capsys):
    exp = tmp_path / "moved"
    shutil.copytree(base, exp / base.name, symlinks=True)
    copy = shutil.copytree(finished, exp / "cascade", symlinks=True)
    relink(copy, exp / base.name)
    moved = tmp_path / "elsewhere"
    exp.rename(moved)
    main(["verify", str(moved / "cascade")])
    assert "phase1: " in capsys.readouterr().out


def test_sigkill_of_the_runner_and_a_rerun_end_bit_identical(finished, base, tmp_path):
    """The runner is killed while a phase trains.

    Its trainer ends with it, and the same command finishes the work.
    """
    (tmp_path / "plan.yaml").write_text(PLAN)
    command = [sys.executable, "-m", "espnet_topdown", *words(base, tmp_path)]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while (
        not (tmp_path / "cascade" / "phase1" / "checkpoint.pth").exists()
        and time.monotonic() < deadline
    ):
        time.sleep(0.005)
    runner.kill()
    runner.wait()
    run(base, tmp_path, PLAN)
    assert hashes(tmp_path / "cascade") == hashes(finished)
    assert outcomes(tmp_path / "cascade")[0] == ("phase1", "killed")


def test_sigkill_of_a_runner_with_two_trainers_and_a_rerun_end_bit_identical(base, tmp_path):
    plan = "phases: [{sweep: [decoder, encoder.1]}]"
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    for place in (undisturbed, killed):
        place.mkdir()
        (place / "plan.yaml").write_text(plan)
    run(base, undisturbed, plan, "--jobs", "2")
    command = [sys.executable, "-m", "espnet_topdown", *words(base, killed), "--jobs", "2"]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    checkpoints = [killed / "cascade" / phase / "checkpoint.pth" for phase in ("phase1", "phase2")]
    while not all(path.exists() for path in checkpoints) and time.monotonic() < deadline:
        time.sleep(0.005)
    runner.kill()
    runner.wait()
    run(base, killed, plan, "--jobs", "2")
    assert hashes(killed / "cascade") == hashes(undisturbed / "cascade")
    done = [outcome for outcome in sorted(outcomes(killed / "cascade")) if outcome[1] == "done"]
    assert done == [
        ("phase1", "done"),
        ("phase2", "done"),
    ]  # one of them may have been done before the kill


def test_orphaned_trainer_is_waited_for_not_joined_by_a_second_writer(
    finished, base, tmp_path, capsys
):
    from espnet_topdown import files

    lock = tmp_path / "cascade" / "phase1" / "topdown" / "lock"
    pid = os.fork()
    if pid == 0:
        with files.locked(lock, "training"):
            time.sleep(2)
        os._exit(0)
    while files.holder(lock) is None:
        time.sleep(0.01)
    began = time.monotonic()
    run(base, tmp_path, PLAN)
    os.waitpid(pid, 0)
    assert time.monotonic() - began > 1
    assert f"still trained by process {pid}" in capsys.readouterr().err
    assert hashes(tmp_path / "cascade") == hashes(finished)


def test_sigterm_ends_the_training_and_leaves_a_state_that_goes_on(finished, base, tmp_path):
    (tmp_path / "plan.yaml").write_text(PLAN)
    runner = subprocess.Popen(
        [sys.executable, "-m", "espnet_topdown", *words(base, tmp_path)], stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "cascade" / "phase1" / "topdown" / "start.json").exists():
        time.sleep(0.005)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait() == 143
    assert outcomes(tmp_path / "cascade") == [("phase1", "interrupted")]
    run(base, tmp_path, PLAN)
    assert hashes(tmp_path / "cascade") == hashes(finished)


def test_phase_number_resumes_there_and_asks_for_those_before(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(PLAN)
    assert "phase1 must be finished first" in fails(capsys, *words(base, tmp_path), "--phase", "2")
    assert "no phase '9'; did you mean phase1" in fails(
        capsys, *words(base, tmp_path), "--phase", "9"
    ).replace("phase2, phase1", "phase1")


def test_config_of_another_espnet_version_passes_only_what_this_one_knows(base, tmp_path, capsys):
    copy = shutil.copytree(base, tmp_path / "old", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    (copy / "config.yaml").write_text(
        yaml.safe_dump(config | {"gone_and_off": False, "required": ["output_dir"]})
    )
    assert run(copy, tmp_path, "phases: [{cut: decoder}]").exists()
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"gone_but_set": 3}))
    (tmp_path / "plan.yaml").write_text("phases: [{cut: encoder.1}]")
    error = fails(
        capsys,
        "run",
        str(copy),
        "--plan",
        str(tmp_path / "plan.yaml"),
        "--dir",
        str(tmp_path / "c2"),
    )
    assert "sets options that this ESPnet does not know: gone_but_set=3" in error


def test_results_of_an_undecoded_cascade_are_written(finished, base, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "cascade", symlinks=True)
    relink(copy, base)
    main(["results", str(copy)])
    assert "phase2" in capsys.readouterr().out
    for name in ("RESULTS.md", "results.json", "report.html"):
        assert (copy / name).exists()


def test_layers_of_an_experiment_are_printed_from_the_output_down(base, capsys):
    main(["layers", str(base)])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[2:]]
    assert names == [
        "output",
        "decoder.1",
        "decoder.0",
        "encoder.2",
        "encoder.1",
        "encoder.0",
        "encoder.embed",
        "all",
    ]
