"""Files and ledger.

Old or new but never half, locks that die with their holder, records that survive torn lines.
"""

import os
import signal
from datetime import datetime

import pytest

from espnet_topdown import files
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.errors import TopdownError


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_damaged_and_missing_json_are_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(TopdownError, match="a.json is damaged"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(TopdownError, match="cannot read .*b.json"):
        files.read_json(tmp_path / "b.json")


def test_second_holder_of_a_lock_is_told_who_the_first_one_is(tmp_path):
    lock = tmp_path / "lock"
    with files.locked(lock, "testing"):
        assert f"process {os.getpid()}" in str(files.holder(lock))
        with (
            pytest.raises(TopdownError, match=rf"in use: process {os.getpid()} on .*\(testing\)"),
            files.locked(lock, "x"),
        ):
            pass
    assert files.holder(lock) is None


def test_a_lock_goes_when_its_holder_is_killed(tmp_path):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        with files.locked(tmp_path / "lock", "child"):
            os.write(write, b"x")
            signal.pause()
    os.read(read, 1)
    assert f"process {pid}" in str(files.holder(tmp_path / "lock"))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert files.holder(tmp_path / "lock") is None


def test_a_link_is_replaced_without_a_gap(tmp_path):
    files.link(tmp_path / "best", "a")
    files.link(tmp_path / "best", "b")
    assert os.readlink(tmp_path / "best") == "b"


def test_differences_name_every_leaf():
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}
    assert files.differences(old, new) == ["b.c: 2 -> 4", "b.d: 3 -> (absent)", "e: (absent) -> 5"]


def test_ledger_closes_attempts_that_were_killed(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1)
    ledger.append("end", "phase1", attempt=1, outcome="done", wall_s=7200.0)
    ledger.append("start", "phase2", attempt=1)
    (tmp_path / "phase2").mkdir()
    log = tmp_path / "phase2" / "train.log"
    log.write_text("1/3epoch started\n1epoch results: [train] loss=1.0\n2/3epoch started\n")
    began = datetime.fromisoformat(ledger.events()[-1]["time"]).timestamp()
    os.utime(log, (began + 90, began + 90))
    ledger.close_dangling()
    ledger.close_dangling()
    ends = [(e["phase"], e["outcome"]) for e in ledger.events() if e["event"] == "end"]
    assert ends == [("phase1", "done"), ("phase2", "killed")]
    assert ledger.attempts("phase2") == 1
    assert (ledger.events()[-1]["epochs"], ledger.hours("phase2")) == (1, 90 / 3600)
    assert ledger.hours("phase1") == 2.0


def test_ledger_goes_on_after_a_torn_line(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1)
    with ledger.path.open("a") as stream:
        stream.write('{"event": "en')
    ledger.append("start", "phase2", attempt=1)
    assert [event["phase"] for event in ledger.events()] == ["phase1", "phase2"]
