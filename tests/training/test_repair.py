"""A training's directory after a kill is that of its last complete epoch."""

import fractions
import shutil
from pathlib import Path

import pytest
import torch
from epochs import CRITERIA, write_epochs

from espnet_topdown.errors import TopdownError
from espnet_topdown.training import checkpoint, repair


def snapshot(directory: Path) -> dict[str, object]:
    """Links, and fingerprints of the model files of a training directory."""
    files: dict[str, object] = {}
    for path in sorted(directory.glob("*.pth")):
        state = checkpoint.load_state(path)
        digest = checkpoint.state_fingerprint(checkpoint.fingerprints(state))
        target = str(path.readlink()) if path.is_symlink() else None
        files[path.name] = (target, digest)
    return files


DAMAGE = {
    "torn checkpoint": lambda d: (d / "checkpoint.pth").write_bytes(b"PK\x03\x04"),
    "no checkpoint, one put aside": lambda d: None,
    "torn epoch file": lambda d: (d / "3epoch.pth").write_bytes(b""),
    "missing epoch file": lambda d: (d / "3epoch.pth").unlink(),
    "missing link": lambda d: (d / "latest.pth").unlink(),
    "missing best link": lambda d: (d / "valid.acc.best.pth").unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_repair_rebuilds_the_last_complete_epoch(name, espnet, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    write_epochs(whole, 3)
    repair.repair(whole, CRITERIA, 10)
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken, symlinks=True)
    if "checkpoint" in name:
        repair.put_aside(broken)
    DAMAGE[name](broken)
    reporter = repair.repair(broken, CRITERIA, 10)
    assert reporter.get_epoch() == 3
    assert snapshot(broken) == snapshot(whole)


def test_repair_of_a_torn_first_checkpoint_starts_from_the_beginning(espnet, tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"torn")
    assert repair.repair(tmp_path, CRITERIA, 1) is None
    assert not (tmp_path / "checkpoint.pth").exists()


@pytest.mark.parametrize("name", ["checkpoint.pth", "checkpoint.good.pth"])
def test_a_whole_checkpoint_that_is_not_understood_stays(name, espnet, tmp_path):
    """Such as one of another NumPy: epochs of work are in it."""
    torch.save({"model": {}, "reporter": fractions.Fraction(1, 2)}, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    with pytest.raises(TopdownError, match="GLOBAL fractions.Fraction was not an allowed"):
        repair.repair(tmp_path, CRITERIA, 1)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == whole


def test_a_torn_checkpoint_is_kept_where_the_one_put_aside_is_torn_too(espnet, tmp_path):
    for name in ("checkpoint.pth", "checkpoint.good.pth"):
        (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(TopdownError, match="checkpoint.good.pth is torn"):
        repair.repair(tmp_path, CRITERIA, 1)
    assert (tmp_path / "checkpoint.pth").exists()


def test_what_is_put_aside_is_the_file_itself_and_nothing_is_copied(tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"whole")
    file = (tmp_path / "checkpoint.pth").stat().st_ino
    repair.put_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.good.pth"]
    assert (tmp_path / "checkpoint.good.pth").stat().st_ino == file


def test_before_the_first_checkpoint_nothing_is_put_aside(tmp_path):
    repair.put_aside(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_repair_of_an_empty_directory_does_nothing(tmp_path):
    assert repair.repair(tmp_path, CRITERIA, 1) is None


def test_a_whole_epoch_file_keeps_its_bytes(espnet, tmp_path):
    """Ours would have others than ESPnet's, so that a resumed run's files would differ."""
    write_epochs(tmp_path, 3)
    before = (tmp_path / "3epoch.pth").read_bytes()
    repair.repair(tmp_path, CRITERIA, 10)
    assert (tmp_path / "3epoch.pth").read_bytes() == before


def test_a_damaged_checkpoint_that_none_was_put_aside_of_is_not_trained_over(espnet, tmp_path):
    """Of a finished training, or of one that plain ESPnet began."""
    write_epochs(tmp_path, 3)
    (tmp_path / "checkpoint.pth").write_bytes(b"torn")
    with pytest.raises(TopdownError, match="nothing is left to resume from: bring one back"):
        repair.repair(tmp_path, CRITERIA, 10)
    assert (tmp_path / "checkpoint.pth").read_bytes() == b"torn"


def test_the_scaler_of_epochs_without_a_gpu_is_begun_anew(espnet, tmp_path):
    """Under AMP: where there is a GPU, torch refuses the state of a scaler that was off."""
    write_epochs(tmp_path, 3)
    whole = checkpoint.load(tmp_path / "checkpoint.pth")
    off = torch.amp.GradScaler("cpu", enabled=False).state_dict()
    checkpoint.save({**whole, "scaler": off}, tmp_path / "checkpoint.pth")
    repair.repair(tmp_path, CRITERIA, 10)
    resumed = checkpoint.load(tmp_path / "checkpoint.pth")
    # For which ESPnet keeps the new one (train/trainer.py, resume).
    assert resumed["scaler"] is None
    assert resumed.keys() == {*whole, "scaler"}
    on = {"scale": 2.0}
    checkpoint.save({**whole, "scaler": on}, tmp_path / "checkpoint.pth")
    repair.repair(tmp_path, CRITERIA, 10)
    assert checkpoint.load(tmp_path / "checkpoint.pth")["scaler"] == on


def test_a_training_with_nothing_to_resume_from_says_how_to_start_over(espnet, tmp_path):
    write_epochs(tmp_path, 3)
    repair.put_aside(tmp_path)
    for name in ("checkpoint.pth", repair.SAFE):
        (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(TopdownError, match="nothing is left to resume from.*--redo PHASE"):
        repair.repair(tmp_path, CRITERIA, 10)


def test_repair_keeps_as_many_best_epochs_as_are_averaged(espnet, tmp_path):
    """Accuracy rises from epoch to epoch and loss falls, so that both have the same best."""
    write_epochs(tmp_path, 5)
    repair.repair(tmp_path, [["valid", "acc", "min"]], 2)
    # The two best, and the last, which the next epoch goes on from.
    there = sorted(path.name for path in tmp_path.glob("[0-9]*epoch.pth"))
    assert there == ["1epoch.pth", "2epoch.pth", "5epoch.pth"]
