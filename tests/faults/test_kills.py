"""Kill anything at any time: the same command finishes the work, and nothing tells of the kill.

``python -m pytest -m full tests/faults`` kills at every write of the runner and of the trainers,
and at random moments.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Iterable

import harness
import points
import pytest

# Whose writes are the moments, and who dies then.
KINDS = [
    ("runner", "runner"),
    ("trainer", "trainer"),
    ("trainer", "trainer and runner"),
    ("trainer", "runner"),
]
OUTLIVES = {False: "", True: ", trainers outlive their runner"}


def survives(place, faults: Iterable[points.Fault], *, direct: bool = False) -> int:
    """Kill at each of the write points, run again, check; how many kills."""
    count = 0
    for fault in faults:
        trial = place.trial(direct=direct)
        code = trial.start(fault).wait()
        killed = "runner" in fault.victims
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
    """Kill the runner, the trainer or both at random moments.

    How many were killed before their end.
    """
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
    for pid in (
        run.pid if "runner" in victims else None,
        trainer if "trainer" in victims else None,
    ):
        with contextlib.suppress(ProcessLookupError):
            if pid is not None and not run.gone(0):
                os.kill(pid, signal.SIGKILL)
                hit = True
    return hit


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
    for event, name in (
        ("os.rename", "record.json"),
        ("os.rename", "best"),
        ("open", "ledger.jsonl"),
    ):
        assert ("runner", event, name) in seen


@pytest.mark.parametrize("number", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_some_kills_of_every_kind_leave_no_trace(number, place):
    generator = random.Random(number)
    for at, victims in KINDS:
        chosen = generator.sample(harness.kills(place.points, at, victims), number)
        assert survives(place, chosen) == len(chosen)


def test_an_orphaned_trainer_is_the_only_writer(place):
    """The runner dies while its trainer goes on, as a job of a queue does."""
    chosen = random.Random(3).sample(harness.kills(place.points, "trainer", "runner"), 1)
    assert survives(place, chosen, direct=True) == len(chosen)


@pytest.mark.full
@pytest.mark.parametrize(
    ("at", "victims", "direct"),
    [
        (*kind, direct)
        for direct in (False, True)
        for kind in KINDS
        if not direct or "runner" in kind[1]
    ],
)
def test_every_kill_leaves_no_trace(at, victims, direct, place, capsys):
    count = survives(place, harness.kills(place.points, at, victims), direct=direct)
    report(
        capsys,
        f"{count} kills at writes of the {at}, of the {victims}{OUTLIVES[direct]}: all recovered",
    )


@pytest.mark.full
@pytest.mark.parametrize("victims", ["runner", "trainer", "trainer and runner"])
@pytest.mark.parametrize("direct", [False, True])
def test_kills_at_random_moments_leave_no_trace(victims, direct, place, capsys):
    count = survives_at_random(place, victims, 12, direct=direct)
    report(
        capsys,
        f"{count} kills at random moments, of the {victims}{OUTLIVES[direct]}: all recovered",
    )
    assert count >= 8


def report(capsys, line: str) -> None:
    with capsys.disabled():
        print(f"\n{line}", flush=True)
