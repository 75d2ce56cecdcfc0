"""Candidates of other kinds in a cascade: trained, judged, parents, and shown in every table."""

import json
import os
from pathlib import Path

import pytest
from cascades import fails, run, words

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cli import main

PLAN = """
train: {max_epoch: 1}
phases:
- {cut: decoder, kept_lr: {output: 0, decoder: 0.1}}
- {kind: thaw, train: {optim_conf: {lr: 0.002}}}
- {cut: encoder.1}
- {draw: [output], kept_lr: {decay: 0.5}}
- {control: continue, kept_lr: 0.25, answers: phase2}
"""


RATES_OF_GROUPS = "{scheduler: onecyclelr, scheduler_conf: {max_lr: [0.1, 0.2], total_steps: 9}}"


@pytest.fixture(scope="module")
def mixed(base: Path, warm_process: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cascade of candidates of four kinds."""
    return run(base, tmp_path_factory.mktemp("mixed"), PLAN)


def record_of(cascade: Path, name: str) -> dict[str, object]:
    return json.loads((cascade / name / "record.json").read_text())


def test_controls_start_from_the_best_that_the_phase_they_answer_started_from(base, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "{parent: best, phases: [{cut: decoder}, {cut: encoder.1}, {control: continue},"
        " {sweep: [decoder, encoder.1], parent: best}]}"
    )
    cascade = Cascade.open(base, plan, tmp_path / "cascade")
    # Each better than all before it.
    curves = {"phase1": [2.0], "phase2": [3.0], "phase3": [4.0]}
    base_then = cascade.judged_base({})
    records = {n: {"dev": {"curve": curve}, "base": base_then} for n, curve in curves.items()}

    def parents() -> dict[str, str]:
        return {p.name: cascade.parent_dir(p, records).name for p in cascade.phases}

    expected = {
        "phase1": base.name,
        "phase2": "phase1",
        "continue_phase1": base.name,
        "continue_phase2": "phase1",
        "phase3": "phase2",
        "phase4": "phase2",
    }
    assert parents() == expected
    # As recorded, whatever was finished since.
    records["phase2"]["parent"] = os.path.relpath(base, tmp_path / "cascade")
    assert parents() == expected | {"phase2": base.name, "continue_phase2": base.name}


def test_candidates_of_any_kind_are_parents_and_judged(mixed):
    parents = {name: record_of(mixed, name)["parent"] for name in ("phase2", "phase3", "phase4")}
    assert parents == {"phase2": "phase1", "phase3": "phase2", "phase4": "phase3"}
    cascade = Cascade.reopen(mixed)
    judgement = cascade.judge(cascade.read_records())
    assert set(judgement.accepted) == {"phase1", "phase2", "phase3", "phase4"}
    assert record_of(mixed, "phase1")["kept_lr"] == {"output": 0, "decoder": 0.1}
    assert record_of(mixed, "phase4")["draw"] == ["output"]
    assert "kept_lr" not in record_of(mixed, "phase3")


def test_a_thawed_model_is_kept_by_the_next_cut(mixed):
    from espnet_topdown.training.checkpoint import load_state

    thawed = load_state(mixed / "phase2" / "valid.acc.ave.pth")
    cut = load_state(mixed / "phase3" / "1epoch.pth")
    output = "decoder.output.weight"
    before = load_state(mixed / "phase1" / "1epoch.pth")
    assert bool((cut[output] == thawed[output]).all())
    assert not bool((before[output] == thawed[output]).all())


def test_plan_shows_the_factors(mixed, base, capsys):
    main([*words(base, mixed.parent, cascade=mixed), "--dry_run"])
    lines = capsys.readouterr().out.splitlines()
    cells = {line.split()[0]: line.split()[1:4] for line in lines if line.startswith("phase")}
    assert cells["phase"] == ["kind", "cut", "kept_lr"]
    assert cells["phase1"][:2] == ["slow", "decoder"]
    (note,) = [line for line in lines if "phase1: factors on the learning rate" in line]
    assert note.endswith("kept layers: output 0; decoder.1, decoder.0 0.1")


def test_status_says_what_is_drawn_where_there_is_no_cut(mixed, capsys):
    main(["status", str(mixed)])
    (line,) = [row for row in capsys.readouterr().out.splitlines() if row.startswith("phase4")]
    assert line.split()[1:4] == ["named", "draw", "output"]


def test_results_show_the_factors_and_the_picture_has_them(mixed, capsys):
    main(["results", str(mixed)])
    table = (mixed / "RESULTS.md").read_text()
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("|phase")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:4]] for row in rows}
    assert cells["phase"] == ["kind", "cut", "kept_lr"]
    assert cells["phase1"] == ["slow", "decoder", "0 to 0.1"]
    assert cells["phase2"] == ["thaw", "-", "1"]
    assert cells["phase4"][:2] == ["named", "draw output"]
    page = (mixed / "report.html").read_text()
    assert "phase1: decoder.0 kept, trained slowly, 0.1 of the learning rate" in page


def test_another_factor_of_a_finished_phase_stops_with_a_diff(mixed, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(PLAN.replace("decoder: 0.1", "decoder: 0.2"))
    error = fails(capsys, *words(base, tmp_path, cascade=mixed))
    assert "settings.topdown_conf.kept_lr.decoder: 0.1 -> 0.2" in error


@pytest.mark.parametrize(
    ("item", "fault"),
    [
        (
            f"{{cut: decoder, kind: slow, train: {RATES_OF_GROUPS}}}",
            "scheduler_conf gives each group its own max_lr, and kept_lr is a factor on one rate",
        ),
        (
            "{cut: decoder, kind: slow, train: {optim: lbfgs, optim_conf: {}}}",
            "optim lbfgs cannot be combined with kept_lr: it cannot have parameter groups",
        ),
        (
            "{cut: decoder, kind: slow, train: {optim: rprop, optim_conf: {lr: 0.1}}}",
            "optim rprop cannot be combined with kept_lr: its parameters move at a learning rate",
        ),
    ],
)
def test_an_optimiser_that_ignores_groups_is_refused_before_it_trains(
    item, fault, base, warm_process, tmp_path, capsys
):
    (tmp_path / "plan.yaml").write_text(f"phases: [{item}]")
    error = fails(capsys, *words(base, tmp_path), "--dry_run")
    assert f"phase1: {fault}" in error
