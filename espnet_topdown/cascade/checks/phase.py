"""Refuses, before the first phase trains, what would end one of the phases later.

What the plan and the model's facts tell is checked here, what ESPnet must say by
`espnet_topdown.bin.phase_check` in a process of its own.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.cascade import espnet_answers
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks import base_files, freeze, model_file
from espnet_topdown.cascade.other_data import check_lists
from espnet_topdown.cascade.phase_config import averaged_epochs, config_under
from espnet_topdown.experiment import schedule
from espnet_topdown.experiment.quality import measures_quality
from espnet_topdown.plan.kinds import BASE_KIND, KINDS
from espnet_topdown.plan.plan import BASE, Phase
from espnet_topdown.plan.rules import DATA_PARTS

CHECKER = "espnet_topdown.bin.phase_check"
# Options by which an epoch has other batches than the base's.
_BATCHES = ("num_iters_per_epoch", "batch_type", "batch_size", "batch_bins")
# Schedulers that set the learning rate; others multiply that of optim_conf, or go to an eta_min.
_OWN_RATES = (
    *("onecyclelr", "cycliclr", "piecewiselinearwarmuplr"),
    *("cosineannealingwarmuprestarts", "exponentialdecaywarmup"),
)
# Phase 0 as a parent: of the base's own vocabulary, with its weights tied.
_BASE = Phase(name=BASE, kind=BASE_KIND, cut=None, parent=BASE, seed=0)


def check_phases(cascade: Cascade, finished: Collection[str] = ()) -> None:
    """Refuse phases that could not be trained to their end.

    Args:
        cascade: whose phases these are.
        finished: names of those that were; an earlier version may have allowed what this refuses.

    Raises:
        TopdownError: all faults at once.
    """
    check_lists(cascade)
    waiting = [phase for phase in cascade.phases if phase.name not in finished]
    if not waiting:
        return
    title = "the plan cannot be trained to its end"
    check.refuse(_told({phase.name: _faults(cascade, phase) for phase in waiting}), title)
    model = cascade.model_file(cascade.base.directory)
    epochs = averaged_epochs(cascade, model)
    unfit = base_files.faults(cascade.base, [model, *epochs])
    if any(_BASE in _possible_parents(cascade, phase) for phase in waiting):
        unfit += model_file.base_faults(cascade, model, epochs)
    check.refuse(unfit, f"{cascade.base.directory} cannot be begun from")
    # Of all, so that the question stays the same while they are trained.
    answers = _ask_espnet(cascade)
    check.refuse(_told({phase.name: answers[phase.name] for phase in waiting}), title)


def _told(faults: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """The faults of phases, each behind the name of its own."""
    for name, own in faults.items():
        yield from (f"{name}: {fault}" for fault in own)


def _as_trained(cascade: Cascade) -> list[dict[str, Any]]:
    """Each phase with its training config; whose parent is not trained yet is given the base."""
    return [
        {
            "name": phase.name,
            "config": config_under(cascade, phase, cascade.base.directory),
            "changed": list(phase.train),
            "has_own_tokens": _has_own_tokens(cascade, phase),
            "has_own_data": bool(phase.data),
        }
        for phase in cascade.phases
    ]


def _has_own_tokens(cascade: Cascade, phase: Phase) -> bool:
    """Whether the vocabulary of a phase is another than that of what it keeps layers of."""
    own = cascade.vocabulary(phase)
    return any(cascade.vocabulary(parent) != own for parent in _possible_parents(cascade, phase))


def _faults(cascade: Cascade, phase: Phase) -> Iterator[str]:
    yield from freeze.faults(cascade.facts, phase, cascade.base.config)
    yield from _tie_fault(cascade, phase)
    yield from _untie_fault(cascade, phase)
    yield from _stop_fault(cascade, phase)
    yield from _rate_fault(cascade, phase)
    yield from _schedule_fault(cascade, phase)
    yield from _criterion_faults(cascade, phase)
    yield from model_file.phase_faults(cascade, phase)


def _stop_fault(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why the median rule could never end a phase that it is given for."""
    if phase.stop is not None and phase.stop.from_epoch >= cascade.max_epoch(phase):
        yield (
            f"stop_early from epoch {phase.stop.from_epoch} on ends nothing in a training of"
            f" {cascade.max_epoch(phase)} epochs; give a smaller from_epoch, or leave it out"
        )


