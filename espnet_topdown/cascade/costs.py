"""What a plan costs before it is trained: what waits for what, epochs, hours and disk.

Text only; neither torch nor ESPnet is needed.
"""

import shutil
from collections.abc import Mapping, Sequence

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.order import makespan, waits_of
from espnet_topdown.experiment.averages import counts_of
from espnet_topdown.experiment.train_log import trained_epochs
from espnet_topdown.plan.plan import BASE, Phase, names_by

BYTES_A_PARAMETER = 4  # float32
# Of the epochs of phases that the median rule could end, the part that it left: the least and the
# most of the two studies of egs2/fsdd, replayed from epoch 10 on (their RESULTS.md has the tables).
EXPERIENCE = (0.33, 0.42)
SHOWN = 6  # names in one cell


def order(cascade: Cascade) -> str:
    """What waits for what: a line for each set of phases that others wait for."""
    waits = waits_of(cascade.phases, cascade.plan)
    after = names_by(cascade.phases, lambda phase: waits[phase.name].names or (BASE,))
    rows = [(_listed(before), _listed(names)) for before, names in after.items()]
    width = max(len(before) for before, _ in rows)
    lines = [f"  {before:<{width}} -> {names}" for before, names in rows]
    return "\n".join(["what waits for what:", *lines])


def _listed(names: Sequence[str]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN - 2])}, ... {names[-1]} ({len(names)} phases)"


def estimate(cascade: Cascade, records: Records, *, jobs: int = 1) -> str:
    """Epochs, hours, wall time and disk that the phases not yet finished may take.

    Args:
        cascade: whose phases these are.
        records: of the finished ones.
        jobs: trainings side by side.
    """
    done = {*records, *cascade.judge(records).skipped}
    waiting = [phase for phase in cascade.phases if phase.name not in done]
    if not waiting:
        return "every phase is finished"
    most = {phase.name: _epochs_left(cascade, phase) for phase in waiting}
    epochs = sum(most.values())
    size = len(waiting) * _phase_bytes(cascade)
    whole = (
        f"{len(waiting)} phase(s) to train, {epochs} epochs at most: {_hours(cascade, epochs)};"
        f" disk {size / 1e9:.2f} GB at most, {_free_bytes(cascade) / 1e9:.1f} GB free"
    )
    # At least, and by experience.
    shorter = [_with_stops(cascade, waiting, most, share) for share in (0.0, *EXPERIENCE)]
    lines = [
        whole,
        _saved(most, *shorter),
        _wall(cascade, records, most, shorter[-1], jobs),
    ]
    return "\n".join(filter(None, lines))


def _saved(
    most: Mapping[str, int],
    least: Mapping[str, int],
    fewer: Mapping[str, int],
    more: Mapping[str, int],
) -> str:
    """What the median rule saves; nothing where it could end nothing."""
    full, at_least, low, high = (sum(costs.values()) for costs in (most, least, fewer, more))
    if at_least == full:
        return ""
    shares = " to ".join(f"{100 * share:.0f}" for share in EXPERIENCE)
    # Of a short training both can be the same number.
    epochs = " to ".join(dict.fromkeys([str(low), str(high)]))
    return (
        f"stop_early: {full} epochs without it, {at_least} with it at least; {epochs} if it"
        f" leaves {shares} % of what it may end, as in the replay of egs2/fsdd"
    )


def _wall(
    cascade: Cascade,
    records: Records,
    most: Mapping[str, int],
    shorter: Mapping[str, int],
    jobs: int,
) -> str:
    """When the last phase ends; nothing where the base's epoch time is not recorded."""
    seconds = cascade.facts.seconds_per_epoch()
    if seconds is None:
        return ""
    waits = waits_of(cascade.phases, cascade.plan)
    skipped = cascade.judge(records).skipped
    hours = []
    for costs in (most, shorter):
        epochs = makespan(
            cascade.phases, waits, costs, jobs=jobs, finished=records, skipped=skipped
        )
        hours.append(epochs * seconds / 3600)
    whole, with_stops = hours
    told = f"{whole:.2f} h of wall time at most"
    if with_stops < whole:
        told += f", {with_stops:.2f} h with stop_early"
    return f"--jobs {jobs}: {told}, if side by side a training is as fast as the base's was"


def _with_stops(
    cascade: Cascade, phases: Sequence[Phase], most: Mapping[str, int], share: float
) -> dict[str, int]:
    """The epochs of each phase where those that may be ended are trained for `share` of theirs.

    None ends before the first epoch that can end it.
    """
    costs = {}
    for phase in phases:
        epochs = most[phase.name]
        if phase.stop is not None:
            planned = cascade.max_epoch(phase)
            trained = planned - epochs
            left = max(phase.stop.from_epoch, round(share * planned)) - trained
            epochs = min(epochs, max(0, left))
        costs[phase.name] = epochs
    return costs


def _epochs_left(cascade: Cascade, phase: Phase) -> int:
    """The most epochs that a phase still takes: one that was begun goes on where it was."""
    directory = cascade.paths.phase_dir(phase.name)
    return max(0, cascade.max_epoch(phase) - trained_epochs(directory))


def _hours(cascade: Cascade, epochs: int) -> str:
    seconds = cascade.facts.seconds_per_epoch()
    if seconds is None:
        return "unknown (the base's epoch time is not recorded)"
    return f"{epochs * seconds / 3600:.2f} h at most"


def _phase_bytes(cascade: Cascade) -> int:
    """The most that one phase leaves on the disk."""
    config = cascade.base.config
    model = BYTES_A_PARAMETER * cascade.facts.total
    # An optimiser such as Adam keeps two more numbers for each parameter.
    checkpoint = cascade.facts.data["checkpoint_bytes"] or 3 * model
    counts = counts_of(config.get("keep_nbest_models") or 1)
    criteria = len(config.get("best_model_criterion") or [1])
    # Of each criterion the best epochs and the averages; the epoch under way. The checkpoint before
    # the one that is written stays, in case a kill tears it.
    models = (max(counts) + len(counts)) * criteria + 1
    return 2 * checkpoint + models * model


def _free_bytes(cascade: Cascade) -> int:
    """Free disk where the cascade is or, before its first run, will be."""
    directory = cascade.paths.directory
    existing = next(path for path in [directory, *directory.parents] if path.exists())
    return shutil.disk_usage(existing).free
