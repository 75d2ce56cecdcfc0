"""What a reader of a plan should know beside its table, a line each."""

from collections.abc import Sequence

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.experiment.schedule import unequal
from espnet_topdown.plan.expansion import short_of_room
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.plan.plan import BASE, UNTIED, Phase
from espnet_topdown.plan.stopping import MedianStop


def plan_notes(cascade: Cascade) -> list[str]:
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
        # All that a plan can say of it is that nothing is frozen.
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
    lines += _tie_notes(cascade.facts, cascade.phases)
    return lines + _undrawn_notes(cascade.facts, cascade.phases)


def _tie_notes(facts: ModelFacts, phases: Sequence[Phase]) -> list[str]:
    """What becomes of each matrix that two layers share, and in which phases."""
    lines = []
    for lower, upper in facts.ties:
        fates: dict[str, list[str]] = {}
        for phase in phases:
            fates.setdefault(_fate(phase, facts, (lower, upper)), []).append(phase.name)
        told = "; ".join(f"{fate} in {', '.join(names)}" for fate, names in fates.items())
        lines.append(f"{lower} and {upper} share a matrix: {told}")
    return lines


def _fate(phase: Phase, facts: ModelFacts, ends: Sequence[str]) -> str:
    """What becomes of a matrix at both of its ends; that it may not is told before."""
    if phase.tied in UNTIED:
        return f"one for each ({phase.tied})"
    sides = phase.sides(facts.names)
    kept = [name for name in ends if name in sides.kept]
    if not kept:
        return "drawn"
    factor = sides.factor(kept[0])
    if factor == 0:
        return "frozen"
    return "trained" if factor == 1 else f"trained at {factor:.3g} of the learning rate"


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
    others = list(dict.fromkeys(filter(None, map(cascade.vocabulary, cascade.phases))))
    for tokens in dict.fromkeys(phase.tokens for phase in cascade.phases if phase.tokens):
        if tokens not in others:
            lines.append(f"tokens {tokens} lists the base's own tokens: no other vocabulary")
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
        # A control has what the phase that it answers has, wanted or not.
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
