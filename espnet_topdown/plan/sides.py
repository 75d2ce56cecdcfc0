"""What a phase keeps of its parent and how fast each kept layer learns: from a plan's words.

Two of the three choices that a phase is (its role is the third): the layers kept, by a cut or by
their names, and the factor on their learning rate. Neither torch nor ESPnet is needed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.kinds import KINDS, NAMED, SLOW, THAW, TOP_DOWN
from espnet_topdown.plan.layer_names import cut_index, layers_called, layers_named

# One factor for all kept layers; or layer or stack -> factor; or DECAY -> factor from each layer to
# the one below it.
KeptLr = float | Mapping[str, float]
DECAY = "decay"
# Smaller ones leave float32 weights where they are: what is added to them is rounded away.
LEAST = 1e-6
# What gives each end of a tie a matrix of its own.
UNTIED = ("untie_draw", "untie_copy")
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
        factors = sorted(map(self.factor, self.kept))
        if not factors:
            return "-"
        ends = dict.fromkeys(f"{factor:.3g}" for factor in (factors[0], factors[-1]))
        return " to ".join(ends)


class Choice:
    """What a phase keeps and how fast that learns, as plans and `topdown_conf` say it.

    A base of the dataclasses that have these fields, and of nothing else.

    Args:
        kind: one of `KINDS`.
        cut: lowest layer of the upper part, None for a kind without one.
        keep: layers or stacks that are kept, in the place of a cut.
        draw: those that are drawn, in the place of a cut.
        kept_lr: factors on the learning rate of kept layers; None: the kind's.
        tied: what happens to weights tied across the cut, such as one of `UNTIED`.
    """

    kind: str
    cut: str | None
    keep: Sequence[str]
    draw: Sequence[str]
    kept_lr: KeptLr | None
    tied: str | None

    @property
    def unties(self) -> bool:
        """Whether tied layers get a matrix each, so that the model is built without its tie."""
        return self.tied in UNTIED

    @property
    def parting(self) -> str | None:
        """What parts kept from fresh layers, for tables; None where nothing does."""
        if self.keep:
            return f"keep {' '.join(self.keep)}"
        if self.draw:
            return f"draw {' '.join(self.draw)}"
        return self.cut

    def sides(self, names: Sequence[str]) -> Sides:
        """What the choice makes of the layers `names` of a model, lowest first.

        Raises:
            TopdownError: no layer or stack has one of the names, `kept_lr` names a layer that is
                not kept or that the cut freezes, or a factor is below `LEAST` and not 0.
        """
        kept = self._kept(tuple(names))
        factors = dict.fromkeys(kept, 0.0) | self._factors(names)
        still = [name for name, factor in factors.items() if 0 < factor < LEAST]
        if still:
            raise TopdownError(
                f"kept_lr is below {LEAST:g} for {', '.join(still)}, which would move no weight:"
                " give 0, which freezes, or a larger factor or decay"
            )
        return Sides(
            kept=kept,
            fresh=tuple(name for name in names if name not in kept),
            frozen=tuple(name for name in kept if factors[name] == 0),
            slow={name: factors[name] for name in kept if 0 < factors[name] < 1},
        )

    def fault(self, sides: Sides) -> str | None:
        """Why nothing would be kept, or trained, with the `sides` that this makes; else None."""
        if KINDS[self.kind].is_parted:
            what = f"a cut at '{self.cut}'" if self.cut else f"'{self.parting}'"
            if not sides.fresh:
                return f"{what} keeps every layer, so nothing would be trained"
            if not sides.kept:
                return f"{what} keeps nothing; use kind restart for that"
        elif not sides.fresh and not sides.learning:
            return (
                f"kind {self.kind} with kept_lr 0 keeps and freezes every layer: nothing is trained"
            )
        return None

    def learnable(self, names: Sequence[str]) -> tuple[str, ...]:
        """The kept layers, lowest first, but for those that a thaw's cut freezes: those below it.

        Raises:
            TopdownError: no layer or stack has one of the names.
        """
        kept = self._kept(tuple(names))
        if self.cut and KINDS[self.kind].frees:
            return kept[cut_index(names, self.cut) :]
        return kept

    def _kept(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The layers that are copied from the parent, lowest first."""
        if self.keep:
            return layers_named(names, self.keep, "keep")
        if self.draw:
            drawn = layers_named(names, self.draw, "draw")
            return tuple(name for name in names if name not in drawn)
        keeps = KINDS[self.kind].keeps
        if keeps == "none":
            return ()
        if keeps == "all":
            return names
        at = cut_index(names, str(self.cut))
        return names[at:] if keeps == "upper" else names[:at]

    def _factors(self, names: Sequence[str]) -> dict[str, float]:
        """The factor of each layer that may learn."""
        learnable = self.learnable(names)
        of_kind = KINDS[self.kind].kept_lr
        asked = of_kind if self.kept_lr is None else self.kept_lr
        if not isinstance(asked, Mapping):
            return dict.fromkeys(learnable, asked)
        if DECAY in asked:
            # Counted from the output, whether or not that is kept: fine-tuning's usual count.
            below = {name: steps for steps, name in enumerate(reversed(names))}
            return {name: asked[DECAY] ** below[name] for name in learnable}
        idle = idle_names(asked, names, learnable)
        if idle:
            # A thaw keeps every layer.
            why = f"nothing is kept (kept: {', '.join(learnable) or 'nothing'})"
            if KINDS[self.kind].frees:
                why = (
                    "all is below the cut, where a thaw freezes everything; cut lower, or leave it"
                    " out"
                )
            raise TopdownError(f"kept_lr names {', '.join(idle)}, of which {why}")
        factors = dict.fromkeys(learnable, of_kind)
        called = layers_called(names, asked, "kept_lr")
        # A layer's own name goes before its stack's.
        for word in sorted(asked, key=names.__contains__):
            factors |= dict.fromkeys(called[word].intersection(learnable), asked[word])
        return factors


