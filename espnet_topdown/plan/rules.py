"""What the keys of plans and of `topdown_conf` must hold, as rules for `espnet_topdown.check`.

They are checked without a model; cuts and parents are looked up when a plan is expanded. What a key
means and an example stand with its rule, and `espnet_topdown.plan.reference` prints them.
"""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, DROPOUT, INIT_PARAM, TIED
from espnet_topdown.plan.sides import is_kept_lr
from espnet_topdown.plan.stopping import BAR, FORM, is_criterion

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
CONFS = fnmatch.filter(OVERRIDES, "*_conf")
# Names that mean something else where a phase's name can stand, in small letters, since some file
# systems do not tell them from capitals: words of plans, and what stands beside the phases.
TAKEN_NAMES = (
    *(BASE, "base", "best", "previous"),
    *("plan.yaml", "cascade.json", "model.json", "ledger.jsonl", "aside"),
    *("shapes", "measured.json"),
    *("results.md", "results.json", "report.html", "images"),
)
DATA_PARTS = ("train", "valid")
# What a control has of the phase that it answers, and never of its own.
NOT_OF_CONTROLS = ("data", "tokens", "tied")
# What acts beside another key alone.
ACTS_WITH = {"answers": "control", "start": "every", "stop": "every"}
# An item of 'phases' has exactly one of these, a control with a cut or layers of its own, or a kind
# that needs none.
ITEM_FORMS = ("cut", "every", "sweep", "control", "keep", "draw")


def _is_plain_name(value: object) -> bool:
    return check.is_name(value) and "/" not in str(value)


def _is_directory_name(value: object) -> bool:
    if not isinstance(value, str):
        return False
    # Neither a hidden directory, nor what a command takes for an option, nor these marks alone.
    plain = value.translate(str.maketrans("", "", "_-."))
    return plain.isalnum() and not value.startswith((".", "-"))


def _is_data(value: Any) -> bool:
    is_of_parts = isinstance(value, Mapping) and bool(value) and {*value} <= set(DATA_PARTS)
    return is_of_parts and all(map(check.is_name, value.values()))


def _is_empty_list(value: object) -> bool:
    return isinstance(value, list | tuple) and not value


def _is_layer_order(value: Any) -> bool:
    is_mapping = isinstance(value, Mapping) and all(map(check.is_text, value))
    return is_mapping and all(map(check.is_names, value.values()))


@dataclass(frozen=True)
class Key(Must):
    """The rule of one key, with what a reader must know to use it.

    Args:
        means: what the key does, as a sentence without its end; with its default, where that is no
            value that a plan's dataclass states.
        example: YAML with the key: for a plan's header as it stands there, for an item of
            ``phases`` the whole item, for ``train`` and ``topdown_conf`` the inside of the mapping.
    """

    means: str = field(kw_only=True)
    example: str = field(kw_only=True)


def _key(rule: Must, means: str, example: str) -> Key:
    return Key(rule.be, rule.holds, rule.valid, means=means, example=example)


