"""Dev values by validation alone: those that training itself has logged, and what they decide."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from cascades import fails, run

from espnet_topdown.cascade import measuring
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.launch import Launch
from espnet_topdown.cascade.measured import read_measured, values
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.quality import Criterion


def rows_of(cascade: Path, name: str, valid_set: str) -> dict[str, dict[str, float]]:
    measured = json.loads((cascade / "measured.json").read_text())
    return {row["model"]: row["valid"] for row in measured[name][valid_set]["rows"]}


def test_a_measured_value_is_the_one_that_training_has_logged(base, data, tmp_path, capsys):
    """On a copy of the base's own validation set; averages between epochs are no epochs."""
    base = Path(shutil.copytree(base, tmp_path / base.name, symlinks=True))
    shutil.copy(base / "2epoch.pth", base / "valid.acc.ave_2best.till2epoch.pth")
    own = shutil.copytree(data / "valid", tmp_path / "own")
    plan = f"phases: [{{cut: decoder, data: {{valid: {own}}}}}]"
    cascade = run(base, tmp_path, plan)
    measured = rows_of(cascade, "phase0", str(own))
    assert {*measured} <= {"1epoch.pth", "2epoch.pth"} and "2epoch.pth" in measured
    for epoch in Cascade.reopen(cascade).facts.epochs:
        row = measured.get(f"{epoch['epoch']}epoch.pth", epoch["valid"])
        for metric in ("acc", "loss", "cer", "wer"):
            assert row[metric] == epoch["valid"][metric]
    text = (cascade / "measured.json").read_text()
    digest = json.loads(text)["phase0"][str(own)]["made_of"]["model"]
    (cascade / "measured.json").write_text(text.replace(digest, 64 * "0"))
    error = fails(capsys, "verify", str(cascade))
    assert "measured.json was measured of another" in error


def test_what_is_measured_is_computed_as_precisely_as_the_training_did(
    espnet: None, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torch.backends import cudnn

    from espnet_topdown.bin.validation import validate
    from espnet_topdown.training.tasks import task_of

    def look(*args: object, **options: object) -> None:
        seen.append((cudnn.deterministic, cudnn.benchmark, torch.backends.cuda.matmul.allow_tf32))
        one_epoch(*args, **options)

    seen: list[tuple[bool, bool, bool]] = []
    trainer = task_of("asr").trainer
    one_epoch = trainer.validate_one_epoch
    monkeypatch.setattr(trainer, "validate_one_epoch", look)
    parser = task_of("asr").get_parser()
    config = Experiment.read(base).passed_on([action.dest for action in parser._actions])
    config |= {"use_tf32": True, "cudnn_benchmark": True}
    asked = {"task": "asr", "config": config, "directory": str(base), "models": ["2epoch.pth"]}
    try:
        (row,) = validate(asked, ngpu=0)
    finally:
        cudnn.deterministic = cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = False
    assert "acc" in row["valid"]
    assert seen == [(True, True, True)]


def test_the_best_so_far_is_measured_on_the_set_of_the_next(base, noisy, tmp_path, capsys):
    """Phase 1 is better than phase 0 on what it was trained on; phase 2 has the base's set."""
    data = f"data: {{train: {noisy}/train, valid: {noisy}/train}}, train: {{max_epoch: 25}}"
    plan = f"""
    dev_criterion: [valid, loss, min]
    parent_model: valid.acc.ave.pth
    phases: [{{cut: decoder, {data}}}, {{cut: encoder.1}}]
    """
    directory = run(base, tmp_path, plan)
    cascade = Cascade.reopen(directory)
    judgement = cascade.judge(cascade.read_records())
    assert judgement.accepted["phase1"]
    assert not judgement.lacking
    of_phase1 = min(row["loss"] for row in rows_of(directory, "phase1", "").values())
    assert judgement.accepted["phase2"] == (judgement.dev["phase2"] < of_phase1)
    (directory / "measured.json").unlink()
    assert cascade.judge(cascade.read_records()).lacking
    capsys.readouterr()
    run(base, tmp_path, plan)
    assert "phase1: measuring its dev value by validation alone" in capsys.readouterr().out
    assert not cascade.judge(cascade.read_records()).lacking


def test_a_value_that_is_not_finite_is_told_and_not_measured_for_ever(monkeypatch):
    judgement = SimpleNamespace(lacking={("phase1", "noisy")})
    cascade = SimpleNamespace(
        judge=lambda _: judgement,
        criterion=SimpleNamespace(name="valid acc max"),
        paths=SimpleNamespace(measured=Path("measured.json")),
    )
    calls = []
    monkeypatch.setattr(measuring, "_phase_on", lambda *_: None)
    monkeypatch.setattr(measuring, "_measure", lambda *args: calls.append(args))
    with pytest.raises(TopdownError, match="phase1 on noisy gave no finite valid acc max"):
        measuring.judge_all(cascade, {}, Launch(), slot=0)
    assert len(calls) == 1


def test_what_was_measured_of_a_phase_that_was_redone_does_not_count() -> None:
    rows = [{"model": "1epoch.pth", "valid": {"acc": 0.5}}]
    measured = {"phase1": {"noisy": {"made_of": {"model": "old"}, "rows": rows}}}
    criterion = Criterion("valid", "acc", "max")
    assert values(measured, criterion, {"phase1": "old"}) == {("phase1", "noisy"): 0.5}
    assert values(measured, criterion, {}) == {("phase1", "noisy"): 0.5}
    assert values(measured, criterion, {"phase1": "new"}) == {}


@pytest.mark.parametrize("spoil", ["[]", '{"phase0": {"": {"rows": 3}}}', "{torn"])
def test_damaged_measurements_are_told(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "measured.json"
    path.write_text(spoil)
    with pytest.raises(TopdownError, match=r"measured\.json is damaged"):
        read_measured(path)
