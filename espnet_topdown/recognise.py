"""What a user gave in the place of something else, in words, for the message that refuses it.

ESPnet's configs for training and for decoding, our plans and records are all YAML or JSON, and an
experiment, a cascade and a phase are all directories under ``exp/``.
"""

import contextlib
import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError
from espnet_topdown.yaml_text import load_yaml

TRAINING = "a training config"
DECODING = "a decoding config"
EXPERIMENT_CONFIG = "the config of an experiment"
PLAN = "a plan of phases"
RECORD = "a record of a study"
# The keys by which each is known.
_KINDS = {
    RECORD: {"phases", "references"},
    PLAN: {"phases"},
    EXPERIMENT_CONFIG: {"output_dir"},
    "the analysis of a study": {"primary", "seeds"},
}
# Options of espnet2.bin.*_inference that no training has (espnet2/bin of 202301 to 202611; no
# config in egs2/*/*/conf of 202511 that is for training sets one).
_OF_DECODING = {"beam_size", "nbest", "lm_weight", "penalty", "maxlenratio", "minlenratio"}
# Each training config there sets one of these, or an option that ends with _conf.
_OF_TRAINING = {
    *("encoder", "decoder", "lm", "model", "frontend", "specaug", "init", "init_param"),
    *("optim", "scheduler", "max_epoch", "patience", "batch_type", "batch_bins", "accum_grad"),
    # Of the tasks that are not trained here.
    *("tts", "svs", "separator", "use_lora", "use_adapter"),
}
# The file that a directory of this kind has. Phases and the base have config.yaml alike.
_DIRECTORIES = {
    "cascade.json": "a cascade",
    "config.yaml": "an experiment",
    "wav.scp": "a data set",
    # A run.sh stands in experiments and decodings too.
    "path.sh": "a recipe",
}


def kind_of_data(data: Any) -> str:
    """What the content of a YAML or JSON file is; "" where that cannot be told."""
    if not isinstance(data, Mapping):
        return ""
    # A record has the keys of a plan too.
    for kind, keys in _KINDS.items():
        if keys <= data.keys():
            return kind
    if _OF_DECODING & data.keys():
        return DECODING
    has_conf = fnmatch.filter(map(str, data), "*_conf")
    return TRAINING if _OF_TRAINING & data.keys() or has_conf else ""


def kind_of(path: Path) -> str:
    """What `path` is, "" where that cannot be told."""
    if path.is_dir():
        return _kind_of_directory(path)
    if not path.is_file():
        return ""
    if path.suffix == ".pth":
        return "a model"
    if (path.parent / "cascade.json").exists():
        return f"a file of the cascade {path.parent}"
    if path.suffix in (".yaml", ".yml", ".json"):
        with contextlib.suppress(OSError, UnicodeDecodeError, TopdownError):
            return kind_of_data(load_yaml(path.read_text(encoding="utf-8"), str(path)))
    return ""


def _kind_of_directory(path: Path) -> str:
    if (path / "topdown").is_dir() and (path.parent / "cascade.json").exists():
        return f"a phase of the cascade {path.parent}"
    found = (kind for name, kind in _DIRECTORIES.items() if (path / name).exists())
    return next(found, "")


def named(given: Path | str) -> Path:
    """The path that is given; where it ends in no name, as ``.`` and ``..`` do, made absolute."""
    path = Path(given)
    return path.resolve() if path.name in ("", "..") else path


def but(path: Path) -> str:
    """What follows what `path` is not: `` but a plan of phases``, or where it was looked for.

    Where neither can be told, "".
    """
    kind = kind_of(path)
    if kind:
        return f" but {kind}"
    # Most often typed in another directory than the recipe's.
    return "" if path.is_absolute() or path.exists() else f" in {Path.cwd()}"