_PLAIN_NAME = Must("a name without a directory", _is_plain_name)
_LAYERS = _key(
    Must(
        "a mapping from layer name to a list of name prefixes, lowest layer first", _is_layer_order
    ),
    "the layer order of a model outside the table; every parameter must have a layer",
    "layers: {encoder.0: [encoder.body.0], encoder.1: [encoder.body.1], output: [ctc]}",
)
_KEPT_LR = Must(
    "a number from 0 (frozen) to 1 (as the rest), a mapping from layers or stacks to such numbers,"
    " or {decay: NUMBER}",
    is_kept_lr,
)
_KEPT_LR_MEANS = (
    "factor on the learning rate of kept layers, in every step of any scheduler: 0 freezes them, 1"
    " is the whole rate; one for all, one for each layer or stack, or a decay from each layer to"
    " the one below it; without it, the kind's"
)
_DROPOUT = _key(
    check.one_of(DROPOUT),
    "dropout in the frozen layers: as the classifier was trained, or switched off",
    "dropout: off",
)
_TIED = _key(
    check.one_of(TIED),
    "what becomes of one matrix on both sides of a cut: it goes with the end that is kept, or the"
    " lower end gets its own, drawn or copied (always copied where both ends are kept); without"
    " it, the ties that ESPnet makes in language models are treated as with freeze, and a cut"
    " through others is refused",
    "tied: untie_draw",
)
_TOKENS = Must(
    "the path of a token list, such as data/en_token_list/char/tokens.txt", check.is_name
)
_PARENT_MODEL = "the file that a parent's weights come from; without it, the averaged model"
# Keys that a plan and its items share.
PHASE = {
    "dropout": _DROPOUT,
    "tied": _TIED,
    "init_param": _key(
        check.one_of(INIT_PARAM),
        "whether fresh layers start from the base's init_param (pre-trained parameters) or are"
        " drawn",
        "init_param: drop",
    ),
    "train": _key(
        Must("a mapping of ESPnet training options", check.MAPPING.holds),
        "training options that differ from the base's; an option that is a mapping is replaced"
        " whole",
        "train: {max_epoch: 20, optim_conf: {lr: 0.001}}",
    ),
    "data": _key(
        Must(
            "a mapping of train, valid or both to data directories, such as {train:"
            " dump/raw/noisy}",
            _is_data,
        ),
        "directories with lists of the base's names and types that are read instead of the base's;"
        " tokens and feature statistics stay the base's, and controls have the same data",
        "data: {train: dump/raw/noisy, valid: dump/raw/dev_noisy}",
    ),
    "tokens": _key(
        _TOKENS,
        "another vocabulary, where no kept tensor depends on it; its type is BPE where bpe.model"
        " stands beside it, else its directory's name",
        "tokens: data/en_token_list/bpe_unigram500/tokens.txt",
    ),
}
HEADER = {
    "dev_criterion": _key(
        Must("[valid, METRIC, min|max]", is_criterion),
        "the one value that decides what is accepted and best; without it, accuracy (of a language"
        " model: loss) where the base's best_model_criterion has it on valid, else its first there",
        "dev_criterion: [valid, acc, max]",
    ),
    "parent": _key(
        _PLAIN_NAME,
        "whose layers are kept: previous (the phase just trained, accepted or not), best (the best"
        " on dev so far: when the phase starts; of a sweep, when its first does; of a control, when"
        " the phase that it answers does), phase0, or a phase's name",
        "parent: best",
    ),
    "parent_model": _key(
        _PLAIN_NAME, f"{_PARENT_MODEL} of the dev criterion", "parent_model: valid.acc.best.pth"
    ),
    "min_gain": _key(
        check.NOT_NEGATIVE,
        "the least improvement on dev that is accepted, in the metric's unit",
        "min_gain: 0.001",
    ),
    "patience": _key(
        check.whole(1),
        "stop after so many phases in a row that were not accepted; without it, the whole plan is"
        " run",
        "patience: 2",
    ),
    "layers": _LAYERS,
}
ITEM = {
    "kind": _key(
        check.one_of(KINDS),
        "what is kept and how fast it learns; without it, named with keep or draw, slow where"
        " kept_lr is not 0, else top_down",
        "{cut: decoder, kind: slow}",
    ),
    "keep": _key(
        check.NAMES,
        "one phase that keeps these layers or stacks, in the place of a cut, and draws the others",
        "keep: [output, decoder.0]",
    ),
    "draw": _key(
        check.NAMES,
        "one phase that draws these layers or stacks, in the place of a cut, and keeps the others",
        "draw: [encoder.embed, encoder.0]",
    ),
    "kept_lr": _key(_KEPT_LR, _KEPT_LR_MEANS, "{cut: decoder, kept_lr: {output: 0, decoder: 0.1}}"),
    "thaw": _key(
        check.SWITCH,
        "the same as kind: thaw: keep everything and train what is above the cut, or all; with"
        " every, so many layers more each phase, from the top downward",
        "{every: 1, thaw: true}",
    ),
    "control": _key(
        check.one_of(KINDS),
        "a run of the same cost for each phase above, to compare it with; never best, never a"
        " candidate's parent",
        "control: restart",
    ),
    "every": _key(
        check.whole(1),
        "a phase for every so many layers, each cut lower than the one before",
        "every: 2",
    ),
    "cut": _key(
        check.NAME,
        "one phase: the lowest layer that is kept, by its name or its stack's; beside control, the"
        " control's own cut",
        "cut: decoder",
    ),
    "start": _key(
        check.NAME,
        "with every: its first cut; without it, that many layers below the last cut, or the"
        " decoder",
        "{every: 2, start: encoder.9}",
    ),
    "stop": _key(
        check.NAME,
        "with every: its last cut; without it, the lowest that leaves a layer to be drawn",
        "{every: 2, stop: encoder.0}",
    ),
    "parent": _key(
        check.NAME,
        "as in the header, of this item; phase 0 for a sweep",
        "{cut: encoder.3, parent: phase1}",
    ),
    "sweep": _key(
        check.NAMES,
        "a phase for each of these cuts, independent of one another",
        "sweep: [decoder, encoder.6, encoder.3]",
    ),
    "answers": _key(
        check.NAMES,
        "with control: the phases that it is compared with; without it, all above",
        "{control: continue, answers: [phase1]}",
    ),
    "stop_early": _key(
        FORM,
        "with sweep or control: end its phases, except the first two, where their best dev value"
        " is worse than the median of those two; from epoch 10 on unless given",
        "{sweep: [decoder, encoder.6, encoder.3], stop_early: {from_epoch: 15, full: 2}}",
    ),
    "seed": _key(
        check.whole(0),
        "ESPnet's seed of the phase; without it, the base's + 1000 for each phase, and that of the"
        " answered phase for a control",
        "{cut: decoder, seed: 77}",
    ),
    "name": _key(
        Must("a plain directory name", _is_directory_name),
        "the directory of the phase, or what the names of several begin with; without it, phase1,"
        " phase2, restart_phase1",
        "{cut: decoder, name: top}",
    ),
}
TRAIN = {
    "max_epoch": _key(check.whole(1), "epochs of the phase", "max_epoch: 20"),
    "accum_grad": _key(check.whole(1), "batches whose gradients make one step", "accum_grad: 2"),
    "use_amp": _key(check.SWITCH, "mixed precision", "use_amp: true"),
    # What else is frozen, the cut says.
    "freeze_param": _key(
        Must("[], which trains what the base's freeze_param froze", _is_empty_list),
        "train what the base had frozen",
        "freeze_param: []",
    ),
}
TOPDOWN_CONF = {
    "kind": _key(check.one_of(KINDS), "what is kept and how fast it learns", "{kind: restart}"),
    "parent": _key(
        check.NAME,
        "the experiment directory whose layers are kept",
        "{parent: exp/asr_train_x, cut: decoder}",
    ),
    "cut": _key(
        check.NAME,
        "the lowest layer of the upper part; of kinds that keep all or nothing, left out",
        "{parent: exp/asr_train_x, cut: encoder.6}",
    ),
    "keep": _key(
        check.NAMES,
        "the layers or stacks that are kept, in the place of a cut",
        "{parent: exp/asr_train_x, keep: [output, decoder.0]}",
    ),
    "draw": _key(
        check.NAMES,
        "the layers or stacks that are drawn, in the place of a cut",
        "{parent: exp/asr_train_x, draw: [encoder.embed]}",
    ),
    "kept_lr": _key(_KEPT_LR, _KEPT_LR_MEANS, "{parent: exp/x, cut: decoder, kept_lr: 0.1}"),
    "parent_model": _key(
        check.NAME,
        f"{_PARENT_MODEL}, valid.acc.ave.pth, else valid.loss.ave.pth, else as in a plan",
        "{parent: exp/asr_train_x, cut: decoder, parent_model: valid.loss.best.pth}",
    ),
    "dropout": _key(_DROPOUT, _DROPOUT.means, "{parent: exp/x, cut: decoder, dropout: off}"),
    "tied": _key(_TIED, _TIED.means, "{parent: exp/x, cut: output, tied: untie_draw}"),
    "tokens": _key(
        _TOKENS,
        "the training's own token list, where it is another than the parent's; no kept tensor may"
        " depend on it",
        "{parent: exp/x, cut: decoder, kind: bottom_up, tokens: data/token_list/char/tokens.txt}",
    ),
    "layers": _key(_LAYERS, _LAYERS.means, f"{{parent: exp/x, cut: output, {_LAYERS.example}}}"),
    "stop_early": _key(
        BAR,
        "dev values below which the training ends, as the runner takes them from its siblings",
        "{kind: restart, stop_early: {criterion: [valid, acc, max], from_epoch: 9, medians:"
        " [0.4]}}",
    ),
}
