"""How one training is started, on which threads and GPUs, and why it ended when it failed.

Which phase to train, and when, is the runner's to say.
"""

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown import gpus, warm
from espnet_topdown.errors import TopdownError, reported_in
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.text_files import log_lines
from espnet_topdown.warm.groups import told

FULL_BYTES = 1_000_000  # less is left where a training has just died of a full disk


@dataclass(frozen=True)
class Launch:
    """How trainings are started.

    Args:
        ngpu: GPUs of one training.
        num_nodes: nodes of one training.
        cmd: a Kaldi-style command prefix (``slurm.pl --mem 8G``); None starts it on this machine
            from a warm process.
        python: interpreter, used with `cmd`.
        jobs: independent phases at a time.
        threads: torch's threads of each training; None: `default_threads`.
    """

    ngpu: int = 0
    num_nodes: int = 1
    cmd: str | None = None
    python: str = "python3"
    jobs: int = 1
    threads: int | None = None


def default_threads(launch: Launch) -> int:
    """OMP_NUM_THREADS where it is set, else an equal share of this machine's CPUs.

    With `cmd` another machine may train: then 1, as in ESPnet's path.sh, instead of the share.
    """
    variable = warm.environment_threads()
    if variable:
        return variable
    if launch.cmd:
        return 1
    return max(1, len(os.sched_getaffinity(0)) // launch.jobs)


def check_base(launch: Launch, base: Experiment) -> None:
    """Refuse GPUs that no training of this base could use, before the first phase.

    Raises:
        TopdownError: the base is a stream model, and several processes are asked for.
    """
    is_stream = base.config.get("model") == "lm_stream"
    if is_stream and max(launch.ngpu, launch.num_nodes) > 1:
        raise TopdownError(
            f"--ngpu {launch.ngpu} --num_nodes {launch.num_nodes}: {base.directory} is a stream"
            " model, whose state cannot be split over GPUs; give --ngpu 0 or 1, and one node"
        )


def gpu_share(launch: Launch, slot: int, visible: str | None) -> dict[str, str]:
    """The GPUs of one of the trainings side by side, as CUDA_VISIBLE_DEVICES.

    Empty where nothing is shared. A GPU that CUDA_VISIBLE_DEVICES names twice (``0,0``) is meant to
    be shared by two trainings.

    Args:
        launch: how trainings are started; with `cmd` the cluster hands out GPUs.
        slot: which of the `launch.jobs` places the training has, from 0.
        visible: CUDA_VISIBLE_DEVICES of this process; None stands for the GPUs from 0 on.

    Raises:
        TopdownError: too few GPUs are visible for all jobs, or one training would have a GPU twice.
    """
    if launch.cmd is not None or launch.ngpu == 0:
        return {}
    names = gpus.check_enough(launch.ngpu, launch.jobs, visible)
    if launch.jobs == 1:
        return {}
    first = slot * launch.ngpu
    return {gpus.VARIABLE: ",".join(names[first : first + launch.ngpu])}


def start_training(
    launch: Launch, task: str, directory: Path, *, threads: int, variables: Mapping[str, str]
) -> warm.Handle | warm.Group:
    """Start the training of the phase in `directory`, whose config is its ``phase.yaml``.

    Args:
        launch: how.
        task: ESPnet's, ``asr`` or another of `espnet_topdown.experiment.task.TASKS`.
        directory: of the phase; ``train.log`` is written there.
        threads: torch's threads.
        variables: environment variables that differ from this process's.
    """
    argv = [task, "--config", str(directory / "phase.yaml")]
    argv += ["--output_dir", str(directory), "--resume", "true"]
    log = directory / "train.log"
    if launch.cmd is None and launch.ngpu <= 1:
        argv += ["--ngpu", str(launch.ngpu)]
        command = warm.Command("espnet_topdown.bin.train", argv, log, gpus=launch.ngpu)
    else:
        words = _launcher(launch, directory, log)
        # A queue need not pass the environment on.
        words += ["env", f"OMP_NUM_THREADS={threads}"]
        words += [f"{name}={value}" for name, value in variables.items()]
        words += _python(launch)
        words += ["-m", "espnet_topdown.bin.train", *argv]
        # ESPnet's launcher writes train.log; launch.log tells why it did not get that far.
        command = warm.Command(None, words, directory / "launch.log")
    return warm.start(command, threads=threads, variables=variables)


def run_tool(
    launch: Launch,
    module: str,
    argv: Sequence[str],
    log: Path,
    *,
    ngpu: int = 0,
    slot: int = 0,
) -> None:
    """Run a command of this package's that imports ESPnet, where trainings run, to its end.

    Args:
        launch: how trainings are started.
        module: of `espnet_topdown.bin`.
        argv: its arguments.
        log: all that it prints.
        ngpu: 1 for a GPU.
        slot: which of the `launch.jobs` places is free for it, from 0.

    Raises:
        TopdownError: it failed; what it said, or the end of its log.
    """
    command = warm.Command(module, list(argv), log, gpus=ngpu)
    if launch.cmd is not None:
        gpu = ["--gpu", str(ngpu)] if ngpu else []
        tool = [*launch.python.split(), "-m", module, *argv]
        words = [*launch.cmd.split(), *gpu, str(log), *tool]
        command = warm.Command(None, words, log.with_suffix(".launch.log"))
    variables = gpu_share(launch, slot, os.environ.get(gpus.VARIABLE)) if ngpu else {}
    handle = warm.start(command, variables=variables)
    try:
        status = handle.wait()
    finally:
        handle.terminate()
    if status == 0:
        return
    lines = log_lines(log)
    early = f"{module} ended early; the end of {log}:\n{_end_of(lines)}"
    raise TopdownError(reported_in(lines) or early)


def _launcher(launch: Launch, directory: Path, log: Path) -> list[str]:
    """ESPnet's launcher for several GPUs, nodes or a cluster; the command follows its ``--``."""
    # The launcher itself runs here.
    words = [sys.executable, "-m", "espnet2.bin.launch", "--log", str(log)]
    words += ["--cmd", launch.cmd or f"{shlex.quote(sys.executable)} -m espnet_topdown.warm"]
    words += ["--ngpu", str(launch.ngpu), "--num_nodes", str(launch.num_nodes)]
    # Workers of several nodes meet by a file; where the experiment is, all of them can see it.
    words += ["--init_file_prefix", str(directory / ".dist_init_")]
    return [*words, "--multiprocessing_distributed", "true", "--"]


def _python(launch: Launch) -> list[str]:
    """The interpreter of a training: of other machines the one that was named, here our own."""
    return launch.python.split() if launch.cmd else [sys.executable]


def failure(directory: Path, status: int | None = None) -> str:
    """Why the training in `directory` ended.

    A full disk, else what its log says, or its launcher's where it never began: our own message, or
    the last lines.

    Args:
        directory: of the phase.
        status: the training's exit status; a signal is told by its name.
    """
    # First, since a log on a full disk may end anywhere.
    for place in (directory, Path(tempfile.gettempdir())):
        free = shutil.disk_usage(place).free
        if free < FULL_BYTES:
            return (
                f"the disk of {place} is full ({free / 1e6:.1f} MB free); make room and run again"
            )
    logs = [directory / "train.log", directory / "launch.log"]
    log = next(filter(Path.exists, logs), logs[0])
    lines = log_lines(log)
    reported = reported_in(lines)
    if reported is not None:
        return reported
    how = "ended early"
    if any("DataLoader worker" in line for line in lines[-8:]):
        how += " (memory or /dev/shm is what a worker lacks as a rule: lower num_workers)"
    if status is not None and status < 0:
        how = told(status)
    return f"training {how}; the end of {log}:\n{_end_of(lines)}"


def _end_of(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines[-8:])
