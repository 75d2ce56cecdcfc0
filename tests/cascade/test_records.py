"""Reruns of a finished cascade: what may have changed since, and what may not."""

from cascades import PLAN, fails, words

from espnet_topdown.cli import main


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
    error = fails(capsys, *words(base, tmp_path), "--phase", "9")
    assert "no phase '9'; did you mean phase" in error
