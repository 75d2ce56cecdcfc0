"""An ESPnet2 experiment by its ``config.yaml``: the base of a cascade, and the config of a phase.

Neither torch nor ESPnet is needed; which options this ESPnet's parser knows is given.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from espnet_topdown import check, recognise
from espnet_topdown.check import Must, list_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.keys import RUN_KEYS, list_files, matches
from espnet_topdown.experiment.packed import unpacked_config
from espnet_topdown.experiment.phase_data import (
    DATA,
    data_options,
    lists_of,
    new_shapes,
    paths_of,
    without_shapes,
)
from espnet_topdown.experiment.phase_dir import is_prunable
from espnet_topdown.experiment.quality import Criterion, measures_quality
from espnet_topdown.experiment.task import task_of_config
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.recognise import but
from espnet_topdown.yaml_text import load_yaml

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
# Of each experiment's config the last (espnet2/tasks/abs_task.py, main and main_worker).
_LAST_KEYS = {"version", "distributed"}
_CURE = "bring it back from a copy, or run the training's stage again, which writes it anew"
_OF_ONE_EPOCH = re.compile(r"(\.?checkpoint.*|\d+epoch)\.pth")


def _is_triple(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3


def _is_counts(value: object) -> bool:
    counts = value if isinstance(value, list) else [value]
    return bool(counts) and all(map(check.whole(1).holds, counts))


_is_triples = check.all_in_list(_is_triple)
# Values of an experiment's config that this package reads.
RULES = {
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
        check.refuse_in(path, check.faults(config, RULES))
        data = DATA.format(part="train")
        if not config.get(data):
            raise TopdownError(f"{path} names no training data ({data})")
        return cls(directory, config, task)

    @property
    def seed(self) -> int:
        """ESPnet's ``--seed`` of this experiment."""
        return int(self.config.get("seed") or 0)

    def as_seeded(self, seed: int | None) -> "Experiment":
        """The same with the seed that it was trained with, where that is known."""
        return self if seed is None else replace(self, config={**self.config, "seed": seed})

    def valid_sets(self) -> set[str]:
        """Names of the data sets that select epochs, as ``dump/raw/dev/wav.scp`` is of dev."""
        return {Path(path).parent.name for path in paths_of(self.config, "valid")}

    def dev_criterion(self, plan: Plan) -> Criterion:
        """(``valid``, metric, mode) that judges every phase of the cascade.

        The plan's, else the validation accuracy (of a language model: loss) among
        ``best_model_criterion``, else its first validation entry; never just the first, which is
        ESPnet's training loss by default.

        Raises:
            TopdownError: no validation entry.
        """
        if plan.dev_criterion:
            return Criterion(*plan.dev_criterion)
        rows = list(list_in(self.config, "best_model_criterion"))
        on_dev = [
            Criterion(str(part), str(metric), str(mode))
            for part, metric, mode in rows
            if part == "valid" and measures_quality(str(metric))
        ]
        if not on_dev:
            raise TopdownError(
                f"{self.directory} selected its models by nothing that measures quality on the"
                f" validation data (best_model_criterion: {rows}); give the plan 'dev_criterion:"
                " [valid, acc, max]'"
            )
        best = {"acc": 0}
        if self.task == "lm":
            best = {"loss": 0, "acc": 1}
        # Of those that are neither, the first.
        return min(on_dev, key=lambda criterion: best.get(criterion.metric, len(best)))

    def phase_model_name(self, plan: Plan) -> str:
        """The model file of each phase that parents are taken from and that decoding uses."""
        part, metric, _ = self.dev_criterion(plan)
        return plan.parent_model or f"{part}.{metric}.ave.pth"

    def model_name(self, plan: Plan) -> str:
        """The model file of this experiment itself that a phase keeps layers of.

        As of each phase, or where the experiment was packed the one file that it was packed with.
        """
        averages = self.averages()
        if self._is_packed() and len(averages) == 1 and not plan.parent_model:
            return averages[0]
        return self.phase_model_name(plan)

    def _is_packed(self) -> bool:
        """Whether only what decoding needs is here, as model collections ship it."""
        return not any(is_prunable(path.name) for path in self.directory.glob("*.pth"))

    def averages(self) -> list[str]:
        """Names of the model files that are there, but for the checkpoint and single epochs."""
        names = sorted(path.name for path in self.directory.glob("*.pth") if path.exists())
        return [name for name in names if not _OF_ONE_EPOCH.fullmatch(name)]

    def phase_config(
        self,
        phase: Phase,
        conf: TopdownConf,
        parser_keys: Collection[str],
    ) -> dict[str, Any]:
        """The training config of `phase`: this experiment's with the phase's seed and overrides.

        Args:
            phase: from an expanded plan.
            conf: the phase's `topdown_conf`, parent resolved to a directory.
            parser_keys: options that this ESPnet's parser knows.

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
        return config

    def passed_on(self, parser_keys: Collection[str]) -> dict[str, Any]:
        """This experiment's own options that a phase takes over.

        Raises:
            TopdownError: one that is set is unknown to this ESPnet.
        """
        own = {key: value for key, value in self.config.items() if not matches(key, RUN_KEYS)}
        known = {*parser_keys, *self.dropped_options(parser_keys)}
        # One that is off asks for nothing.
        lost = [f"{key}={value!r}" for key, value in own.items() if value and key not in known]
        if lost:
            raise TopdownError(
                f"{self.directory}/config.yaml sets options that this ESPnet does not know:"
                f" {', '.join(lost)}"
            )
        return {key: value for key, value in own.items() if key in parser_keys}

    def dropped_options(self, parser_keys: Collection[str]) -> list[str]:
        """Options of a newer ESPnet, at their defaults, that this one does not know."""
        return [
            key
            for key, value in self.config.items()
            if (key, value) in _NEWER_DEFAULTS.items() and key not in parser_keys
        ]

    @property
    def has_valid_data(self) -> bool:
        """Whether its own validation lists and their shape files are there, seen from here."""
        named = lists_of(self.config, "valid")
        return bool(named) and all(Path(path).exists() for path in named)

    def lists(self, phase: Phase | None = None) -> list[str]:
        """Files that a phase, or this experiment, reads before its first step.

        Shape files that the run makes are not among them, nor pre-trained files, which a phase may
        leave out (``init_param: drop``).
        """
        config = {**self.config, "init_param": []}
        if phase is not None:
            config |= data_options(self.config, phase.data, phase.tokens)
            made = new_shapes(self.config, phase.data, phase.tokens)
            config = without_shapes(config, made)
        return list_files(config)

    def missing_data(self, phase: Phase | None = None) -> list[str]:
        """Those of `lists` that are not there, seen from here."""
        return [path for path in self.lists(phase) if not Path(path).exists()]


def read_config(path: Path) -> dict[str, Any]:
    """The YAML mapping in `path`.

    Raises:
        TopdownError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TopdownError(_unread(path, f"cannot read {path} ({error.strerror})")) from None
    except UnicodeDecodeError as error:
        raise TopdownError(f"{path} is not YAML{but(path)}: {error}") from None
    config = load_yaml(text, str(path))
    kind = recognise.kind_of_data(config)
    if not isinstance(config, dict) or kind not in _TRAINED:
        raise TopdownError(
            f"{path} is not a training config{kind and f' but {kind}'}; give an experiment such as"
            " exp/asr_train_x, or a config such as conf/train_asr_x.yaml"
        )
    # Options that were lost would count as ESPnet's defaults.
    is_written = path.name == "config.yaml" and kind == recognise.EXPERIMENT_CONFIG
    if is_written and not _LAST_KEYS & config.keys():
        raise TopdownError(
            f"{path} lacks what ESPnet writes at its end ({', '.join(sorted(_LAST_KEYS))}): it was"
            f" cut off; {_CURE}"
        )
    return config


def _unread(path: Path, reason: str) -> str:
    """What is said of a config that cannot be read."""
    directory = path.parent
    if path.name != "config.yaml":
        return f"{path} is neither an experiment's directory nor a training config: {reason}"
    if os.path.lexists(path) or any(directory.glob("*.pth")):
        return f"{reason}, without which {directory} says nothing; {_CURE}"
    return f"{directory} is no trained experiment{but(directory)}: {reason}"
