"""What a person reads before and during a cascade: its plan as a table, and how far it is.

What it costs is `espnet_topdown.cascade.costs's to say.

Text only; neither torch nor ESPnet is needed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement, Records, best_value
from espnet_topdown.cascade.launch import failure
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.experiment.phase_dir import LOCK, stopped_at
from espnet_topdown.experiment.schedule import unequal
from espnet_topdown.experiment.train_log import read_progress
from espnet_topdown.plan.expansion import short_of_room
from espnet_topdown.plan.kinds import BASE_KIND, PLAIN
from espnet_topdown.plan.layers import layer_span
from espnet_topdown.plan.plan import BASE, UNTIED, Phase
from espnet_topdown.plan.stopping import MedianStop
from espnet_topdown.table import aligned


def layer_table(layers: Sequence[Mapping[str, Any]]) -> str:
    """Layers from the output to the input.

    Name, parameters, share of the model, what freezing meets there.
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
    """How much of a layer the base's ``freeze_param`` froze; empty where nothing."""
    frozen = layer.get("frozen_by_base", 0)
    if not frozen:
        return ""
    if frozen == layer["parameters"]:
        return "FROZEN by freeze_param"
    return f"{frozen:,} FROZEN by freeze_param"


def plan_table(cascade: Cascade, records: Records, judgement: Judgement | None = None) -> str:
    """The phases with what they freeze and draw; once judged, the dev criterion and verdict too."""
    header = ["phase", "kind", "cut", *_rate_header(cascade), "parent", *_reads_header(cascade)]
    # Kept layers that learn are no fresh ones.
    header += ["seed", "frozen", "trained" if _rate_header(cascade) else "fresh"]
    if cascade.facts.loaded_by_base:
        header.append("loaded")
    header.append("epochs")
    rows = [_plan_base_row(cascade)]
    for phase in cascade.phases:
        rows.append(_plan_row(cascade, phase, records))
    if judgement is not None:
        header += [cascade.criterion.name, "verdict"]
        is_best = judgement.best == BASE
        rows[0] += [_dev(judgement, BASE), "best" if is_best else ""]
        for phase, row in zip(cascade.phases, rows[1:], strict=True):
            row += [_dev(judgement, phase.name), _verdict(judgement, phase, records)]
    return aligned(header, rows)


def _plan_base_row(cascade: Cascade) -> list[str]:
    # No epochs are known of a base whose log and checkpoint are gone.
    epochs = str(len(cascade.facts.epochs) or "?")
    seed = str(cascade.base.seed)
    frozen = cascade.facts.base_frozen
    trained = cascade.facts.total - frozen
    loaded = _loaded_cells(cascade, cascade.facts.loaded_by_base)
    names = [BASE, BASE_KIND, "-", *("-" for _ in _rate_header(cascade)), "-"]
    reads = ["-" for _ in _reads_header(cascade)]
    return [*names, *reads, seed, f"{frozen:,}", f"{trained:,}", *loaded, epochs]


def _plan_row(cascade: Cascade, phase: Phase, records: Records) -> list[str]:
    frozen, total = cascade.facts.frozen_parameters(phase)
    epochs = cascade.max_epoch(phase)
    if phase.name in records:
        epochs = records[phase.name]["epochs"]
    rates = [phase.sides(cascade.facts.names).kept_lr for _ in _rate_header(cascade)]
    names = [phase.name, phase.kind, phase.parting or "-", *rates, phase.parent]
    names += _reads_cells(cascade, phase)
    loaded = _loaded_cells(cascade, cascade.facts.loaded_layers(phase))
    sizes = [f"{frozen:,}", f"{total - frozen:,}", *loaded]
    return [*names, str(phase.seed), *sizes, str(epochs)]


def _rate_header(cascade: Cascade) -> list[str]:
    """A column for factors of kept layers, where the kinds of the phases do not tell them."""
    kinds = {phase.kind for phase in cascade.phases}
    is_said = any(phase.kept_lr is not None for phase in cascade.phases)
    return ["kept_lr"] if is_said or not kinds <= set(PLAIN) else []


