"""Dev values by validation alone: those that training itself has logged, and what they decide."""

import json
import shutil
from pathlib import Path

import pytest
from cascades import run

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.measured import read_measured
from espnet_topdown.errors import TopdownError


def rows_of(cascade: Path, name: str, valid_set: str) -> dict[str, dict[str, float]]:
    measured = json.loads((cascade / "measured.json").read_text())
    return {row["model"]: row["valid"] for row in measured[name][valid_set]["rows"]}


def test_a_measured_value_is_the_one_that_training_has_logged(base, data, tmp_path):
    """On a copy of the base's own validation set."""
    own = shutil.copytree(data / "valid", tmp_path / "own")
    plan = f"phases: [{{cut: decoder, data: {{valid: {own}}}}}]"
    cascade = run(base, tmp_path, plan)
    measured = rows_of(cascade, "phase0", str(own))
    assert "2epoch.pth" in measured
    for epoch in Cascade.reopen(cascade).facts.epochs:
        row = measured.get(f"{epoch['epoch']}epoch.pth", epoch["valid"])
        for metric in ("acc", "loss", "cer", "wer"):
            assert row[metric] == epoch["valid"][metric]


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


@pytest.mark.parametrize("spoil", ["[]", '{"phase0": {"": {"rows": 3}}}', "{torn"])
def test_damaged_measurements_are_told(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "measured.json"
    path.write_text(spoil)
    with pytest.raises(TopdownError, match=r"measured\.json is damaged"):
        read_measured(path)
