"""Epochs until a phase is as good on dev as phase 0 became, by hand."""

from dataclasses import replace

import pytest
from made_records import phase, record

from espnet_topdown.study import effort
from espnet_topdown.study.records import Record


def seed(number: int, base: tuple[float, ...], top: tuple[float | None, ...]) -> Record:
    phases = [
        replace(phase("phase0", "base", max(base), ()), curve=base),
        replace(phase("phase1", "top_down", 0.9, (), cut="decoder"), curve=top),
    ]
    return record(number, phases)


def test_first_epoch_with_a_share_of_the_best() -> None:
    top = replace(phase("p", "top_down", 0.9, ()), curve=(None, 0.7, 0.76, 0.8))
    # 0.76 is 95 % of 0.8, and 0.8 is all of it.
    assert [effort.epochs_to(top, 0.8, share) for share in effort.SHARES] == [3, 4]
    assert effort.epochs_to(top, 0.9, 1.0) is None


def test_lower_is_better_where_dev_says_so() -> None:
    loss = replace(
        phase("p", "top_down", 0.9, ()), dev_name="valid loss min", curve=(3.0, 2.1, 1.9)
    )
    # 2 / 0.95 is 2.105.
    assert [effort.epochs_to(loss, 2.0, share) for share in effort.SHARES] == [2, 3]


def test_ratio_over_seeds_is_that_of_logarithms() -> None:
    records = [
        seed(1, (0.1, 0.2, 0.3, 0.8), (0.8, 0.8)),
        seed(2, (0.1, 0.8), (0.1, 0.8, 0.8)),
    ]
    ratio = effort.ratio(records, "phase1", 1.0)
    # 1/4 and 2/2: geometric mean 1/2.
    assert (ratio.asked, ratio.reached, ratio.mean) == (2, 2, pytest.approx(0.5))
    low, high = ratio.interval
    assert low * high == pytest.approx(0.25)


def test_seeds_that_never_get_there_leave_no_interval() -> None:
    """Those that did are the fast ones."""
    records = [seed(1, (0.1, 0.8), (0.8,)), seed(2, (0.1, 0.8), (0.1, 0.7))]
    assert effort.ratio(records, "phase1", 1.0) == effort.Ratio(2, 1, 0.5, None)
    assert effort.ratio(records, "nothing", 1.0) == effort.Ratio(0, 0, None, None)
