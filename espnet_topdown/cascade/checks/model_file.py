"""Whether the model file that parents are taken from is there and right, of base and phases.

A training that writes no such file would be lost when it is over. Neither torch nor ESPnet is
needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.check import list_in
from espnet_topdown.experiment.phase_dir import PROOF
from espnet_topdown.plan.plan import Phase
from espnet_topdown.plan.rules import DATA_PARTS


def phase_faults(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why a phase would not write the model file that its record and its children read."""
    config = {**cascade.base.config, **phase.train}
    selected = _selected(config)
    if not selected:
        return
    epochs = cascade.max_epoch(phase)
    # A training that ends before has no average of so many (see `training.averages`).
    counts = [count for count in _counts(config) if not epochs or count <= epochs] or [1]
    endings = ["ave", "best", *(f"ave_{count}best" for count in counts)]
    written = [f"{name}.{ending}.pth" for name, ending in product(selected, endings)]
    if cascade.phase_model_name not in (*written, "latest.pth", f"{epochs}epoch.pth"):
        yield (
            f"it would write no {cascade.phase_model_name}, the model that parents are taken from;"
            f" give parent_model (or dev_criterion) of one of {', '.join(written)}"
        )


def base_faults(cascade: Cascade, model: Path, epochs: Sequence[Path]) -> Iterator[str]:
    """Why a model of the base is not taken, as `espnet_topdown.training.averages` refuses it.

    Args:
        cascade: of the base.
        model: its model file.
        epochs: the files of epochs that this is computed anew from; none where they are gone.
    """
    base, rows = cascade.base, cascade.facts.epochs
    part, metric, *_ = [*model.name.split("."), ""]
    values = [row.get(part, {}).get(metric) for row in rows]
    # ESPnet notes what a model does not report as NaN, which selects the first epochs.
    if part in DATA_PARTS and rows and not any(map(check.is_number, values)):
        yield (
            f"{model} was selected by {part} {metric}, which is finite in no epoch; name another"
            " file as parent_model, such as valid.loss.ave.pth"
        )
    names = product(_selected(base.config), _counts(base.config))
    averages = [f"{name}.ave_{count}best.pth" for name, count in names if count > 1]
    if epochs or (base.directory / PROOF).exists():
        return
    # The first is right in every version of ESPnet, and one that was packed alone is known.
    is_alone = [path for path in base.directory.glob("*.pth") if path.exists()] == [model]
    if model.resolve().name in averages[1:] and not is_alone:
        yield (
            f"{model} is an average that ESPnet <= 202511 may have got wrong, and the epoch files"
            " that it is of, or checkpoint.pth, are gone; name another file as parent_model, such"
            " as valid.acc.best.pth"
        )


def _selected(config: Mapping[str, Any]) -> list[str]:
    """How the names of model files begin, such as ``valid.acc``."""
    return [f"{part}.{metric}" for part, metric, _ in list_in(config, "best_model_criterion")]


def _counts(config: Mapping[str, Any]) -> list[int]:
    """How many epochs are averaged."""
    kept = config.get("keep_nbest_models", 1)
    return kept if isinstance(kept, list) else [kept]
