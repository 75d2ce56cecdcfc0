"""Whether a base can be cascaded from: it is finished, can be judged, and is still what it was.

Phases are judged against the base of their first run; one that was trained on since is another.
Neither torch nor ESPnet is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import archives, check, files
from espnet_topdown.cascade.header import read_header
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_dir import RECORD
from espnet_topdown.experiment.quality import criterion_fault
from espnet_topdown.experiment.train_log import finished_epochs
from espnet_topdown.plan.plan import Plan


def check_finished(base: Experiment, plan: Plan) -> None:
    """Refuse a base without its model file by its log alone, before its model is built.

    Raises:
        TopdownError: it has a log, and no model that phases could begin from.
    """
    model = base.directory / base.model_name(plan)
    if (base.directory / "train.log").exists() and not model.exists():
        _refuse(base, [_missing_model(base, model, finished_epochs(base.directory))])


def check_ready(base: Experiment, plan: Plan, rows: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a base that no phase can keep layers of, or that cannot be judged.

    Args:
        base: the base.
        plan: may name the dev criterion and the parent's model file.
        rows: the base's epochs; none where they are not known.

    Raises:
        TopdownError: all faults at once.
    """
    fault = criterion_fault(base.dev_criterion(plan), rows, source=str(base.directory))
    faults = [fault] if fault else []
    model = base.directory / base.model_name(plan)
    if not model.exists():
        faults.append(_missing_model(base, model, len(rows)))
    _refuse(base, faults)


def _refuse(base: Experiment, faults: Sequence[str]) -> None:
    check.refuse(faults, f"{base.directory} cannot be the base of this plan")


def _missing_model(base: Experiment, model: Path, epochs: int) -> str:
    """What to do about a base without the model file that a phase keeps layers of."""
    planned = base.config.get("max_epoch") or 0
    averages = base.averages()
    has_averages = any(".ave" in name for name in averages)
    if not has_averages and epochs < planned:
        return (
            f"its training is not finished ({epochs} of {planned} epochs, no averaged model);"
            " finish it first, as by run.sh --stage 11"
        )
    return (
        f"it has no {model.name}, which the dev criterion asks for (there: {listed(averages)});"
        " name one of these as parent_model, or give another dev_criterion"
    )


def check_as_judged(paths: CascadePaths, model: Path) -> None:
    """Refuse a base that is no longer the one that finished phases were judged against.

    Args:
        paths: of the cascade, which may not be there yet.
        model: the base's model file.

    Raises:
        TopdownError: the base was trained on, or replaced.
    """
    change = base_change(paths, model)
    if change:
        raise TopdownError(f"{change}; bring back what it was, or give another --dir")


def base_change(paths: CascadePaths, model: Path) -> str | None:
    """How the base differs from the one that phases were judged against; None where it does not.

    Args:
        paths: of the cascade.
        model: the base's model file.
    """
    then = {}
    for place in paths.recorded():
        record = files.read_object(place / RECORD, base=check.MAPPING)
        then[place.name] = record["base"].get("model_sha256")
    if not then:
        return None
    now = files.sha256(model) if model.exists() else None
    changed = [name for name, digest in then.items() if digest != now]
    if not changed:
        return _seed_change(paths)
    if now is None:
        what = f"lost {model.name}"
    elif archives.damage(model):
        what = f"was damaged ({model.name})"
    else:
        what = "was trained on"
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    since = f"since {changed[0]}{more} began from it and was judged against it"
    return f"the base {paths.base} {what} {since}"


def _seed_change(paths: CascadePaths) -> str | None:
    """How the seed in the base's config differs from the one that it was trained with."""
    then = read_header(paths.header).get("seed")
    now = Experiment.read(paths.base).seed
    if then in (None, now):
        return None
    return (
        f"the base {paths.base} was trained with seed {then}, and its config.yaml, which was"
        f" written anew since, says {now}"
    )
