"""What the commands print of layers, plans and cascades."""

import json
import re
import shutil
from pathlib import Path

import pytest
from cascades import PLAN, copied, run

from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cli import main
from espnet_topdown.experiment import phase_dir


def test_dry_run_prints_phases_and_cost_and_trains_nothing(base, tmp_path, capsys):
    cascade = run(base, tmp_path, PLAN, "--dry_run")
    out = capsys.readouterr().out
    assert "phase2  top_down  encoder.1  phase1" in out
    assert "2 phase(s) to train, 4 epochs at most" in out
    assert not cascade.exists()


def test_status_says_what_is_finished_and_what_waits(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "phase2" / "record.json").unlink()
    main(["status", str(copy)])
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "finished" in lines["phase0"]
    assert "ed " in lines["phase1"]
    assert "record deleted: will be made from its files" in lines["phase2"]
    shutil.rmtree(copy / "phase2")
    main(["status", str(copy)])
    assert "deleted: will be trained anew" in capsys.readouterr().out


def interrupted(copy: Path, **end: object) -> None:
    """Phase 2 of a copy as an attempt leaves it that did not end well: at epoch 2, one finished."""
    directory = copy / "phase2"
    (directory / "record.json").unlink()
    (directory / "train.log").unlink()
    (directory / "train.1.log").write_text("1/2epoch started\n1epoch results: [valid] acc=0.25\n")
    (directory / "train.log").write_text("2/2epoch started\n")
    ledger = Ledger(copy / "ledger.jsonl")
    ledger.append("start", "phase2", attempt=2)
    if end:
        ledger.append("end", "phase2", attempt=2, wall_s=1.0, epochs=1, **end)


@pytest.mark.parametrize("end", [{}, {"outcome": "killed"}, {"outcome": "interrupted"}])
def test_a_killed_phase_is_interrupted_and_counts_what_is_left(
    end, finished, base, tmp_path, capsys
):
    copy = copied(finished, base, tmp_path)
    interrupted(copy, **end)
    main(["status", str(copy)])
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("phase2")]
    assert line.split()[3:] == ["interrupted:", "will", "go", "on", "2/2", "0.2500"]
    plan = str(finished.parent / "plan.yaml")
    main(["plan", str(base), "--plan", plan, "--dir", str(copy)])
    assert "1 phase(s) to train, 1 epochs at most" in capsys.readouterr().out


def test_a_resumed_phase_says_from_where(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    interrupted(copy)
    run(base, tmp_path, PLAN)
    assert "parameters frozen, goes on after epoch 1; log " in capsys.readouterr().err


def test_a_failed_phase_tells_why_and_where_its_log_is(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    interrupted(copy, outcome="failed", reason="training has diverged. Lower the learning rate")
    main(["status", str(copy)])
    said = capsys.readouterr().out
    assert "phase2 failed: training has diverged. Lower the learning rate\n" in said
    assert f"its log: {copy / 'phase2' / 'train.log'}" in said


def test_reading_commands_need_neither_data_nor_recipe(finished, base, tmp_path, capsys):
    moved = shutil.copytree(base, tmp_path / "asr", symlinks=True)
    config = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(re.sub(r"/\S*/(train|valid)/", r"dump/\1/", config))
    copy = copied(finished, moved, tmp_path)
    for record in copy.glob("*/record.json"):
        if not record.parent.is_symlink():
            text = re.sub(r"/[^\s\"]*/(train|valid)/", r"dump/\1/", record.read_text())
            phase_dir.write_record(record.parent, json.loads(text))
    for command in ("status", "results", "verify", "prune --keep_epochs 0"):
        word, *options = command.split()
        main([word, str(copy), *options])
        said = capsys.readouterr()
        assert "note: " not in said.err
        if command == "verify":
            assert "list(s) that were read are not here and were not compared: dump/" in said.out


def test_layers_of_an_experiment_are_printed_from_the_output_down(base, capsys):
    main(["layers", str(base)])
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines[2:]]
    decoder, encoder = ["decoder.1", "decoder.0"], ["encoder.2", "encoder.1", "encoder.0"]
    assert names == ["output", *decoder, *encoder, "encoder.embed", "all"]
