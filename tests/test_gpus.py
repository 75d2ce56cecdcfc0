"""A cascade trains on as many GPUs as its base, and says so."""

import os
from pathlib import Path

import pytest

from espnet_topdown import gpus
from espnet_topdown.errors import TopdownError

AS_BASE = "phases train on {}, as the base did; --ngpu changes that"
NODES = ", and --num_nodes, where these are of several nodes, splits them"


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
        (2, {"ngpu": 0}, 2, True, (2, "")),
        # A cluster's GPUs are not seen from here.
        (2, {"ngpu": 0}, 0, False, (2, "")),
        (None, {"ngpu": 1}, 0, False, (1, AS_BASE.format("1 GPU"))),
        (None, {"ngpu": 2}, 0, False, (2, AS_BASE.format("2 GPUs") + NODES)),
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
    monkeypatch.setattr(gpus, "devices", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus.choose(asked, base, is_here=is_here) == expected


def test_a_base_of_a_gpu_is_not_followed_on_the_cpu_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "devices", lambda: 0)
    said = "base: 1 GPU; none visible here; --ngpu 0 trains on the CPU"
    with pytest.raises(TopdownError, match=said):
        gpus.choose(None, {"ngpu": 1}, is_here=True)
    assert gpus.choose(0, {"ngpu": 1}, is_here=True) == (0, "")


def refusal(*, monkeypatch: pytest.MonkeyPatch, there: int, **options: object) -> str:
    monkeypatch.setattr(gpus, "devices", lambda: there)
    asked, config = options.pop("asked", None), options.pop("config", {"ngpu": 1})
    with pytest.raises(TopdownError) as caught:
        gpus.choose(asked, config, **{"is_here": True, **options})  # type: ignore[arg-type]
    return str(caught.value)


def test_gpus_that_are_asked_for_must_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert refusal(monkeypatch=monkeypatch, there=0, asked=1) == (
        "--jobs 1 with --ngpu 1 needs 1 GPU, and this machine has 0; give --ngpu 0, or --cmd for a"
        " cluster"
    )
    assert "--jobs 3 with --ngpu 1 needs 3 GPUs, and this machine has 2; give fewer jobs" in (
        refusal(monkeypatch=monkeypatch, there=2, asked=1, jobs=3)
    )
    assert gpus.choose(0, {"ngpu": 1}, is_here=True) == (0, "")


def test_jobs_share_the_gpus_that_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "devices", lambda: 4)
    base = {"ngpu": 1, "dist_world_size": 4}
    note = "base: 4 GPUs; 4 visible here for 2 jobs, so phases train on 2"
    assert gpus.choose(None, base, is_here=True, jobs=2) == (2, note)
    assert gpus.choose(None, {"ngpu": 1}, is_here=True, jobs=4)[0] == 1
    assert "base: 1 GPU; 4 visible here are too few for --jobs 5; give --jobs 4" in refusal(
        monkeypatch=monkeypatch, there=4, jobs=5
    )


def test_what_the_variable_names_is_read_as_cuda_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "devices", lambda: 4)
    expected: dict[str | None, list[str]] = {
        None: ["0", "1", "2", "3"],
        "": [],
        "-1": [],
        "NoDevFiles": [],
        "2,3": ["2", "3"],
        "0,-1,1": ["0"],
        "0,4,1": ["0"],
        "0,0": ["0", "0"],
        "GPU-1a, MIG-2/1/0": ["GPU-1a", "MIG-2/1/0"],
    }
    assert {variable: gpus.seen(variable) for variable in expected} == expected
    monkeypatch.setattr(gpus, "devices", lambda: 0)
    assert gpus.seen("0") == []
    # A base of two GPUs is not followed on one that is named twice.
    monkeypatch.setattr(gpus, "devices", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    said = refusal(monkeypatch=monkeypatch, there=4, config={"ngpu": 2})
    assert "gives one training of --ngpu 2 the GPUs 0,0, one of them twice" in said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    assert "none visible here" in refusal(monkeypatch=monkeypatch, there=4)


def test_a_base_of_several_nodes_is_followed_on_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"ngpu": 1, "dist_world_size": 8}
    note = "phases train on 8 GPUs as the base did, 4 on each of 2 nodes"
    assert gpus.choose(None, base, is_here=False, num_nodes=2) == (4, note)
    said = refusal(monkeypatch=monkeypatch, there=0, config=base, is_here=False, num_nodes=3)
    assert "base: 8 GPUs, which --num_nodes 3 does not divide; give --ngpu" in said


def test_torch_is_asked_where_no_device_has_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus.Path, "glob", lambda *_: iter(()))
    monkeypatch.setattr(gpus.Path, "exists", lambda _: False)
    monkeypatch.setattr(gpus, "_by_torch", lambda: 3)
    assert gpus.devices() == 3


SMI = """\
#!/bin/sh
echo "$*" > "${0%/*}/asked"
echo "93, 31744, 81559"
echo "0, [N/A], 81559"
echo "7, 1024, 24576"
exit "${SMI_STATUS:-0}"
"""


def test_a_gpu_tells_how_busy_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program = tmp_path / "nvidia-smi"
    program.write_text(SMI)
    program.chmod(0o755)
    assert gpus.load(["0", "GPU-1a", "3"]) == "93 %, 31 of 80 GB; 7 %, 1 of 24 GB"
    assert "--id=0,GPU-1a,3 " in (tmp_path / "asked").read_text()
    monkeypatch.setenv("SMI_STATUS", "6")
    assert gpus.load(["0"]) == ""
    program.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus.load(["0"]) == ""


def test_a_training_has_one_mig_instance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "devices", lambda: 1)
    two = "MIG-377e0049-0000-0000-0000-000000000000,MIG-f39aa248-0000-0000-0000-000000000000"
    assert gpus.check_enough(1, 2, two) == two.split(",")
    with pytest.raises(TopdownError, match="a process can use one MIG instance alone .* --ngpu 1"):
        gpus.check_enough(2, 1, two)
