"""Which phases are compared: selection on dev, variants, controls, equal budgets."""

import json
from dataclasses import replace

from made_records import EQUAL, phase, record, usual

from espnet_topdown.results import questions
from espnet_topdown.study.records import Record


def asked(one: Record) -> dict[str, tuple[str, str]]:
    """Question -> names of the two phases."""
    return {question: pair.names for question, [pair] in questions.over_seeds([one.runs]).items()}


SCRATCH = "phase0, restart_phase1, restart_phase2"


def test_every_question_of_a_usual_seed() -> None:
    assert asked(usual(1)) == {
        "best phase - from scratch": ("phase1", SCRATCH),
        EQUAL: ("phase1", "restart_phase1"),
        "phase1 (cut decoder) - from scratch": ("phase1", SCRATCH),
        "phase2 (cut encoder.1) - from scratch": ("phase2", SCRATCH),
        "phase1 (cut decoder) - its bottom_up, one run each": ("phase1", "bottom_up_phase1"),
    }


def test_a_single_seed_sets_each_restart_against_its_phase() -> None:
    pairs = {
        question: pair.names for question, pair in questions.of_one_seed(usual(1).runs).items()
    }
    assert pairs == {
        EQUAL: ("phase1", "restart_phase1"),
        "phase1 (cut decoder) - its restart, one run each": ("phase1", "restart_phase1"),
        "phase2 (cut encoder.1) - its restart, one run each": ("phase2", "restart_phase2"),
        "phase1 (cut decoder) - its bottom_up, one run each": ("phase1", "bottom_up_phase1"),
    }


def test_a_restart_with_other_training_options_is_not_from_scratch_as_phase_0_is() -> None:
    longer = json.dumps({"train": {"max_epoch": 9}})
    base, top = usual(1).phases[:2]
    restart = phase("restart_phase1", "restart", 0.5, (), settings=longer)
    assert asked(record(1, [base, top, restart]))["best phase - from scratch"] == (
        "phase1",
        "phase0",
    )


def test_seeds_answer_a_question_together_where_they_can() -> None:
    alone = record(2, usual(2).phases[:2])
    pairs = questions.over_seeds([usual(1).runs, alone.runs])
    assert [pair.seed for pair in pairs["best phase - from scratch"]] == [1, 2]
    assert [pair.seed for pair in pairs[EQUAL]] == [1]


def test_as_many_runs_stand_on_both_sides() -> None:
    """A restart of a variant, or of a phase that is not trained yet, is one more to choose from."""
    off = phase("off", "top_down", 0.1, (), cut="decoder", dropout="off")
    lucky = phase("restart_off", "restart", 0.9, ())
    assert asked(usual(1, off, lucky))[EQUAL] == ("phase1", "restart_phase1")
    early = phase("restart_phase3", "restart", 0.9, ())
    assert asked(usual(1, early))[EQUAL] == ("phase1", "restart_phase1")


def test_selection_follows_the_direction_of_dev() -> None:
    lowest = replace(usual(1), dev_name="valid loss min")
    assert questions.best_phase(usual(1).runs).name == "phase1"
    assert questions.best_phase(lowest.runs).name == "phase2"


def test_a_phase_without_a_dev_value_is_not_selected() -> None:
    for dev_name in ("valid acc max", "valid loss min"):
        unknown = replace(phase("phase3", "top_down", 0.5, (), cut="encoder.0"), dev=None)
        one = replace(usual(1, unknown), dev_name=dev_name)
        assert questions.best_phase(one.runs).name in ("phase1", "phase2")


def test_a_phase_without_a_restart_has_no_part_in_equal_budget() -> None:
    pairs = asked(usual(1, phase("phase3", "top_down", 0.9, (), cut="encoder.0")))
    assert pairs["best phase - from scratch"][0] == "phase3"
    assert pairs[EQUAL] == ("phase1", "restart_phase1")


def test_dropout_off_is_a_question_of_its_own() -> None:
    pairs = asked(usual(1, phase("off", "top_down", 0.9, (), cut="decoder", dropout="off")))
    assert pairs["best phase - from scratch"][0] == "phase1"
    assert pairs["cut decoder: dropout off (off) - phase1"] == ("off", "phase1")
    assert pairs["best phase with dropout off - from scratch"] == ("off", SCRATCH)
    # One phase, so the first restart alone.
    equal = "best phase with dropout off - best restart, as many runs each"
    assert pairs[equal] == ("off", "restart_phase1")


