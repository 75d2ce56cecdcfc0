"""Epochs and time until a phase is as good on dev as phase 0 became, by hand."""

from pathlib import Path

import pytest
from made_phases import phase

from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.results.rows import Effort, effort_to, epochs_to

SHARES = (0.95, 1.0)


def test_first_epoch_with_a_share_of_the_best(tmp_path: Path) -> None:
    top = phase(tmp_path, "p", "top_down", curve=(None, 0.7, 0.76, 0.8))
    # 0.76 is 95 % of 0.8, and 0.8 is all of it.
    assert [epochs_to(top, 0.8, share) for share in SHARES] == [3, 4]
    assert epochs_to(top, 0.9) is None


def test_lower_is_better_where_dev_says_so(tmp_path: Path) -> None:
    loss = phase(tmp_path, "p", "top_down", curve=(3.0, 2.1, 1.9))
    vars(loss)["criterion"] = Criterion("valid", "loss", "min")
    # 2 / 0.95 is 2.105.
    assert [epochs_to(loss, 2.0, share) for share in SHARES] == [2, 3]


def test_the_time_is_the_epochs_share_of_it(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", dev=0.7, hours=2.0, curve=(0.5, 0.7))
    top = phase(tmp_path, "p", "top_down", hours=1.0, curve=(0.6, 0.7, 0.8, 0.7))
    found = effort_to(top, base)
    assert found is not None
    assert (found.epochs, found.hours) == (2, pytest.approx(0.5))
    untimed = phase(tmp_path, "q", "top_down", hours=None, curve=(0.7,))
    assert effort_to(untimed, base) == Effort(1, None)
    worse = phase(tmp_path, "r", "top_down", curve=(0.6, 0.69))
    assert effort_to(worse, base) is None
    unknown = phase(tmp_path, "base2", "base", dev=None)
    assert effort_to(top, unknown) is None and effort_to(top, None) is None


def test_on_another_validation_set_phase_0_counts_there(tmp_path: Path) -> None:
    base = phase(tmp_path, "base", "base", dev=0.9)
    noisy = phase(tmp_path, "p", "top_down", curve=(0.5, 0.6), dev_set="noisy", base_dev=0.55)
    found = effort_to(noisy, base)
    assert found is not None and found.epochs == 2
    unmeasured = phase(tmp_path, "q", "top_down", curve=(0.95,), dev_set="noisy")
    assert effort_to(unmeasured, base) is None
