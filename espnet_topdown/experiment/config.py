"""An ESPnet2 experiment by its ``config.yaml``: the base of a cascade, and the config of a phase.

Neither torch nor ESPnet is needed; which options this ESPnet's parser knows is given.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from espnet_topdown import check, files
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.task import task_of_config
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
    *("num_workers", "log_level", "log_interval", "num_att_plot", "create_graph_in_tensorboard"),
    *("use_matplotlib", "use_tensorboard", "use_wandb", "wandb_*"),
    *("max_cache_size", "max_cache_fd", "topdown_conf"),
)
_DATA = "{part}_data_path_and_name_and_type"


def _is_triples(value: object) -> bool:
    if not isinstance(value, list):
        return False
    return all(isinstance(row, list | tuple) and len(row) == 3 for row in value)


def _is_counts(value: object) -> bool:
    counts = value if isinstance(value, list) and value else [value]
    return all(check.is_whole(count) for count in counts)


# Values of an experiment's config that this package reads.
_RULES = {
    "seed": check.WHOLE,
    "max_epoch": check.WHOLE,
    "keep_nbest_models": Must("whole numbers", _is_counts),
    _DATA.format(part="train"): Must("a list of (path, name, type)", _is_triples),
    _DATA.format(part="valid"): Must("a list of (path, name, type)", _is_triples),
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
                f"{directory} is not a directory; give the base, an experiment such as"
                " exp/asr_train_..."
            )
        path = directory / "config.yaml"
        config = read_config(path)
        task = task_of_config(config, path)
        faults = check.faults(config, _RULES)
        if faults:
            raise TopdownError("\n".join(f"{path}: {fault}" for fault in faults))
        data = _DATA.format(part="train")
        if not config.get(data):
            raise TopdownError(f"{path} names no training data ({data})")
        return cls(directory, config, task)

    @property
    def seed(self) -> int:
        """ESPnet's ``--seed`` of this experiment."""
        return int(self.config.get("seed") or 0)

    def valid_sets(self) -> set[str]:
        """Names of the data sets that select epochs, as ``dump/raw/dev/wav.scp`` is of dev."""
        lists = self.config.get(_DATA.format(part="valid")) or []
        return {Path(path).parent.name for path, *_ in lists}

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
        criteria = [(str(part), str(metric), str(mode)) for part, metric, mode in rows]
        on_dev = [criterion for criterion in criteria if criterion[0] == "valid"]
        if not on_dev:
            raise TopdownError(
                f"{self.directory} selected its models by no validation metric; give the plan"
                " 'dev_criterion: [valid, acc, max]'"
            )
        preferred = ("loss", "acc") if self.task == "lm" else ("acc",)
        for wanted in preferred:
            for criterion in on_dev:
                if criterion[1] == wanted:
                    return criterion
        return on_dev[0]

    def parent_model(self, plan: Plan) -> str:
        """The model file that parents are taken from and that decoding uses."""
        part, metric, _ = self.dev_criterion(plan)
        return plan.parent_model or f"{part}.{metric}.ave.pth"

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
        config = self._passed_on(parser_keys)
        config |= phase.train
        if phase.init_param == "drop":
            config["init_param"] = []
        config["seed"] = phase.seed
        config["topdown_conf"] = conf.to_conf()
        if layers:
            lists = {name: list(prefixes) for name, prefixes in layers.items()}
            config["topdown_conf"]["layers"] = lists
        return config

    def _passed_on(self, parser_keys: Collection[str]) -> dict[str, Any]:
        """This experiment's own options that a phase takes over."""
        config = {}
        lost = []
        for key, value in self.config.items():
            if _matches(key, _RUN_KEYS):
                continue
            if key in parser_keys:
                config[key] = value
            elif value:
                lost.append(f"{key}={value!r}")
            # An unknown option that was off asks for nothing.
        if lost:
            raise TopdownError(
                f"{self.directory}/config.yaml sets options that this ESPnet does not know:"
                f" {', '.join(lost)}"
            )
        return config

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
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: not UTF-8, or PyYAML's for a date that is none.
        raise TopdownError(f"{path} is not YAML: {error}") from None
    if not isinstance(config, dict):
        raise TopdownError(f"{path} is not a training config")
    return config


def list_files(config: Mapping[str, Any]) -> list[str]:
    """The lists that a training reads, each once; not the audio that they name.

    Scp, text, shape, statistics, token and pre-trained model files.
    """
    paths = []
    for part in ("train", "valid"):
        paths += [row[0] for row in config.get(_DATA.format(part=part)) or []]
        paths += config.get(f"{part}_shape_file") or []
    paths.append((config.get("normalize_conf") or {}).get("stats_file"))
    for key in ("bpemodel", "noise_scp", "rir_scp", "non_linguistic_symbols"):
        paths.append(config.get(key))
    # In an experiment's own config the tokens stand themselves.
    if isinstance(config.get("token_list"), str):
        paths.append(config["token_list"])
    # ESPnet's FILE:SOURCE:TARGET:EXCLUDED
    paths += [str(param).partition(":")[0] for param in config.get("init_param") or []]
    return list(dict.fromkeys(str(path) for path in paths if path))


def phase_key(config: Mapping[str, Any], parent: Path | None) -> dict[str, Any]:
    """What decides a phase's result: its options and seed, its parent's weights, its lists.

    Args:
        config: the phase's training config.
        parent: the parent's model file, None without a parent.

    Raises:
        TopdownError: a list or the parent's file cannot be read.
    """
    settings = {key: value for key, value in config.items() if not _matches(key, _FREE_KEYS)}
    # The parent counts by its weights, not by its place.
    conf = config.get("topdown_conf") or {}
    settings["topdown_conf"] = {key: value for key, value in conf.items() if key != "parent"}
    return {
        "settings": settings,
        "parent": files.sha256(parent) if parent else None,
        "files": {path: files.sha256(Path(path)) for path in list_files(config)},
    }


@cache
def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)
