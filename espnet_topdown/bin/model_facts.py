"""Write model facts as JSON: the layers, sizes and ties of a training config's model.

With them stands what this ESPnet's parser knows and the epochs trained so far, so that the command
line and the runner need neither torch nor ESPnet. `espnet_topdown.cascade.model_facts` reads them.
"""

import argparse
import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.experiment.task import TASKS
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.training import checkpoint, model_layers, phase_end
from espnet_topdown.training.tasks import TopdownTask, task_of


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
    add("--output", type=Path, required=True, help="JSON file to write")
    return parser


def model_facts(args: argparse.Namespace) -> dict[str, Any]:
    """The facts of the model that ``--config`` describes, as JSON.

    Raises:
        TopdownError: a task that is not trained here, a config or plan that cannot be read, or a
            model outside the table of layers.
    """
    task = task_of(args.task)
    model = task.build_model(argparse.Namespace(**_options(task, args)))
    order = model_layers.order_of(model, read_plan(args.plan).layers if args.plan else None)
    parameters = model_layers.parameter_counts(model, order)
    notes = model_layers.layer_notes(model, order)
    tied_to = model_layers.layers_held_by_ties(model, order)
    layers = [
        {
            "name": layer,
            "parameters": parameters[layer],
            "notes": notes[layer],
            "tied_to": tied_to[layer],
        }
        for layer in order.names
    ]
    facts = {
        "model": type(model).__name__,
        "parts": model_layers.model_parts(model),
        "layers": layers,
        "dropouts": {
            rate.label: sorted(rate.layers) for rate in model_layers.dropouts(model, order)
        },
        "notes": list(order.notes),
        "parser_keys": sorted(vars(task.get_parser().parse_args([]))),
        "versions": {name: version(name) for name in ("espnet", "torch")},
    }
    return facts | _history(args.config.parent)


def _options(task: type[TopdownTask], args: argparse.Namespace) -> dict[str, Any]:
    """The config over the parser's defaults, as ESPnet's own main sees them.

    A token list is made where none is given.
    """
    options = vars(task.get_parser().parse_args([])) | read_config(args.config)
    if options.get("token_list") is None:
        words = map(str, range(args.vocab_size - 3))
        options["token_list"] = ["<blank>", "<unk>", *words, "<sos/eos>"]
    if options.get("input_size") is None and args.input_size:
        options["input_size"] = args.input_size
    # A config before stage 10 has no statistics; they belong to no layer.
    has_statistics = (options.get("normalize_conf") or {}).get("stats_file")
    if isinstance(options.get("normalize"), str) and not has_statistics:
        options["normalize"] = None
    return options


def _history(directory: Path) -> dict[str, Any]:
    """Epochs trained so far: from a phase's own list, the last checkpoint, or else the log."""
    path = directory / checkpoint.CHECKPOINT
    size = path.stat().st_size if path.exists() else 0
    if (directory / EPOCHS).exists():
        epochs = files.read_json(directory / EPOCHS)
    else:
        epochs = _epochs_in(path) or _logged_epochs(directory)
    return {"epochs": epochs, "checkpoint_bytes": size}


def _epochs_in(path: Path) -> list[dict[str, Any]]:
    """The epochs that a checkpoint knows of; none where it is gone, or torn by a kill."""
    if not path.exists():
        return []
    try:
        return phase_end.epochs(checkpoint.reporter_of(checkpoint.load(path)))
    except TopdownError as error:
        logging.warning(f"top-down: {error}; the epochs are read from train.log")
        return []


def _logged_epochs(directory: Path) -> list[dict[str, Any]]:
    progress = read_progress(directory / "train.log")
    return list(progress.results) if progress else []


if __name__ == "__main__":
    main()
