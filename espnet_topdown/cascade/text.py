"""What a person reads before and during a cascade: its plan as a table, and how far it is.

What it costs is told by `espnet_topdown.cascade.costs`, what a reader should know beside the table
by `espnet_topdown.cascade.notes`.

Text only; neither torch nor ESPnet is needed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from espnet_topdown import locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement, Records, best_value
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.experiment.phase_dir import LOCK, stopped_at
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.kinds import BASE_KIND, PLAIN
from espnet_topdown.plan.plan import BASE, Phase
from espnet_topdown.table import aligned

Cells = dict[str, str]  # header -> cell


def layer_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """Layers from the output to the input.

    Name, parameters, share of the model, what matters for freezing them.
    """
    total = sum(layer["parameters"] for layer in layers)
    rows = []
    for layer in reversed(layers):
        count = layer["parameters"]
        share = 100 * count / max(total, 1)
        notes = ", ".join(filter(None, [_frozen_note(layer), layer["notes"]]))
        rows.append([layer["name"], f"{count:,}", f"{share:.1f}%", notes])
    rows.append(["all", f"{total:,}", "100.0%", ""])
    return aligned(["layer", "parameters", "share", "notes"], rows)


def _frozen_note(layer: Mapping[str, Any]) -> str:
    """How much of a layer the base's ``freeze_param``, or ESPnet's class, froze; else empty."""
    frozen = layer.get("frozen_by_base", 0)
    if not frozen:
        return ""
    by = "its class" if frozen == layer.get("frozen_by_class", 0) else "freeze_param"
    part = "" if frozen == layer["parameters"] else f"{frozen:,} "
    return f"{part}FROZEN by {by}"


def plan_table(cascade: Cascade, records: Records, judgement: Judgement | None = None) -> str:
    """The phases with what they freeze and draw; once judged, the dev criterion and verdict too."""
    rows = [
        _plan_base_row(cascade),
        *(_plan_row(cascade, phase, records) for phase in cascade.phases),
    ]
    if judgement is not None:
        for row in rows:
            name = row["phase"]
            row[cascade.criterion.name] = _dev(judgement, name)
            row["verdict"] = _verdict(judgement, name, records)
    return _aligned(cascade, rows)


def _plan_base_row(cascade: Cascade) -> Cells:
    frozen = cascade.facts.base_frozen
    loaded = cascade.facts.loaded_parameters(cascade.facts.loaded_by_base)
    return {
        "phase": BASE,
        "kind": BASE_KIND,
        "cut": "-",
        "kept_lr": "-",
        "parent": "-",
        "reads": "-",
        "seed": str(cascade.base.seed),
        "frozen": f"{frozen:,}",
        _trained_column(cascade): f"{cascade.facts.total - frozen:,}",
        "loaded": f"{loaded:,}",
        # No epochs are known of a base whose log and checkpoint are gone.
        "epochs": str(len(cascade.facts.epochs) or "?"),
    }


def _plan_row(cascade: Cascade, phase: Phase, records: Records) -> Cells:
    frozen, total = cascade.facts.frozen_parameters(phase)
    loaded = cascade.facts.loaded_parameters(cascade.facts.loaded_layers(phase))
    planned = {"epochs": cascade.max_epoch(phase)}
    return _phase_cells(cascade, phase) | {
        "kept_lr": phase.sides(cascade.facts.names).rates_text,
        "parent": _parent_cell(cascade, phase, records),
        "seed": str(phase.seed),
        "frozen": f"{frozen:,}",
        _trained_column(cascade): f"{total - frozen:,}",
        "loaded": f"{loaded:,}",
        "epochs": str(records.get(phase.name, planned)["epochs"]),
    }


def _phase_cells(cascade: Cascade, phase: Phase) -> Cells:
    """What every table says of a phase."""
    return {
        "phase": phase.name,
        "kind": phase.kind,
        "cut": phase.parting or "-",
        "reads": cascade.reads(phase) or "-",
    }


def _trained_column(cascade: Cascade) -> str:
    # Kept layers that learn are no fresh ones.
    return "trained" if _has_factors(cascade) else "fresh"


def _aligned(cascade: Cascade, rows: Sequence[Cells]) -> str:
    """Rows as text, without the columns that would tell nothing of this cascade."""
    tells = {
        "kept_lr": _has_factors(cascade),
        "reads": any(map(cascade.reads, cascade.phases)),
        "loaded": bool(cascade.facts.loaded_by_base),
    }
    header = [name for name in rows[0] if tells.get(name, True)]
    return aligned(header, [[row[name] for name in header] for row in rows])


def _parent_cell(cascade: Cascade, phase: Phase, records: Records) -> str:
    """The parent's name; of ``best``, once the phase is finished, which phase that was."""
    if phase.parent != "best" or phase.name not in records:
        return phase.parent
    directory = cascade.parent_dir(phase, records)
    is_base = directory.resolve() == cascade.paths.base.resolve()
    return f"{BASE if is_base else directory.name} (best)"


def _has_factors(cascade: Cascade) -> bool:
    """Whether kept layers may learn at factors that the kinds of the phases do not tell."""
    return any(phase.kept_lr is not None or phase.kind not in PLAIN for phase in cascade.phases)


def _dev(judgement: Judgement, name: str) -> str:
    return _decimals(judgement.dev.get(name))


def _decimals(value: float | None, places: int = 4) -> str:
    return "" if value is None else f"{value:.{places}f}"


