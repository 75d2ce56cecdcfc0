"""What the commands print of layers, plans and cascades."""

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny
import yaml
from cascades import PLAN, copied, run

from espnet_topdown.cascade import espnet_answers, text
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cli import main
from espnet_topdown.experiment import phase_dir


def test_dry_run_prints_phases_and_cost_and_trains_nothing(base, tmp_path, capsys):
    cascade = run(base, tmp_path, PLAN, "--dry_run")
    out = capsys.readouterr().out
    assert "phase2  top_down  encoder.1  phase1" in out
    assert "2 phase(s) to train, 4 epochs at most" in out
    assert not cascade.exists()


def test_plan_says_where_no_dropout_is_switched_off(base, tmp_path, capsys):
    run(base, tmp_path, "phases: [{cut: decoder, kind: slow, dropout: off}]", "--dry_run")
    note = "dropout: off acts in frozen layers alone, and there are none in phase1"
    assert note in capsys.readouterr().out
    run(base, tmp_path, "{dropout: off, phases: [{cut: decoder}, {control: restart}]}", "--dry_run")
    assert "acts in frozen layers alone" not in capsys.readouterr().out


def test_plan_says_which_phase_the_best_was(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    phases = "{cut: decoder}, {cut: encoder.1}, {kind: thaw, parent: best}"
    (tmp_path / "plan.yaml").write_text(f"phases: [{phases}, {{cut: encoder.2, parent: best}}]")
    cascade = Cascade.open(base, tmp_path / "plan.yaml", copy)
    for parent, told in ((base, "phase0 (best)"), (copy / "phase1", "phase1 (best)")):
        records = cascade.read_records()
        records["phase3"] = {**records["phase2"], "parent": cascade.paths.relative(parent)}
        rows = text.plan_table(cascade, records).splitlines()
        assert [row for row in rows if row.startswith("phase3") and f"  {told}  " in row]
        # Not trained yet.
        assert [row for row in rows if row.startswith("phase4") and "  best  " in row]


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
    assert line.split()[3:] == ["interrupted:", "will", "go", "on", "2/2", "0.250"]
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


def test_layers_of_config_experiment_and_packed_model_are_one_table(base, tmp_path, capsys):
    """A packed model is a config and an averaged file; its statistics lie elsewhere."""
    frozen = dict(freeze_param=["encoder.embed", "decoder.decoder.1"])
    written = yaml.safe_load((base / "config.yaml").read_text()) | frozen
    packed = tmp_path / "packed" / "exp" / "asr"
    packed.mkdir(parents=True)
    shutil.copy(base / "valid.acc.ave.pth", packed)
    statistics = dict(normalize="global_mvn", normalize_conf=dict(stats_file="exp/stats.npz"))
    (packed / "config.yaml").write_text(yaml.safe_dump(written | statistics))
    experiment = tmp_path / "experiment"
    experiment.mkdir()
    (experiment / "config.yaml").write_text(yaml.safe_dump(written))
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(tiny.asr_config("transformer", "rnn") | frozen))
    tables = []
    for model in (packed, experiment, config):
        main(["layers", str(model), "--vocab_size", str(len(tiny.TOKENS))])
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] == tables[2]
    lines = {line.split()[0]: line for line in tables[0].splitlines()}
    assert "  FROZEN by freeze_param" in lines["encoder.embed"]
    assert "FROZEN by freeze_param" in lines["decoder.1"]
    assert "FROZEN" not in lines["encoder.0"]


def test_plan_results_and_report_say_which_fresh_layers_are_loaded(
    finished, base, tmp_path, monkeypatch, capsys
):
    copy = copied(finished, base, tmp_path)
    facts = json.loads((copy / "model.json").read_text())
    lowest = facts["layers"][0]
    assert lowest["name"] == "encoder.embed"
    lowest["loaded"] = 1000
    (copy / "model.json").write_text(json.dumps(facts))
    monkeypatch.setattr(espnet_answers, "answer", lambda _: facts)
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    main(["plan", str(base), "--plan", str(plan), "--dir", str(copy)])
    out = capsys.readouterr().out
    (row,) = [line for line in out.splitlines() if line.startswith("phase1 ")]
    assert row.split()[7] == "1,000"
    said = "THEY ARE NOT DRAWN: encoder.embed (phase1, phase2)"
    assert said in out
    main(["results", str(copy)])
    capsys.readouterr()
    told = (
        "Loaded from a pre-trained checkpoint, not drawn, in phase0, phase1, phase2: encoder.embed."
    )
    assert told in (copy / "RESULTS.md").read_text()
    page = (copy / "report.html").read_text()
    assert page.count("encoder.embed loaded, not drawn</title>") == 3
    rows = json.loads((copy / "results.json").read_text())["phases"]
    assert [row["loaded"] for row in rows] == [["encoder.embed"]] * 3
