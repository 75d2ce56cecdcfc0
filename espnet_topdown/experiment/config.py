"""An ESPnet2 experiment by its ``config.yaml``: the base of a cascade, and the config of a phase.

Neither torch nor ESPnet is needed; which options this ESPnet's parser knows is given.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from espnet_topdown import check, files, recognise
from espnet_topdown.check import Must, list_in, mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.packed import unpacked_config
from espnet_topdown.experiment.phase_data import (
    DATA,
    SHAPES,
    data_options,
    new_shapes,
    rows_of,
    without_shapes,
)
from espnet_topdown.experiment.quality import measures_quality
from espnet_topdown.experiment.task import task_of_config
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.recognise import but
from espnet_topdown.yaml_text import load_yaml

# Of one run, not of the experiment: never passed on.
_RUN_KEYS = (
    *("required", "version", "distributed", "config", "print_config", "dry_run", "collect_stats"),
    *("write_collected_feats", "output_dir", "seed", "resume", "ngpu", "dist_*", "local_rank"),
    *("multiprocessing_distributed", "wandb_id", "wandb_name", "topdown_conf"),
)
# Do not change what is trained: left out of a phase's key.
_FREE_KEYS = (
    *("num_workers", "log_level", "log_interval", "num_att_plot", "create_graph_in_tensorboard"),
    *("use_matplotlib", "use_tensorboard", "use_wandb", "wandb_*"),
    *("max_cache_size", "max_cache_fd", "topdown_conf"),
)
# Options that came after ESPnet 202301, where their default is not off: what is at its default asks
# for nothing of an older one (espnet2/tasks/abs_task.py of 202511 and 202611).
_NEWER_DEFAULTS = {
    "gradient_as_bucket_view": True,
    "adapter": "lora",
    "save_strategy": "all",
    "category_sample_size": 10,
    "upsampling_factor": 0.5,
    "category_upsampling_factor": 0.5,
    "dataset_upsampling_factor": 0.5,
    "dataset_scaling_factor": 1.2,
    "min_batch_size": 1,
    "chunk_discard_short_samples": True,
    "wandb_allow_val_change": True,
}
# What a file may be that a training can follow; other programs may know it by other keys.
_TRAINED = (recognise.TRAINING, recognise.EXPERIMENT_CONFIG, "")
_OF_ONE_EPOCH = re.compile(r"(\.?checkpoint.*|\d+epoch)\.pth")


def _is_triples(value: object) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(row, list | tuple) and len(row) == 3 for row in value)


def _is_counts(value: object) -> bool:
    counts: list[Any] = value if isinstance(value, list) and value else [value]
    return all(check.is_whole(count) and count > 0 for count in counts)


# Values of an experiment's config that this package reads.
_RULES = {
    "seed": check.WHOLE,
    "max_epoch": check.WHOLE,
    # ESPnet trains with its own trainer alone then (espnet2/tasks/abs_task.py, main_worker).
    "use_deepspeed": Must("false: no phase is trained by DeepSpeed", lambda value: not value),
    "keep_nbest_models": Must(
        "whole numbers > 0 (with 0 no epoch is kept that a phase could start from)", _is_counts
    ),
    DATA.format(part="train"): Must("a list of (path, name, type)", _is_triples),
    DATA.format(part="valid"): Must("a list of (path, name, type)", _is_triples),
    "best_model_criterion": Must("a list of (part, metric, mode)", _is_triples),
}


@dataclass(frozen=True)
class Experiment:
    """The base of a cascade: an ESPnet2 experiment that is trained already.

    Args:
        directory: its directory, such as ``exp/asr_train_...``.
        config: its ``config.yaml``.
        task: one of `TASKS`.
    """

    directory: Path
    config: Mapping[str, Any]
    task: str

    @classmethod
    def read(cls, directory: Path) -> "Experiment":
        """The experiment in `directory`.

        Raises:
            TopdownError: not a directory with a ``config.yaml`` of a task that this package trains.
        """
        if not directory.is_dir():
            raise TopdownError(
                f"{directory} is not a directory{but(directory)}; give the base, an experiment such"
                " as exp/asr_train_..."
            )
        path = directory / "config.yaml"
        packed = unpacked_config(directory)
        if packed:
            raise TopdownError(
                f"{directory} is a model that ESPnet packed; give the experiment in it,"
                f" {packed.parent}"
            )
        config = read_config(path)
        task = task_of_config(config, path)
        faults = check.faults(config, _RULES)
        if faults:
            raise TopdownError("\n".join(f"{path}: {fault}" for fault in faults))
        data = DATA.format(part="train")
        if not config.get(data):
            raise TopdownError(f"{path} names no training data ({data})")
        return cls(directory, config, task)

    @property
    def seed(self) -> int:
        """ESPnet's ``--seed`` of this experiment."""
        return int(self.config.get("seed") or 0)

    def valid_sets(self) -> set[str]:
        """Names of the data sets that select epochs, as ``dump/raw/dev/wav.scp`` is of dev."""
        return {Path(path).parent.name for path, *_ in rows_of(self.config, "valid")}

    def dev_criterion(self, plan: Plan) -> tuple[str, str, str]:
        """(``valid``, metric, mode) that judges every phase of the cascade.

        The plan's, else the validation accuracy (of a language model: loss) among
        ``best_model_criterion``, else its first validation entry; never just the first, which is
        ESPnet's training loss by default.

        Raises:
            TopdownError: no validation entry.
        """
        if plan.dev_criterion:
            return plan.dev_criterion
        rows = self.config.get("best_model_criterion") or []
        on_dev: dict[str, tuple[str, str, str]] = {}
        for row in rows:
            part, metric, mode = map(str, row)
            if part == "valid" and measures_quality(metric):
                on_dev.setdefault(metric, (part, metric, mode))
        if not on_dev:
            raise TopdownError(
                f"{self.directory} selected its models by nothing that measures quality on the"
                f" validation data (best_model_criterion: {rows}); give the plan 'dev_criterion:"
                " [valid, acc, max]'"
            )
        preferred = ("loss", "acc") if self.task == "lm" else ("acc",)
        by_preference = [*preferred, *on_dev]
        return next(on_dev[metric] for metric in by_preference if metric in on_dev)

    def parent_model(self, plan: Plan) -> str:
        """The model file of each phase that parents are taken from and that decoding uses."""
        part, metric, _ = self.dev_criterion(plan)
        return plan.parent_model or f"{part}.{metric}.ave.pth"

    def model_file(self, plan: Plan) -> str:
        """The model file of this experiment itself that a phase keeps layers of.

        As of each phase, or where the experiment was packed the one file that it was packed with.
        """
        asked = self.parent_model(plan)
        if plan.parent_model or (self.directory / asked).exists():
            return asked
        averages = self.averages()
        if self.is_packed and len(averages) == 1:
            return averages[0]
        return asked

    @property
    def is_packed(self) -> bool:
        """Whether only what decoding needs is here, as model collections ship it."""
        has_epochs = any(self.directory.glob("[0-9]*epoch.pth"))
        return not has_epochs and not (self.directory / "checkpoint.pth").exists()

    def averages(self) -> list[str]:
        """Names of the model files that are there, but for the checkpoint and single epochs."""
        names = sorted(path.name for path in self.directory.glob("*.pth") if path.exists())
        return [name for name in names if not _OF_ONE_EPOCH.fullmatch(name)]

    def phase_config(
        self,
        phase: Phase,
        conf: TopdownConf,
        parser_keys: Collection[str],
        *,
        layers: Mapping[str, Sequence[str]],
    ) -> dict[str, Any]:
        """The training config of `phase`: this experiment's with the phase's seed and overrides.

        Args:
            phase: from an expanded plan.
            conf: the phase's `topdown_conf`, parent resolved to a directory.
            parser_keys: options that this ESPnet's parser knows.
            layers: the plan's own layer order, if any.

        Raises:
            TopdownError: an option that is set here is unknown to this ESPnet.
        """
        config = self.passed_on(parser_keys)
        config |= data_options(self.config, phase.data, phase.tokens)
        config |= phase.train
        if phase.init_param == "drop":
            config["init_param"] = []
        config["seed"] = phase.seed
        config["topdown_conf"] = conf.to_conf()
        if layers:
            lists = {name: list(prefixes) for name, prefixes in layers.items()}
            config["topdown_conf"]["layers"] = lists
        return config

    def passed_on(self, parser_keys: Collection[str]) -> dict[str, Any]:
        """This experiment's own options that a phase takes over.

        Raises:
            TopdownError: one that is set is unknown to this ESPnet.
        """
        config = {}
        lost = []
        for key, value in self.config.items():
            if _matches(key, _RUN_KEYS):
                continue
            if key in parser_keys:
                config[key] = value
            elif value and not _is_newer_default(key, value):
                lost.append(f"{key}={value!r}")
            # An unknown option that was off, or as ever, asks for nothing.
        if lost:
            raise TopdownError(
                f"{self.directory}/config.yaml sets options that this ESPnet does not know:"
                f" {', '.join(lost)}"
            )
        return config

    def dropped_options(self, parser_keys: Collection[str]) -> list[str]:
        """Options of a newer ESPnet, at their defaults, that this one does not know."""
        dropped = []
        for key, value in self.config.items():
            if key not in parser_keys and _is_newer_default(key, value):
                dropped.append(key)
        return dropped

    @property
    def has_valid_data(self) -> bool:
        """Whether its own validation lists and their shape files are there, seen from here."""
        keys = [key.format(part="valid") for key in (DATA, SHAPES)]
        named = list_files({key: self.config.get(key) for key in keys})
        return bool(named) and all(Path(path).exists() for path in named)

    def missing_data(self, phase: Phase | None = None) -> list[str]:
        """Lists that a phase, or this experiment, reads and that are not there, seen from here.

        Shape files that the run makes are not among them, nor pre-trained files, which a phase may
        leave out (``init_param: drop``).
        """
        config = {**self.config, "init_param": []}
        if phase is not None:
            config |= data_options(self.config, phase.data, phase.tokens)
            for new in new_shapes(self.config, phase.data, phase.tokens):
                config = without_shapes(config, new)
        return [path for path in list_files(config) if not Path(path).exists()]


