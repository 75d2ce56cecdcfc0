"""Variants that the median rule ends: what is recorded and told, kills, jobs, redoing."""

import pytest
from cascades import copied, fails, hashes, outcomes, run, words

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cli import main
from espnet_topdown.experiment.phase_dir import read_record

PLAN = """
dev_criterion: [valid, loss, min]
parent_model: valid.acc.ave.pth
phases:
- sweep: [decoder, encoder.2, encoder.1, encoder.0]
  train: {max_epoch: 5}
  stop_early: {from_epoch: 3}
"""
STOPPED = ["phase3", "phase4"]


@pytest.fixture(scope="module")
def swept(base, tmp_path_factory):
    """A finished sweep of four cuts."""
    return run(base, tmp_path_factory.mktemp("swept"), PLAN)


def test_what_the_rule_ends_is_recorded_told_and_proved(swept, base, capsys):
    epochs = {name: read_record(swept / name)["epochs"] for name in hashes(swept)}
    assert epochs == {"phase1": 5, "phase2": 5, "phase3": 3, "phase4": 3}
    stop = read_record(swept / "phase3")["stop"]
    words = "stopped at epoch 3 by the median rule"
    assert stop["epoch"] == 3 and stop["compared_with"] == ["phase1", "phase2"]
    assert stop["reason"].startswith(f"{words}: its best valid loss so far, 1")
    assert "stop" not in read_record(swept / "phase1")
    events = Ledger(swept / "ledger.jsonl").events()
    ends = {event["phase"]: event.get("stopped") for event in events if event["event"] == "end"}
    assert ends["phase1"] is None and ends["phase3"] == stop["reason"]
    main(["status", str(swept)])
    assert f"rejected, {words}" in capsys.readouterr().out
    main(["verify", str(swept)])
    main(["results", str(swept)])
    table = capsys.readouterr().out
    assert f"phase4: {words}, on dev." in table
    assert "compared with no other phase" in table


def test_nothing_is_done_again_and_the_rule_is_part_of_the_key(swept, base, capsys):
    before = (swept / "ledger.jsonl").read_bytes()
    main(words(base, swept.parent, cascade=swept))
    assert "nothing to do" in capsys.readouterr().out
    assert (swept / "ledger.jsonl").read_bytes() == before
    cascade = Cascade.reopen(swept)
    keys = {name: record["key"] for name, record in cascade.read_records().items()}
    assert "stop_early" not in keys["phase1"]["settings"]["topdown_conf"]
    assert len(keys["phase3"]["settings"]["topdown_conf"]["stop_early"]["medians"]) == 2


def test_kills_and_several_jobs_change_nothing(swept, base, tmp_path):
    copy = copied(swept, base, tmp_path)
    for phase in STOPPED:
        (copy / phase / "record.json").unlink()
    # phase3 as a kill leaves it before its averages, phase4 as one does before its record.
    (copy / "phase3" / "topdown" / "proof.json").unlink()
    run(base, tmp_path, PLAN, "--jobs", "2")
    assert hashes(copy) == hashes(swept)
    assert read_record(copy / "phase3")["stop"] == read_record(swept / "phase3")["stop"]
    (tmp_path / "anew").mkdir()
    anew = run(base, tmp_path / "anew", PLAN, "--jobs", "3")
    assert hashes(anew) == hashes(swept)
    order = [phase for phase, _ in outcomes(anew)]
    assert sorted(order[:2]) == ["phase1", "phase2"]


def test_a_lost_record_of_a_sibling_is_made_again(swept, base, tmp_path):
    copy = copied(swept, base, tmp_path)
    (copy / "phase1" / "record.json").unlink()
    run(base, tmp_path, PLAN)
    assert hashes(copy) == hashes(swept)


def test_what_was_stopped_against_a_phase_is_redone_with_it(swept, base, tmp_path, capsys):
    copied(swept, base, tmp_path)
    (tmp_path / "plan.yaml").write_text(PLAN)
    error = fails(capsys, *words(base, tmp_path), "--redo", "phase1")
    assert "or stopped against it: phase3, phase4. Redo them too" in error
    assert "--redo phase1 phase3 phase4" in error


def test_a_stopping_rule_for_a_chain_is_refused(base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder, stop_early: median}]")
    error = fails(capsys, "plan", str(base), "--plan", str(tmp_path / "plan.yaml"))
    assert "it would end a link of a chain, whose child would change" in error