def idle_names(
    kept_lr: KeptLr | None, names: Sequence[str], learnable: Sequence[str]
) -> tuple[str, ...]:
    """The names in `kept_lr` of which no layer is in `learnable`.

    Raises:
        TopdownError: no layer or stack of layers has one of the names.
    """
    if not isinstance(kept_lr, Mapping) or DECAY in kept_lr:
        return ()
    called = layers_called(names, kept_lr, "kept_lr")
    return tuple(word for word, layers in called.items() if layers.isdisjoint(learnable))


def is_kept_lr(value: object) -> bool:
    """Whether a value says factors: a number, a mapping of names to numbers, or a decay."""
    if not isinstance(value, Mapping):
        return _is_factor(value)
    if DECAY in value:
        return len(value) == 1 and _is_factor(value[DECAY]) and value[DECAY] > 0
    are_names = all(isinstance(name, str) for name in value)
    return bool(value) and are_names and all(map(_is_factor, value.values()))


def _is_factor(value: Any) -> bool:
    return check.is_number(value) and 0 <= value <= 1


def kind_of(values: Mapping[str, Any]) -> str:
    """The kind that a plan's item or a `topdown_conf` asks for, or else means.

    ``thaw: true`` is `THAW`, named layers make `NAMED`, a kept part that learns makes `SLOW`;
    without any it is `TOP_DOWN`.
    """
    if values.get("kind"):
        return str(values["kind"])
    if values.get("thaw"):
        return THAW
    if values.get("keep") or values.get("draw"):
        return NAMED
    return SLOW if any(_given_factors(values)) else TOP_DOWN


def _given_factors(values: Mapping[str, Any]) -> Iterable[float]:
    kept_lr: Any = values.get("kept_lr")
    if not is_kept_lr(kept_lr):
        return []  # none are given, or their fault is told with the key
    return kept_lr.values() if isinstance(kept_lr, Mapping) else [kept_lr]


def choice_faults(name: str, values: Mapping[str, Any]) -> list[str]:
    """What does not go with the kind called `name`, of ``cut``, ``keep``, ``draw``, ``kept_lr``."""
    # YAML may have given a list, which no dict can look up.
    if name not in tuple(KINDS):
        return []
    kind = KINDS[name]
    has_not: dict[str, str] = {}
    if not kind.is_parted:
        has_not |= {"keep": "keep", "draw": "draw"}
    if not kind.takes_cut:
        hint = ": give keep or draw" if name == NAMED else ""
        words = {"cut": "cut", "sweep": "cuts for sweep", "every": "cuts for every"}
        has_not |= {key: word + hint for key, word in words.items()}
    faults = [f"kind {name} has no {word}" for key, word in has_not.items() if values.get(key)]
    if values.get("kept_lr") is not None and not kind.has_parent:
        faults.append(f"kind {name} keeps nothing, so there is no kept_lr")
    if kind.is_fixed and set(_given_factors(values)) - {kind.kept_lr}:
        faults.append(
            f"kind {name} means kept_lr {kind.kept_lr:g}, so no other can be given; kind slow, or"
            " none, takes any"
        )
    return faults
