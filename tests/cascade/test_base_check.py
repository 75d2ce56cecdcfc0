"""The base of a cascade: finished, able to judge, and what it was; one truth for all commands."""

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny
import yaml
from cascades import copied, fails, run, words

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.base import check_finished, check_ready
from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.plan.plan_file import parse_plan

PLAN = parse_plan("phases: [{cut: decoder}]")


def experiment(directory: Path, *names: str, max_epoch: int = 5) -> Experiment:
    """A base that has the files `names`."""
    for name in names:
        (directory / name).touch()
    criteria = [["valid", "acc", "max"], ["valid", "loss", "min"]]
    return Experiment(directory, {"best_model_criterion": criteria, "max_epoch": max_epoch}, "asr")


def rows(count: int) -> list[dict]:
    return [{"valid": {"acc": 0.1 * epoch, "loss": 2.0}} for epoch in range(count)]


UNREADY = {
    "unfinished": (
        ["checkpoint.pth", "3epoch.pth", "valid.acc.best.pth"],
        3,
        "its training is not finished (3 of 5 epochs, no averaged model); finish it first",
    ),
    "average of another criterion": (
        ["checkpoint.pth", "valid.loss.ave.pth", "valid.loss.ave_2best.pth"],
        5,
        (
            "it has no valid.acc.ave.pth, which the dev criterion asks for (there:"
            " valid.loss.ave.pth, valid.loss.ave_2best.pth); name one of these as parent_model"
        ),
    ),
    "stopped early, averages gone": (
        ["checkpoint.pth", "valid.loss.ave.pth"],
        2,
        "it has no valid.acc.ave.pth",
    ),
    "packed with several": (
        ["valid.acc.ave_10best.pth", "valid.loss.ave_10best.pth"],
        0,
        "it has no valid.acc.ave.pth",
    ),
}


@pytest.mark.parametrize("name", UNREADY)
def test_a_base_without_the_model_asked_for_is_refused(name: str, tmp_path: Path) -> None:
    there, epochs, fault = UNREADY[name]
    with pytest.raises(TopdownError, match=re.escape(fault)):
        check_ready(experiment(tmp_path, *there), PLAN, rows(epochs))


@pytest.mark.parametrize("name", UNREADY)
def test_a_base_that_is_still_trained_is_refused_by_its_log(name: str, tmp_path: Path) -> None:
    there, epochs, fault = UNREADY[name]
    base = experiment(tmp_path, *there)
    check_finished(base, PLAN)
    log = "".join(
        f"{epoch}/5epoch started\n{epoch}epoch results: [valid] acc=0.5\n"
        for epoch in range(1, epochs + 1)
    )
    (tmp_path / "train.log").write_text(log)
    with pytest.raises(TopdownError, match=re.escape(fault)):
        check_finished(base, PLAN)


