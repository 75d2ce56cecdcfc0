"""A trained ESPnet2 experiment as a parent.

Its task, its dev criterion, and the config that a phase makes of it.

Works from ``config.yaml`` alone; neither torch nor ESPnet is needed. Which keys this ESPnet's
parser knows is given.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.topdown_conf import TopdownConf

# Of one run, not of the experiment: never passed on.
_RUN_KEYS = (
    *("required", "version", "distributed", "config", "print_config", "dry_run", "collect_stats"),
    *("write_collected_feats", "output_dir", "seed", "resume", "ngpu", "dist_*", "local_rank"),
    *("multiprocessing_distributed", "wandb_id", "wandb_name", "topdown_conf"),
)
# Do not change what is trained: left out of a phase's key.
_FREE_KEYS = (
    *(
        "num_workers",
        "log_level",
        "log_interval",
        "num_att_plot",
        "use_matplotlib",
        "use_tensorboard",
        "use_wandb",
    ),
    *("wandb_*", "max_cache_size", "max_cache_fd", "create_graph_in_tensorboard", "topdown_conf"),
)
# Keys that only this task's configs have, in order of test; ASR's are what remains (an encoder, and
# none of _OTHER).
_KEYS = {
    "slu": ("two_pass", "deliberationencoder", "transcript_token_list"),
    "st": ("extra_asr_decoder", "hier_encoder", "src_g2p"),
    "mt": ("src_token_list", "src_token_type"),
}
_OTHER = ("separator", "attractor", "enh_encoder", "generator", "tts")
TASKS = ("asr", "lm", "st", "mt", "slu", "s2t")


@dataclass(frozen=True)
class Experiment:
    """A trained experiment: its directory, its ``config.yaml`` and its task (``asr``, ``lm``)."""

    directory: Path
    config: Mapping[str, Any]
    task: str

    @classmethod
    def read(cls, directory: Path) -> "Experiment":
        """Read an experiment directory.

        Raises:
            TopdownError: not a directory with a ``config.yaml`` of a task that this package trains.
        """
        if not directory.is_dir():
            raise TopdownError(
                f"{directory} is not a directory; give a trained experiment such as"
                " exp/asr_train_..."
            )
        config = read_config(directory / "config.yaml")
        task = task_of_config(config, directory / "config.yaml")
        _check_types(config, directory / "config.yaml")
        if not config.get("train_data_path_and_name_and_type"):
            raise TopdownError(
                f"{directory}/config.yaml names no training data"
                " (train_data_path_and_name_and_type)"
            )
        return cls(directory, config, task)

    @property
    def seed(self) -> int:
        """ESPnet's ``--seed`` of this experiment."""
        return int(self.config.get("seed") or 0)

    def dev_criterion(self, plan: Plan) -> tuple[str, str, str]:
        """(phase, metric, mode) that judges every phase of the cascade.

        The plan's, else the validation accuracy of ``best_model_criterion``, else its first
        validation entry; never just the first, which is ESPnet's training loss by default.

        Raises:
            TopdownError: no validation entry.
        """
        if plan.dev_criterion:
            return plan.dev_criterion
        valid = [tuple(c) for c in self.config.get("best_model_criterion") or [] if c[0] == "valid"]
        chosen = next((c for c in valid if c[1] == "acc"), valid[0] if valid else None)
        if self.task == "lm":
            chosen = next((c for c in valid if c[1] == "loss"), chosen)
        if chosen is None:
            raise TopdownError(
                f"{self.directory} selected its models by no validation metric; give the plan"
                " 'dev_criterion: [valid, acc, max]'"
            )
        return str(chosen[0]), str(chosen[1]), str(chosen[2])

    def parent_model(self, plan: Plan) -> str:
        """The model file that parents are taken from and that decoding uses."""
        phase, metric, _ = self.dev_criterion(plan)
        return plan.parent_model or f"{phase}.{metric}.ave.pth"

    def phase_config(
        self,
        phase: Phase,
        settings: TopdownConf,
        parser_keys: Collection[str],
        *,
        layers: Mapping[str, Any],
    ) -> dict[str, Any]:
        """The training config of `phase`.

        This experiment's, with the phase's seed, overrides and `topdown_conf`.

        Args:
            phase: from an expanded plan.
            settings: the phase's `topdown_conf`, parent resolved to a directory.
            parser_keys: options that this ESPnet's parser knows.
            layers: the plan's own layer order, if any.

        Raises:
            TopdownError: an option that is set here is unknown to this ESPnet.
        """
        config = {k: v for k, v in self.config.items() if not _matches(k, _RUN_KEYS)}
        unknown = [k for k in config if k not in parser_keys]
        lost = [k for k in unknown if config[k]]  # an unknown option that was off asks for nothing
        if lost:
            raise TopdownError(
                f"{self.directory}/config.yaml sets options that this ESPnet does not know: "
                + ", ".join(f"{k}={config[k]!r}" for k in lost)
            )
        config = {k: v for k, v in config.items() if k not in unknown} | dict(phase.train)
        if phase.init_param == "drop":
            config["init_param"] = []
        conf = settings.to_conf() | (
            {"layers": {k: list(v) for k, v in layers.items()}} if layers else {}
        )
        return config | {"seed": phase.seed, "topdown_conf": conf}

    def missing_data(self) -> list[str]:
        """Lists that the config names and that are not there, seen from the current directory."""
        return [path for path in list_files(self.config) if not Path(path).exists()]


