"""What the commands print of layers, plans and cascades."""

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
