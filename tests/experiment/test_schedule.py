"""Trainings that do not cost the same are named, with what makes them differ."""

from espnet_topdown.experiment.schedule import unequal

FIXED = {"max_epoch": 50, "scheduler": "onecyclelr", "patience": "none"}


def test_one_schedule_of_a_fixed_length_is_no_fault() -> None:
    phases = {"phase1": {}, "phase2": {"optim_conf": {"lr": 0.1}, "max_epoch": 50}}
    assert unequal(FIXED, phases) is None
    assert unequal({**FIXED, "patience": None, "scheduler": None}, {}) is None


def test_what_follows_dev_and_other_lengths_are_told_at_once() -> None:
    base = {"max_epoch": 50, "scheduler": "warmupReduceLROnPlateau", "patience": 7}
    phases = {"phase1": {"patience": None}, "phase2": {"max_epoch": 9, "scheduler": "onecyclelr"}}
    told = unequal(base, phases) or ""
    assert "patience ends a training where dev stands still (the base, phase2);" in told
    assert "the scheduler warmupReduceLROnPlateau follows dev (the base, phase1);" in told
    assert "max_epoch is 50 in the base, phase1, 9 in phase2." in told


def test_many_names_are_shortened() -> None:
    phases = {f"phase{number}": {} for number in range(1, 6)}
    told = unequal({**FIXED, "patience": 3}, phases) or ""
    assert "(the base, phase1, phase2, ...)" in told
