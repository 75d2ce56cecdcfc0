"""What a message about a lost or damaged file advises, followed to its end."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cascades import copied, fails, hashes, outcomes, words

from espnet_topdown.cli import main


@pytest.fixture
def cascade(finished: Path, base: Path, tmp_path: Path) -> Path:
    """A copy of the finished cascade, with its plan beside it."""
    shutil.copyfile(finished.parent / "plan.yaml", tmp_path / "plan.yaml")
    return copied(finished, base, tmp_path)


def model_bytes(cascade: Path) -> dict[str, bytes]:
    """All model files of all phases."""
    paths = sorted(cascade.glob("phase*/*.pth"))
    return {str(path.relative_to(cascade)): path.read_bytes() for path in paths}


def is_as_before(cascade: Path, finished: Path, before: dict[str, bytes]) -> None:
    assert model_bytes(cascade) == before
    assert hashes(cascade) == hashes(finished)
    main(["verify", str(cascade)])


def damaged(path: Path) -> None:
    path.write_text(path.read_text()[:-5])


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [damaged, gone])
@pytest.mark.parametrize("prunes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_record_moved_away_is_written_anew_and_no_child_is_changed(
    prunes, harm, cascade, finished, base, tmp_path, capsys
):
    if prunes:
        main(["prune", str(cascade), "--keep_epochs", "0"])
    before = model_bytes(cascade)
    record = cascade / "phase1" / "record.json"
    harm(record)
    if record.exists():
        error = fails(capsys, *words(base, tmp_path))
        assert f"{record} is damaged" in error and "move it away and rerun" in error
        record.rename(tmp_path / "record.json")
    main(words(base, tmp_path))
    is_as_before(cascade, finished, before)


@pytest.mark.parametrize("harm", [damaged, pytest.param(gone, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["proof.json", "epochs.json"])
def test_a_lost_proof_is_told_and_written_anew(
    name, harm, cascade, finished, base, tmp_path, capsys
):
    before = model_bytes(cascade)
    lost = cascade / "phase1" / "topdown" / name
    harm(lost)
    error = fails(capsys, "verify", str(cascade))
    assert f"{lost}" in error and "move it and record.json away and rerun" in error
    # Pruned, it would be trained from its start.
    checkpoint = cascade / "phase1" / "checkpoint.pth"
    checkpoint.rename(tmp_path / checkpoint.name)
    error = fails(capsys, "verify", str(cascade))
    assert f"{lost}" in error and "rerun" not in error
    (tmp_path / checkpoint.name).rename(checkpoint)
    lost.unlink(missing_ok=True)
    (cascade / "phase1" / "record.json").unlink()
    main(words(base, tmp_path))
    is_as_before(cascade, finished, before)


@pytest.mark.parametrize("harm", [damaged, pytest.param(gone, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["begun.json", "start.json"])
def test_what_an_interrupted_phase_was_begun_with_may_be_moved_away(
    name, harm, cascade, finished, base, tmp_path, capsys
):
    before = model_bytes(cascade)
    phase = cascade / "phase2"
    for lost in ("record.json", "topdown/proof.json"):
        (phase / lost).unlink()
    lost = phase / "topdown" / name
    harm(lost)
    if lost.exists():
        error = fails(capsys, *words(base, tmp_path))
        assert f"{lost} is damaged" in error and "move it away and rerun" in error
        lost.unlink()
    main(words(base, tmp_path))
    is_as_before(cascade, finished, before)


def test_a_training_of_which_nothing_tells_the_beginning_is_redone(
    cascade, finished, base, tmp_path, capsys
):
    phase = cascade / "phase2"
    for lost in ("record.json", "topdown/begun.json", "topdown/start.json"):
        (phase / lost).unlink()
    error = fails(capsys, *words(base, tmp_path))
    assert "nothing tells what it was begun with" in error
    (line,) = {line.strip() for line in error.splitlines() if "--redo" in line}
    main(line.split()[1:])
    assert hashes(cascade) == hashes(finished)
    assert outcomes(cascade)[-1] == ("phase2", "done")


def without_threads(path: Path) -> None:
    path.write_text(json.dumps({"base": json.loads(path.read_text())["base"]}))


@pytest.mark.parametrize("harm", [damaged, gone, without_threads])
def test_the_threads_of_a_lost_header_are_those_of_the_ledger(
    harm: Callable[[Path], None], cascade, base, tmp_path, capsys
):
    header = cascade / "cascade.json"
    harm(header)
    if harm is damaged:
        assert "move it away and rerun" in fails(capsys, *words(base, tmp_path))
        header.unlink()
    asked = words(base, tmp_path)[:-1]
    assert "has 1, fixed by its first run" in fails(capsys, *asked, "2")
    main(words(base, tmp_path)[:-2])
    assert json.loads(header.read_text())["threads"] == 1
