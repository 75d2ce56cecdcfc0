"""What the benchmarks share: measuring in a child, ways that take turns, medians, the machine.

Importing it puts this checkout before an installed package: what stands beside the benchmarks is
what they measure.
"""

import json
import os
import platform
import resource
import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from espnet_topdown.versions import versions  # noqa: E402  found by the line above

Result = TypeVar("Result")


def in_child(work: Callable[[], float]) -> tuple[float, float]:
    """What `work` returns in a forked child, and the child's peak memory in MB."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        # The child must never go on with the parent's code.
        try:
            value = work()
            peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            os.write(write, json.dumps([value, peak_kb / 1024]).encode())
            os._exit(0)
        except BaseException:
            # By the pipe: the work may have silenced stderr.
            os.write(write, traceback.format_exc().encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"a measurement failed (status {status}):\n{answer}")
    value, peak_mb = json.loads(answer)
    return value, peak_mb


def interleaved(ways: Mapping[str, Callable[[int], Result]], pairs: int) -> dict[str, list[Result]]:
    """The results of each way, measured in turn `pairs` times; a way is given the pair's number.

    Ratios are taken within a pair, so that what else the machine does meanwhile falls on all ways.
    """
    results: dict[str, list[Result]] = {name: [] for name in ways}
    names = list(ways)
    for pair in range(pairs):
        # Every other pair backwards: no way is always the first.
        names.reverse()
        for name in names:
            results[name].append(ways[name](pair))
    return results


def median_and_range(values: Sequence[float], digits: int) -> str:
    """Such as ``1.003 (0.586 to 1.136)``."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def say(out: Path, **result: object) -> None:
    """Append a result to ``out/results.jsonl`` at once: no later failure loses it."""
    line = json.dumps(result) + "\n"
    with (out / "results.jsonl").open("a") as stream:
        # In one write: several threads may have results.
        stream.write(line)


def machine() -> str:
    """The machine and the versions that a time depends on."""
    made_with = [f"{name} {version}" for name, version in versions().items()]
    where = f"{platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}"
    return f"{where}; {', '.join(made_with)}, Python {platform.python_version()}"
