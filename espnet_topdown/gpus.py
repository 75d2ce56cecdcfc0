"""Which GPUs there are, and on how many a cascade trains: as its base did, where they are."""

import functools
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError
from espnet_topdown.table import counted

VARIABLE = "CUDA_VISIBLE_DEVICES"
# A number, GPU-UUID, or MIG-...; -1 and Slurm's NoDevFiles are none.
_GPU = re.compile(r"\d+|GPU-[\w-]+|MIG-[\w/-]+")
# A line of nvidia-smi; what a GPU does not tell, as one that is parted (MIG), is [N/A] there.
_LOAD = re.compile(r"^\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*$", re.MULTILINE)


def of_base(config: Mapping[str, Any]) -> int:
    """GPUs that a base was trained on, those of all its nodes together, by its config.

    With several, ESPnet writes the config of one worker, whose ngpu is 1 and whose dist_world_size
    is GPUs times nodes (tasks/abs_task.py, main); how many nodes these were, it does not tell.
    """
    if not config.get("ngpu"):
        return 0
    return max(int(config["ngpu"]), int(config.get("dist_world_size") or 1))


def devices() -> int:
    """GPUs of this machine, by their files; torch, which takes seconds, is asked where none is."""
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    # AMD's: one node for all computing, one for each GPU.
    if Path("/dev/kfd").exists():
        count += len(list(Path("/dev/dri").glob("renderD*")))
    return count or _by_torch()


@functools.cache
def _by_torch() -> int:
    """GPUs that torch sees: those of WSL2 and of Jetson have no file of a known name."""
    words = [sys.executable, "-c", "import torch; print(torch.cuda.device_count())"]
    # The whole machine's, whatever is allowed here.
    environment = dict(os.environ)
    environment.pop(VARIABLE, None)
    asked = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    answer = asked.stdout.strip()
    return int(answer) if answer.isdecimal() else 0


def seen(variable: str | None) -> list[str]:
    """The GPUs that a training on this machine sees, by number, UUID or MIG name.

    Args:
        variable: CUDA_VISIBLE_DEVICES; None: it is not set, and all are seen. A GPU that it names
            twice counts twice: it is meant to be shared by two trainings.

    Source: CUDA's programming guide: what follows the first name that is none is not seen.
    """
    if variable is None:
        return list(map(str, range(devices())))
    words = map(str.strip, variable.split(","))
    names = list(itertools.takewhile(_GPU.fullmatch, words))
    # The machine is asked, which may take seconds, only where it matters.
    count = devices() if names else 0
    # A name that is no number is taken as it is, where there are GPUs at all.
    return list(itertools.takewhile(lambda name: _number(name) < count, names))


def _number(name: str) -> int:
    return int(name) if name.isdecimal() else 0


def load(names: Sequence[str]) -> str:
    """How busy GPUs are at this moment, such as ``93 %, 31 of 80 GB``; "" where none tells.

    Args:
        names: numbers or UUIDs. Numbers are those of nvidia-smi, which CUDA has too where all GPUs
            are of one model.
    """
    query = "--query-gpu=utilization.gpu,memory.used,memory.total"
    words = ["nvidia-smi", f"--id={','.join(names)}", query, "--format=csv,noheader,nounits"]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return ""
    told = []
    for busy, *mebibytes in _LOAD.findall(asked.stdout):
        used, total = (round(int(size) / 1024) for size in mebibytes)
        told.append(f"{busy} %, {used} of {total} GB")
    return "; ".join(told)


def check_enough(ngpu: int, jobs: int, variable: str | None) -> list[str]:
    """The GPUs that are seen here, where they are enough for `jobs` trainings of `ngpu`.

    Raises:
        TopdownError: they are too few, or one training would have a GPU twice.
    """
    names = seen(variable)
    needed = jobs * ngpu
    if len(names) < needed:
        cure = "give fewer jobs" if len(names) >= ngpu else "give --ngpu 0, or --cmd for a cluster"
        there = f"this machine has {devices()}"
        if variable is not None:
            there += f", of which {VARIABLE}={variable} names {len(names)}"
        raise TopdownError(
            f"--jobs {jobs} with --ngpu {ngpu} needs {counted(needed, 'GPU')}, and {there}; {cure}"
        )
    for first in range(0, needed, max(ngpu, 1)):
        share = names[first : first + ngpu]
        if len(set(share)) < len(share):
            raise TopdownError(
                f"{VARIABLE}={variable} gives one training of --ngpu {ngpu} the GPUs"
                f" {','.join(share)}, one of them twice; a training needs different ones"
            )
        if len(share) > 1 and any(name.startswith("MIG-") for name in share):
            raise TopdownError(
                f"--ngpu {ngpu}: a process can use one MIG instance alone (NVIDIA's guide to"
                f" MIG), and {VARIABLE}={variable} gives it {len(share)}; give --ngpu 1"
            )
    return names


def choose(
    asked: int | None,
    config: Mapping[str, Any],
    *,
    is_here: bool,
    jobs: int = 1,
    num_nodes: int = 1,
) -> tuple[int, str]:
    """GPUs of one training on each node, and a note on where they come from ("" for none).

    Args:
        asked: ``--ngpu``, None where it was not given.
        config: the base's.
        is_here: whether trainings run on this machine, and not through ``--cmd``.
        jobs: trainings side by side.
        num_nodes: nodes of one training.

    Raises:
        TopdownError: the GPUs are not here, and training on the CPU would be slow in silence.
    """
    variable = os.environ.get(VARIABLE)
    if asked is not None:
        if is_here and asked:
            check_enough(asked, jobs, variable)
        return asked, ""
    base = of_base(config)
    if base == 0:
        return 0, ""
    if not is_here:
        return _on_nodes(base, num_nodes)
    each, note = _of_this_machine(base, jobs, len(seen(variable)))
    check_enough(each, jobs, variable)
    return each, note


def _of_this_machine(base: int, jobs: int, there: int) -> tuple[int, str]:
    """The base's GPUs, or as many as each of the trainings side by side can have."""
    gpus = counted(base, "GPU")
    if there == 0:
        raise TopdownError(
            f"base: {gpus}; none visible here; --ngpu 0 trains on the CPU, which is much slower,"
            " and --cmd submits to a cluster"
        )
    if there < jobs:
        raise TopdownError(
            f"base: {gpus}; {there} visible here are too few for --jobs {jobs}; give --jobs {there}"
        )
    each = there // jobs
    if each < base:
        side_by_side = f" for {jobs} jobs" if jobs > 1 else ""
        return each, f"base: {gpus}; {there} visible here{side_by_side}, so phases train on {each}"
    return base, f"phases train on {gpus}, as the base did; --ngpu changes that"


def _on_nodes(base: int, num_nodes: int) -> tuple[int, str]:
    """The base's GPUs in equal parts on each node of a cluster."""
    gpus = counted(base, "GPU")
    each, rest = divmod(base, num_nodes)
    if rest:
        raise TopdownError(
            f"base: {gpus}, which --num_nodes {num_nodes} does not divide; give --ngpu, the GPUs on"
            " each node"
        )
    note = f"phases train on {gpus}, as the base did; --ngpu changes that"
    if num_nodes > 1:
        note = f"phases train on {gpus} as the base did, {each} on each of {num_nodes} nodes"
    elif base > 1:
        note += ", and --num_nodes, where these are of several nodes, splits them"
    return each, note