def _reads_header(cascade: Cascade) -> list[str]:
    """A column for what phases read instead of the base's lists, where any does."""
    return ["reads"] if any(phase.reads for phase in cascade.phases) else []


def _reads_cells(cascade: Cascade, phase: Phase) -> list[str]:
    return [phase.reads or "-" for _ in _reads_header(cascade)]


def _loaded_cells(cascade: Cascade, layers: Sequence[str]) -> list[str]:
    """Parameters that start from a pre-trained checkpoint, of a model that has any."""
    if not cascade.facts.loaded_by_base:
        return []
    return [f"{cascade.facts.loaded_parameters(layers):,}"]


def _dev(judgement: Judgement, name: str) -> str:
    return _decimals(judgement.dev.get(name))


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _verdict(judgement: Judgement, phase: Phase, records: Records) -> str:
    if phase.name in judgement.skipped:
        return "skipped"
    if phase.name not in judgement.dev:
        return ""
    stopped = stopped_at(records[phase.name])
    end = f", stopped at epoch {stopped} by the median rule" if stopped else ""
    if phase.is_control:
        return f"control{end}"
    if phase.name == judgement.best:
        return f"accepted, best{end}"
    return f"accepted{end}" if judgement.accepted[phase.name] else f"rejected{end}"


def notes(cascade: Cascade) -> list[str]:
    """What the reader must know before starting: about pre-trained parameters, layers and ties."""
    config = cascade.base.config
    lines = list(cascade.facts.data["notes"])
    lines += _dev_notes(cascade)
    asked, own = cascade.parent_model, cascade.base.model_file(cascade.plan)
    if own != asked:
        lines.append(
            f"the base has no {asked}; layers are kept of the {own} that it was packed with"
        )
    if config.get("init_param"):
        lines.append(_init_param_note(cascade))
    lines += _loaded_notes(cascade)
    lines += _rate_notes(cascade)
    lines += _dropout_notes(cascade)
    if config.get("freeze_param"):
        frozen = ", ".join(config["freeze_param"])
        fate = "stays frozen in every phase"
        freed = [phase.name for phase in cascade.phases if "freeze_param" in phase.train]
        if freed:
            fate = f"is trained in {', '.join(freed)}, as the plan says, and stays frozen elsewhere"
        lines.append(f"the base's freeze_param {fate}: {frozen}")
    dropped = cascade.base.dropped_options(cascade.facts.data["parser_keys"])
    if dropped:
        lines.append(
            f"options of a newer ESPnet that stand at their defaults are left out:"
            f" {', '.join(dropped)}"
        )
    lines += _stop_notes(cascade)
    differing = unequal(config, {phase.name: phase.train for phase in cascade.phases})
    if differing:
        lines.append(differing)
    held = cascade.facts.held_from_above()
    lines += short_of_room(cascade.plan, cascade.facts.names, cascade.base.seed, held=held)
    # As `training.phase_start` does where the plan says nothing.
    unsaid = "freeze" if cascade.base.task == "lm" else "not said, so a cut between them is refused"
    ways = ", ".join(sorted({phase.tied or unsaid for phase in cascade.phases}))
    for layer in cascade.facts.data["layers"]:
        if layer["tied_to"]:
            others = ", ".join(layer["tied_to"])
            lines.append(
                f"{layer['name']} shares its matrix with {others}; across a cut: tied: {ways}"
            )
    return lines + _undrawn_notes(cascade.facts, cascade.phases)


def _undrawn_notes(facts: ModelFacts, phases: Sequence[Phase]) -> list[str]:
    """Fresh layers whose matrix is that of a kept layer below, so that it is kept with it."""
    held: dict[tuple[str, str], list[str]] = {}
    for phase in phases:
        if phase.tied in UNTIED:
            continue
        sides = phase.sides(facts.names)
        for place, layer in enumerate(facts.data["layers"]):
            if layer["name"] not in sides.fresh:
                continue
            for other in layer["tied_to"]:
                if other in sides.kept and facts.names.index(other) < place:
                    held.setdefault((layer["name"], other), []).append(phase.name)
    return [
        f"the matrix that {name} shares with {other} is kept with it, not drawn, in"
        f" {', '.join(names)}; 'tied: untie_draw' draws one for {name}"
        for (name, other), names in held.items()
    ]