# Whether a finished phase was accepted, which is not asked of a control.
_ACCEPTED = {True: "accepted", False: "rejected", None: "control"}


def _verdict(judgement: Judgement, name: str, records: Records) -> str:
    """What became of a phase; of one that is not finished "", and of phase 0 whether it is best."""
    is_finished = name in records
    words = [
        "skipped" if name in judgement.skipped else "",
        _ACCEPTED[judgement.accepted.get(name)] if is_finished else "",
        "best" if name == judgement.best else "",
    ]
    stopped = stopped_at(records[name]) if is_finished else None
    if stopped:
        words.append(f"stopped at epoch {stopped} by the median rule")
    return ", ".join(filter(None, words))


class _State(NamedTuple):
    """The cells of `status` that tell where a phase stands."""

    state: str
    epoch: str = ""
    dev: str = ""
    hours: str = ""
    left: str = ""


def status(cascade: Cascade, records: Records) -> str:
    """Every phase with its state, epochs, dev criterion and time left."""
    judgement = cascade.judge(records)
    attempts = Ledger(cascade.paths.ledger).last_attempts()
    base = _State(
        state="finished",
        epoch=str(len(cascade.facts.epochs)),
        dev=_dev(judgement, BASE),
        hours=_decimals(cascade.facts.hours, 2),
    )
    names = {"phase": BASE, "kind": BASE_KIND, "cut": "-", "reads": "-"}
    rows = [names | _state_cells(cascade, base)]
    failures = []
    for phase in cascade.phases:
        if phase.name in records:
            state = _finished_state(judgement, phase, records)
        else:
            last = attempts.get(phase.name, {})
            state = _open_state(cascade, phase, last, judgement)
            if state.state == "failed":
                failures.append(_failure(cascade, phase, last))
        rows.append(_phase_cells(cascade, phase) | _state_cells(cascade, state))
    owner = locks.holder(cascade.paths.lock)
    running = f"run by {owner}" if owner else "not running"
    table = _aligned(cascade, rows)
    return "\n".join([table, *failures, f"best: {judgement.best}; {running}"])


def _state_cells(cascade: Cascade, state: _State) -> Cells:
    return {
        "state": state.state,
        "epoch": state.epoch,
        cascade.criterion.name: state.dev,
        "hours": state.hours,
        "left": state.left,
    }


def _failure(cascade: Cascade, phase: Phase, last: Mapping[str, Any]) -> str:
    """Why a phase failed, and where to read more."""
    directory = cascade.paths.phase_dir(phase.name)
    return f"{phase.name} failed: {last['reason']}\n  its log: {directory / 'train.log'}"


def _finished_state(judgement: Judgement, phase: Phase, records: Records) -> _State:
    record = records[phase.name]
    return _State(
        state=_verdict(judgement, phase.name, records),
        epoch=str(record["epochs"]),
        dev=_dev(judgement, phase.name),
        hours=f"{record['hours']:.2f}",
    )


# How an attempt that ended left its phase, which has no record.
_LEFT_AS = {"done": "record deleted: will be made from its files", "failed": "failed"}


def _left_as(directory: Path, last: Mapping[str, Any]) -> str:
    """How a phase without a record and without a training stands, and what `run` will do."""
    if not last:
        return "waiting"
    if not directory.exists():
        return "deleted: will be trained anew"
    # A start without an end has no outcome: the runner itself was killed, and could not tell.
    return _LEFT_AS.get(last.get("outcome", ""), "interrupted: will go on")


def trains(cascade: Cascade, phase: Phase, last: Mapping[str, Any]) -> bool:
    """Whether a phase is being trained; `last` is the ledger's last event of it, if any."""
    # The trainer holds this lock, which an earlier run may have left alive.
    if locks.holder(cascade.paths.phase_dir(phase.name) / LOCK) is not None:
        return True
    # Nobody holds it while ESPnet is imported, up to a minute, and while the end is proved.
    return last.get("event") == "start" and _is_of_this_run(cascade, last)


def has_failed_now(cascade: Cascade, last: Mapping[str, Any]) -> bool:
    """Whether the run that goes on has tried a phase in vain, and so does not try it again."""
    # Attempts that are closed for an earlier run have no reason.
    return "reason" in last and _is_of_this_run(cascade, last)


def _is_of_this_run(cascade: Cascade, event: Mapping[str, Any]) -> bool:
    owner = locks.holder(cascade.paths.lock)
    if owner is None or owner.since is None:
        return False
    return datetime.fromisoformat(event["time"]).astimezone() >= owner.since


def _open_state(
    cascade: Cascade, phase: Phase, last: Mapping[str, Any], judgement: Judgement
) -> _State:
    """That of a phase that is not finished; `last` is the ledger's last event of it, if any."""
    directory = cascade.paths.phase_dir(phase.name)
    is_training = trains(cascade, phase, last)
    if phase.name in judgement.skipped and not is_training:
        return _State("skipped")
    state = "training" if is_training else _left_as(directory, last)
    progress = read_progress(directory / "train.log")
    if progress is None:
        return _State(state)
    curve = cascade.criterion.curve(progress.results)
    return _State(
        state=state,
        epoch=f"{progress.epoch}/{progress.max_epoch}",
        # ESPnet's log has no more decimals; a 0 behind them would make a gain of rounding.
        dev=_decimals(best_value(curve, cascade.criterion.mode), 3),
        # The estimate of an attempt that ended is stale.
        left=(progress.time_left or "") if is_training else "",
    )