def test_phases_on_other_data_are_compared_with_restarts_on_it_alone() -> None:
    """Else the data would be compared, and not the way of training."""
    noisy = {"reads": "train noisy", "dev_set": "dev_noisy"}
    off = replace(phase("off", "top_down", 0.9, (), cut="decoder", dropout="off"), **noisy)
    tuned = phase("finetune", "continue", 0.9, (), settings='{"parent": "phase0"}')
    equal = "best phase with dropout off - best restart, as many runs each"
    pairs = asked(usual(1, off, replace(tuned, **noisy)))
    assert equal not in pairs
    assert pairs["best phase - finetune"] == ("off", "finetune")
    assert "finetune - best restart" not in pairs
    restart = replace(phase("restart_off", "restart", 0.1, ()), **noisy)
    assert asked(usual(1, off, restart))[equal] == ("off", "restart_off")
    assert asked(usual(1, tuned))["best phase - finetune"] == ("phase1", "finetune")


def test_more_phases_without_dropout_than_restarts_are_not_compared_at_equal_budget() -> None:
    off = [phase(f"off{k}", "top_down", 0.9, (), cut="decoder", dropout="off") for k in range(3)]
    assert "best phase with dropout off - from scratch" in asked(usual(1, *off))
    assert not any("dropout off - best restart" in question for question in asked(usual(1, *off)))


def test_phases_of_one_cut_are_told_apart_by_their_settings() -> None:
    nine = json.dumps({"parent": "phase0", "train": {"max_epoch": 9}})
    fast = json.dumps({"parent": "phase2", "train": {"optim_conf": {"lr": 0.01}}})
    one = record(
        1,
        [
            phase("phase0", "base", 0.5, ()),
            phase("phase1", "top_down", 0.7, (), cut="decoder", settings=nine),
            phase("fast", "top_down", 0.9, (), cut="decoder", settings=fast),
            phase("again", "top_down", 0.9, (), cut="decoder", settings=nine),
        ],
    )
    changed = "cut decoder: parent phase2, max_epoch as configured, lr 0.01 (fast) - phase1"
    assert asked(one) == {
        "best phase - from scratch": ("phase1", "phase0"),
        "phase1 (cut decoder) - from scratch": ("phase1", "phase0"),
        changed: ("fast", "phase1"),
        "cut decoder: again (again) - phase1": ("again", "phase1"),
    }


def test_a_control_with_a_name_of_its_own_is_compared_by_it() -> None:
    parent = json.dumps({"parent": "phase1"})
    pairs = asked(usual(1, phase("thaw_phase1", "continue", 0.9, (), settings=parent)))
    assert pairs["best phase - thaw_phase1"] == ("phase1", "thaw_phase1")
    assert pairs["thaw_phase1 - from scratch"] == ("thaw_phase1", SCRATCH)
    assert pairs["thaw_phase1 - best restart"] == ("thaw_phase1", "restart_phase1")
    assert pairs["thaw_phase1 - its parent phase1"] == ("thaw_phase1", "phase1")


def test_what_the_median_rule_could_end_answers_for_no_way_of_training_but_the_best() -> None:
    """Those that it left are the good ones."""
    ended = replace(phase("phase3", "top_down", 0.8, (), cut="encoder.0"), stop_from=2)
    restart = replace(phase("restart_phase3", "restart", 0.6, ()), stop_from=2, stopped=2)
    assert asked(usual(1, ended, restart)) == {
        "best phase - from scratch": ("phase3", SCRATCH),
        EQUAL: ("phase3", "restart_phase3"),
        "phase1 (cut decoder) - from scratch": ("phase1", SCRATCH),
        "phase2 (cut encoder.1) - from scratch": ("phase2", SCRATCH),
        "phase1 (cut decoder) - its bottom_up, one run each": ("phase1", "bottom_up_phase1"),
    }


def test_of_phases_on_other_data_none_is_the_best_and_each_has_its_own_scratch() -> None:
    """Two phases and restarts on noise of two levels, beside phase 0 on clean speech."""
    rows = [phase("phase0", "base", 0.9, ())]
    for level in ("10", "0"):
        own = {"reads": f"valid {level}", "dev_set": f"dev_{level}"}
        snr = phase(f"snr{level}", "top_down", 0.5, (), cut="decoder")
        restart = phase(f"restart_snr{level}", "restart", 0.6, ())
        rows += [replace(snr, **own), replace(restart, **own)]
    runs = record(1, rows).runs
    assert questions.best_phase(runs) is None
    assert [row.name for row in questions.candidates(runs)] == ["snr10", "snr0"]
    pairs = {name: pair[0].names for name, pair in questions.over_seeds([runs]).items()}
    assert pairs == {
        "snr10 (cut decoder) - from scratch": ("snr10", "restart_snr10"),
        "snr0 (cut decoder) - from scratch": ("snr0", "restart_snr0"),
    }


def test_a_control_on_other_data_is_not_set_against_its_parent() -> None:
    """They would differ by what they read too."""
    settings = json.dumps({"parent": "phase1"})
    own = phase("mine", "continue", 0.6, (), settings=settings)
    assert any(name.startswith("mine - its parent") for name in asked(usual(1, own)))
    noisy = replace(own, reads="train noisy")
    assert not any(name.startswith("mine - its parent") for name in asked(usual(1, noisy)))