def _dev_notes(cascade: Cascade) -> list[str]:
    """What phases are judged against, where that is not the base's own dev value."""
    lines = []
    if cascade.base_value is None:
        fate = "phases are not judged against it, but against the first of them"
        if not cascade.facts.epochs and cascade.base.has_valid_data:
            fate = "run measures it first, by validation alone"
        lines.append(
            f"the dev value of {cascade.base.directory} is not known (neither checkpoint.pth nor"
            f" train.log has {cascade.criterion.name}): {fate}"
        )
    for valid_set in dict.fromkeys(phase.valid_set for phase in cascade.phases):
        if valid_set is None:
            continue
        value = cascade.measured({}).get((BASE, valid_set))
        told = "will be measured by run, by validation alone" if value is None else f"{value:.4f}"
        lines.append(
            f"phases with the validation set {valid_set} are judged on it; there {BASE}'s"
            f" {cascade.criterion.name} {'is ' if value is not None else ''}{told}"
        )
    others = list(dict.fromkeys(phase.tokens for phase in cascade.phases if phase.tokens))
    if others:
        lines.append(
            f"phases with another vocabulary ({', '.join(others)}) are judged among themselves:"
            f" over other tokens {cascade.criterion.metric} is no measure of the same kind, so that"
            f" the first of them is accepted, and {BASE} is compared by error rates alone"
        )
    return lines


def _stop_notes(cascade: Cascade) -> list[str]:
    """Which phases the median rule may end, from which epoch on, compared with which."""
    by_stop: dict[MedianStop, list[str]] = {}
    for phase in cascade.phases:
        if phase.stop is not None:
            by_stop.setdefault(phase.stop, []).append(phase.name)
    return [
        f"{', '.join(names)} may be ended after epoch {stop.from_epoch} or later, where dev is"
        f" worse than the median of {', '.join(stop.siblings)} (stop_early)"
        for stop, names in by_stop.items()
    ]


def _loaded_notes(cascade: Cascade) -> list[str]:
    """Which fresh layers are those of a pre-trained checkpoint again, said loudly."""
    phases: dict[tuple[str, ...], list[str]] = {}
    for phase in cascade.phases:
        loaded = cascade.facts.loaded_layers(phase)
        if loaded:
            phases.setdefault(loaded, []).append(phase.name)
    return [
        f"FRESH LAYERS START FROM THEIR PRE-TRAINED CHECKPOINT, THEY ARE NOT DRAWN:"
        f" {layer_span(layers)} ({', '.join(names)})"
        for layers, names in phases.items()
    ]


def _rate_notes(cascade: Cascade) -> list[str]:
    """The factors of the phases whose kept layers learn at different ones, or by decay."""
    lines = []
    for phase in cascade.phases:
        sides = phase.sides(cascade.facts.names)
        if not sides.slow:
            continue  # the cut says what is frozen
        by_factor: dict[float, list[str]] = {}
        for name in reversed(sides.kept):
            by_factor.setdefault(sides.factor(name), []).append(name)
        if len(by_factor) > 1:
            listed = [f"{layer_span(names)} {rate:.3g}" for rate, names in by_factor.items()]
            lines.append(
                f"{phase.name}: factors on the learning rate of kept layers: {'; '.join(listed)}"
            )
    return lines


def _dropout_notes(cascade: Cascade) -> list[str]:
    """Candidates of which no dropout is switched off, though the plan says so."""
    idle = []
    for phase in cascade.phases:
        is_asked = phase.dropout == "off" and not phase.is_control
        if is_asked and not phase.sides(cascade.facts.names).frozen:
            idle.append(phase.name)
    if not idle:
        return []
    return [f"dropout: off acts in frozen layers alone, and there are none in {', '.join(idle)}"]


