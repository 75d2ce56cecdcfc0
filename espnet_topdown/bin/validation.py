"""Write the validation metrics of trained models as JSON: one pass of ESPnet's own validation each.

Nothing is trained. What calls it: `espnet_topdown.cascade.measuring`, for a base whose training
left no dev value or has it of another set.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter

from espnet_topdown import files
from espnet_topdown.errors import reported
from espnet_topdown.experiment.averages import counts_of
from espnet_topdown.training import averages, phase_end
from espnet_topdown.training.model_options import parsed
from espnet_topdown.training.parent import upgraded_state
from espnet_topdown.training.tasks import task_of


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.bin.validation --asked FILE --output FILE [--ngpu 1]``."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.validation",
        description="Write the validation metrics of trained models",
    )
    asked = "JSON: task, config (of the experiment, with the valid set), directory, models"
    parser.add_argument("--asked", type=Path, required=True, help=asked)
    parser.add_argument("--output", type=Path, required=True, help="JSON list of metrics to write")
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="1: on the GPU")
    args = parser.parse_args(argv)
    with reported():
        rows = validate(files.read_object(args.asked), ngpu=args.ngpu)
        files.write_json(args.output, rows)


def validate(asked: Mapping[str, Any], *, ngpu: int) -> list[dict[str, Any]]:
    """The metrics of each model on the valid set of its config, as of an epoch.

    Source: espnet2/train/trainer.py, `Trainer.run` (202511), which validates in the same way.

    Args:
        asked: `task`, `config`, `directory` of the experiment, and `models`, file names in it.
        ngpu: 1 for the GPU.

    Raises:
        TopdownError: a model file that is damaged or of another architecture.
    """
    task = task_of(asked["task"])
    options = parsed(task, asked["config"])
    options.ngpu = ngpu
    options.topdown_conf = {}
    _set_precision(options)
    directory = Path(asked["directory"])
    model = task.build_model(options)
    distributed = DistributedOption(distributed=False)
    iterators = task.build_iter_factory(options, distributed, mode="valid")
    rows = []
    for name in asked["models"]:
        counts = counts_of(options.keep_nbest_models)
        saved = averages.exact_state(directory, name, options.best_model_criterion, counts)
        # Strictly, by way of this ESPnet's upgrade of older model files.
        state = upgraded_state(model, saved, str(directory / name))
        model.load_state_dict(state)
        model.to("cuda" if ngpu else "cpu")
        reporter = Reporter()
        reporter.set_epoch(1)
        with torch.no_grad(), reporter.observe("valid") as observed:
            task.trainer.validate_one_epoch(
                model=model,
                iterator=iterators.build_iter(1),
                reporter=observed,
                options=task.trainer.build_options(options),
                distributed_option=distributed,
            )
        (row,) = phase_end.epochs(reporter)
        rows.append({"model": name, "valid": row["valid"]})
        model.cpu()
    return rows


def _set_precision(options: argparse.Namespace) -> None:
    """As the training that the values are compared with.

    Source: espnet2/tasks/abs_task.py, `main_worker` (202511).
    """
    torch.backends.cudnn.enabled = options.cudnn_enabled
    torch.backends.cudnn.benchmark = options.cudnn_benchmark
    torch.backends.cudnn.deterministic = options.cudnn_deterministic
    # ESPnet 202301 has no such option.
    if getattr(options, "use_tf32", False):
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


if __name__ == "__main__":
    main()
