"""What the keys of plans and of `topdown_conf` must hold, as rules for `espnet_topdown.check`.

They are checked without a model; cuts and parents are looked up when a plan is expanded.
"""

from collections.abc import Mapping

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.plan.kinds import CONTROL_KINDS, KINDS
from espnet_topdown.plan.plan import BASE, DROPOUT, INIT_PARAM, TIED

# What a phase's training may change: epochs, batch, optimiser, schedule, augmentation and logging.
OVERRIDES = (
    *("max_epoch", "patience", "early_stopping_criterion", "num_iters_per_epoch"),
    *("batch_type", "batch_size", "batch_bins"),
    *("valid_batch_type", "valid_batch_size", "valid_batch_bins", "accum_grad"),
    *("optim", "optim_conf", "grad_clip", "grad_clip_type", "grad_noise"),
    *("exclude_weight_decay", "exclude_weight_decay_conf"),
    *("scheduler", "scheduler_conf", "val_scheduler_criterion"),
    *("use_amp", "specaug", "specaug_conf", "freeze_param"),
    *("rir_scp", "rir_apply_prob", "noise_scp", "noise_apply_prob", "noise_db_range"),
    *("log_level", "log_interval", "num_workers", "num_att_plot", "max_cache_size"),
    *("use_matplotlib", "use_tensorboard", "use_wandb"),
    *("wandb_project", "wandb_entity", "wandb_model_log_interval"),
)
# Names that mean something else where a phase's name can stand, in small letters, since some file
# systems do not tell them from capitals: words of plans, and what stands beside the phases.
TAKEN_NAMES = (
    *(BASE, "base", "best", "previous"),
    *("plan.yaml", "cascade.json", "model.json", "checked.json", "ledger.jsonl", "aside"),
    *("results.md", "results.json", "report.html", "images"),
)
# An item of 'phases' has exactly one of these, or a control with a cut of its own.
ITEM_FORMS = ("cut", "every", "sweep", "control")


def _is_plain_name(value: object) -> bool:
    return isinstance(value, str) and "/" not in value


def _is_directory_name(value: object) -> bool:
    if not isinstance(value, str) or value.startswith("."):
        return False
    plain = value.translate(str.maketrans("", "", "_-."))
    return plain.isalnum()


def _is_criterion(value: object) -> bool:
    if not isinstance(value, list | tuple) or len(value) != 3:
        return False
    part, metric, mode = value
    return part == "valid" and isinstance(metric, str) and mode in ("min", "max")


def _is_empty_list(value: object) -> bool:
    return isinstance(value, list | tuple) and not value


def _is_layer_order(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(name, str) and check.is_names(parts) for name, parts in value.items())


_PLAIN_NAME = Must("a name without a directory", _is_plain_name)
_LAYERS = Must(
    "a mapping from layer name to a list of name prefixes, lowest layer first", _is_layer_order
)
# Keys that a plan and its items share.
PHASE = {
    "dropout": check.one_of(DROPOUT),
    "tied": check.one_of(TIED),
    "init_param": check.one_of(INIT_PARAM),
    "train": Must("a mapping of ESPnet training options", check.MAPPING.holds),
}
HEADER = {
    "dev_criterion": Must("[valid, METRIC, min|max]", _is_criterion),
    "parent": _PLAIN_NAME,
    "parent_model": _PLAIN_NAME,
    "min_gain": check.NOT_NEGATIVE,
    "patience": check.whole(1),
    "layers": _LAYERS,
}
ITEM = {
    "control": check.one_of(CONTROL_KINDS),
    "every": check.whole(1),
    "cut": check.NAME,
    "start": check.NAME,
    "stop": check.NAME,
    "parent": check.NAME,
    "sweep": check.NAMES,
    "answers": check.NAMES,
    "seed": check.whole(0),
    "name": Must("a plain directory name", _is_directory_name),
}
TRAIN = {
    "max_epoch": check.whole(1),
    "use_amp": check.SWITCH,
    # To train what the base froze; what else is frozen, the cut says.
    "freeze_param": Must("[], which trains what the base's freeze_param froze", _is_empty_list),
}
TOPDOWN_CONF = {
    "kind": check.one_of(KINDS),
    "parent": check.NAME,
    "cut": check.NAME,
    "parent_model": check.NAME,
    "dropout": check.one_of(DROPOUT),
    "tied": check.one_of(TIED),
    "layers": _LAYERS,
}
