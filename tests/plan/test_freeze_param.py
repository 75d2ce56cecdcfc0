"""Which tensors `freeze_param` would leave random where their layers are drawn anew."""

import pytest

from espnet_topdown.plan.freeze_param import frozen_by, left_random

TENSORS = [f"encoder.encoders.{layer}.w" for layer in (0, 1, 10)]
TENSORS += ["encoder.embed.w", "frontend.upstream.w", "frontend.projection.w", "decoder.embed.w"]


def test_names_are_whole_not_prefixes_of_others():
    assert frozen_by(["encoder.encoders.1"], TENSORS) == ["encoder.encoders.1.w"]
    assert frozen_by(["encoder.embed.w", "decoder"], TENSORS) == TENSORS[3:4] + TENSORS[6:]


CASES = {
    "nothing fills it": ({"freeze_param": ["encoder.embed"]}, ["encoder.embed.w"]),
    "something else is filled": ({"freeze_param": ["decoder"]}, ["decoder.embed.w"]),
    "a frontend, of which a checkpoint fills the upstream": (
        {"freeze_param": ["frontend"]},
        ["frontend.projection.w"],
    ),
}


@pytest.mark.parametrize(("filled", "expected"), [((), ["decoder.embed.w"]), (TENSORS[-1:], [])])
def test_what_a_class_never_trains_is_left_random_too(filled, expected):
    assert left_random({}, TENSORS, filled, by_class=["decoder.embed.w"]) == expected


@pytest.mark.parametrize("name", CASES)
def test_what_nothing_fills_is_left_random(name):
    config, expected = CASES[name]
    assert left_random(config, TENSORS, {"frontend.upstream.w"}) == expected
