"""Reruns of a finished cascade: what may have changed since, and what may not."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cascades import PLAN, copied, fails, words

from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.phase_config import averaged_epochs
from espnet_topdown.cli import main
from espnet_topdown.experiment.phase_dir import key_changes


def test_changed_plan_of_a_finished_phase_stops_with_a_diff(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(
        "phases: [{cut: decoder, train: {max_epoch: 3}}, {cut: encoder.1}]"
    )
    error = fails(capsys, *words(base, tmp_path, cascade=finished))
    assert "phase1 is finished, but what it depends on changed" in error
    assert "settings.max_epoch: 2 -> 3" in error


def test_plan_that_lost_a_finished_phase_is_refused(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    error = fails(capsys, *words(base, tmp_path, cascade=finished))
    assert "finished phases that the plan no longer has: phase2" in error


def test_changed_list_of_a_finished_phase_stops_with_its_name(
    finished, base, data, tmp_path, capsys
):
    text = (data / "train" / "text").read_text()
    try:
        (data / "train" / "text").write_text(text.replace("train00 ", "train00 f"))
        error = fails(capsys, *words(base, finished.parent, cascade=finished))
        assert f"files.{data}/train/text: " in error
    finally:
        (data / "train" / "text").write_text(text)


def test_workers_and_logging_are_no_part_of_the_key(finished, base, tmp_path):
    (tmp_path / "plan.yaml").write_text(
        "{train: {log_interval: 7, num_workers: 1}, phases: [{cut: decoder}, {cut: encoder.1}]}"
    )
    main([*words(base, tmp_path, cascade=finished), "--dry_run"])


def test_phase_number_resumes_there_and_asks_for_those_before(finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(PLAN)
    assert "phase1 must be finished first" in fails(capsys, *words(base, tmp_path), "--phase", "2")
    # Told first, without an estimate of what is not trained.
    for option in ("--phase", "--redo"):
        (error,) = fails(capsys, *words(base, tmp_path), option, "9").splitlines()
        assert "error: no phase '9'; did you mean phase" in error


def test_decode_says_why_there_is_nothing_to_decode(finished, base, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("espnet_topdown.cli.decode", lambda *_, **__: None)
    cascade = copied(finished, base, tmp_path)
    plan = (cascade / "plan.yaml").read_text()
    # No phase gains so much.
    (cascade / "plan.yaml").write_text(f"min_gain: 2\n{plan}")
    main(["decode", "--decode", "best", str(cascade), "--use_lm", "false"])
    assert "the best on dev is phase 0, the base itself; --decode all" in capsys.readouterr().out
    for record in cascade.glob("phase*/record.json"):
        record.unlink()
    main(["decode", str(cascade)])
    assert "nothing to decode: no phase is finished" in capsys.readouterr().out


def base_with_an_average(directory: Path) -> Any:
    """A base of four epochs, two of which are averaged."""
    names = ["valid.acc.ave_2best.pth", *(f"{n}epoch.pth" for n in range(1, 5))]
    for name in names:
        (directory / name).write_bytes(name.encode())
    (directory / "valid.acc.ave.pth").symlink_to("valid.acc.ave_2best.pth")
    averaged = {"valid.acc.ave_2best.pth": ["2epoch.pth", "3epoch.pth"]}
    base = SimpleNamespace(directory=directory)
    return SimpleNamespace(base=base, facts=ModelFacts({"averaged": averaged}))


def test_the_epochs_of_the_bases_average_are_part_of_the_key(tmp_path):
    cascade = base_with_an_average(tmp_path)
    average = tmp_path / "valid.acc.ave.pth"
    expected = [tmp_path / "2epoch.pth", tmp_path / "3epoch.pth"]
    assert averaged_epochs(cascade, average) == expected
    assert averaged_epochs(cascade, tmp_path / "valid.acc.best.pth") == []
    (tmp_path / "3epoch.pth").unlink()
    # Then the average itself is read.
    assert averaged_epochs(cascade, average) == []


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        ({"2epoch.pth": "a", "3epoch.pth": "c"}, ["parent_epochs.3epoch.pth: b -> c"]),
        ({"2epoch.pth": "a"}, []),
        ({}, []),
    ],
)
def test_epochs_of_a_parent_may_be_gone_but_not_changed(now, lines):
    before = {"parent": "x", "parent_epochs": {"2epoch.pth": "a", "3epoch.pth": "b"}}
    assert key_changes(before, {"parent": "x", "parent_epochs": now}) == lines
    assert key_changes({"parent": "x"}, {"parent": "x", "parent_epochs": now}) == []
