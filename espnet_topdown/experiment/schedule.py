"""Whether the trainings of one study cost the same: one schedule of a fixed length for all.

A schedule that follows a noisy dev set gives each run a length of its own, and what is trained
longer is not what is trained better. Nothing here is refused: whoever only wants a good model may
let dev decide.
"""

from collections.abc import Mapping
from typing import Any

from espnet_topdown.errors import some_of
from espnet_topdown.grouping import grouped


def unequal(base: Mapping[str, Any], phases: Mapping[str, Mapping[str, Any]]) -> str | None:
    """What keeps trainings from having one schedule of a fixed length; None where nothing does.

    Args:
        base: config of the base.
        phases: name of each phase -> its training options that differ from the base's.
    """
    trainings = {"the base": dict(base)}
    for name, train in phases.items():
        trainings[name] = {**base, **train}
    faults = []
    patient = [name for name, options in trainings.items() if is_patient(options)]
    if patient:
        faults.append(f"patience ends a training where dev stands still ({some_of(patient, 3)})")
    following = [name for name, options in trainings.items() if follows_dev(options)]
    if following:
        scheduler = trainings[following[0]]["scheduler"]
        faults.append(f"the scheduler {scheduler} follows dev ({some_of(following, 3)})")
    lengths = grouped(trainings, lambda name: trainings[name].get("max_epoch"))
    if len(lengths) > 1:
        told = [f"{epochs} in {some_of(names, 3)}" for epochs, names in lengths.items()]
        faults.append(f"max_epoch is {', '.join(told)}")
    if not faults:
        return None
    return (
        f"trainings do not all have one schedule of a fixed length: {'; '.join(faults)}. Where ways"
        " of training are compared, give all of them one max_epoch, no patience, and a scheduler"
        " such as onecyclelr or CosineAnnealingLR"
    )


def is_patient(options: Mapping[str, Any]) -> bool:
    """Whether a training ends where dev stands still."""
    # ESPnet reads the word none as null.
    return str(options.get("patience")).casefold() not in ("none", "null")


def follows_dev(options: Mapping[str, Any]) -> bool:
    """Whether the scheduler follows a metric."""
    return "plateau" in str(options.get("scheduler")).casefold()