def read_config(path: Path) -> dict[str, Any]:
    """The YAML mapping in `path`.

    Raises:
        TopdownError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        what = f"{path.parent} is no trained experiment{but(path.parent)}"
        if path.name != "config.yaml":
            what = f"{path} is neither an experiment's directory nor a training config"
        raise TopdownError(f"{what}: cannot read {path} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise TopdownError(f"{path} is not YAML{but(path)}: {error}") from None
    config = load_yaml(text, str(path))
    kind = recognise.kind_of_data(config)
    if not isinstance(config, dict) or kind not in _TRAINED:
        raise TopdownError(
            f"{path} is not a training config{kind and f' but {kind}'}; give an experiment such as"
            " exp/asr_train_x, or a config such as conf/train_asr_x.yaml"
        )
    return config


def list_files(config: Mapping[str, Any]) -> list[str]:
    """The lists that a training reads, each once; not the audio that they name.

    Scp, text, shape, statistics, token and pre-trained model files.
    """
    paths: list[Any] = []
    for part in DATA_PARTS:
        paths += [path for path, *_ in rows_of(config, part)]
        paths += list_in(config, SHAPES.format(part=part))
    paths.append(mapping_in(config, "normalize_conf").get("stats_file"))
    paths += map(config.get, ("bpemodel", "noise_scp", "rir_scp", "non_linguistic_symbols"))
    # In an experiment's own config the tokens stand themselves.
    if isinstance(config.get("token_list"), str):
        paths.append(config["token_list"])
    # ESPnet's FILE:SOURCE:TARGET:EXCLUDED
    paths += [str(param).partition(":")[0] for param in list_in(config, "init_param")]
    return list(dict.fromkeys(map(str, filter(None, paths))))


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
    settings = {key: value for key, value in config.items() if not _matches(key, _FREE_KEYS)}
    # The parent counts by its weights, not by its place.
    conf = dict(mapping_in(config, "topdown_conf"))
    conf.pop("parent", None)
    settings["topdown_conf"] = conf
    read = list_files(config)
    if not lists:
        read = [path for path in read if Path(path).exists()]
    return {
        "settings": settings,
        "parent": files.sha256(parent) if parent else None,
        "parent_epochs": {path.name: files.sha256(path) for path in epochs},
        "files": _hashes(read),
    }


def _is_newer_default(key: str, value: object) -> bool:
    return key in _NEWER_DEFAULTS and value == _NEWER_DEFAULTS[key]


def _hashes(paths: Sequence[str]) -> dict[str, str]:
    return {path: files.sha256(Path(path)) for path in paths}


def training_key(options: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a training's result, of all that its parser knows: options and lists.

    Args:
        options: as ESPnet's parser gave them, run-specific and free ones included.

    Raises:
        TopdownError: a list cannot be read.
    """
    settings = {}
    for key, value in options.items():
        if not _matches(key, (*_RUN_KEYS, *_FREE_KEYS)):
            settings[key] = value
    # ESPnet puts the tokens themselves in the place of their file (tasks/asr.py, build_model).
    tokens = settings.pop("token_list", None)
    if isinstance(tokens, list | tuple):
        text = "\n".join(map(str, tokens))
        settings["tokens_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    # Tuples become lists, paths text: as it reads back from its file.
    plain = json.loads(json.dumps(settings, default=str))
    return {"options": plain, "files": _hashes(list_files(options))}


@cache
def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
