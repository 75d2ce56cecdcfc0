"""Kill anything at any time: the same command finishes the work, and nothing tells that there was a kill.

``python -m pytest -m full tests/faults`` kills at every write of the runner and of the trainers, and at random moments.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterable

import harness
import points
import pytest

SMALL = 6  # kills of the tier that always runs, spread over every kind


def survives(place, faults: Iterable[points.Fault], *, direct: bool = False) -> int:
    """Kill at each of the write points, run again, check; how many kills."""
    count = 0
    for fault in faults:
        trial = place.trial(direct=direct)
        code = trial.start(fault).wait()
        killed = fault.role == "runner" or fault.both
        assert (code in (-signal.SIGKILL, -signal.SIGXFSZ)) if killed else code == 1, (fault, code)
        trial.finish()
        try:
            trial.check(place.expected)
        except AssertionError as error:
            raise AssertionError(f"{fault}: {error}") from error
        shutil.rmtree(trial.place)
        count += 1
    return count


def survives_at_random(place, victims: str, number: int, *, direct: bool = False) -> int:
    """Kill the runner, the trainer or both at random moments; how many were killed before their end."""
    generator, count = random.Random(f"{victims}{direct}"), 0
    for _ in range(number):
        trial = place.trial(direct=direct)
        run = trial.start()
        time.sleep(generator.uniform(0.05, 0.9) * place.duration_s)
        count += strike(trial, run, victims)
        run.wait()
        trial.finish()
        trial.check(place.expected)
        shutil.rmtree(trial.place)
    return count


def strike(trial: harness.Trial, run: harness.Run, victims: str) -> bool:
    """SIGKILL; whether anyone was there to be hit."""
    trainer, hit = trial.trainer(), False
    for pid in (run.pid if "runner" in victims else None, trainer if "trainer" in victims else None):
        with contextlib.suppress(ProcessLookupError):
            if pid is not None and not run.gone(0):
                os.kill(pid, signal.SIGKILL)
                hit = True
    return hit


def kinds(faults: Iterable[points.Fault]) -> Counter[str]:
    return Counter("runner" if f.role == "runner" else "trainer and runner" if f.both else "trainer" for f in faults)


def test_every_write_of_a_training_is_a_point(place):
    """The writes that DESIGN names; a harness that does not see them would prove nothing."""
    seen = {(p.role, p.event, p.path.split("/")[-1]) for p in place.points}
    for name in ("checkpoint.pth", "1epoch.pth", "3epoch.pth", "valid.loss.ave_2best.pth"):
        assert ("phase1", "torch.save", name) in seen
    for name in ("latest.pth", "valid.loss.best.pth"):
        assert ("phase2", "os.symlink", name) in seen
    assert ("phase1", "os.remove", "1epoch.pth") in seen
    for name in ("checkpoint.good.pth", "valid.loss.ave.pth", "proof.json"):
        assert ("phase1", "os.rename", name) in seen
    for event, name in (("os.rename", "record.json"), ("os.rename", "best"), ("open", "ledger.jsonl")):
        assert ("runner", event, name) in seen


def test_some_kills_of_every_kind_leave_no_trace(place):
    generator = random.Random(3)
    everything = harness.kills(place.points)
    chosen = generator.sample(everything, SMALL)
    assert survives(place, chosen) == SMALL


def test_an_orphaned_trainer_is_the_only_writer(place):
    """The runner dies while its trainer goes on, as a job of a queue does."""
    after_start = [f for f in harness.kills(place.points) if f.role == "runner"][-30::15]
    assert survives(place, after_start, direct=True) == len(after_start)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["runner", "trainer", "trainer and runner"])
def test_every_kill_leaves_no_trace(kind, place, capsys):
    faults = [f for f in harness.kills(place.points) if kinds([f])[kind]]
    count = survives(place, faults)
    report(capsys, f"{count} kills at write points, {kind}: all recovered")


@pytest.mark.full
def test_every_kill_of_the_runner_leaves_an_orphan_that_is_waited_for(place, capsys):
    faults = [f for f in harness.kills(place.points) if f.role == "runner"]
    report(
        capsys,
        f"{survives(place, faults, direct=True)} kills at write points, runner with orphaned trainer: all recovered",
    )


@pytest.mark.full
@pytest.mark.parametrize("victims", ["runner", "trainer", "trainer and runner"])
@pytest.mark.parametrize("direct", [False, True])
def test_kills_at_random_moments_leave_no_trace(victims, direct, place, capsys):
    count = survives_at_random(place, victims, 12, direct=direct)
    how = ", trainer outlives runner" if direct else ""
    report(capsys, f"{count} kills at random moments, {victims}{how}: all recovered")
    assert count >= 8


def report(capsys, line: str) -> None:
    with capsys.disabled():
        print(f"\n{line}", flush=True)