def read_config(path: Path) -> dict[str, Any]:
    """The YAML mapping in `path`.

    Raises:
        TopdownError: it cannot be read, or holds something else.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TopdownError(
            f"{path.parent} is no trained experiment: cannot read {path} ({error.strerror})"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that is none
        raise TopdownError(f"{path} is not YAML: {error}") from None
    if not isinstance(config, dict):
        raise TopdownError(f"{path} is not a training config")
    return config


def _check_types(config: Mapping[str, Any], source: Path) -> None:
    """Refuse values that this package reads and that are not of ESPnet's types."""
    for key in ("seed", "max_epoch"):
        if not isinstance(config.get(key), int | None):
            raise TopdownError(f"{source}: {key} must be a whole number, not {config[key]!r}")
    kept = config.get("keep_nbest_models", 1)
    if not all(isinstance(n, int) for n in (kept if isinstance(kept, list) and kept else [kept])):
        raise TopdownError(f"{source}: keep_nbest_models must be whole numbers, not {kept!r}")
    forms = {
        f"{part}_data_path_and_name_and_type": "(path, name, type)" for part in ("train", "valid")
    }
    for key, form in (forms | {"best_model_criterion": "(phase, metric, mode)"}).items():
        rows = config.get(key) or []
        if not isinstance(rows, list) or not all(
            isinstance(row, list | tuple) and len(row) == 3 for row in rows
        ):
            raise TopdownError(f"{source}: {key} must be a list of {form}, not {rows!r}")


def task_of_config(config: Mapping[str, Any], source: Path) -> str:
    """The task that a training config is for, told by its keys.

    Raises:
        TopdownError: of none that this package trains.
    """
    if config.get("lm") and not config.get("encoder"):
        return "lm"
    if config.get("encoder") and not any(config.get(key) for key in _OTHER):
        if config.get("preprocessor") == "s2t":
            return "s2t"
        return next(
            (task for task, keys in _KEYS.items() if any(key in config for key in keys)), "asr"
        )
    raise TopdownError(f"{source} is of no task that is trained top-down ({', '.join(TASKS)})")


def list_files(config: Mapping[str, Any]) -> list[str]:
    """The lists that a training reads.

    Scp, text, shape, statistics, token and pre-trained model files; not the audio.
    """
    found: list[str] = []
    for part in ("train", "valid"):
        found += [
            str(entry[0]) for entry in config.get(f"{part}_data_path_and_name_and_type") or []
        ]
        found += [str(path) for path in config.get(f"{part}_shape_file") or []]
    found += [str((config.get("normalize_conf") or {}).get("stats_file") or "")]
    found += [
        str(config.get(key) or "")
        for key in ("bpemodel", "noise_scp", "rir_scp", "non_linguistic_symbols")
    ]
    found += [token for token in [config.get("token_list")] if isinstance(token, str)]
    found += [str(param).split(":")[0] for param in config.get("init_param") or []]
    return list(dict.fromkeys(path for path in found if path))


def phase_key(config: Mapping[str, Any], parent: Path | None) -> dict[str, Any]:
    """What decides a phase's result.

    Its own settings, its parent's weights, its seed, and the lists it reads.

    Args:
        config: the phase's training config.
        parent: the parent's model file, None without a parent.

    Raises:
        TopdownError: a list or the parent's file cannot be read.
    """
    conf = {k: v for k, v in (config.get("topdown_conf") or {}).items() if k != "parent"}
    return {
        "settings": (
            {k: v for k, v in config.items() if not _matches(k, _FREE_KEYS)}
            | {"topdown_conf": conf}
        ),
        "parent": files.sha256(parent) if parent else None,
        "files": {path: files.sha256(Path(path)) for path in list_files(config)},
    }


def _matches(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
