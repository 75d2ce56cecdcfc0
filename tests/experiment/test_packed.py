"""The training config of a model that ESPnet packed: in a zip, in a tar, or unpacked."""

import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.packed import config_of

META = {
    "files": {
        "asr_model_file": "exp/asr/valid.acc.ave.pth",
        "lm_file": "exp/lm/valid.loss.ave.pth",
    },
    "yaml_files": {
        "lm_train_config": "exp/lm/config.yaml",
        "asr_train_config": "exp/asr/config.yaml",
    },
}


def unpacked(place: Path, meta: object = META) -> Path:
    """What ESPnet packs, as files below `place`."""
    texts = {"exp/asr/config.yaml": "encoder: rnn\n", "exp/lm/config.yaml": "lm: seq_rnn\n"}
    texts["meta.yaml"] = yaml.safe_dump(meta, sort_keys=False)
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


def packed(place: Path, kind: str, meta: object = META) -> Path:
    """The same as an archive below `place`."""
    source = unpacked(place / "source", meta)
    names = [path.relative_to(source) for path in sorted(source.rglob("*.yaml"))]
    archive = place / f"model.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for name in names:
                opened.write(source / name, name)
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for name in names:
                opened.add(source / name, name)
    return archive


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_an_archive_has_the_recognisers_config_not_its_language_models(kind, tmp_path):
    (tmp_path / "scratch").mkdir()
    config = config_of(packed(tmp_path, kind), tmp_path / "scratch")
    assert config.read_text() == "encoder: rnn\n"
    # What is said about it names the archive.
    assert f"model.{kind}" in str(config)


def test_a_language_model_is_packed_alone(tmp_path):
    meta = {"yaml_files": {"lm_train_config": "exp/lm/config.yaml"}}
    (tmp_path / "scratch").mkdir()
    config = config_of(packed(tmp_path, "zip", meta), tmp_path / "scratch")
    assert config.read_text() == "lm: seq_rnn\n"


def test_an_unpacked_model_has_its_config_below(tmp_path):
    model = unpacked(tmp_path)
    assert config_of(model, tmp_path) == model / "exp/asr/config.yaml"
    with pytest.raises(TopdownError, match="give the experiment in it, .*/exp/asr$"):
        Experiment.read(model)


def test_an_experiment_and_a_config_are_taken_as_they_are(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("encoder: rnn\n")
    assert config_of(tmp_path, tmp_path) == config
    assert config_of(config, tmp_path) == config


BAD = {
    "names no config": ({"files": {}}, "names no training config"),
    "names what is not in it": (
        {"yaml_files": {"asr_train_config": "exp/gone.yaml"}},
        "is no model that ESPnet packed.*exp/gone.yaml",
    ),
    "is no mapping": ([], "names no training config"),
}


@pytest.mark.parametrize("kind", ["zip", "tgz"])
@pytest.mark.parametrize("case", BAD)
def test_an_archive_without_a_training_config_is_told(case, kind, tmp_path):
    meta, message = BAD[case]
    (tmp_path / "scratch").mkdir()
    with pytest.raises(TopdownError, match=message):
        config_of(packed(tmp_path, kind, meta), tmp_path / "scratch")


def test_another_archive_is_no_model(tmp_path):
    archive = tmp_path / "digits.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("readme", "digits")
    with pytest.raises(TopdownError, match="is no model that ESPnet packed.*meta.yaml"):
        config_of(archive, tmp_path)


def test_an_unpacked_model_of_which_the_list_is_no_text_is_refused(tmp_path: Path) -> None:
    (unpacked(tmp_path) / "meta.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(TopdownError, match=r"meta\.yaml is not YAML"):
        config_of(tmp_path, tmp_path)
