"""What a reader of a plan should know beside its table, a line each."""

from collections.abc import Sequence
from functools import partial

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.model_facts import ModelFacts, SharedMatrix
from espnet_topdown.check import list_in
from espnet_topdown.experiment.schedule import unequal
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.expansion import short_of_room
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.plan.plan import BASE, Phase, names_by


def plan_notes(cascade: Cascade) -> list[str]:
    """What the reader must know before starting: about pre-trained parameters, layers and ties."""
    facts, base = cascade.facts, cascade.base
    differing = unequal(base.config, {phase.name: phase.train for phase in cascade.phases})
    return [
        *facts.data["notes"],
        *_dev_notes(cascade),
        *_base_notes(cascade),
        *_loaded_notes(cascade),
        *_rate_notes(cascade),
        *_dropout_notes(cascade),
        *_option_notes(cascade),
        *_stop_notes(cascade),
        *filter(None, [differing]),
        *short_of_room(cascade.plan, facts.names, base.seed, held=facts.held_from_above()),
        *_tie_notes(facts, cascade.phases),
        *_undrawn_notes(facts, cascade.phases),
    ]


def _base_notes(cascade: Cascade) -> list[str]:
    """From which file of the base layers are kept, and from what the base itself had started."""
    lines = []
    asked, own = cascade.phase_model_name, cascade.base.model_name(cascade.plan)
    if own != asked:
        lines.append(
            f"the base has no {asked}; layers are kept of the {own} that it was packed with"
        )
    sources = ", ".join(map(str, list_in(cascade.base.config, "init_param")))
    if sources:
        fate = "are drawn instead"
        if any(phase.init_param == "keep" for phase in cascade.phases):
            fate = "START FROM THE SAME PRE-TRAINED PARAMETERS; 'init_param: drop' draws them"
        lines.append(f"THE BASE WAS TRAINED WITH init_param ({sources}): fresh layers {fate}")
    return lines


def _option_notes(cascade: Cascade) -> list[str]:
    """What becomes of the base's ``freeze_param``, and of options of a newer ESPnet."""
    lines = []
    frozen = ", ".join(list_in(cascade.base.config, "freeze_param"))
    # All that a plan can say of it is that nothing is frozen.
    freed = [phase.name for phase in cascade.phases if "freeze_param" in phase.train]
    if frozen:
        fate = "stays frozen in every phase"
        if freed:
            fate = f"is trained in {', '.join(freed)}, as the plan says, and stays frozen elsewhere"
        lines.append(f"the base's freeze_param {fate}: {frozen}")
    dropped = cascade.base.dropped_options(cascade.facts.data["parser_keys"])
    if dropped:
        lines.append(
            "options of a newer ESPnet that stand at their defaults are left out:"
            f" {', '.join(dropped)}"
        )
    return lines


def _tie_notes(facts: ModelFacts, phases: Sequence[Phase]) -> list[str]:
    """What becomes of each matrix that two layers share, and in which phases."""
    lines = []
    for tie in facts.ties:
        fates = names_by(phases, partial(_fate, facts, tie))
        told = "; ".join(f"{fate} in {', '.join(names)}" for fate, names in fates.items())
        lines.append(f"{tie.lower} and {tie.upper} share a matrix: {told}")
    return lines


def _fate(facts: ModelFacts, tie: SharedMatrix, phase: Phase) -> str:
    """What becomes of a matrix at both of its ends; that it may not is told before."""
    if phase.unties:
        return f"one for each ({phase.tied})"
    sides = phase.sides(facts.names)
    kept = [name for name in (tie.lower, tie.upper) if name in sides.kept]
    if not kept:
        return "drawn"
    factor = sides.factor(kept[0])
    whole = {0.0: "frozen", 1.0: "trained"}
    return whole.get(factor, f"trained at {factor:.3g} of the learning rate")


def _undrawn_notes(facts: ModelFacts, phases: Sequence[Phase]) -> list[str]:
    """Fresh layers whose matrix is that of a kept layer below, so that it is kept with it."""
    lines = []
    for tie in facts.ties:
        names = [phase.name for phase in phases if _is_held_from_below(facts, tie, phase)]
        if names:
            lines.append(
                f"the matrix that {tie.upper} shares with {tie.lower} is kept with it, not drawn,"
                f" in {', '.join(names)}; 'tied: untie_draw' draws one for {tie.upper}"
            )
    return lines


def _is_held_from_below(facts: ModelFacts, tie: SharedMatrix, phase: Phase) -> bool:
    sides = phase.sides(facts.names)
    return tie.upper in sides.fresh and tie.lower in sides.kept and not phase.unties


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
    measured = cascade.measured({})
    for valid_set in names_by(cascade.phases, lambda phase: phase.valid_set):
        told = "will be measured by run, by validation alone"
        if (BASE, valid_set) in measured:
            told = f"is {measured[BASE, valid_set]:.4f}"
        lines.append(
            f"phases with the validation set {valid_set} are judged on it; there {BASE}'s"
            f" {cascade.criterion.name} {told}"
        )
    others = names_by(cascade.phases, cascade.vocabulary)
    lines += [
        f"tokens {tokens} lists the base's own tokens: no other vocabulary"
        for tokens in names_by(cascade.phases, lambda phase: phase.tokens)
        if tokens not in others
    ]
    if others:
        lines.append(
            f"phases with another vocabulary ({', '.join(others)}) are judged among themselves:"
            f" over other tokens {cascade.criterion.metric} is no measure of the same kind, so that"
            f" the first of them is accepted, and {BASE} is compared by error rates alone"
        )
    return lines


def _stop_notes(cascade: Cascade) -> list[str]:
    """Which phases the median rule may end, from which epoch on, compared with which."""
    return [
        f"{', '.join(names)} may be ended after epoch {stop.from_epoch} or later, where dev is"
        f" worse than the median of {', '.join(stop.siblings)} (stop_early)"
        for stop, names in names_by(cascade.phases, lambda phase: phase.stop).items()
    ]


def _loaded_notes(cascade: Cascade) -> list[str]:
    """Which fresh layers are those of a pre-trained checkpoint again, said loudly."""
    by_layers = names_by(cascade.phases, cascade.facts.loaded_layers)
    return [
        f"FRESH LAYERS START FROM THEIR PRE-TRAINED CHECKPOINT, THEY ARE NOT DRAWN:"
        f" {layer_span(layers)} ({', '.join(names)})"
        for layers, names in by_layers.items()
        if layers
    ]


def _rate_notes(cascade: Cascade) -> list[str]:
    """The factors of the phases whose kept layers learn at different ones, or by decay."""
    lines = []
    for phase in cascade.phases:
        sides = phase.sides(cascade.facts.names)
        if not sides.slow:
            continue  # the cut says what is frozen
        by_factor = grouped(reversed(sides.kept), sides.factor)
        if len(by_factor) > 1:
            listed = [f"{layer_span(names)} {rate:.3g}" for rate, names in by_factor.items()]
            lines.append(
                f"{phase.name}: factors on the learning rate of kept layers: {'; '.join(listed)}"
            )
    return lines


def _dropout_notes(cascade: Cascade) -> list[str]:
    """Candidates of which no dropout is switched off, though the plan says so."""
    # A control has what the phase that it answers has, wanted or not.
    asked = [phase for phase in cascade.phases if phase.dropout == "off" and not phase.is_control]
    idle = [phase.name for phase in asked if not phase.sides(cascade.facts.names).frozen]
    if not idle:
        return []
    return [f"dropout: off acts in frozen layers alone, and there are none in {', '.join(idle)}"]
