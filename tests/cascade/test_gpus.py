"""A cascade trains on as many GPUs as its base, and says so."""

import pytest

from espnet_topdown.cascade import gpus
from espnet_topdown.errors import TopdownError

AS_BASE = "phases train on {}, as the base did; --ngpu changes that"


@pytest.mark.parametrize(
    ("asked", "base", "there", "is_here", "expected"),
    [
        (None, {"ngpu": 0}, 2, True, (0, "")),
        (None, {}, 2, True, (0, "")),
        (None, {"ngpu": 1}, 2, True, (1, AS_BASE.format("1 GPU"))),
        # One worker of four wrote the config.
        (None, {"ngpu": 1, "dist_world_size": 4}, 8, True, (4, AS_BASE.format("4 GPUs"))),
        (None, {"ngpu": 4}, 1, True, (1, "base: 4 GPUs; 1 visible here, so phases train on 1")),
        (0, {"ngpu": 1}, 0, True, (0, "")),
        (2, {"ngpu": 0}, 0, True, (2, "")),
        # A cluster's GPUs are not seen from here.
        (None, {"ngpu": 2}, 0, False, (2, AS_BASE.format("2 GPUs"))),
    ],
)
def test_gpus_are_those_asked_for_and_else_the_bases(
    asked: int | None,
    base: dict[str, int],
    there: int,
    is_here: bool,
    expected: tuple[int, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: there)
    assert gpus.choose(asked, base, is_here=is_here) == expected


def test_a_base_of_a_gpu_is_not_followed_on_the_cpu_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: 0)
    said = "base: 1 GPU; none visible here; --ngpu 0 trains on the CPU"
    with pytest.raises(TopdownError, match=said):
        gpus.choose(None, {"ngpu": 1}, is_here=True)
    assert gpus.choose(0, {"ngpu": 1}, is_here=True) == (0, "")


def test_no_gpu_is_visible_where_none_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        assert gpus.visible() == 0
