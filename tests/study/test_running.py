"""Running the commands of a study: what they leave, print and say of the time."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_records import usual, write
from waiting import wait_until

from espnet_topdown.errors import TopdownError
from espnet_topdown.processes import has_ended
from espnet_topdown.study import recording, running
from espnet_topdown.study.study import choose


def test_failed_command_stops_the_study_with_its_words() -> None:
    with pytest.raises(TopdownError, match="failed .*: false --seed 1"):
        running.run_all([["false", "--seed", "1"], ["true"]], 1)


def test_what_a_command_prints_goes_to_its_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And a failure names that log."""
    words = ["sh", "-c", "echo WER 5.0; echo WER 6.0 >&2; exit $0"]
    running.run_all([[*words, "0"]], 1, [tmp_path / "log"])
    assert (tmp_path / "log").read_text() == "WER 5.0\nWER 6.0\n"
    with pytest.raises(TopdownError, match=r"failed \(.*/log\): sh -c"):
        running.run_all([[*words, "1"]], 1, [tmp_path / "log"])
    told = capfd.readouterr()
    assert "WER 5.0\n" not in told.out + told.err


def test_progress_tells_what_is_to_come() -> None:
    told = running.progress(7, 0.5, 4, [1.0, 0.5])
    assert told == "seed 7: took 30 min; 4 seeds to come, about 3 h 00 min"
    told = running.progress(7, 1.5, 1, [1.5])
    assert told == "seed 7: took 1 h 30 min; 1 seed to come, about 1 h 30 min"
    assert running.progress(7, 0.1, 0, []) == "seed 7: took 6 min; it was the last"


def test_the_rest_of_a_seed_forecasts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = choose("x", [1, 2, 3], 1, None, "test")
    study.base(1).mkdir(parents=True)  # an earlier call began it
    for name in ("seeds_note", "schedule_note", "run_all", "run_cascade"):
        monkeypatch.setattr(running, name, lambda *_: None)
    running.run(study)
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "seed 1: took 0 min; 2 seeds to come"
    assert second == "seed 2: took 0 min; 1 seed to come, about 0 min"
    assert third == "seed 3: took 0 min; it was the last"


def test_a_study_whose_trainings_do_not_cost_the_same_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "study").mkdir(parents=True)
    config = tmp_path / "conf" / "train_asr_x.yaml"
    config.write_text("{max_epoch: 50, scheduler: onecyclelr}")
    plan = tmp_path / "conf" / "study" / "x.yaml"
    plan.write_text("phases: [{cut: decoder}, {control: restart}]")
    study = choose("x", [1], 1, None, "test")
    assert running.schedule_note(study) is None
    plan.write_text("phases: [{cut: decoder}, {control: restart, train: {max_epoch: 9}}]")
    told = running.schedule_note(study) or ""
    assert "max_epoch is 50 in the base, item 1 of the plan, 9 in item 2 of the plan" in told


def test_an_analysis_of_phases_that_are_not_trained_is_refused_before_any_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "conf/analysis/x.yaml"
    path.parent.mkdir(parents=True)
    asked = "primary: {a: {first: phase1, second: restart_phase1, sets: [test]}}"
    seeds = "seeds: [100000, 200000, 300000]"
    path.write_text(f"{seeds}\n{asked}\nsecondary: {{}}\n")
    phases = [on_dev("phase1")]
    made = SimpleNamespace(phases=phases, valid_sets=lambda: {"dev"}, vocabulary=lambda phase: None)
    monkeypatch.setattr(running.Cascade, "open", lambda *_: made)
    study = choose("x", None, 1, None, None)
    with pytest.raises(TopdownError, match="x.yaml asks about restart_phase1, which no seed"):
        running.check_asked(study, 100000)
    running.check_asked(study, 7)  # a pilot
    phases.append(on_dev("restart_phase1"))
    running.check_asked(study, 100000)
    other = choose("x", None, 1, None, "dev")
    with pytest.raises(TopdownError, match="about phase1 on test, restart_phase1 on test, which"):
        running.check_asked(other, 100000)
    path.write_text(f"{seeds}\n{asked.replace('test', 'dev')}\nsecondary: {{}}\n")
    with pytest.raises(TopdownError, match="asks about dev, which selects epochs and phases"):
        running.check_asked(choose("x", None, 1, None, "dev"), 100000)
    path.write_text(f"{seeds}\n{asked.replace(', sets: [test]', '')}\nsecondary: {{}}\n")
    running.check_asked(choose("x", None, 1, None, "test"), 100000)
    with pytest.raises(TopdownError, match="primary would be asked on each of test, test_b"):
        running.check_asked(choose("x", None, 1, None, "test test_b"), 100000)
    best = asked.replace("second: restart_phase1", "second: {best: [restart_phase1, noisy]}")
    path.write_text(f"{seeds}\n{best}\nsecondary: {{}}\n")
    phases.append(on_dev("noisy", "dev_noisy"))
    with pytest.raises(TopdownError, match="x.yaml: a: dev values of different data or tokens"):
        running.check_asked(choose("x", None, 1, None, "test"), 100000)


