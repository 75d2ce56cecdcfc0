"""Command lines in the grammar of Kaldi's run.pl, run by ``python3 -m espnet_topdown.warm``."""

import argparse
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.warm.client import Command, rotate, run_all

PREFIXES = ("espnet2.bin.", "espnet_topdown.bin.")
_ARRAY = re.compile(r"(?P<name>\w+)=(?P<first>\d+)(:(?P<last>\d+))?")


def parse_line(words: Sequence[str], *, gpus: int = 0) -> list[Command]:
    """The commands of one line: ``[JOB=1:N] LOG COMMAND...``; ``JOB=3`` is the third job alone.

    ``python3 -m MODULE`` is run warm where MODULE is an ESPnet command or one of ours; anything
    else is run as it stands.

    Args:
        words: of the line.
        gpus: GPUs of each command; CUDA_VISIBLE_DEVICES says which.

    Raises:
        TopdownError: the log or the command is missing, or the jobs are no numbers.
    """
    line = list(words)
    # A log may have = in its name too, but stands in a directory.
    if not line or "=" not in line[0] or "/" in line[0]:
        return [_command(line, gpus)]
    array = line.pop(0)
    jobs = _ARRAY.fullmatch(array)
    if jobs is None:
        raise TopdownError(f"{array!r} is no array of jobs; give JOB=1:N")
    first = int(jobs["first"])
    return [
        _command([word.replace(jobs["name"], str(job)) for word in line], gpus)
        for job in range(first, int(jobs["last"] or first) + 1)
    ]


def _command(line: Sequence[str], gpus: int) -> Command:
    if len(line) < 2:
        raise TopdownError(f"a line must be [JOB=1:N] LOG COMMAND..., got {shlex.join(line)!r}")
    log, *argv = line
    is_module = argv[:2] == ["python3", "-m"] and len(argv) > 2
    if is_module and argv[2].startswith(PREFIXES):
        return Command(argv[2], argv[3:], Path(log), gpus=gpus)
    return Command(None, argv, Path(log), gpus=gpus)


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.warm",
        description="Run commands in one process that has imported ESPnet already",
    )
    line = "[JOB=1:N] LOG COMMAND..."
    add = parser.add_argument
    add("--jobs", type=int, help="commands at a time (CPUs; with --gpu, GPUs for them)")
    add("--threads", type=int, help="torch threads a command (OMP_NUM_THREADS)")
    add("--gpu", type=int, default=0, help="GPUs of a command (0)")
    add("--keep_logs", action="store_true", help="move an earlier LOG to LOG.1, not over it")
    add("--list", type=Path, metavar="FILE", help=f"a file with one line {line} each")
    add("line", nargs=argparse.REMAINDER, help=f"{line}, as for Kaldi's run.pl")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the commands of a line or a list; exit with status 1 where one failed."""
    args = get_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with reported():
        try:
            codes = _run(args)
        except KeyboardInterrupt:
            sys.exit(130)
    if any(codes):
        sys.exit(1)


def _run(args: argparse.Namespace) -> list[int]:
    lines = [args.line]
    if args.list:
        lines = [shlex.split(line) for line in args.list.read_text("utf-8").splitlines()]
    commands = []
    for line in lines:
        commands += parse_line(line, gpus=args.gpu)
    if args.keep_logs:
        for command in commands:
            rotate(command.log)
    return run_all(commands, jobs=args.jobs, threads=args.threads)