def _init_param_note(cascade: Cascade) -> str:
    """What becomes of the parameters that the base itself had started from, said loudly."""
    sources = ", ".join(map(str, cascade.base.config["init_param"]))
    if any(phase.init_param == "keep" for phase in cascade.phases):
        fate = "START FROM THE SAME PRE-TRAINED PARAMETERS; 'init_param: drop' draws them"
    else:
        fate = "are drawn instead"
    return f"THE BASE WAS TRAINED WITH init_param ({sources}): fresh layers {fate}"


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
    reads = _reads_header(cascade)
    header = [
        "phase",
        "kind",
        "cut",
        *reads,
        "state",
        "epoch",
        cascade.criterion.name,
        "hours",
        "left",
    ]
    base_epochs = str(len(cascade.facts.epochs))
    rows = [
        [
            BASE,
            BASE_KIND,
            "-",
            *("-" for _ in reads),
            *_State("finished", base_epochs, _dev(judgement, BASE)),
        ]
    ]
    failures = []
    for phase in cascade.phases:
        if phase.name in records:
            state = _finished_state(judgement, phase, records)
        else:
            is_skipped = phase.name in judgement.skipped
            last = attempts.get(phase.name, {})
            state = _open_state(cascade, phase, last, is_skipped=is_skipped)
            if state.state == "failed":
                failures.append(_failure(cascade, phase, last))
        cells = _reads_cells(cascade, phase)
        rows.append([phase.name, phase.kind, phase.parting or "-", *cells, *state])
    owner = files.holder(cascade.paths.lock)
    running = f"run by {owner}" if owner else "not running"
    return "\n".join([aligned(header, rows), *failures, f"best: {judgement.best}; {running}"])


def _failure(cascade: Cascade, phase: Phase, last: Mapping[str, Any]) -> str:
    """Why a phase failed, and where to read more."""
    directory = cascade.paths.phase_dir(phase.name)
    # Ledgers before version 0.2 do not say it.
    reason = last.get("reason") or failure(directory)
    return f"{phase.name} failed: {reason}\n  its log: {directory / 'train.log'}"


def _finished_state(judgement: Judgement, phase: Phase, records: Records) -> _State:
    record = records[phase.name]
    return _State(
        state=_verdict(judgement, phase, records),
        epoch=str(record["epochs"]),
        dev=_dev(judgement, phase.name),
        hours=f"{record['hours']:.2f}",
    )


def _left_as(directory: Path, last: Mapping[str, Any]) -> str:
    """How a phase without a record and without a training stands, and what `run` will do."""
    if not last:
        return "waiting"
    if not directory.exists():
        return "deleted: will be trained anew"
    # Without an end the runner itself was killed, and could not tell.
    outcome = last.get("outcome") if last["event"] == "end" else "killed"
    if outcome == "done":
        return "record deleted: will be made from its files"
    return "failed" if outcome == "failed" else "interrupted: will go on"


def _open_state(
    cascade: Cascade, phase: Phase, last: Mapping[str, Any], *, is_skipped: bool
) -> _State:
    """That of a phase that is not finished; `last` is the ledger's last event of it, if any."""
    directory = cascade.paths.phase_dir(phase.name)
    # The trainer holds this lock, which an earlier run may have left alive.
    is_training = files.holder(directory / LOCK) is not None
    if is_skipped and not is_training:
        return _State("skipped")
    state = "training" if is_training else _left_as(directory, last)
    progress = read_progress(directory / "train.log")
    if progress is None:
        return _State(state)
    curve = cascade.criterion.curve(progress.results)
    return _State(
        state=state,
        epoch=f"{progress.epoch}/{progress.max_epoch}",
        dev=_decimals(best_value(curve, cascade.criterion.mode)),
        # The estimate of an attempt that ended is stale.
        left=(progress.time_left or "") if is_training else "",
    )
