"""Write model facts as JSON: the layers, sizes and ties of a training config's model.

With them stands what this ESPnet's parser knows and the epochs trained so far, so that the command
line and the runner need neither torch nor ESPnet. `espnet_topdown.cascade.model_facts` reads them.
"""

import argparse
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import check, files
from espnet_topdown.check import list_in
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment import averages
from espnet_topdown.experiment.config import RULES, read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.experiment.task import TASKS
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.freeze_param import frozen_by, left_random
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.training import (
    checkpoint,
    model_layers,
    model_options,
    obstacles,
    phase_end,
    pretrained,
    vocabulary,
)
from espnet_topdown.training.layer_notes import layer_notes
from espnet_topdown.training.tasks import task_of


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.bin.model_facts --config FILE --task TASK --output FILE``."""
    args = get_parser().parse_args(argv)
    with reported():
        files.write_json(args.output, model_facts(args))


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.model_facts",
        description="Write the facts of a training config's model as JSON",
    )
    add = parser.add_argument
    add("--config", type=Path, required=True, help="an experiment's config.yaml, or a training's")
    add("--task", required=True, help=f"one of {', '.join(TASKS)}")
    add("--vocab_size", type=int, default=500, help="tokens, where the config has no token list")
    add("--input_size", type=int, help="feature dimension, where the config has no frontend")
    add("--plan", type=Path, help="plan whose layer order is used")
    per_token = "count the parameters that one more token adds; the model is built twice"
    add("--per_token", action="store_true", help=per_token)
    add("--output", type=Path, required=True, help="JSON file to write")
    return parser


def model_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The facts of the model that ``--config`` describes, as JSON.

    Raises:
        TopdownError: a task that is not trained here, a config or plan that cannot be read, or a
            model outside the table of layers.
    """
    task = task_of(args.task)
    config = read_config(args.config)
    options = model_options.options_of(
        task, args.config, vocab_size=args.vocab_size, input_size=args.input_size
    )
    own_order = read_plan(args.plan).layers if args.plan else None
    notes = model_options.notes(task, args.config)
    try:
        obstacles.check(task, options, args.config, has_own_order=bool(own_order))
    except TopdownError as error:
        # Packages alone may not be all that is needed.
        told = [str(error), *(f"{args.config}: {note}" for note in notes)]
        raise TopdownError("\n".join(told)) from None
    model = model_options.build(task, options, args.config)
    order = model_layers.order_of(model, own_order)
    facts: dict[str, Any] = {
        "layers": _layers(model, order, config),
        "dropouts": {
            rate.label: sorted(rate.layers) for rate in model_layers.dropouts(model, order)
        },
        "notes": [
            *order.notes,
            *obstacles.machine_notes(model),
            *obstacles.forward_faults(model),
            *notes,
        ],
        "parser_keys": sorted(vars(task.get_parser().parse_args([]))),
    }
    if args.per_token:
        larger = vocabulary.grown(task.build_model, options)
        facts["per_token"] = _total(larger) - _total(model)
    return facts | _history(args.config.parent, config)


def _layers(
    model: torch.nn.Module, order: LayerOrder, config: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What is known of each layer, lowest first."""
    parameters = model_layers.parameter_counts(model, order)
    notes = layer_notes(model, order)
    tied_to = model_layers.layers_held_by_ties(model, order)
    moving = model_layers.moving_state(model, order)
    counted = _counts_by_layer(model, order, config)
    return [
        {
            "name": layer,
            "parameters": parameters[layer],
            "notes": notes[layer],
            "tied_to": tied_to[layer],
            "moving": moving[layer],
            **{key: counts[layer] for key, counts in counted.items()},
        }
        for layer in order.names
    ]


def _counts_by_layer(
    model: torch.nn.Module, order: LayerOrder, config: Mapping[str, Any]
) -> dict[str, dict[str, int]]:
    """What is counted -> layer -> how many: parameters that a phase cannot train, or need not draw.

    And tensors that it would leave random and untrained, as the base is configured and otherwise.
    """
    by_class = model_layers.untrained(model)
    unreached = model_layers.unreached(model)
    never_trained = {*by_class, *unreached}
    by_config = frozen_by(list_in(config, "freeze_param"), dict(model.named_parameters()))
    counted = {
        "frozen_by_base": _counts(model, order, {*by_config, *never_trained}),
        "frozen_by_class": _counts(model, order, never_trained),
        "loaded": _counts(model, order, order.loaded),
    }
    tensors = dict(model.named_parameters(remove_duplicate=False))
    by_file = pretrained.filled(
        list_in(config, "init_param"),
        model,
        ignore_mismatch=bool(config.get("ignore_init_mismatch")),
    )
    # What a phase would leave random: as the base, and with 'init_param: drop'.
    dropped = {*order.loaded, *unreached}
    for key, filled in (("left_random", dropped | by_file), ("random_if_dropped", dropped)):
        random = left_random(config, tensors, filled, by_class)
        counted[key] = _tensors_in(order, random)
        # With 'train: {freeze_param: []}'.
        random = left_random({**config, "freeze_param": []}, tensors, filled, by_class)
        counted[f"{key}_by_class"] = _tensors_in(order, random)
    return counted


def _total(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _counts(model: torch.nn.Module, order: LayerOrder, names: Collection[str]) -> dict[str, int]:
    """How many of each layer's parameters are those of `names`."""
    parameters = dict(model.named_parameters())
    counts = {}
    for layer in order.layers:
        own = parameters.keys() & set(names) & set(layer.tensors)
        counts[layer.name] = sum(parameters[name].numel() for name in own)
    return counts


def _tensors_in(order: LayerOrder, names: Collection[str]) -> dict[str, int]:
    """How many of each layer's tensors are those of `names`."""
    return {layer.name: len({*names}.intersection(layer.tensors)) for layer in order.layers}


def _history(directory: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Epochs trained so far: from a phase's own list, the last checkpoint, or else the log.

    With them, which of them each average is the mean of, by the ESPnet that recomputes it.
    """
    path = directory / checkpoint.CHECKPOINT
    reporter = _reporter_in(path)
    if (directory / EPOCHS).exists():
        epochs = files.read_rows(directory / EPOCHS)
    else:
        epochs = (phase_end.epochs(reporter) if reporter else []) or _logged_epochs(directory)
    averaged = {}
    # What is wrong with the config of a base is told where it is read as one.
    if reporter and not check.faults(config, RULES):
        counts = averages.counts_of(config.get("keep_nbest_models") or 1)
        criteria = list_in(config, "best_model_criterion")
        averaged = averages.epochs_of(reporter, criteria, counts)
        names = sorted(path.name for path in directory.glob("*.till*epoch.pth"))
        between = [averages.average_in(name, criteria, counts) for name in names]
        averaged |= {one.file: one.epochs(reporter) for one in between if one}
    size = path.stat().st_size if path.exists() else 0
    return {"epochs": epochs, "averaged": averaged, "checkpoint_bytes": size}


def _reporter_in(path: Path) -> Any:
    """ESPnet's reporter in a checkpoint; None where that is gone, or torn by a kill."""
    if not path.exists():
        return None
    try:
        return checkpoint.read_reporter(path)
    except TopdownError as error:
        logging.warning(f"top-down: {error}; the epochs are read from train.log")
        return None


def _logged_epochs(directory: Path) -> list[dict[str, Any]]:
    progress = read_progress(directory / "train.log")
    if progress is None:
        return []  # it ended before its first epoch
    return list(progress.results)


if __name__ == "__main__":
    main()