def test_no_model_is_built_of_a_base_that_is_still_trained(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    young = shutil.copytree(base, tmp_path / "young", ignore=shutil.ignore_patterns("*.ave*"))
    (young / "train.log").write_text("1/5epoch started\n")
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    monkeypatch.delattr("espnet_topdown.cascade.cascade.find_model_facts")
    with pytest.raises(TopdownError, match="its training is not finished"):
        Cascade.open(young, tmp_path / "plan.yaml")


def test_what_the_message_advises_is_accepted(tmp_path: Path) -> None:
    base = experiment(tmp_path, "checkpoint.pth", "valid.loss.ave.pth")
    named = parse_plan("{parent_model: valid.loss.ave.pth, phases: [{cut: decoder}]}")
    check_ready(base, named, rows(5))
    by_loss = parse_plan("{dev_criterion: [valid, loss, min], phases: [{cut: decoder}]}")
    check_ready(base, by_loss, [])


def test_a_packed_model_is_a_base_by_its_one_file(tmp_path: Path) -> None:
    base = experiment(tmp_path, "valid.acc.ave_10best.pth")
    check_ready(base, PLAN, [])
    assert base.model_name(PLAN) == "valid.acc.ave_10best.pth"
    assert base.phase_model_name(PLAN) == "valid.acc.ave.pth"


def test_a_criterion_is_chosen_among_those_that_measure_quality(tmp_path: Path) -> None:
    config = {"best_model_criterion": [["valid", "total_count", "max"]]}
    counted = Experiment(tmp_path, config, "asr")
    with pytest.raises(TopdownError, match="by nothing that measures quality"):
        counted.dev_criterion(PLAN)
    config["best_model_criterion"].append(["valid", "loss", "min"])
    assert counted.dev_criterion(PLAN) == ("valid", "loss", "min")


def test_a_cascade_tells_the_seeds_that_were_trained_when_the_base_s_config_has_another(
    finished: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ESPnet writes config.yaml anew when a finished training is started again."""
    exp = tmp_path / "exp"
    own = shutil.copytree(base, exp / "asr", symlinks=True)
    cascade = copied(finished, own, exp)
    config = own / "config.yaml"
    (line,) = re.findall("^seed: .*", config.read_text(), re.MULTILINE)
    config.write_text(config.read_text().replace(line, "seed: 5"))
    assert line == "seed: 0"
    main(["results", str(cascade)])
    told = json.loads((cascade / "results.json").read_text())["phases"]
    assert [row["seed"] for row in told] == [0, 1000, 2000]
    note = f"note: the base {own} was trained with seed 0, and its config.yaml, which was"
    assert note in capsys.readouterr().err
    plan = str(finished.parent / "plan.yaml")
    error = fails(capsys, "run", str(own), "--plan", plan, "--dir", str(cascade))
    assert "written anew since, says 5; bring back what it was, or give another --dir" in error
    # One that an earlier version began does not know.
    header = json.loads((cascade / "cascade.json").read_text())
    del header["seed"]
    (cascade / "cascade.json").write_text(json.dumps(header))
    main(["status", str(cascade)])
    assert "note: " not in capsys.readouterr().err
    Cascade.reopen(cascade).store()
    assert "seed" not in json.loads((cascade / "cascade.json").read_text())


def test_a_plan_that_compares_a_training_with_itself_is_refused_unless_it_was_run(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("phases: [{cut: decoder}, {kind: restart}, {control: restart}]")
    command = ["plan", str(base), "--plan", str(plan), "--dir", str(tmp_path / "c")]
    assert "restart_phase2 would train phase2 once more, for the same" in fails(capsys, *command)
    (tmp_path / "c/restart_phase2").mkdir(parents=True)
    main(command)
    assert "restart_phase2" in capsys.readouterr().out


def test_a_directory_whose_name_has_a_blank_is_refused_before_any_training(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recipes part names at blanks, so that nothing could be decoded there."""
    plan = tmp_path / "all kinds.yaml"
    plan.write_text("phases: [{cut: decoder}]")
    for options in (["--plan", str(plan)], ["--plan", "rnn", "--dir", str(tmp_path / "a b")]):
        error = fails(capsys, "plan", str(base), *options)
        assert "recipes cannot decode in a directory whose name has a blank; give --dir" in error


@pytest.fixture
def trained_on(finished, base, data, tmp_path, capsys) -> tuple[Path, Path]:
    """A finished cascade, and its base, which was trained on for two epochs since."""
    from espnet_topdown.bin.train import main as train

    exp = tmp_path / "exp"
    own = shutil.copytree(base, exp / "asr", symlinks=True)
    cascade = copied(finished, own, exp)
    main(["status", str(cascade)])
    assert "note: " not in capsys.readouterr().err
    config = tiny.asr_config("transformer", "rnn", max_epoch=4)
    train(tiny.command(data, own, config))
    # Of two epochs the best, of four another, whatever they were.
    state = own / "valid.acc.ave.pth"
    target = own / ("4epoch.pth" if state.resolve().name != "4epoch.pth" else "3epoch.pth")
    assert target.exists() or shutil.copy(own / "latest.pth", target)
    state.unlink()
    state.symlink_to(target.name)
    return cascade, own


@pytest.mark.slow
def test_all_commands_tell_one_truth_of_a_base_that_was_trained_on(
    trained_on, finished, capsys
) -> None:
    cascade, own = trained_on
    record = json.loads((finished / "phase1" / "record.json").read_text())
    dev = f"{record['base']['dev']:.4f}"
    note = f"the base {own} was trained on since phase1 and 1 more began from it"
    for command in ("status", "phases", "results"):
        main([command, str(cascade)])
        said = capsys.readouterr()
        assert f"note: {note}" in said.err
        assert "exists" not in said.out
        if command == "status":
            (line,) = [line for line in said.out.splitlines() if line.startswith("phase0")]
            assert line.split()[-3:-1] == ["2", dev]
    plan = str(finished.parent / "plan.yaml")
    for command in ("plan", "run"):
        error = fails(capsys, command, str(own), "--plan", plan, "--dir", str(cascade))
        assert note in error
        assert "every phase is finished" not in error
        assert not re.search("[0-9a-f]{64}", error)
    assert note in fails(capsys, "verify", str(cascade))


@pytest.mark.slow
def test_a_packed_model_is_cascaded_from(base, tmp_path, capsys) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    shutil.copy(base / "config.yaml", packed)
    shutil.copy(base / "valid.acc.ave.pth", packed / "valid.acc.ave_1best.pth")
    cascade = run(packed, tmp_path, "phases: [{cut: decoder}, {cut: encoder.1}]")
    said = capsys.readouterr()
    assert "are kept of the valid.acc.ave_1best.pth that it was packed with" in said.err
    assert "run measures it first, by validation alone" in said.err
    assert "phase0: measuring its dev value by validation alone" in said.out
    # It is that of the one epoch that the average is of.
    (measured,) = json.loads((cascade / "measured.json").read_text())["phase0"][""]["rows"]
    best = f"{Cascade.open(base, tmp_path / 'plan.yaml').base_value:.4f}"
    assert f"{measured['valid']['acc']:.4f}" == best
    (line,) = [line for line in said.out.splitlines() if line.startswith("phase0 ")]
    assert best in line
    run(packed, tmp_path, "phases: [{cut: decoder}, {cut: encoder.1}]")
    assert "measuring" not in capsys.readouterr().out
    conf = yaml.safe_load((cascade / "phase1" / "phase.yaml").read_text())["topdown_conf"]
    assert conf["parent_model"] == "valid.acc.ave_1best.pth"
    conf = yaml.safe_load((cascade / "phase2" / "phase.yaml").read_text())["topdown_conf"]
    assert conf["parent_model"] == "valid.acc.ave.pth"
    for command in ("status", "verify", "results"):
        main([command, str(cascade)])


def test_a_packed_model_without_its_validation_data_is_judged_from_phase_1_on(
    base, noisy, tmp_path, capsys
) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    config = yaml.safe_load((base / "config.yaml").read_text())
    rows = config["valid_data_path_and_name_and_type"]
    gone = [[f"gone/{Path(path).name}", name, kind] for path, name, kind in rows]
    config["valid_data_path_and_name_and_type"] = gone
    (packed / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(base / "valid.acc.ave.pth", packed / "valid.acc.ave_1best.pth")
    plan = f"{{data: {{valid: {noisy}/valid}}, phases: [{{cut: decoder}}]}}"
    (tmp_path / "plan.yaml").write_text(plan)
    main([*words(packed, tmp_path), "--dry_run"])
    said = capsys.readouterr().out
    assert "is not known" in said
    assert "phases are not judged against it, but against the first of them" in said


def test_a_base_with_a_torn_checkpoint_is_used_by_its_average(base, tmp_path, capsys) -> None:
    torn = shutil.copytree(base, tmp_path / "torn", symlinks=True)
    checkpoint = torn / "checkpoint.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    (torn / "train.log").write_text(
        "1/2epoch started\n1epoch results: [valid] acc=0.25, loss=3\n"
        "2/2epoch started\n2epoch results: [valid] acc=0.5, loss=2\n"
    )
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    main([*words(torn, tmp_path), "--dry_run"])
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("phase0")]
    assert line.split()[-1] == "2"
    record = run(torn, tmp_path, "phases: [{cut: decoder}]") / "phase1" / "record.json"
    assert json.loads(record.read_text())["base"]["dev"] == 0.5
