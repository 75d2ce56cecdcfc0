"""What `plan` says before anything is trained: what waits for what, epochs, wall time."""

import re

import pytest
from cascades import PLAN, copied, fails, words
from made_cascade import made, record

from espnet_topdown.cascade.costs import _listed, _phase_bytes, _with_stops, estimate
from espnet_topdown.cli import main

SWEEP = """
phases:
- sweep: [decoder, encoder.2, encoder.1, encoder.0]
  train: {max_epoch: 40}
  stop_early: median
- {cut: encoder.0, parent: best}
- {control: restart, answers: [phase1, phase5]}
"""


def planned(base, place, plan: str, capsys, *options: str) -> str:
    """What ``espnet-topdown plan`` prints."""
    (place / "plan.yaml").write_text(plan)
    main(["plan", str(base), "--plan", str(place / "plan.yaml"), *options])
    return capsys.readouterr().out


def hours(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    assert match, text
    return float(match[1])


def test_a_plan_tells_what_waits_for_what_and_what_a_stopping_rule_saves(base, tmp_path, capsys):
    out = planned(base, tmp_path, SWEEP, capsys, "--jobs", "2")
    rows = dict(map(str.strip, line.split("->")) for line in out.splitlines() if "->" in line)
    assert rows["phase0"] == "phase1, phase2, restart_phase1, restart_phase5"
    assert rows["phase1, phase2"] == "phase3, phase4"
    assert rows["phase1, phase2, phase3, phase4"] == "phase5"
    # Two in full and two that may end after epoch 10; phase5 and its restart have the base's 2
    # epochs, restart_phase1 has the sweep's 40.
    assert "7 phase(s) to train, 204 epochs at most" in out
    assert "note: phase3, phase4 may be ended after epoch 10 or later, where dev is worse" in out
    # 33 and 42 % of 40 epochs are 13 and 17.
    assert "stop_early: 204 epochs without it, 144 with it at least; 150 to 158 if it" in out


def test_a_saving_that_is_one_number_is_told_as_one(base, tmp_path, capsys):
    out = planned(base, tmp_path, SWEEP.replace("max_epoch: 40", "max_epoch: 11"), capsys)
    assert re.search(r"with it at least; \d+ if it leaves 33 to 42 %", out)


def test_a_rule_that_could_end_nothing_is_refused(base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(SWEEP.replace("max_epoch: 40", "max_epoch: 10"))
    error = fails(capsys, "plan", str(base), "--plan", str(tmp_path / "plan.yaml"))
    assert "phase3: stop_early from epoch 10 on ends nothing in a training of 10 epochs" in error


def test_the_wall_time_is_that_of_so_many_jobs(base, tmp_path, capsys):
    plan = "{train: {max_epoch: 90000}, phases: [{sweep: [decoder, encoder.2]}, {cut: encoder.1}]}"
    walls = []
    for jobs in ("1", "2", "3"):
        out = planned(base, tmp_path, plan, capsys, "--jobs", jobs)
        walls.append(hours(rf"--jobs {jobs}: ([\d.]+) h of wall time at most, if", out))
    # The third phase is the child of the second, so a third place stays empty.
    assert walls[1] / walls[0] == walls[2] / walls[0]
    assert abs(walls[1] / walls[0] - 2 / 3) < 0.01
    assert "--jobs must be at least 1, not 0" in fails(
        capsys, "plan", str(base), "--plan", str(tmp_path / "plan.yaml"), "--jobs", "0"
    )


def test_a_plan_refuses_what_run_would_of_an_interrupted_phase(finished, base, tmp_path, capsys):
    copy = copied(finished, base, tmp_path)
    (copy / "phase2" / "record.json").unlink()
    (tmp_path / "plan.yaml").write_text(PLAN.replace("encoder.1", "encoder.2"))
    run = words(base, tmp_path)
    asked = fails(capsys, "plan", *run[1:-2])
    assert "phase2 was begun with something else" in asked
    assert "settings.topdown_conf.cut: encoder.1 -> encoder.2" in asked


def test_many_names_are_shortened():
    names = [f"phase{number}" for number in range(1, 201)]
    assert _listed(names[:6]) == "phase1, phase2, phase3, phase4, phase5, phase6"
    assert _listed(names) == "phase1, phase2, phase3, phase4, ... phase200 (200 phases)"


TWO = "phases: [{cut: decoder}, {cut: encoder.1}]"


def test_hours_and_disk_are_those_of_the_bases_epochs_and_checkpoint(tmp_path):
    """Two phases of three epochs of 12 minutes, each with two checkpoints of 5 GB."""
    told = estimate(made(tmp_path, TWO), {})
    assert "2 phase(s) to train, 6 epochs at most: 1.20 h at most" in told
    assert "disk 20.00 GB at most" in told
    assert "--jobs 1: 1.20 h of wall time at most" in told


def test_a_phase_that_is_left_out_costs_nothing(tmp_path):
    chain = "{cut: decoder}, {cut: encoder.1}"
    plan = f"{{patience: 1, phases: [{chain}, {{control: restart, answers: phase1}}]}}"
    cascade = made(tmp_path, plan)
    record(cascade, "phase1", 0.1)
    told = estimate(cascade, cascade.read_records())
    assert "1 phase(s) to train, 3 epochs at most" in told
    assert "--jobs 1: 0.60 h of wall time at most" in told


def test_nothing_is_left_where_the_rest_is_left_out(tmp_path):
    cascade = made(tmp_path, TWO.join(("{patience: 1, ", "}")))
    record(cascade, "phase1", 0.1)
    assert estimate(cascade, cascade.read_records()) == "every phase is finished"


@pytest.mark.parametrize(("keep", "models"), [(5, 7), ([3, 5], 8), ([3, 5, 10], 14), (None, 3)])
def test_a_phase_keeps_its_best_epochs_and_an_average_of_each_number(tmp_path, keep, models):
    """Beside the epoch under way, by one criterion; eight parameters of four bytes."""
    cascade = made(tmp_path, TWO, keep_nbest_models=keep)
    assert _phase_bytes(cascade) == 2 * 5 * 10**9 + models * 8 * 4


def test_a_rule_ends_a_begun_phase_at_its_first_epoch_at_the_earliest(tmp_path):
    """Five of forty are trained, and the rule may end it after the tenth."""
    sweep = "sweep: [decoder, encoder.1, output], train: {max_epoch: 40}, stop_early: median"
    cascade = made(tmp_path, f"phases: [{{{sweep}}}]")
    phase = cascade.phases[2]
    assert _with_stops(cascade, [phase], {phase.name: 35}, 0.0) == {phase.name: 5}
