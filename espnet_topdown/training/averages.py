"""Averages of a training's best epochs, exact where ESPnet's may be wrong.

They are written anew for our own phases and recomputed when they are read from other experiments.
"""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.averages import (
    Average,
    Criteria,
    average_in,
    averages_of,
    is_right,
)
from espnet_topdown.experiment.phase_dir import PROOF
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.training.checkpoint import (
    CHECKPOINT,
    State,
    load_state,
    read_reporter,
    save,
)


def mean(states: Iterable[State]) -> State:
    """Mean of state dicts, summed in the order given; integer tensors are summed, as ESPnet does.

    Source: main_funcs/average_nbest_models.py of ESPnet 202611, whose result this equals bit for
    bit.
    """
    # One at a time, as all together may not fit in memory.
    rest = iter(states)
    total: State = dict(next(rest))
    count = 1
    for state in rest:
        count += 1
        for name, tensor in state.items():
            total[name] = total[name] + tensor
    for name, tensor in total.items():
        if not str(tensor.dtype).startswith("torch.int"):
            total[name] = tensor / count
    return total


def exact_state(directory: Path, name: str, criteria: Criteria, counts: Sequence[int]) -> State:
    """The weights in a trained experiment's model file, averages recomputed from their epochs.

    Args:
        directory: the experiment.
        name: a model file in it, such as ``valid.acc.ave.pth``.
        criteria: the experiment's ``best_model_criterion``.
        counts: the experiment's ``keep_nbest_models``.

    Raises:
        TopdownError: no such file; or an average that may be wrong and whose epoch files are gone.
    """
    path = directory / name
    if not path.exists():
        names = sorted(there.name for there in directory.glob("*.pth"))
        raise TopdownError(
            f"no model file {path}; the directory has: {listed(names, 'no model file')};"
            " parent_model names another"
        )
    _check_measured(directory, name)
    # Names without the count, such as valid.acc.ave.pth, are links.
    average = average_in(path.resolve().name, criteria, counts)
    is_ours = (directory / PROOF).exists()
    if average is None or is_ours:
        return load_state(path)
    sources = _sources(directory, average)
    if sources:
        return mean(map(load_state, sources))
    if is_right(path, average, criteria, counts):
        return load_state(path)
    raise TopdownError(
        f"{path} is an average that ESPnet <= 202511 may have got wrong (it kept {len(criteria)}"
        " criteria), and it cannot be recomputed, since the epoch files or checkpoint.pth are"
        " gone. Name another file as parent_model, such as valid.acc.best.pth"
    )


def is_measured(directory: Path, part: str, metric: str) -> bool:
    """Whether an epoch has a finite value of a metric, or nothing tells.

    ESPnet notes what a model does not report, such as ``acc`` of CTC alone, as NaN (202511), and
    its "best" epochs are then the first.
    """
    try:
        reporter = read_reporter(directory / CHECKPOINT)
    except TopdownError:
        # Packed without it, or torn.
        return True
    epochs = range(1, reporter.get_epoch() + 1)
    # Not every epoch need have it.
    having = [epoch for epoch in epochs if reporter.has(part, metric, epoch)]
    values = [reporter.get_value(part, metric, epoch) for epoch in having]
    return not values or any(map(math.isfinite, values))


def _check_measured(directory: Path, name: str) -> None:
    """Refuse a model file that is selected by a metric without a value."""
    part, metric, *_ = [*name.split("."), ""]
    if part in DATA_PARTS and not is_measured(directory, part, metric):
        raise TopdownError(
            f"{directory / name} was selected by {part} {metric}, which is finite in no epoch;"
            " parent_model names another file, such as valid.loss.ave.pth"
        )


def _sources(directory: Path, average: Average) -> list[Path]:
    """The epoch files of an average, none where one is gone or where nothing tells the best."""
    if not (directory / CHECKPOINT).exists():
        return []
    try:
        reporter = read_reporter(directory / CHECKPOINT)
    except TopdownError as error:
        # Torn by a kill: the average may be whole all the same.
        logging.warning(f"top-down: {error}; averages are not recomputed")
        return []
    sources = [directory / epoch for epoch in average.epochs(reporter)]
    # Without one of them the mean is another.
    return sources if all(map(Path.exists, sources)) else []


def write_averages(
    directory: Path, reporter: Any, criteria: Criteria, counts: Sequence[int], frozen: State
) -> list[str]:
    """Write the averaged models that ESPnet would, frozen tensors as they are and not averaged.

    Source: main_funcs/average_nbest_models.py (ESPnet 202611) for names, links and which epochs.

    Args:
        directory: of the training, whose epoch files are there.
        reporter: ESPnet's, after the last epoch.
        criteria: ``best_model_criterion``.
        counts: ``keep_nbest_models``.
        frozen: frozen tensors with their values.

    Returns:
        the files that the averages' names stand for, in order and with repetitions.
    """
    written = []
    for criterion in criteria:
        part, metric, mode = criterion
        if not reporter.has(part, metric):
            continue
        epochs = range(1, 1 + len(reporter.sort_epochs(part, metric, mode)))
        # A training that ended early has no average of more epochs than it has.
        possible = [count for count in counts if count in epochs] or [1]
        for average in averages_of([criterion], possible):
            written.append(_write_average(directory, average, average.epochs(reporter), frozen))
        (largest,) = averages_of([criterion], [max(possible)])
        files.link(directory / f"{part}.{metric}.ave.pth", largest.file)
    return written


def _write_average(directory: Path, average: Average, epochs: Sequence[str], frozen: State) -> str:
    path = directory / average.file
    # As ESPnet does: a single epoch is linked.
    if average.count == 1:
        files.link(path, epochs[0])
        return epochs[0]
    averaged = mean(load_state(directory / epoch) for epoch in epochs)
    # The mean of equal numbers may differ from them by a rounding.
    save(averaged | frozen, path)
    return average.file