def on_dev(name: str, valid_set: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(name=name, valid_set=valid_set)


def test_a_config_that_has_changed_since_a_base_was_trained_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its options would seem to be those of the seed."""
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "conf/train_asr_x.yaml"
    config.parent.mkdir()
    conf = "optim_conf: {lr: 0.1}, frontend_conf: {n_fft: 256}"
    config.write_text(f"{{max_epoch: 3, scheduler: WarmupLR, {conf}}}")
    study = choose("x", [1], 1, None, "test")
    study.base(1).mkdir(parents=True)
    trained = study.base(1) / "config.yaml"
    # asr.sh gives the frontend its rate.
    own = conf.replace("256", "256, fs: 8k")
    trained.write_text(f"{{max_epoch: 3, scheduler: warmuplr, {own}, seed: 1}}")
    assert running.config_note(study, 1) is None
    (study.base(1) / study.model_file).touch()
    assert running.config_note(study, 1) is None
    config.write_text(f"{{max_epoch: 12, scheduler: WarmupLR, {conf}}}")
    told = running.config_note(study, 1) or ""
    assert "seed1 was trained with max_epoch 3, not 12 as conf/train_asr_x.yaml says now" in told


def test_a_planned_seed_is_sealed_before_its_phases_and_open_after_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = {
        "seeds": [100000, 200000, 300000],
        "primary": {"a": {"first": "phase1", "second": "restart_phase1"}},
        "secondary": {},
    }
    path = tmp_path / "conf/analysis/tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(plan))
    study = choose("tiny", None, 1, None, "test")

    def trains_nothing(*_: object) -> None:
        raise TopdownError("enough")

    monkeypatch.setattr(running, "has_base", lambda *_: True)
    monkeypatch.setattr(running, "check_asked", lambda *_: None)
    monkeypatch.setattr(running, "run_all", trains_nothing)
    for seed in (100000, 200000, 7):
        with pytest.raises(TopdownError, match="enough"):
            running.run_cascade(study, seed)
    sealed = [study.base(seed) / "sealed" for seed in (100000, 200000, 7)]
    # The last is a pilot.
    assert [mark.exists() for mark in sealed] == [True, True, False]
    for seed, is_sealed in ((100000, True), (200000, True), (300000, False)):
        write(tmp_path / "records/tiny", replace(usual(seed), analysis=plan))
        recording.unseal_complete(study)
        assert [mark.exists() for mark in sealed[:2]] == [is_sealed, is_sealed]


def test_a_base_without_the_model_to_decode_ends_the_study_before_its_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = choose("x", [1], 1, "valid.acc.ave.pth", "test")
    study.base(1).mkdir(parents=True)
    (study.base(1) / "valid.loss.ave.pth").touch()
    with pytest.raises(TopdownError, match=r"give --model_file the model .*valid.loss.ave.pth"):
        running.run_cascade(study, 1)


def test_the_model_of_the_dev_criterion_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = tmp_path / "conf/study/x.yaml"
    plan.parent.mkdir(parents=True)
    plan.write_text("{dev_criterion: [valid, loss, min], phases: [{cut: decoder}]}")
    assert choose("x", [1], 1, None, "test").model_file == "valid.loss.ave.pth"
    assert choose("x", [1], 1, "latest.pth", "test").model_file == "latest.pth"
    plan.write_text("phases: [{cut: decoder}]")
    assert choose("x", [1], 1, None, "test").model_file == "valid.acc.ave.pth"


def test_a_study_without_a_plan_of_analysis_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file under another name would leave all results open from the first seed on."""
    monkeypatch.chdir(tmp_path)
    study = choose("x", [1], 1, None, "test")
    assert running.analysis_note(study).startswith("found no conf/analysis/x.yaml, so every")
    study.analysis.parent.mkdir(parents=True)
    study.analysis.touch()
    assert running.analysis_note(study).startswith("conf/analysis/x.yaml says what is asked")


def test_seeds_that_share_random_numbers_are_told() -> None:
    told = running.seeds_note(choose("x", [300000, 100000, 199999], 1, None, "test"))
    assert told is not None
    assert told.startswith("seeds less than 100000 apart share random numbers")
    assert running.seeds_note(choose("x", [300000, 100000, 200000], 1, None, "test")) is None


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_ended_leaves_none_of_its_commands(
    sent: signal.Signals, tmp_path: Path
) -> None:
    code = "import sys; from espnet_topdown.study import running\n"
    code += "running.run_all([sys.argv[1:]], 1)"
    # As run.sh: a script whose own child does the work.
    script = f"sh -c 'echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; sleep 60'"
    words = [sys.executable, "-c", code, "bash", "-c", f"{script}; true"]
    study = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "pid").exists)
    study.send_signal(sent)
    study.wait()
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: has_ended(pid))
