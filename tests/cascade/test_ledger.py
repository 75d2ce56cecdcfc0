"""The ledger: attempts that were killed are closed, torn lines are survived."""

import os
from datetime import datetime

from espnet_topdown import locks
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.experiment.phase_dir import LOCK


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


def test_an_attempt_whose_trainer_outlived_its_runner_ends_with_the_trainer(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1)
    directory = tmp_path / "phase1"
    with locks.locked(directory / LOCK, "training"):
        ledger.close_dangling()
        assert [event["event"] for event in ledger.events()] == ["start"]
    began = datetime.fromisoformat(ledger.events()[-1]["time"]).timestamp()
    (directory / "train.log").write_text("")
    os.utime(directory / "train.log", (began + 3600, began + 3600))
    ledger.close("phase1")
    ledger.close("phase1")
    assert [event["event"] for event in ledger.events()] == ["start", "end"]
    assert ledger.hours("phase1") == 1.0


def test_a_copy_by_hard_links_keeps_its_ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1)
    os.link(ledger.path, tmp_path / "copy.jsonl")
    ledger.append("end", "phase1", attempt=1, outcome="done")
    assert len(ledger.events()) == 2
    assert len(Ledger(tmp_path / "copy.jsonl").events()) == 1


def test_ledger_goes_on_after_a_torn_line(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1)
    with ledger.path.open("a") as stream:
        stream.write('{"event": "en')
    ledger.append("start", "phase2", attempt=1)
    assert [event["phase"] for event in ledger.events()] == ["phase1", "phase2"]


def begun(tmp_path) -> Ledger:
    """One attempt of phase 1, by one thread, that nobody has ended."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("start", "phase1", attempt=1, threads=1)
    (tmp_path / "phase1").mkdir()
    return ledger


def test_a_log_of_an_earlier_attempt_takes_no_time(tmp_path):
    ledger = begun(tmp_path)
    log = tmp_path / "phase1" / "train.log"
    log.touch()
    os.utime(log, (1, 1))
    ledger.close("phase1")
    assert ledger.events()[-1]["wall_s"] == 0


def test_an_attempt_whose_phase_has_its_record_is_done(tmp_path):
    ledger = begun(tmp_path)
    (tmp_path / "phase1" / "record.json").write_text("{}")
    ledger.close("phase1")
    assert ledger.events()[-1]["outcome"] == "done"


def test_a_phase_is_redone_until_its_next_attempt_has_failed(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append("redo", "phase1")
    ledger.append("start", "phase1", attempt=1)
    assert ledger.is_redone("phase1")
    ledger.append("end", "phase1", outcome="failed")
    assert not ledger.is_redone("phase1")


def test_the_threads_are_those_of_the_first_attempt(tmp_path):
    ledger = begun(tmp_path)
    ledger.append("start", "phase2", attempt=1, threads=4)
    assert ledger.threads() == 1


def test_an_event_is_on_the_disk_as_a_whole_line_when_it_is_appended(tmp_path, monkeypatch):
    synced = []
    path = tmp_path / "ledger.jsonl"
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(path.read_bytes()) or fsync(file))
    Ledger(path).append("start", "phase1", attempt=1)
    assert len(synced) == 1 and synced[0].endswith(b"}\n")
