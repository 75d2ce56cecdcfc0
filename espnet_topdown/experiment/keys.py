"""What a training depends on: the lists that it reads, and the key that decides its result.

Two trainings with one key give the same model. Neither torch nor ESPnet is needed.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.check import as_names, list_in, mapping_in
from espnet_topdown.experiment.phase_data import TOKEN_LISTS, lists_of, paths_of
from espnet_topdown.plan.rules import DATA_PARTS

# Of one run, not of the experiment: never passed on.
RUN_KEYS = (
    *("required", "version", "distributed", "config", "print_config", "dry_run", "collect_stats"),
    *("write_collected_feats", "output_dir", "seed", "resume", "ngpu", "dist_*", "local_rank"),
    *("multiprocessing_distributed", "wandb_id", "wandb_name", "topdown_conf"),
)
# Do not change what is trained, unless `_acting` says so: left out of a phase's key.
_FREE_KEYS = (
    *("num_workers", "log_level", "log_interval", "num_att_plot", "create_graph_in_tensorboard"),
    *("use_matplotlib", "use_tensorboard", "use_wandb", "wandb_*"),
    *("max_cache_size", "max_cache_fd", "topdown_conf"),
)
# By which ESPnet's preprocessing may draw random numbers.
_PREPROCESSING = (
    *("noise_scp", "rir_scp", "preprocessor_conf"),
    *("tokenizer_encode_conf", "src_tokenizer_encode_conf"),
)


@cache
def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether an option is one of `patterns`, names in which ``*`` stands for anything."""
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def list_files(config: Mapping[str, Any]) -> list[str]:
    """The lists that a training reads, each once; not the audio that they name.

    Scp, text, shape, statistics, token and pre-trained model files.
    """
    paths: list[Any] = []
    for part in DATA_PARTS:
        paths += lists_of(config, part)
    paths.append(mapping_in(config, "normalize_conf").get("stats_file"))
    paths += bpe_models(config)
    # One scp, or several.
    for key in ("noise_scp", "rir_scp"):
        paths += as_names(list_in(config, key))
    paths.append(config.get("non_linguistic_symbols"))
    # In an experiment's own config the tokens stand themselves.
    tokens = map(config.get, TOKEN_LISTS)
    paths += [path for path in tokens if isinstance(path, str)]
    # ESPnet's FILE:SOURCE:TARGET:EXCLUDED
    paths += [str(param).partition(":")[0] for param in list_in(config, "init_param")]
    for part in DATA_PARTS:
        paths += _category_files(config, part)
    return list(dict.fromkeys(map(str, filter(None, paths))))


def bpe_models(config: Mapping[str, Any]) -> list[str]:
    """The models of sentencepiece that a training reads, of its text and of a source text.

    Of other tokenizers, Whisper's and Hugging Face's, ``bpemodel`` is a name
    (espnet2/text/build_tokenizer.py).
    """
    models = []
    for side in ("", "src_"):
        model = config.get(f"{side}bpemodel")
        if model and config.get(f"{side}token_type", "bpe") == "bpe":
            models.append(str(model))
    return models


def _category_files(config: Mapping[str, Any], part: str) -> list[str]:
    """What ESPnet's samplers read beside the first list, by no option that names it.

    Source: espnet2/tasks/abs_task.py and samplers/build_batch_sampler.py (202511).
    """
    lists = paths_of(config, part)
    if not lists:
        return []
    beside = Path(lists[0]).parent
    iterator = config.get("iterator_type")
    if part == "valid":
        iterator = config.get("valid_iterator_type") or iterator
    needed = []
    if iterator in ("category", "category_chunk"):
        needed = ["category2utt"]
    optional = ("utt2category", "utt2dataset", "dataset2utt")
    there = [name for name in optional if (beside / name).exists()]
    return [str(beside / name) for name in (*needed, *there)]


def phase_key(
    config: Mapping[str, Any],
    parent: Path | None,
    epochs: Sequence[Path] = (),
    *,
    lists: bool = True,
) -> dict[str, Any]:
    """What decides a phase's result: its options and seed, its parent's weights, its lists.

    Args:
        config: the phase's training config.
        parent: the parent's model file, None without a parent.
        epochs: the files that the parent's weights are the mean of, where they are recomputed.
        lists: False leaves out lists that are not there, seen from the current directory.

    Raises:
        TopdownError: a list or the parent's file cannot be read.
    """
    settings = _without(config, _FREE_KEYS) | _acting(config)
    # The parent counts by its weights, not by its place.
    conf = dict(mapping_in(config, "topdown_conf"))
    conf.pop("parent", None)
    settings["topdown_conf"] = conf
    read = list_files(config)
    if not lists:
        read = list(filter(os.path.exists, read))
    return {
        "settings": settings,
        "parent": files.sha256(parent) if parent else None,
        "parent_epochs": {path.name: files.sha256(path) for path in epochs},
        "files": {path: files.sha256(Path(path)) for path in read},
    }


def training_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training's result, of all that its parser knows: options and lists.

    Args:
        options: as ESPnet's parser gave them, run-specific and free ones included.

    Raises:
        TopdownError: a list cannot be read.
    """
    settings = deciding(options)
    # ESPnet puts the tokens themselves in the place of their file (tasks/asr.py, build_model).
    tokens = settings.pop("token_list", None)
    if isinstance(tokens, list | tuple):
        text = "\n".join(map(str, tokens))
        settings["tokens_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    # Tuples become lists, paths text: as it reads back from its file.
    plain = json.loads(json.dumps(settings, default=str))
    hashes = {path: files.sha256(Path(path)) for path in list_files(options)}
    return {"options": plain, "files": hashes}


def deciding(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide a result, whichever the seed: neither of one run nor free."""
    return _without(options, (*RUN_KEYS, *_FREE_KEYS)) | _acting(options)


def _acting(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the free options that change what is trained as they are set here."""
    acting = []
    # The model is run once more, in eval mode, in which ESPnet's CTC and RNN encoders, and models
    # that hide words, draw random numbers too (espnet2/train/trainer.py, train_one_epoch).
    if options.get("use_tensorboard", True):
        acting.append("create_graph_in_tensorboard")
    # What is kept in memory has been preprocessed: noise is drawn for the first epoch, and is that
    # of all others (espnet2/train/dataset.py, ESPnetDataset).
    if any(map(options.get, _PREPROCESSING)):
        acting.append("max_cache_size")
    return {key: options[key] for key in acting if options.get(key)}


def _without(options: Mapping[str, Any], patterns: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if not matches(key, patterns)}
