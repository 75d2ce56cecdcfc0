"""Which tensors `freeze_param` would leave random where their layers are drawn anew."""

import pytest

from espnet_topdown.plan.freeze_param import frozen_by, left_random

TENSORS = [f"encoder.encoders.{layer}.w" for layer in (0, 1, 10)]
TENSORS += ["encoder.embed.w", "frontend.upstream.w", "frontend.projection.w", "decoder.embed.w"]


def test_names_are_whole_not_prefixes_of_others():
    assert frozen_by(["encoder.encoders.1"], TENSORS) == ["encoder.encoders.1.w"]
    assert frozen_by(["encoder.embed.w", "decoder"], TENSORS) == TENSORS[3:4] + TENSORS[6:]


EMBED = ["encoder.embed.w"]
CASES = {
    "nothing fills it": ({}, EMBED),
    "the whole file": ({"init_param": ["m.pth"]}, []),
    "the encoder": ({"init_param": ["m.pth:encoder:encoder"]}, []),
    "another part": ({"init_param": ["m.pth:decoder:decoder"]}, EMBED),
    "left out": ({"init_param": ["m.pth:encoder:encoder:encoder.embed"]}, EMBED),
    "left out of a part of another name": ({"init_param": ["m.pth:am:encoder:am.embed"]}, EMBED),
    "other left out": ({"init_param": ["m.pth:encoder:encoder:encoder.encoders"]}, []),
    "a frontend, of which a checkpoint fills the upstream": (
        {"freeze_param": ["frontend"]},
        ["frontend.projection.w"],
    ),
}


@pytest.mark.parametrize(
    ("init_param", "expected"), [([], ["decoder.embed.w"]), (["m.pth:decoder:decoder"], [])]
)
def test_what_a_class_never_trains_is_left_random_too(init_param, expected):
    config = {"init_param": init_param}
    assert left_random(config, TENSORS, (), by_class=["decoder.embed.w"]) == expected


@pytest.mark.parametrize("name", CASES)
def test_what_nothing_fills_is_left_random(name):
    changes, expected = CASES[name]
    config = {"freeze_param": ["encoder.embed"], **changes}
    assert left_random(config, TENSORS, {"frontend.upstream.w"}) == expected
