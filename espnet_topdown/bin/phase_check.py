"""Try the trainings of a plan without training: write what is wrong with them, as JSON.

Each phase's options are parsed by ESPnet's own parser, its model is built and its layers frozen as
in the training, and its optimiser and scheduler are built once. What calls it:
`espnet_topdown.cascade.checks.phase`.
"""

import argparse
import importlib.util
import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from espnet2.tasks.abs_task import scheduler_classes
from espnet2.tasks.lm import LMTask
from espnet2.train.distributed_utils import DistributedOption

from espnet_topdown import files
from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError, listed, nearest, reported
from espnet_topdown.experiment.keys import bpe_models
from espnet_topdown.experiment.phase_data import tokens_of
from espnet_topdown.lm.task import stream_faults
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.plan.ties import untie
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.text_files import read_tokens
from espnet_topdown.training import (
    freeze,
    learning_rates,
    model_layers,
    obstacles,
    pretrained,
    vocabulary,
)
from espnet_topdown.training.kept import kept_of
from espnet_topdown.training.model_options import parsed
from espnet_topdown.training.tasks import TopdownTask, task_of

Config = Mapping[str, Any]
# Of what is mixed into the audio, those that ESPnet reads where training begins.
_MIXED = frozenset(["noise_scp", "noise_db_range", "rir_scp"])
# Counts that ESPnet takes at 0, and then divides by, or trains on nothing.
_COUNTS = frozenset(
    ["log_interval", "num_iters_per_epoch"]
    + [f"{part}batch_{unit}" for part in ("", "valid_") for unit in ("size", "bins")]
)
# What a stream is cut into.
_COLUMNS = frozenset(["batch_size", "valid_batch_size"])
# Option -> the package that ESPnet imports for it.
_PACKAGES = {
    "use_tensorboard": "tensorboard",
    "use_wandb": "wandb",
    "use_matplotlib": "matplotlib",
}
# batch_type -> by what its batches are counted.
_COUNTED_BY = {
    **dict.fromkeys(["unsorted", "sorted", "folded"], "size"),
    **dict.fromkeys(["numel", "length"], "bins"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.bin.phase_check --task TASK --phases FILE --output FILE``."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.phase_check",
        description="Write what is wrong with the trainings of a plan",
    )
    phases = "JSON list of phases: name, config, and the options that the plan changes"
    parser.add_argument("--task", required=True, help="ESPnet's, such as asr")
    parser.add_argument("--phases", type=Path, required=True, help=phases)
    parser.add_argument(
        "--output", type=Path, required=True, help="JSON file to write: phase -> faults"
    )
    args = parser.parse_args(argv)
    with reported():
        files.write_json(args.output, faults(task_of(args.task), files.read_json(args.phases)))


def faults(task: type[TopdownTask], phases: Sequence[Config]) -> dict[str, list[str]]:
    """Phase -> everything that would end its training early.

    Args:
        task: ESPnet's.
        phases: a mapping each: `name`, `config` (the training config), `changed` (names of the
            options in it that the plan changes), `has_own_tokens` where its vocabulary is another
            than its parent's, and `has_own_data` where it reads other lists than the base.
    """
    found = {}
    # By what a phase may change of it.
    models: dict[str, torch.nn.Module] = {}
    for phase in phases:
        own = _option_faults(task, phase["config"], phase["changed"])
        if not own:
            args = parsed(task, phase["config"])
            has_own_tokens = phase.get("has_own_tokens", False)
            own = _training_faults(task, args, models, has_own_tokens=has_own_tokens)
            reads_otherwise = phase.get("has_own_data") or not _COLUMNS.isdisjoint(phase["changed"])
            if reads_otherwise and not own:
                own = _stream_faults(task, args)
            if not _MIXED.isdisjoint(phase["changed"]) and not own:
                own = _mixing_faults(task, args)
        found[phase["name"]] = own
    return found


def _option_faults(task: type[TopdownTask], config: Config, changed: Sequence[str]) -> list[str]:
    """What ESPnet's parser, or the type and choices of an option, say against a config."""
    try:
        options = vars(parsed(task, config))
    except TopdownError as error:
        return [str(error)]
    actions = {action.dest: action for action in task.get_parser()._actions}
    # ESPnet reads no conf of what is off.
    read = [name for name in changed if config[name] is not None or not _is_off(name, options)]
    own = [_value_fault(actions[name], config[name]) for name in read]
    own += [_idle_fault(name, options) for name in changed if config[name]]
    # espnet2/tasks/abs_task.py, main_worker (202511), asserts it.
    own += [_package_fault(name, options) for name in _PACKAGES]
    if options.get("use_amp") and options.get("use_tf32"):
        own.append("ESPnet does not train with both use_amp and use_tf32; leave out train.use_amp")
    return list(filter(None, own))


def _package_fault(name: str, options: Mapping[str, Any]) -> str | None:
    """Why ESPnet would end in an import as a training begins."""
    package = _PACKAGES[name]
    found = importlib.util.find_spec(package)
    # A directory of that name, such as wandb leaves, has no origin.
    if not options.get(name) or (found is not None and found.origin):
        return None
    return (
        f"{name} needs the Python package {package}, which is not installed here; install it, or"
        f" give 'train: {{{name}: false}}'"
    )


def _is_off(name: str, options: Mapping[str, Any]) -> bool:
    """Whether an option is the conf of what is not there."""
    return name.endswith("_conf") and not options.get(name.removesuffix("_conf"), True)


def _idle_fault(name: str, options: Mapping[str, Any]) -> str | None:
    """Why ESPnet would read past an option that is set.

    Source: espnet2/samplers/build_batch_sampler.py and tasks/abs_task.py (202511).
    """
    if _is_off(name, options):
        acts_with = name.removesuffix("_conf")
        return f"train.{name} does nothing without {acts_with}; give both, or leave it out"
    part, _, counted = name.rpartition("batch_")
    other = {"size": "bins", "bins": "size"}.get(counted)
    # Iterators besides count by batch_size alone.
    if other is None or options["iterator_type"] != "sequence":
        return None
    kind = options[f"{part}batch_type"] or options["batch_type"]
    if counted == _COUNTED_BY.get(kind, counted):
        return None
    return (
        f"train.{name} does nothing beside batch_type {kind!r}, whose batches {part}batch_{other}"
        " counts; give that"
    )


def _value_fault(action: argparse.Action, value: object) -> str | None:
    """Why `value` cannot be that of an option.

    ESPnet's parser converts only text that a config gives, and looks up no choices in it
    (espnet2/utils/config_argparse.py).
    """
    name = f"train.{action.dest}"
    if value is None and action.default is None:
        return None
    if value is None:
        return f"{name} cannot be null; give a value, or leave it out"
    if isinstance(action.nargs, int):
        is_list = isinstance(value, list | tuple) and len(value) == action.nargs
        return None if is_list else f"{name} must be a list of {action.nargs}, not {value!r}"
    converted: Any = value
    if callable(action.type):
        try:
            converted = action.type(str(value))
        # What converts a text raises what it likes.
        except Exception:  # noqa: BLE001
            kind = getattr(action.type, "__name__", "valid").replace("_or_none", "")
            return f"{name} must be {kind}, not {value!r}"
    if action.dest in _COUNTS and isinstance(converted, int) and converted < 1:
        return f"{name} must be 1 or more, not {value!r}"
    if action.choices is not None and converted not in action.choices:
        valid = [choice for choice in action.choices if choice is not None]
        return f"{name} {value!r} is unknown; {nearest(str(value), valid)}"
    return None


def _training_faults(
    task: type[TopdownTask],
    args: argparse.Namespace,
    models: dict[str, torch.nn.Module],
    *,
    has_own_tokens: bool,
) -> list[str]:
    """What would stop the training between its parser and its first epoch."""
    if vars(args).get("model") == "lm_stream" and (unfit := stream_faults(args)):
        return [f"model lm_stream: {fault}" for fault in unfit]
    try:
        conf = TopdownConf.from_conf(args.topdown_conf)
        pretrained.refuse_code(args.init_param)
        if conf.unties:
            untie(vars(args))
        model = _built(task, args, models, is_untied=conf.unties)
        unfit = obstacles.forward_faults(model)
        if unfit:
            return unfit
        _try_freezing(model, conf, vocabulary.of_model(model) if has_own_tokens else {})
        pretrained.refuse_misfits(args.init_param, model, ignore_mismatch=args.ignore_init_mismatch)
    except TopdownError as error:
        return [str(error)]
    found = [_bpe_fault(args), _optimiser_fault(task, args, model)]
    own = _tokens_faults(task, args) if has_own_tokens and not found[0] else []
    return [*own, *(fault for fault in found if fault)]


def _tokens_faults(task: type[TopdownTask], args: argparse.Namespace) -> list[str]:
    """What is wrong with a token list that nothing has been trained with yet."""
    if args.token_type not in ("bpe", "char", "word", "phn"):
        return []
    tokens = tokens_of(vars(args))
    conf = mapping_in(vars(args), "model_conf")
    needed = ["<unk>"]
    if not issubclass(task, LMTask):
        # Without these ESPnet takes the first token and the last (espnet2/asr/espnet_model.py).
        needed += [conf.get("sym_blank", "<blank>"), conf.get("sym_eos", "<sos/eos>")]
    twice = [token for token, count in Counter(tokens).items() if count > 1]
    missing = [token for token in needed if token not in tokens]
    name = TopdownConf.from_conf(args.topdown_conf).tokens or "its token list"
    found = []
    if twice:
        found.append(f"{name} has {listed(twice[:5])} more than once; leave each there once")
    if missing:
        found.append(f"{name} has no {listed(missing)}; give the list that stage 5 writes")
    if args.token_type == "bpe" and args.bpemodel and Path(args.bpemodel).is_file():
        model = sentencepiece.SentencePieceProcessor(model_file=args.bpemodel)
        ids = [n for n in range(len(model)) if not model.is_control(n) and not model.is_unknown(n)]
        pieces = [model.id_to_piece(n) for n in ids]
        unknown = sorted({*pieces}.difference(tokens), key=pieces.index)
        if len(unknown) > len(pieces) / 2:
            found.append(
                f"{name} is not that of {args.bpemodel}: {len(unknown)} of its {len(pieces)} pieces"
                f" are not in it, {listed(unknown[:3])} among them; give the list made with it"
            )
    return found


def _bpe_fault(args: argparse.Namespace) -> str | None:
    """Why sentencepiece cannot read a BPE model; ESPnet reads it at the first text."""
    for model in filter(os.path.isfile, bpe_models(vars(args))):
        try:
            sentencepiece.SentencePieceProcessor(model_file=model)
        except RuntimeError as error:
            return f"its BPE model is damaged ({error}); bring it back from a copy"
    return None


def _stream_faults(task: type[TopdownTask], args: argparse.Namespace) -> list[str]:
    """What a stream model says against its texts, which no shape file counts."""
    if args.iterator_type != "task":
        return []
    if isinstance(args.token_list, str):
        args.token_list = read_tokens(Path(args.token_list))
    found = []
    for part in DATA_PARTS:
        options = task.build_iter_options(args, DistributedOption(), part)
        try:
            task.build_task_iter_factory(args, options, part)
        except TopdownError as error:
            found.append(str(error))
    return found


def _mixing_faults(task: type[TopdownTask], args: argparse.Namespace) -> list[str]:
    """What ESPnet says against the noise and the rooms that are to be mixed into the audio."""
    try:
        task.build_preprocess_fn(args, train=True)
    # Whatever a class says against its arguments: they raise what they like.
    except Exception as error:  # noqa: BLE001
        mixed = {name: vars(args)[name] for name in sorted(_MIXED)}
        return [f"its audio cannot be mixed: {error}; see {mixed}"]
    return []


def _built(
    task: type[TopdownTask],
    args: argparse.Namespace,
    models: dict[str, torch.nn.Module],
    *,
    is_untied: bool,
) -> torch.nn.Module:
    """The model of a training, from `models` where one is like it.

    Raises:
        TopdownError: one of its classes refuses its options.
    """
    specaug = {name: getattr(args, name, None) for name in ("specaug", "specaug_conf")}
    key = json.dumps([is_untied, specaug, args.topdown_conf.get("tokens")])
    if key not in models:
        try:
            models[key] = task.build_model(args)
        # Whatever a class says against its arguments: they raise what they like.
        except Exception as error:  # noqa: BLE001
            raise TopdownError(
                f"its model cannot be built: {error}; of the model a phase may change {specaug}"
            ) from None
    return models[key]


def _try_freezing(model: torch.nn.Module, conf: TopdownConf, foreign: Collection[str]) -> None:
    """Freeze a phase's layers, and let go of them again.

    Args:
        model: of the phase.
        conf: the phase.
        foreign: tensors that depend on the vocabulary, where the parent has another.

    Raises:
        TopdownError: as in the training.
    """
    order = model_layers.order_of(model, conf.layers)
    own = kept_of(model, order, conf)
    vocabulary.check_kept(own.tensors, foreign)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        if own.sides.frozen:
            freeze.freeze(model, order, own.sides.frozen, own.frozen)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _optimiser_fault(
    task: type[TopdownTask], args: argparse.Namespace, model: torch.nn.Module
) -> str | None:
    """What the classes of the optimiser and of the scheduler say against their options."""
    what = f"optim {args.optim} with optim_conf {args.optim_conf}"
    hint = "; give 'train: optim_conf' all that it takes (it replaces the base's whole)"
    try:
        (optimiser,) = task.build_optimizers(args, model)
        has_factors = any(learning_rates.FACTOR in group for group in optimiser.param_groups)
        if has_factors and (fault := _ratio_fault(task, args)):
            return f"optim {args.optim} cannot be combined with kept_lr: {fault}"
        if args.scheduler is not None:
            what = f"scheduler {args.scheduler} with scheduler_conf {args.scheduler_conf}"
            hint = "; give 'train: scheduler_conf' all that it takes (it replaces the base's whole)"
            # As ESPnet does (espnet2/tasks/abs_task.py, main_worker).
            scheduler_classes[args.scheduler](optimiser, **args.scheduler_conf)
    except TopdownError as error:
        return str(error)
    # Whatever a class says against its arguments: they raise what they like.
    except Exception as error:  # noqa: BLE001
        return f"{what} cannot be built: {error}{hint}"
    return None


def _ratio_fault(task: type[TopdownTask], args: argparse.Namespace) -> str | None:
    """Why the optimiser does not follow the learning rates of groups."""
    probe = learning_rates.Probe()
    optim_conf = dict(args.optim_conf)
    if optim_conf.get("capturable"):
        # Whether its steps can be a CUDA graph makes no other rates, and needs a GPU.
        optim_conf["capturable"] = False
    plain = argparse.Namespace(**{**vars(args), "topdown_conf": {}, "optim_conf": optim_conf})
    return learning_rates.ratio_fault(probe, task.build_optimizers(plain, probe))


if __name__ == "__main__":
    main()
