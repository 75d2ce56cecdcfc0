"""Numbers stand in tables with the unit and the digits that suit."""

import pytest

from espnet_topdown.results import cells


@pytest.mark.parametrize(
    ("hours", "text"),
    [(0.011, "40 s"), (0.2, "12.0 min"), (1.0, "1.0 h"), (31.26, "31.3 h")],
)
def test_times_stand_in_the_unit_that_suits(hours: float, text: str) -> None:
    assert cells.time_text(hours) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.93062, "0.931"),
        (-4.1839, "-4.184"),
        (0.0001, "1.000e-04"),
        (2e3, "2.000e+03"),
    ],
)
def test_dev_values_have_the_digits_of_the_log(value: float, text: str) -> None:
    assert cells.log_digits(value) == text


def test_a_dash_stands_for_what_is_not_there() -> None:
    assert cells.shown(None, cells.time_text) == "-"
