"""Describes the model of a training config for the cascade.

Layers, sizes, ties, and what this ESPnet's parser knows.

Writes JSON, so that the command line and the runner need neither torch nor ESPnet. They are read
by `espnet_topdown.cascade.model_facts`.
"""

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import reported
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.training import checkpoint, freeze, phase_end
from espnet_topdown.training.tasks import task_of


def main(cmd: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.bin.describe --experiment DIR --output FILE``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config",
        type=Path,
        required=True,
        help="config.yaml of an experiment, or a training config",
    )
    parser.add_argument("--task", required=True, help="asr or lm")
    parser.add_argument(
        "--vocab_size", type=int, default=500, help="tokens, where the config has no token list"
    )
    parser.add_argument(
        "--input_size", type=int, help="feature dimension, where the config has no frontend"
    )
    parser.add_argument("--plan", type=Path, help="plan whose layer order is used")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(cmd)
    with reported():
        files.write_json(args.output, describe(args))


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """The facts of the model that ``--config`` describes, as JSON."""
    task = task_of(args.task)
    options = _options(task, args)
    plan = read_plan(args.plan) if args.plan else None
    model = task.build_model(argparse.Namespace(**options))
    order = freeze.order_of(model, plan.layers if plan else None)
    counts, notes = freeze.parameter_counts(model, order), freeze.layer_notes(model, order)
    held = freeze.layers_held_by_ties(model, order)
    facts: dict[str, Any] = {
        "model": type(model).__name__,
        "parts": freeze.model_parts(model),
        "layers": [
            {
                "name": layer.name,
                "parameters": counts[layer.name],
                "notes": notes[layer.name],
                "tied_to": held[layer.name],
            }
            for layer in order.layers
        ],
        "dropouts": {rate.label: sorted(rate.layers) for rate in freeze.dropouts(model, order)},
        "notes": list(order.notes),
        "parser_keys": sorted(vars(task.get_parser().parse_args([]))),
        "versions": {name: version(name) for name in ("espnet", "torch")},
    }
    return facts | _history(args.config.parent)


def _options(task: Any, args: argparse.Namespace) -> dict[str, Any]:
    """The config over the parser's defaults, as ESPnet's own main sees them.

    A token list is made where none is given.
    """
    config = read_config(args.config)
    options = vars(task.get_parser().parse_args([])) | config
    if options.get("token_list") is None:
        options["token_list"] = [
            "<blank>",
            "<unk>",
            *map(str, range(args.vocab_size - 3)),
            "<sos/eos>",
        ]
    if options.get("input_size") is None and args.input_size:
        options["input_size"] = args.input_size
    if isinstance(options.get("normalize"), str) and not (options.get("normalize_conf") or {}).get(
        "stats_file"
    ):
        options["normalize"] = (
            None  # a config before stage 10 has no statistics; they belong to no layer
        )
    return options


def _history(directory: Path) -> dict[str, Any]:
    """Epochs that the experiment was trained for.

    A phase's own list, else from its last checkpoint, else from its log.
    """
    path = directory / "checkpoint.pth"
    if (directory / EPOCHS).exists():
        epochs = files.read_json(directory / EPOCHS)
    elif path.exists():
        epochs = phase_end.epochs(checkpoint.reporter_of(checkpoint.load(path)))
    else:
        progress = read_progress(directory / "train.log")
        epochs = [] if progress is None else list(progress.results)
    return {"epochs": epochs, "checkpoint_bytes": path.stat().st_size if path.exists() else 0}


if __name__ == "__main__":
    main()
