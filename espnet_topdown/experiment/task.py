"""Which ESPnet task a training config is for; a config does not name its task.

Its keys tell, and where a config of a recipe gives too few, its file's name and recipe. The names
are those of ESPnet's tools: ``asr`` for ``espnet2.bin.asr_train``. The classes that train them
stand in `espnet_topdown.training.tasks`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError

TASKS = ("asr", "lm", "st", "mt", "slu", "s2t")
# Keys that only this task's configs have, in order of test; first those of the tasks that are not
# trained here, since they hold keys of the others too (espnet2/tasks of 202301 to 202611).
_OWN_KEYS = {
    "s2t_ctc": ("promptencoder",),
    "asr_transducer": ("joint_network_conf",),
    "enh_s2t": ("subtask_series", "enh_encoder", "asr_encoder"),
    "enh_tse": ("extractor", "train_spk2enroll"),
    "enh": ("separator", "mask_module"),
    "diar": ("attractor", "label_aggregator"),
    "uasr": ("generator", "segmenter"),
    "s2st": ("s2st_type",),
    "ps2st": ("model_name",),
    "gan_codec": ("codec",),
    "svs": ("svs",),
    "tts": ("tts",),
    "spk": ("spk_num", "spk2utt"),
    "lid": ("lang_num", "lang2utt"),
    "hubert": ("pred_masked_weight",),
    "ssl": ("window_shift",),
    "asvspoof": ("losses",),
    "slu": ("two_pass", "deliberationencoder", "transcript_token_list", "postdecoder"),
    "st": ("extra_asr_decoder", "extra_mt_decoder", "hier_encoder", "src_g2p"),
    "mt": ("src_token_list", "src_token_type"),
}
# Tasks that have a preprocessor of their own, of the same name.
_PREPROCESSORS = ("s2t", "s2t_ctc", "spk", "lid")
# Names of recipes and configs. Not asr_transducer: the task asr trains transducers too, and their
# configs are called alike.
_NAMES = tuple(task for task in _OWN_KEYS if task != "asr_transducer")
_NAMES = (*TASKS, *_NAMES, "cls", "codec", "speechlm", "gan_tts", "gan_svs", "tts2", "beats", "aqa")
# ESPnet's asr2.sh, recognition from discrete units, trains with its mt task.
_RECIPES = {"asr2": "mt", "enh_asr1": "enh_s2t", "enh_st1": "enh_s2t", "tse1": "enh_tse"}


def task_of_config(config: Mapping[str, Any], source: Path) -> str:
    """The task that a training config is for, one of `TASKS`.

    Args:
        config: ESPnet's options.
        source: the config's file, whose name and recipe tell where the keys do not.

    Raises:
        TopdownError: of none that this package trains.
    """
    task = _task_by_keys(config) or _task_by_path(config, source)
    # Above a self-supervised frontend there may be none: of an experiment, `encoder: null`.
    if task is None and "encoder" in config:
        task = "asr"
    if task in TASKS:
        return task
    known = ", ".join(TASKS)
    if task:
        raise TopdownError(
            f"{source} is a config of ESPnet's task {task}, which is not trained top-down (valid:"
            f" {known})"
        )
    raise TopdownError(
        f"{source} is of no task that is trained top-down ({known}); it names neither encoder nor"
        " lm"
    )


def is_written_by_espnet(config: Mapping[str, Any]) -> bool:
    """Whether it is the config.yaml of an experiment, which has every option of its task."""
    return "output_dir" in config


def _task_by_keys(config: Mapping[str, Any]) -> str | None:
    """The task whose keys the config has, None where they fit several."""
    preprocessor = config.get("preprocessor")
    if preprocessor in _PREPROCESSORS:
        return str(preprocessor)
    tasks = [task for task, keys in _OWN_KEYS.items() if config.keys() & set(keys)]
    # Several tasks have an encoder.
    if not config.get("encoder") and (config.get("lm") or config.get("lm_conf")):
        tasks.append("lm")
    return next(iter(tasks), None)


def _task_by_path(config: Mapping[str, Any], source: Path) -> str | None:
    """The task that a config's name (``train_st_x.yaml``) or recipe (``st1/conf``) tells."""
    if is_written_by_espnet(config):
        return None  # an experiment's config has every key of its task; where it is says nothing
    named, recipe = _task_by_name(source), _task_by_recipe(source)
    # slu.sh and asr2.sh train by configs that are named for recognition.
    if named == "asr" and recipe in ("slu", "mt"):
        return recipe
    return named or recipe


def _task_by_name(source: Path) -> str | None:
    start, *words = source.stem.split("_")
    if start != "train":
        return None
    # train_enh_tse_x before train_enh_x
    return _first_known("_".join(words[:count]) for count in (2, 1))


def _task_by_recipe(source: Path) -> str | None:
    # From the file upward: of egs2/TEMPLATE/asr1, asr1 tells.
    parts = reversed(source.resolve().parts)
    recipes = [part for part in parts if re.fullmatch(r".+\d", part)]
    return _first_known(_RECIPES.get(recipe, recipe[:-1]) for recipe in recipes)


def _first_known(names: Iterable[str]) -> str | None:
    return next((name for name in names if name in _NAMES), None)