def _rate_fault(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why no step of a phase would move a weight."""
    config = {**cascade.base.config, **phase.train}
    scheduler = str(config.get("scheduler")).lower()
    least = check.mapping_in(config, "scheduler_conf").get("eta_min")
    is_zero = check.mapping_in(config, "optim_conf").get("lr") == 0
    if is_zero and scheduler not in _OWN_RATES and not least:
        yield "its learning rate is 0 (optim_conf: lr), by which nothing is trained; give another"


def _schedule_fault(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why a schedule ends before its training, which torch refuses to step beyond its last step."""
    config = {**cascade.base.config, **phase.train}
    if config.get("scheduler") != "onecyclelr":
        return
    total = _one_cycle_steps(check.mapping_in(config, "scheduler_conf"))
    batches = _batches_of_an_epoch(cascade, phase, config)
    if total is None or batches is None:
        return
    steps = int(batches / (config.get("accum_grad") or 1))
    epochs = cascade.max_epoch(phase)
    if epochs * steps > total:
        yield (
            f"scheduler onecyclelr ends after {total} steps, and {epochs} epochs of {steps} steps"
            f" are {epochs * steps}: the training would end in an error there; give 'train:"
            " scheduler_conf' with all that it takes a greater total_steps (or epochs and"
            " steps_per_epoch), or a smaller max_epoch"
        )


def _one_cycle_steps(conf: Mapping[str, Any]) -> int | None:
    """The steps of torch's OneCycleLR, which counts by total_steps where both are given."""
    total, epochs, steps = map(conf.get, ("total_steps", "epochs", "steps_per_epoch"))
    if isinstance(total, int):
        return total
    if total is None and isinstance(epochs, int) and isinstance(steps, int):
        return epochs * steps
    return None


def _batches_of_an_epoch(cascade: Cascade, phase: Phase, config: Mapping[str, Any]) -> float | None:
    """As the option says, else as the base had them; None: a phase has batches of its own."""
    asked = config.get("num_iters_per_epoch")
    # Of chunks the option counts samples.
    if isinstance(asked, int) and config.get("iterator_type", "sequence") == "sequence":
        return asked
    rows = cascade.facts.epochs
    has_own_batches = phase.data or phase.tokens or not phase.train.keys().isdisjoint(_BATCHES)
    if not rows or has_own_batches:
        return None
    count: float = rows[-1].get("train", {}).get("total_count", 0)
    return count / len(rows)


def _tie_fault(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why a phase cannot keep layers of a parent whose weights were untied."""
    if phase.unties or not cascade.facts.ties:
        return
    untied = [parent for parent in _possible_parents(cascade, phase) if parent.unties]
    if untied:
        parent = untied[0]
        yield (
            f"its parent {parent.name} has a matrix for each of the tied layers ({parent.tied}),"
            f" and one matrix cannot be made of two; give it 'tied: {parent.tied}' too, or another"
            " parent"
        )


def _untie_fault(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why nothing would be untied, or drawn, as the plan says."""
    if not phase.unties:
        return
    if not cascade.facts.ties:
        yield f"'tied: {phase.tied}' unties nothing: no weights of the base are tied; leave it out"
    parents = _possible_parents(cascade, phase)
    # A control has the size of the phase that it answers, so that its lower end is a copy.
    is_copy = phase.tied == "untie_copy" or phase.is_control
    if is_copy or all(parent.unties for parent in parents):
        return
    kept = {*phase.sides(cascade.facts.names).kept}
    undrawn = [tie.lower for tie in cascade.facts.ties if {tie.lower, tie.upper} <= kept]
    if undrawn:
        yield (
            f"'tied: untie_draw' draws a matrix for {undrawn[0]}, which this phase keeps; give"
            f" 'tied: untie_copy', or draw {undrawn[0]}"
        )


def _possible_parents(cascade: Cascade, phase: Phase) -> list[Phase]:
    """The phase's parent; for ``best``, all that can be it; none of a kind that keeps nothing."""
    if not KINDS[phase.kind].has_parent:
        return []
    if phase.parent == BASE:
        return [_BASE]
    if phase.parent != "best":
        return [cascade.phase(phase.parent)]
    asks = cascade.phase(phase.best_before or phase.name)
    before = cascade.phases[: cascade.phases.index(asks)]
    return [_BASE, *(other for other in before if not other.is_control)]


def _criterion_faults(cascade: Cascade, phase: Phase) -> Iterator[str]:
    """Why a metric that the phase's training follows is none; ESPnet looks it up late.

    Only of what the plan changes: the base was trained with its own.
    """
    config = {**cascade.base.config, **phase.train}
    acting = {
        # Option -> what lets it act, and whether that is so.
        "val_scheduler_criterion": ("scheduler", schedule.follows_dev(config)),
        "early_stopping_criterion": ("patience", schedule.is_patient(config)),
    }
    for option, (switch, acts) in acting.items():
        is_new = option in phase.train or (acts and switch in phase.train)
        asked = config.get(option)
        if is_new and isinstance(asked, list | tuple) and len(asked) > 1:
            yield from _metric_fault(cascade, option, asked)


def _metric_fault(cascade: Cascade, option: str, asked: Sequence[Any]) -> Iterator[str]:
    """Why no epoch of the base has a value of the metric in an option: part, metric and more."""
    metrics: set[str] = set()
    for row, part in product(cascade.facts.epochs, DATA_PARTS):
        # ESPnet notes what a model does not report as NaN.
        values = row.get(part, {}).items()
        metrics.update(f"{part} {name}" for name, value in values if check.is_number(value))
    if metrics and " ".join(map(str, asked[:2])) not in metrics:
        measures = [name for name in sorted(metrics) if measures_quality(name.partition(" ")[2])]
        yield (
            f"train.{option} {list(asked)}: the base reports no such metric; valid:"
            f" {', '.join(measures)}"
        )


def _ask_espnet(cascade: Cascade) -> dict[str, list[str]]:
    """Phase -> what ESPnet says against it."""
    phases = _as_trained(cascade)
    named = espnet_answers.files_named([phase["config"] for phase in phases])
    # Shapes of other data are there from the second call of `run` on, which makes them.
    made = Path(os.path.relpath(cascade.paths.shapes))
    question = espnet_answers.Question(
        module=CHECKER,
        argv=["--task", cascade.base.task],
        inputs={"--phases": phases},
        reads=[path for path in named if made not in path.parents],
        waits_for="trying every phase's options: ESPnet is imported, once for this plan ...",
        failure="the phases cannot be checked",
    )
    return dict(espnet_answers.answer(question, keeps=lambda faults: not any(faults.values())))
