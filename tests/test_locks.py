"""Locks that die with their holder, and leases where the kernel's lock does not reach."""

import errno
import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from espnet_topdown import claims, locks
from espnet_topdown.errors import TopdownError
from espnet_topdown.processes import this_process

# How file systems answer flock: as one should, each node for itself, or not at all.
FLOCKS = {"kernel": None, "none": errno.ENOSYS, "nfs without lockd": errno.ENOLCK}


@pytest.fixture(params=FLOCKS)
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    code = FLOCKS[request.param]
    if code is not None:

        def refuse(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(fcntl, "flock", refuse)
    return str(request.param)


@pytest.fixture
def on_another_node(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, this process is one on another node, where flock knows of no one."""

    def move() -> None:
        monkeypatch.setattr(socket, "gethostname", lambda: "node2")
        monkeypatch.setattr(fcntl, "flock", lambda *_: None)

    return move


def in_a_child(lock: Path) -> int:
    """A child that holds `lock` until it is killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with locks.locked(lock, "child"):
            os.write(write, b"x")
            signal.pause()
    os.read(read, 1)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_second_process_is_told_who_the_first_is_and_may_follow_a_killed_one(
    flock: str, tmp_path: Path
) -> None:
    lock = tmp_path / "lock"
    pid = in_a_child(lock)
    assert f"process {pid} on {socket.gethostname()} (child) since" in str(locks.holder(lock))
    with (
        pytest.raises(TopdownError, match=rf"in use: process {pid} on .*\(child\)"),
        locks.locked(lock, "x"),
    ):
        pass
    kill(pid)
    assert locks.holder(lock) is None
    with locks.locked(lock, "next"):
        pass


def test_a_lock_of_a_group_is_everybodys_in_it(tmp_path: Path) -> None:
    """The umask alone says who may write, as of all other files of an experiment."""
    before = os.umask(0o002)
    try:
        with locks.locked(tmp_path / "lock", "training"):
            pass
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes["lock"] == 0o664


def test_after_its_end_nobody_holds_a_lock(flock: str, tmp_path: Path) -> None:
    with locks.locked(tmp_path / "lock", "x"):
        pass
    assert locks.holder(tmp_path / "lock") is None


def test_an_orphan_on_another_node_is_seen_by_its_lease_until_that_runs_out(
    tmp_path: Path, on_another_node: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    host = socket.gethostname()
    pid = in_a_child(lock)
    on_another_node()
    with (
        pytest.raises(TopdownError, match=rf"process {pid} on {host} .*free 120 s after its end"),
        locks.locked(lock, "x"),
    ):
        pass
    assert f"process {pid} on {host}" in str(locks.holder(lock))
    kill(pid)
    # Dead or not cannot be seen from here: until the lease has run out, it counts.
    assert locks.holder(lock) is not None
    later = time.time() + 121
    monkeypatch.setattr(time, "time", lambda: later)
    assert locks.holder(lock) is None


def test_one_that_ended_in_order_leaves_no_lease(
    tmp_path: Path, on_another_node: Callable[[], None]
) -> None:
    with locks.locked(tmp_path / "lock", "x"):
        pass
    on_another_node()
    assert locks.holder(tmp_path / "lock") is None


def test_the_lease_is_renewed_while_its_holder_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "BEAT_S", 0.01)
    lock = tmp_path / "lock"
    with locks.locked(lock, "x"):
        first = json.loads(lock.read_text())["beat_s"]
        deadline = time.monotonic() + 120
        while json.loads(lock.read_text())["beat_s"] == first:
            assert time.monotonic() < deadline


def test_one_that_waits_says_so_and_follows(
    flock: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = in_a_child(tmp_path / "lock")
    monkeypatch.setattr(time, "sleep", lambda _: kill(pid))
    with locks.locked(tmp_path / "lock", "x", waits=True):
        pass
    said = capsys.readouterr().err
    assert f"{tmp_path} is in use: process {pid}" in said
    assert said.endswith("; waiting for it\n")


def test_a_lock_file_of_an_earlier_version_or_torn_holds_nobody_up(tmp_path: Path) -> None:
    for text in (
        '{"pid": 1, "host": "h", "since": "2026-11-27", "purpose": "p"}',
        '{"pid"',
        "[]",
        "",
    ):
        (tmp_path / "lock").write_text(text)
        assert locks.holder(tmp_path / "lock") is None
        with locks.locked(tmp_path / "lock", "x"):
            pass


def at_once(lock: Path, count: int) -> list[str]:
    """What became of so many processes that take the lock, hold it a while and let go, in turn."""
    start, go = os.pipe()
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(go)
            os.read(start, 1)  # until the other end is closed
            os._exit(alone(lock, lock.with_name(f"seen{number}")))
        pids.append(pid)
    os.close(start)
    os.close(go)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    return [path.read_text() for path in lock.parent.glob("seen*")]


def alone(lock: Path, seen: Path) -> int:
    """Hold the lock, and note whether anybody else does."""
    inside = lock.with_name("inside")
    try:
        with locks.locked(lock, "x"):
            is_alone = not inside.exists()
            inside.touch()
            time.sleep(0.05)
            inside.unlink(missing_ok=True)
            seen.write_text("alone" if is_alone else "beside another")
    except TopdownError as error:
        assert "is in use" in str(error)
        seen.write_text("refused")
    return 0


def test_of_many_that_take_a_lock_at_once_one_gets_it_without_flock_too(
    flock: str, tmp_path: Path
) -> None:
    for turn in range(5):
        place = tmp_path / str(turn)
        place.mkdir()
        seen = at_once(place / "lock", 12)
        assert len(seen) == 12 and "alone" in seen
        assert "beside another" not in seen
        assert not (place / ".lock.claim").exists()


def test_the_claim_of_a_process_that_died_with_it_is_removed(tmp_path: Path) -> None:
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    claim = tmp_path / ".lock.claim"
    claim.write_text(json.dumps(this_process() | {"pid": gone}))
    with locks.locked(tmp_path / "lock", "x"):
        assert not claim.exists()
    # That of another node: by its age.
    claim.write_text(json.dumps({"pid": gone, "host": "node2"}))
    os.utime(claim, (time.time() - 121, time.time() - 121))
    with locks.locked(tmp_path / "lock", "x"):
        assert not claim.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def lease_of(lock: Path, **changed: object) -> None:
    """Leave a lease of a process that lives, this one's parent, but for what is changed."""
    parent = os.getppid()
    lease = {"pid": parent, "host": socket.gethostname(), "since": locks.now(), "purpose": "p"}
    lease["machine"] = this_process()["machine"]
    lock.write_text(json.dumps({**lease, "beat_s": time.time(), **changed}))


@pytest.mark.parametrize(
    ("changed", "is_held"),
    {
        "fresh": ({}, True),
        "not renewed, and no one says that it is the same process": ({"beat_s": 0}, False),
        "its number went to another process": ({"started": "1"}, False),
        "of another container or boot": ({"machine": "other", "beat_s": 0}, False),
    }.values(),
)
def test_without_flock_a_number_that_lives_is_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], *, is_held: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "no flock")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lease_of(tmp_path / "lock", **changed)
    assert (locks.holder(tmp_path / "lock") is not None) is is_held


def test_a_node_of_the_same_name_is_another_machine(
    tmp_path: Path, on_another_node: Callable[[], None]
) -> None:
    lease_of(tmp_path / "lock", machine="other")
    assert locks.holder(tmp_path / "lock") is not None


def test_who_looks_at_a_free_lock_refuses_it_to_nobody(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    looking = os.open(lock, os.O_RDONLY)
    fcntl.flock(looking, fcntl.LOCK_SH)
    threading.Timer(0.2, os.close, [looking]).start()
    with locks.locked(lock, "x"):
        pass


def test_one_that_slept_through_its_lease_leaves_the_next_ones_alone(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locks.locked(lock, "x"):
        lease_of(lock)
    assert json.loads(lock.read_text())["purpose"] == "p"


def test_a_directory_in_the_place_of_a_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(TopdownError, match="lock is a directory, where a lock file should be"):
        locks.holder(tmp_path / "lock")
    with (
        pytest.raises(TopdownError, match="lock is a directory, where a lock file should be"),
        locks.locked(tmp_path / "lock", "x"),
    ):
        pass


def test_one_that_waits_for_a_claim_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = tmp_path / ".lock.claim"
    claim.write_text('{"pid": 1, "host": "node2"}')
    monkeypatch.setattr(claims, "PATIENCE_S", 0)
    threading.Timer(0.2, claim.unlink).start()
    with locks.locked(tmp_path / "lock", "x"):
        pass
    said = capsys.readouterr().err
    assert said.startswith(f"waiting for {claim}, which another process has; if it died,")
    assert said.count("\n") == 1


def test_another_fault_of_flock_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(OSError, match="Input/output error"), locks.locked(tmp_path / "lock", "x"):
        pass


def test_reading_lets_readers_in_and_keeps_writers_out(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.touch()
    with locks.reading([tmp_path]), lock.open() as another:
        fcntl.flock(another, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_reading_passes_over_a_lock_that_it_may_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").touch()

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    # As for another user than root.
    monkeypatch.setattr(os, "open", refuse)
    with locks.reading([tmp_path]):
        pass


def test_reading_waits_for_a_writer_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / ".lock").open("w") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        flock = fcntl.flock

        def last(descriptor: int, mode: int) -> None:
            """The writer ends once somebody waits for it."""
            if mode == fcntl.LOCK_SH:
                flock(writer, fcntl.LOCK_UN)
            flock(descriptor, mode)

        monkeypatch.setattr(fcntl, "flock", last)
        with locks.reading([tmp_path]):
            pass
    assert f"{tmp_path} is being written by another run; waiting" in capsys.readouterr().err


def test_what_no_script_holds_is_read_without_a_lock(flock: str, tmp_path: Path) -> None:
    (tmp_path / "dump").mkdir()
    (tmp_path / "dump/.lock").touch()
    with locks.reading([tmp_path, tmp_path / "dump", tmp_path / "missing"]):
        assert not (tmp_path / ".lock").exists()


def test_a_claim_that_another_node_removes_meanwhile_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS tells it of a file that was removed after its name had been looked up."""
    claim = tmp_path / ".lock.claim"
    claim.write_text("{}")

    def removed(path: Path, **_: object) -> str:
        path.unlink()
        raise OSError(errno.ESTALE, "Stale file handle", str(path))

    monkeypatch.setattr(Path, "read_text", removed)
    with claims.claimed(tmp_path / "lock"):
        assert claim.exists()
    assert not claim.exists()
