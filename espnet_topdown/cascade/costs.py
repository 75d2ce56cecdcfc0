"""What a plan costs before it is trained: what waits for what, epochs, hours and disk.

Text only; neither torch nor ESPnet is needed.
"""

import shutil
from collections.abc import Mapping, Sequence

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.order import makespan, waits_of
from espnet_topdown.experiment.train_log import trained_epochs
from espnet_topdown.plan.plan import BASE, Phase

BYTES_A_PARAMETER = 4  # float32
# Of the epochs of phases that the median rule could end, the part that it left: the least and the
# most of the two studies of egs2/fsdd, replayed from epoch 10 on (their RESULTS.md has the tables).
EXPERIENCE = (0.33, 0.42)
SHOWN = 6  # names in one cell


def order(cascade: Cascade) -> str:
    """What waits for what: a line for each set of phases that others wait for."""
    waits = waits_of(cascade.phases, cascade.plan)
    after: dict[tuple[str, ...], list[str]] = {}
    for phase in cascade.phases:
        after.setdefault(waits[phase.name].names or (BASE,), []).append(phase.name)
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
    skipped = cascade.judge(records).skipped
    done = {*records, *skipped}
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
    lines = [whole]
    shorter = [_with_stops(cascade, waiting, most, share) for share in (0.0, *EXPERIENCE)]
    if sum(shorter[0].values()) < epochs:
        least, fewer, more = (sum(costs.values()) for costs in shorter)
        low, high = (round(100 * share) for share in EXPERIENCE)
        lines.append(
            f"stop_early: {epochs} epochs without it, {least} with it at least; {fewer} to {more}"
            f" if it leaves {low} to {high} % of what it may end, as in the replay of egs2/fsdd"
        )
    seconds = cascade.facts.seconds_per_epoch()
    if seconds is not None:
        walls = [_wall_h(cascade, records, costs, jobs, seconds) for costs in (most, shorter[-1])]
        with_it = f", {_about(walls[1])} with stop_early" if walls[1] < walls[0] else ""
        lines.append(
            f"--jobs {jobs}: {_about(walls[0])} of wall time at most{with_it}, if side by side a"
            " training is as fast as the base's was"
        )
    return "\n".join(lines)


def _wall_h(
    cascade: Cascade, records: Records, costs: Mapping[str, float], jobs: int, seconds: float
) -> float:
    """Hours until the last phase ends, each taking so many epochs of so many seconds."""
    waits = waits_of(cascade.phases, cascade.plan)
    skipped = cascade.judge(records).skipped
    epochs = makespan(cascade.phases, waits, costs, jobs=jobs, finished=records, skipped=skipped)
    return epochs * seconds / 3600


def _about(hours: float) -> str:
    return f"{hours:.2f} h"


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
    kept = config.get("keep_nbest_models") or 1
    nbest = max(kept) if isinstance(kept, list) else kept
    criteria = len(config.get("best_model_criterion") or [1])
    # The best of each criterion, an average and the epoch under way; the checkpoint before the
    # one that is written stays, in case a kill tears it.
    models = nbest * criteria + 2
    return 2 * checkpoint + models * model


def _free_bytes(cascade: Cascade) -> int:
    """Free disk where the cascade is or, before its first run, will be."""
    directory = cascade.paths.directory
    existing = next(path for path in [directory, *directory.parents] if path.exists())
    return shutil.disk_usage(existing).free
