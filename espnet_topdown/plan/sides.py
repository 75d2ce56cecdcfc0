"""What a phase keeps of its parent and how fast each kept layer learns: from a plan's words.

Two of the three choices that a phase is (its role is the third): the layers kept, by a cut or by
their names, and the factor on their learning rate. Neither torch nor ESPnet is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import KINDS, NAMED, SLOW, THAW, TOP_DOWN, Kind
from espnet_topdown.plan.layers import cut_index, layers_named

# One factor for all kept layers; or layer or stack -> factor; or DECAY -> factor from each layer to
# the one below it.
KeptLr = float | Mapping[str, float]
DECAY = "decay"
# Smaller ones leave float32 weights where they are: what is added to them is rounded away.
LEAST = 1e-6
# What may part kept from fresh layers.
PARTING = ("cut", "keep", "draw")


@dataclass(frozen=True)
class Sides:
    """Layer names on the two sides of a cut, lowest first.

    Args:
        kept: copied from the parent.
        fresh: drawn anew.
        frozen: the kept layers that are not updated: those with the factor 0.
        slow: kept layer -> factor on its learning rate, of those between 0 and 1.
    """

    kept: tuple[str, ...]
    fresh: tuple[str, ...]
    frozen: tuple[str, ...]
    slow: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        kind: str,
        cut: str | None,
        names: Sequence[str],
        *,
        keep: Sequence[str] = (),
        draw: Sequence[str] = (),
        kept_lr: KeptLr | None = None,
    ) -> "Sides":
        """The sides for a phase of a model with layers `names`.

        Args:
            kind: one of `KINDS`.
            cut: lowest layer of the upper part, None for a kind without one.
            names: layer names of the model, lowest first.
            keep: layers or stacks that are kept, in the place of a cut.
            draw: those that are drawn, in the place of a cut.
            kept_lr: factors on the learning rate of kept layers; None: the kind's.

        Raises:
            TopdownError: no layer or stack has one of the names, `kept_lr` names a layer that is
                not kept or that the cut freezes, or a factor is below `LEAST` and not 0.
        """
        names = tuple(names)
        kept = _kept(KINDS[kind], cut, names, keep, draw)
        held = held_by_cut(kind, cut, names)
        factors = _factors(KINDS[kind], names, kept, held, kept_lr)
        _check_least(factors)
        factors |= dict.fromkeys(held, 0.0)
        return cls(
            kept=kept,
            fresh=tuple(name for name in names if name not in kept),
            frozen=tuple(name for name in kept if factors[name] == 0),
            slow={name: factors[name] for name in kept if 0 < factors[name] < 1},
        )

    @property
    def learning(self) -> tuple[str, ...]:
        """The kept layers that are updated, at a factor or at the whole learning rate."""
        return tuple(name for name in self.kept if name not in self.frozen)

    def factor(self, layer: str) -> float:
        """The factor on the learning rate of a layer: 0 frozen, 1 as the schedule says."""
        return 0.0 if layer in self.frozen else self.slow.get(layer, 1.0)

    @property
    def kept_lr(self) -> str:
        """The factors of the kept layers for tables: "0.1", "0 to 1", "-" where none is kept."""
        factors = sorted({self.factor(name) for name in self.kept})
        if not factors:
            return "-"
        ends = dict.fromkeys(f"{factor:.3g}" for factor in (factors[0], factors[-1]))
        return " to ".join(ends)

    def fault(self, kind: str, parting: str | None) -> str | None:
        """Why a phase cannot have these sides; None where it can.

        Args:
            kind: of the phase.
            parting: what `parting` gives for it.
        """
        what = f"'{parting}'"
        if not what.startswith(("'keep ", "'draw ")):
            what = f"a cut at {what}"
        if KINDS[kind].is_parted and not self.fresh:
            return f"{what} keeps every layer, so nothing would be trained"
        if KINDS[kind].is_parted and not self.kept:
            return f"{what} keeps nothing; use kind restart for that"
        if not self.fresh and not self.learning:
            return f"kind {kind} with kept_lr 0 keeps and freezes every layer: nothing is trained"
        return None


def parting(cut: str | None, keep: Sequence[str] = (), draw: Sequence[str] = ()) -> str | None:
    """What parts kept from fresh layers, for tables; None where nothing does."""
    if keep:
        return f"keep {' '.join(keep)}"
    if draw:
        return f"draw {' '.join(draw)}"
    return cut


def _kept(
    kind: Kind, cut: str | None, names: tuple[str, ...], keep: Sequence[str], draw: Sequence[str]
) -> tuple[str, ...]:
    """The layers that are copied from the parent, lowest first."""
    if keep:
        return layers_named(names, keep, "keep")
    if draw:
        drawn = layers_named(names, draw, "draw")
        return tuple(name for name in names if name not in drawn)
    if kind.keeps == "none":
        return ()
    if kind.keeps == "all":
        return names
    at = cut_index(names, str(cut))
    return names[at:] if kind.keeps == "upper" else names[:at]


def held_by_cut(kind: str, cut: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """The kept layers that a cut freezes, whatever `kept_lr` says: those below it, of a thaw."""
    if not cut or not KINDS[kind].frees:
        return ()
    return tuple(names[: cut_index(names, cut)])


def _factors(
    kind: Kind,
    names: tuple[str, ...],
    kept: tuple[str, ...],
    held: tuple[str, ...],
    kept_lr: KeptLr | None,
) -> dict[str, float]:
    """The factor of each kept layer, apart from those that the cut holds at 0."""
    if not isinstance(kept_lr, Mapping):
        factor = kind.kept_lr if kept_lr is None else kept_lr
        return dict.fromkeys(kept, factor)
    if DECAY in kept_lr:
        # Counted from the output, whether or not that is kept: fine-tuning's usual count.
        top = len(names) - 1
        return {name: kept_lr[DECAY] ** (top - names.index(name)) for name in kept}
    idle = idle_names(kept_lr, names, kept)
    if idle:
        raise TopdownError(
            f"kept_lr names {', '.join(idle)}, of which nothing is kept (kept:"
            f" {', '.join(kept) or 'nothing'})"
        )
    frozen = idle_names(kept_lr, names, [name for name in kept if name not in held])
    if frozen:
        raise TopdownError(
            f"kept_lr names {', '.join(frozen)}, of which all is below the cut, where a thaw"
            " freezes everything; cut lower, or leave it out"
        )
    factors = dict.fromkeys(kept, kind.kept_lr)
    # A layer's own name goes before its stack's.
    for asked in sorted(kept_lr, key=names.__contains__):
        own = set(layers_named(names, [asked], "kept_lr")).intersection(kept)
        factors |= dict.fromkeys(own, kept_lr[asked])
    return factors


def _check_least(factors: Mapping[str, float]) -> None:
    still = [name for name, factor in factors.items() if 0 < factor < LEAST]
    if still:
        raise TopdownError(
            f"kept_lr is below {LEAST:g} for {', '.join(still)}, which would move no weight: give"
            " 0, which freezes, or a larger factor or decay"
        )


def idle_names(
    kept_lr: KeptLr | None, names: Sequence[str], kept: Sequence[str]
) -> tuple[str, ...]:
    """The names in `kept_lr` of which no layer is in `kept`.

    Raises:
        TopdownError: no layer or stack of layers has one of the names.
    """
    if not isinstance(kept_lr, Mapping) or DECAY in kept_lr:
        return ()
    layers_named(names, kept_lr, "kept_lr")
    return tuple(
        asked for asked in kept_lr if not set(layers_named(names, [asked], "kept_lr")) & set(kept)
    )


def is_kept_lr(value: object) -> bool:
    """Whether a value says factors: a number, a mapping of names to numbers, or a decay."""
    if not isinstance(value, Mapping):
        return _is_factor(value)
    if DECAY in value:
        return len(value) == 1 and _is_factor(value[DECAY]) and value[DECAY] > 0
    are_names = all(isinstance(name, str) for name in value)
    return bool(value) and are_names and all(_is_factor(factor) for factor in value.values())


def _is_factor(value: Any) -> bool:
    return check.is_number(value) and 0 <= value <= 1


def kind_of(values: Mapping[str, Any]) -> str:
    """The kind that a plan's item or a `topdown_conf` asks for, or else means.

    ``thaw: true`` is `THAW`.
    Named layers make `NAMED`, a kept part that learns makes `SLOW`; without either it is
    `TOP_DOWN`.
    """
    if values.get("kind"):
        return str(values["kind"])
    if values.get("thaw"):
        return THAW
    if values.get("keep") or values.get("draw"):
        return NAMED
    return SLOW if any(_given_factors(values)) else TOP_DOWN


def _given_factors(values: Mapping[str, Any]) -> Iterable[float]:
    kept_lr = values.get("kept_lr")
    if kept_lr is None or not is_kept_lr(kept_lr):
        return []
    return kept_lr.values() if isinstance(kept_lr, Mapping) else [kept_lr]


def choice_faults(name: str, values: Mapping[str, Any]) -> list[str]:
    """What does not go with the kind called `name`, of ``cut``, ``keep``, ``draw``, ``kept_lr``."""
    # YAML may have given a list, which no dict can look up.
    if name not in tuple(KINDS):
        return []
    kind = KINDS[name]
    faults = []
    for key in ("keep", "draw"):
        if values.get(key) and not kind.is_parted:
            faults.append(f"kind {name} has no {key}")
    for key in ("cut", "sweep", "every"):
        if not values.get(key) or kind.has_cut or kind.frees:
            continue
        hint = ": give keep or draw" if name == NAMED else ""
        faults.append(f"kind {name} has no {'cut' if key == 'cut' else f'cuts for {key}'}{hint}")
    if values.get("kept_lr") is not None and not kind.has_parent:
        faults.append(f"kind {name} keeps nothing, so there is no kept_lr")
    others = [factor for factor in _given_factors(values) if factor != kind.kept_lr]
    if kind.is_fixed and others:
        faults.append(
            f"kind {name} means kept_lr {kind.kept_lr:g}, so no other can be given; kind slow, or"
            " none, takes any"
        )
    return faults
