"""The training config of a model, trained here or packed by ESPnet's ``espnet2.bin.pack``.

A pack is a zip or tar of ``meta.yaml``, which names what else is in it, of configs and of model
files; of a hub it comes unpacked. Nothing but the two texts is read, and no member is written.
"""

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    read = _reader(model)
    if read is None:
        return model
    try:
        text = read(_config_name(read(_META), model))
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
    return directory / _config_name(meta.read_text(encoding="utf-8"), directory)


def _reader(model: Path) -> Callable[[str], str] | None:
    """What reads a member of an archive as text; None for a file that is none."""
    if not model.is_file():
        return None
    if zipfile.is_zipfile(model):

        def from_zip(name: str) -> str:
            with zipfile.ZipFile(model) as archive:
                return archive.read(name).decode()

        return from_zip
    if tarfile.is_tarfile(model):

        def from_tar(name: str) -> str:
            with tarfile.open(model) as archive:
                member = archive.extractfile(name)
                if member is None:
                    raise KeyError(f"{name} is no file")
                return member.read().decode()

        return from_tar
    return None


def _config_name(text: str, source: Path) -> str:
    """The training config among the files that a ``meta.yaml`` names."""
    meta: Any = load_yaml(text, f"{_META} of {source}")
    named = meta.get("yaml_files") if isinstance(meta, dict) else None
    configs = {str(key): str(name) for key, name in named.items()} if named else {}
    # A recogniser is packed with its language model.
    own = [name for key, name in configs.items() if key != "lm_train_config"]
    if not own and not configs:
        raise TopdownError(f"{source}: its {_META} names no training config (yaml_files)")
    return (own or list(configs.values()))[0]
