"""Phases on other data than their base's: lists, shape files, judgement on one validation set."""

import json
from pathlib import Path

import pytest
import tiny
import yaml
from cascades import fails, hashes, run, words

from espnet_topdown.cascade.cascade import Cascade


@pytest.fixture(scope="session")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other training and validation data, without shape files."""
    directory = tiny.write_data(tmp_path_factory.mktemp("noisy"), utterances=6, seed=1)
    for shapes in directory.glob("*/*_shape"):
        shapes.unlink()
    return directory


def plan_on(noisy: Path, phases: str = "[{cut: decoder}]", parts: str = "train valid") -> str:
    data = ", ".join(f"{part}: {noisy}/{part}" for part in parts.split())
    return f"{{data: {{{data}}}, phases: {phases}}}"


def test_a_phase_on_other_data(base, data, noisy, tmp_path):
    plan = plan_on(noisy, "[{cut: decoder}, {control: restart}, {control: continue}]")
    cascade = run(base, tmp_path, plan)
    assert sorted(hashes(cascade)) == ["continue_phase1", "phase1", "restart_phase1"]
    for name in hashes(cascade):
        config = yaml.safe_load((cascade / name / "config.yaml").read_text())
        for part in ("train", "valid"):
            (scp, _, _), (text, _, _) = config[f"{part}_data_path_and_name_and_type"]
            assert (scp, text) == (f"{noisy}/{part}/feats.scp", f"{noisy}/{part}/text")
            shapes = config[f"{part}_shape_file"]
            assert [Path(path).name for path in shapes] == ["speech_shape", "text_shape"]
            text = dict(line.split() for line in (noisy / part / "text").read_text().splitlines())
            told = dict(line.split() for line in Path(shapes[1]).read_text().splitlines())
            assert told == {key: f"{len(text[key])},10" for key in text}
