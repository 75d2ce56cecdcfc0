"""What a person reads before and during a cascade.

The plan as a table, its cost, and how far it is.

Text only; neither torch nor ESPnet is needed.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade, Judgement
from espnet_topdown.experiment.phase_dir import LOCK, read_record
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.kinds import BASE_KIND
from espnet_topdown.plan.plan import BASE, Phase
from espnet_topdown.table import aligned


def layer_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """Layers from the output to the input.

    Name, parameters, share of the model, what freezing meets there.
    """
    total = sum(layer["parameters"] for layer in layers)
    rows = [["layer", "parameters", "share", "notes"]]
    for layer in reversed(layers):
        count = layer["parameters"]
        rows.append(
            [layer["name"], f"{count:,}", f"{100 * count / max(total, 1):.1f}%", layer["notes"]]
        )
    return aligned(rows[0], [*rows[1:], ["all", f"{total:,}", "100.0%", ""]])


def plan_table(cascade: Cascade, judgement: Judgement | None = None) -> str:
    """The phases with what they freeze and draw, and, once judged, the dev criterion and the
    verdict.
    """
    head = ["phase", "kind", "cut", "parent", "seed", "frozen", "fresh", "epochs"]
    rows = [head + ([cascade.dev_name, "verdict"] if judgement else [])]
    base_epochs = str(len(cascade.facts.epochs) or "?")
    base = [
        BASE,
        BASE_KIND,
        "-",
        "-",
        str(cascade.base.seed),
        "0",
        f"{cascade.facts.total:,}",
        base_epochs,
    ]
    rows.append(
        base
        + ([_dev(judgement, BASE), "best" if judgement.best == BASE else ""] if judgement else [])
    )
    for phase in cascade.phases:
        frozen, total = cascade.facts.frozen_parameters(phase)
        record = read_record(cascade.phase_dir(phase))
        epochs = str(record["epochs"]) if record else str(_max_epoch(cascade, phase))
        row = [phase.name, phase.kind, phase.cut or "-", phase.parent, str(phase.seed)]
        row += [f"{frozen:,}", f"{total - frozen:,}", epochs]
        rows.append(
            row + ([_dev(judgement, phase.name), _verdict(judgement, phase)] if judgement else [])
        )
    return aligned(rows[0], rows[1:])


def _dev(judgement: Judgement, name: str) -> str:
    return f"{judgement.dev[name]:.4f}" if name in judgement.dev else ""


def _verdict(judgement: Judgement, phase: Phase) -> str:
    if phase.name in judgement.skipped:
        return "skipped"
    if phase.name not in judgement.dev:
        return ""
    if phase.is_control:
        return "control"
    verdict = "accepted" if judgement.accepted[phase.name] else "rejected"
    return f"{verdict}, best" if judgement.best == phase.name else verdict


def _max_epoch(cascade: Cascade, phase: Phase) -> int:
    return int(phase.train.get("max_epoch", cascade.base.config.get("max_epoch") or 0))


def notes(cascade: Cascade) -> list[str]:
    """What the reader must know before starting.

    Pre-trained parameters, conditioning layers, ties.
    """
    found = list(cascade.facts.data["notes"])
    if cascade.base.config.get("init_param"):
        kept = any(phase.init_param == "keep" for phase in cascade.phases)
        found.append(
            "THE BASE WAS TRAINED WITH init_param"
            f" ({', '.join(map(str, cascade.base.config['init_param']))}): fresh layers "
            + (
                "START FROM THE SAME PRE-TRAINED PARAMETERS; 'init_param: drop' draws them"
                if kept
                else "are drawn instead"
            )
        )
    if cascade.base.config.get("freeze_param"):
        found.append(
            "the base's freeze_param stays frozen in every phase:"
            f" {', '.join(cascade.base.config['freeze_param'])}"
        )
    for layer in cascade.facts.data["layers"]:
        if layer["tied_to"] and (tied := {p.tied or "freeze" for p in cascade.phases}):
            others = ", ".join(layer["tied_to"])
            found.append(
                f"{layer['name']} shares its matrix with {others}; across a cut: tied:"
                f" {', '.join(sorted(tied))}"
            )
    return found


def estimate(cascade: Cascade) -> str:
    """Disk and hours that the phases not yet finished may take, from the base's epoch time and
    checkpoint size.
    """
    waiting = [p for p in cascade.phases if not cascade.is_done(p)]
    if not waiting:
        return "every phase is finished"
    epochs = sum(_max_epoch(cascade, phase) for phase in waiting)
    seconds = cascade.facts.seconds_per_epoch()
    hours = (
        "unknown (the base's epoch time is not recorded)"
        if seconds is None
        else f"{epochs * seconds / 3600:.2f} h at most"
    )
    config = cascade.base.config
    kept = config.get("keep_nbest_models") or 1
    models = (max(kept) if isinstance(kept, list) else kept) * len(
        config.get("best_model_criterion") or [1]
    ) + 2
    checkpoint = cascade.facts.data["checkpoint_bytes"]
    model = 4 * cascade.facts.total
    size = len(waiting) * (2 * (checkpoint or 3 * model) + model * models)
    free = shutil.disk_usage(
        next(p for p in [cascade.directory, *cascade.directory.parents] if p.exists())
    ).free
    return (
        f"{len(waiting)} phase(s) to train, {epochs} epochs at most: {hours}; disk {size / 1e9:.2f}"
        f" GB at most, {free / 1e9:.1f} GB free"
    )


def status(cascade: Cascade) -> str:
    """Every phase with its state, epochs, dev criterion and time left."""
    judgement = cascade.judge()
    rows = [["phase", "kind", "cut", "state", "epoch", cascade.dev_name, "hours", "left"]]
    rows.append(
        [
            BASE,
            BASE_KIND,
            "-",
            "finished",
            str(len(cascade.facts.epochs)),
            _dev(judgement, BASE),
            "",
            "",
        ]
    )
    outcomes = {
        e["phase"]: e.get("outcome") for e in cascade.ledger.events() if e["event"] == "end"
    }
    for phase in cascade.phases:
        rows.append(
            [
                phase.name,
                phase.kind,
                phase.cut or "-",
                *_state(cascade, judgement, phase, outcomes.get(phase.name)),
            ]
        )
    runner = files.holder(cascade.directory / ".lock")
    return (
        aligned(rows[0], rows[1:])
        + f"\nbest: {judgement.best}; "
        + (f"run by {runner}" if runner else "not running")
    )


def _state(cascade: Cascade, judgement: Judgement, phase: Phase, outcome: str | None) -> list[str]:
    """state, epoch, dev, hours, time left of one phase."""
    directory = cascade.phase_dir(phase)
    record = read_record(directory)
    if record:
        return [
            _verdict(judgement, phase),
            str(record["epochs"]),
            _dev(judgement, phase.name),
            f"{record['hours']:.2f}",
            "",
        ]
    progress = read_progress(directory / "train.log")
    best = cascade.best_value(cascade.curve(progress.results)) if progress else None
    dev = f"{best:.4f}" if best is not None else ""
    epoch = f"{progress.epoch}/{progress.max_epoch}" if progress else ""
    if files.holder(directory / LOCK):
        return ["training", epoch, dev, "", (progress and progress.time_left) or ""]
    if phase.name in judgement.skipped:
        return ["skipped", "", "", "", ""]
    return [outcome or "waiting", epoch, dev, "", ""]
