"""A base of which a file was damaged is refused before its first phase, not by it."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from cascades import PLAN, fails

from espnet_topdown.cascade.checks.base_files import faults
from espnet_topdown.experiment.config import Experiment

Damage = Callable[[Path], object]


def experiment(place: Path) -> Experiment:
    """An experiment on tiny data below `place`, as its config names them."""
    data = tiny.write_data(place / "data", utterances=3)
    config: dict[str, object] = {}
    for part in ("train", "valid"):
        where = data / part
        kinds = [["feats.scp", "speech", "npy"], ["text", "text", "text"]]
        rows = [[f"{where}/{file}", name, kind] for file, name, kind in kinds]
        config[f"{part}_data_path_and_name_and_type"] = rows
        config[f"{part}_shape_file"] = [f"{where}/speech_shape", f"{where}/text_shape"]
    return Experiment(place, config, "asr")


def cut(path: Path) -> None:
    """As a full disk leaves a file: its first half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def cut_after_a_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


DAMAGES: dict[str, tuple[str, Damage, str]] = {
    "a shape file cut in a line": (
        "data/train/speech_shape",
        lambda path: path.write_text("train00 60,20\ntrain01 60,\n"),
        "data/train/speech_shape has no sizes of train01; bring back what the base was trained on",
    ),
    "a text cut after a line": (
        "data/train/text",
        cut_after_a_line,
        (
            "data/train/text lacks 1 of the utterances in {place}/data/train/speech_shape and"
            " {place}/data/train/text_shape (train02); bring back"
        ),
    ),
    "a list cut after a line": (
        "data/valid/feats.scp",
        cut_after_a_line,
        "data/valid/feats.scp lacks 1 of the utterances in",
    ),
    "an empty list": (
        "data/valid/feats.scp",
        lambda path: path.write_text(""),
        "data/valid/feats.scp has no lines",
    ),
    "a list with other bytes": (
        "data/valid/text",
        lambda path: path.write_bytes(b"valid00 caf\xe9\n"),
        "data/valid/text, line 1: not UTF-8",
    ),
    "an average cut": ("valid.acc.ave.pth", cut, "valid.acc.ave.pth is damaged (torn: "),
    "an average of nothing": (
        "valid.acc.ave.pth",
        lambda path: path.write_bytes(b""),
        "valid.acc.ave.pth is damaged (torn: ",
    ),
    "a weight flipped": (
        "valid.acc.ave.pth",
        lambda path: path.write_bytes(path.read_bytes().replace(WEIGHT, OTHER)),
        "valid.acc.ave.pth is damaged (a checksum is wrong: ",
    ),
}
WEIGHT, OTHER = struct.pack("<f", 0.7), struct.pack("<f", 0.8)


@pytest.mark.parametrize("name", DAMAGES)
def test_what_was_damaged_is_named(name: str, tmp_path: Path) -> None:
    file, damage, fault = DAMAGES[name]
    base = experiment(tmp_path)
    model = tmp_path / "valid.acc.ave.pth"
    torch.save({"w": torch.tensor([0.7])}, model)
    assert faults(base, [model]) == []
    damage(tmp_path / file)
    (found,) = faults(base, [model])
    assert found.startswith(f"{tmp_path}/" + fault.format(place=tmp_path))


def test_what_need_not_be_whole_is_let_through(tmp_path: Path) -> None:
    base = experiment(tmp_path)
    old = tmp_path / "valid.acc.ave.pth"
    torch.save({"w": torch.ones(1)}, old, _use_new_zipfile_serialization=False)
    cut_after_a_line(tmp_path / "data/train/text")
    variable = Experiment(tmp_path, {**base.config, "allow_variable_data_keys": True}, "asr")
    assert faults(variable, [old]) == []
    (tmp_path / "data/train/text").unlink()
    # Split into parts.
    (tmp_path / "data/train/text").mkdir()
    assert faults(base, [old]) == []


def test_plan_refuses_a_base_with_a_torn_epoch_that_its_average_is_made_of(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(base, tmp_path / "asr", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["keep_nbest_models"] = 2
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    (copy / "valid.acc.ave.pth").unlink()
    shutil.copy(copy / "latest.pth", copy / "valid.acc.ave_2best.pth")
    (copy / "valid.acc.ave.pth").symlink_to("valid.acc.ave_2best.pth")
    for epoch in (1, 2):
        shutil.copy(copy / "valid.acc.ave_2best.pth", copy / f"{epoch}epoch.pth")
    cut(copy / "1epoch.pth")
    (tmp_path / "plan.yaml").write_text(PLAN)
    error = fails(capsys, "plan", str(copy), "--plan", str(tmp_path / "plan.yaml"))
    assert f"{copy}/1epoch.pth is damaged (torn: " in error
    assert "valid.acc.ave_2best.pth" not in error
