"""Epochs of phases over those of their phase 0, over seeds, by hand."""

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
    records.append(seed(3, (0.1, 0.2, 0.8), (0.8,)))
    found = effort.ratio(records, "phase1", 1.0)
    assert (found.asked, found.reached, found.interval) == (3, 2, None)
    assert effort.ratio(records, "nothing", 1.0) == effort.Ratio(0, 0, None, None)


def test_a_phase_on_another_dev_set_has_no_ratio() -> None:
    """Of phase 0 there is no curve there, so that nothing was asked and nothing failed."""
    one = seed(1, (0.1, 0.8), (0.1, 0.7))
    noisy = replace(one.phases[1], dev_set="dev_noisy")
    table = effort.effort_table([replace(one, phases=(one.phases[0], noisy))])
    place = table.header.index("to 100 %")
    assert [row[place] for row in table.rows] == ["1.00", "-"]
