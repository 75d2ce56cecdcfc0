"""Cascades through the real command, and what a test looks at afterwards."""

import json
import os
import shutil
from pathlib import Path

import pytest

from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cli import main

PLAN = "phases: [{cut: decoder}, {cut: encoder.1}]"  # of the fixture `finished`


def words(base: Path, place: Path, *, cascade: Path | None = None) -> list[str]:
    """The command line of `run` for the plan below `place`, and the cascade there unless given.

    One thread, as several tests share cores.
    """
    plan = str(place / "plan.yaml")
    directory = str(cascade or place / "cascade")
    return ["run", str(base), "--plan", plan, "--dir", directory, "--threads", "1"]


def run(base: Path, place: Path, plan: str, *options: str) -> Path:
    """``espnet-topdown run``; the cascade's directory."""
    (place / "plan.yaml").write_text(plan)
    main([*words(base, place), *options])
    return place / "cascade"


def fails(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The message of a command that must fail without a traceback."""
    with pytest.raises(SystemExit) as caught:
        main(list(command))
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def copied(cascade: Path, base: Path, place: Path) -> Path:
    """A copy below `place`, which knows its base by a relative path."""
    copy = shutil.copytree(cascade, place / "cascade", symlinks=True)
    header = json.loads((copy / "cascade.json").read_text())
    header["base"] = os.path.relpath(base, copy)
    (copy / "cascade.json").write_text(json.dumps(header))
    return copy


def hashes(cascade: Path) -> dict[str, object]:
    """Fingerprints of every model file of every phase, from the records."""
    # `best` is a link to one of them.
    records = [p for p in sorted(cascade.glob("*/record.json")) if not p.parent.is_symlink()]
    return {path.parent.name: json.loads(path.read_text())["files"] for path in records}


def outcomes(cascade: Path) -> list[tuple[str, str]]:
    """(phase, outcome) of every attempt that ended."""
    events = Ledger(cascade / "ledger.jsonl").events()
    return [(event["phase"], event["outcome"]) for event in events if event["event"] == "end"]
