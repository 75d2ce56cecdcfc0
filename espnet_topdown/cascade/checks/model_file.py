"""Whether the model file that parents are taken from is there and right, of base and phases.

A training that writes no such file would be lost when it is over. Neither torch nor ESPnet is
needed.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.check import list_in
from espnet_topdown.experiment.averages import (
    Criteria,
    average_in,
    averages_of,
    counts_of,
    is_right,
)
from espnet_topdown.experiment.phase_dir import PROOF
from espnet_topdown.plan.plan import Phase
from espnet_topdown.plan.rules import DATA_PARTS


def phase_faults(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why a phase would not write the model file that its record and its children read."""
    config = {**cascade.base.config, **phase.train}
    criteria, kept = _averaged(config)
    if not criteria:
        return
    epochs = cascade.max_epoch(phase)
    # A training that ends before has no average of so many (see `training.averages`).
    counts = [count for count in kept if not epochs or count <= epochs] or [1]
    written = []
    for part, metric, _ in criteria:
        written += [f"{part}.{metric}.ave.pth", f"{part}.{metric}.best.pth"]
    written += [one.file for one in averages_of(criteria, counts)]
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
    criteria, kept = _averaged(base.config)
    average = average_in(model.resolve().name, criteria, kept)
    if average is None or epochs or (base.directory / PROOF).exists():
        return
    if not is_right(model, average, criteria, kept):
        yield (
            f"{model} is an average that ESPnet <= 202511 may have got wrong, and the epoch files"
            " that it is of, or checkpoint.pth, are gone; name another file as parent_model, such"
            " as valid.acc.best.pth"
        )


def _averaged(config: Mapping[str, Any]) -> tuple[Criteria, list[int]]:
    """By what epochs are selected, and how many are averaged."""
    kept = counts_of(config.get("keep_nbest_models") or 1)
    return list_in(config, "best_model_criterion"), kept
