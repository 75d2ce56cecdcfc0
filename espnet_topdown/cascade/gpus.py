"""On how many GPUs a cascade trains: as its base did, where they are."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError
from espnet_topdown.table import counted


def of_base(config: Mapping[str, Any]) -> int:
    """GPUs that a base was trained on, by its config.

    With several, ESPnet writes the config of one worker, whose ngpu is 1 (tasks/abs_task.py, main).
    """
    if not config.get("ngpu"):
        return 0
    return max(int(config["ngpu"]), int(config.get("dist_world_size") or 1))


def devices() -> int:
    """GPUs of this machine, by their files; torch, which would know, takes seconds."""
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    # AMD's: one node for all computing, one for each GPU.
    if Path("/dev/kfd").exists():
        count += len(list(Path("/dev/dri").glob("renderD*")))
    return count


def visible() -> int:
    """GPUs that a training on this machine would see."""
    count = devices()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None or count == 0:
        return count
    return len([name for name in allowed.split(",") if name.strip() not in ("", "-1")])


def choose(asked: int | None, config: Mapping[str, Any], *, is_here: bool) -> tuple[int, str]:
    """GPUs of one training, and a note on where they come from ("" where nothing is to be said).

    Args:
        asked: ``--ngpu``, None where it was not given.
        config: the base's.
        is_here: whether trainings run on this machine, and not through ``--cmd``.

    Raises:
        TopdownError: the base was trained on GPUs and none is here, which would be slow in silence.
    """
    base = of_base(config)
    if asked is not None:
        return asked, ""
    if base == 0:
        return 0, ""
    gpus = counted(base, "GPU")
    if not is_here:
        return base, f"phases train on {gpus}, as the base did; --ngpu changes that"
    there = visible()
    if there == 0:
        raise TopdownError(
            f"base: {gpus}; none visible here; --ngpu 0 trains on the CPU, which is much slower,"
            " and --cmd submits to a cluster"
        )
    if there < base:
        return there, f"base: {gpus}; {there} visible here, so phases train on {there}"
    return base, f"phases train on {gpus}, as the base did; --ngpu changes that"
