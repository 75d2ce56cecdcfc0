"""The training config of a model, trained here or packed by ESPnet's ``espnet2.bin.pack``.

A pack is a zip or tar of ``meta.yaml``, which names what else is in it, of configs and of model
files; of a hub it comes unpacked. Nothing but the two texts is read, and no member is written.
"""

import tarfile
import zipfile
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.recognise import but
from espnet_topdown.yaml_text import load_yaml

_META = "meta.yaml"


def config_of(model: Path, scratch: Path) -> Path:
    """The file with the training config of `model`.

    Args:
        model: an experiment's directory, a pack, the directory of an unpacked one, or a config.
        scratch: an empty directory, for the text of a config that is in an archive.

    Raises:
        TopdownError: a pack that does not say which of its files is the config.
    """
    if model.is_dir():
        return unpacked_config(model) or model / "config.yaml"
    if not model.is_file() or not _is_archive(model):
        return model
    try:
        text = _read(model, _config_name(_read(model, _META), model))
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        what = f"{model} is no model that ESPnet packed{but(model)}"
        raise TopdownError(f"{what}: {error}") from None
    # Messages about the config show the archive's name.
    config = scratch / model.name / "config.yaml"
    config.parent.mkdir()
    config.write_text(text, encoding="utf-8")
    return config


def unpacked_config(directory: Path) -> Path | None:
    """The config that the ``meta.yaml`` of an unpacked model names; None for an experiment."""
    meta = directory / _META
    if (directory / "config.yaml").exists() or not meta.exists():
        return None
    try:
        text = meta.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TopdownError(f"{meta} is not YAML: {error}") from None
    return directory / _config_name(text, directory)


def _is_archive(model: Path) -> bool:
    return zipfile.is_zipfile(model) or tarfile.is_tarfile(model)


def _read(model: Path, name: str) -> str:
    """The text of a member of an archive.

    Raises:
        KeyError: there is no such member; and what the archive's module raises.
    """
    if zipfile.is_zipfile(model):
        with zipfile.ZipFile(model) as pack:
            return pack.read(name).decode()
    with tarfile.open(model) as archive:
        member = archive.extractfile(name)
        if member is None:
            raise KeyError(f"{name} is no file")
        return member.read().decode()


def _config_name(text: str, source: Path) -> str:
    """The training config among the files that a ``meta.yaml`` names."""
    match load_yaml(text, f"{_META} of {source}"):
        case {"yaml_files": dict() as configs} if configs:
            # A recogniser is packed with its language model, whose config is another.
            key = min(configs, key=lambda name: name == "lm_train_config")
            return str(configs[key])
        case _:
            raise TopdownError(f"{source}: its {_META} names no training config (yaml_files)")
