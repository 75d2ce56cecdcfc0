"""What the commands print of layers, plans and cascades."""

import json
import shutil

import tiny
import yaml
from cascades import PLAN, copied, run

from espnet_topdown.cli import main


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
    assert "done" in lines["phase2"]


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
    finished, base, tmp_path, capsys
):
    copy = copied(finished, base, tmp_path)
    facts = json.loads((copy / "model.json").read_text())
    lowest = facts["layers"][0]
    assert lowest["name"] == "encoder.embed"
    lowest["loaded"] = 1000
    (copy / "model.json").write_text(json.dumps(facts))
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
