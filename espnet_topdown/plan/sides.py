"""What a phase keeps of its parent and how fast each kept layer learns: from a plan's words.

Two of the three choices that a phase is (its role is the third): the layers kept, by a cut or by
their names, and the factor on their learning rate. Neither torch nor ESPnet is needed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from espnet_topdown import check
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.plan.kinds import KINDS, NAMED, SLOW, THAW, TOP_DOWN
from espnet_topdown.plan.layer_names import cut_index, layers_called, layers_named

# One factor for all kept layers; or layer or stack -> factor; or {"decay": FACTOR}, which is that
# from each layer to the one below it.
KeptLr = float | Mapping[str, float]
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

    @classmethod
    def of(cls, names: Sequence[str], factors: Mapping[str, float]) -> "Sides":
        """The sides of the layers `names`, of which those in `factors` are kept.

        Args:
            names: layer names of a model, lowest first.
            factors: kept layer -> factor on its learning rate, from 0 (frozen) to 1.
        """
        kept = tuple(name for name in names if name in factors)
        return cls(
            kept=kept,
            fresh=tuple(name for name in names if name not in factors),
            frozen=tuple(name for name in kept if factors[name] == 0),
            slow={name: factors[name] for name in kept if 0 < factors[name] < 1},
        )

    @property
    def factors(self) -> dict[str, float]:
        """Kept layer -> factor on its learning rate, lowest first."""
        # What is neither slow nor frozen learns as the schedule says.
        learning = {**dict.fromkeys(self.kept, 1.0), **self.slow}
        return learning | dict.fromkeys(self.frozen, 0.0)

    @property
    def learning(self) -> tuple[str, ...]:
        """The kept layers that are updated, at a factor or at the whole learning rate."""
        return tuple(filter(self.factor, self.kept))

    def factor(self, layer: str) -> float:
        """The factor on the learning rate of a layer: 0 frozen, 1 as the schedule says."""
        return self.factors.get(layer, 1.0)

    @property
    def rates_text(self) -> str:
        """The factors of the kept layers for tables: "0.1", "0 to 1", "-" where none is kept."""
        factors = sorted(self.factors.values())
        ends = dict.fromkeys(f"{factor:.3g}" for factor in (*factors[:1], *factors[-1:]))
        return " to ".join(ends) or "-"


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
        factors = dict.fromkeys(self._kept(tuple(names)), 0.0) | self._factors(names)
        still = [name for name, factor in factors.items() if 0 < factor < LEAST]
        if still:
            raise TopdownError(
                f"kept_lr is below {LEAST:g} for {', '.join(still)}, which would move no weight:"
                " give 0, which freezes, or a larger factor or decay"
            )
        return Sides.of(names, factors)

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

    def idle(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names in `kept_lr` of which no layer of `names` can learn.

        Raises:
            TopdownError: no layer or stack of layers has one of the names.
        """
        learnable = self.learnable(names)
        called = layers_called(names, named_factors(self.kept_lr), "kept_lr")
        return tuple(word for word, layers in called.items() if layers.isdisjoint(learnable))

    def _kept(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The layers that are copied from the parent, lowest first."""
        if self.keep:
            return layers_named(names, self.keep, "keep")
        if self.draw:
            drawn = layers_named(names, self.draw, "draw")
            return tuple(name for name in names if name not in drawn)
        match KINDS[self.kind].keeps:
            case "none":
                return ()
            case "all":
                return names
            case "upper":
                return names[cut_index(names, str(self.cut)) :]
            case _:
                return names[: cut_index(names, str(self.cut))]

    def _factors(self, names: Sequence[str]) -> dict[str, float]:
        """The factor of each layer that may learn."""
        learnable = self.learnable(names)
        of_kind = dict.fromkeys(learnable, KINDS[self.kind].kept_lr)
        match self.kept_lr:
            case None:
                return of_kind
            case {"decay": decay}:
                # Counted from the output, whether or not that is kept: fine-tuning's usual count.
                below = dict(zip(reversed(names), count()))
                return {name: decay ** below[name] for name in learnable}
            case float() | int() as factor:
                return dict.fromkeys(learnable, factor)
            case asked:
                self._check_idle(names)
                return of_kind | _by_layer(asked, names, learnable)

    def _check_idle(self, names: Sequence[str]) -> None:
        """Refuse names in `kept_lr` of which no layer can learn."""
        idle = self.idle(names)
        if not idle:
            return
        why = f"nothing is kept (kept: {listed(self.learnable(names), 'nothing')})"
        if KINDS[self.kind].frees:
            # A thaw keeps every layer.
            why = (
                "all is below the cut, where a thaw freezes everything; cut lower, or leave it out"
            )
        raise TopdownError(f"kept_lr names {', '.join(idle)}, of which {why}")


def _by_layer(
    asked: Mapping[str, float], names: Sequence[str], learnable: Sequence[str]
) -> dict[str, float]:
    """The factors of layers that are asked for by their names or their stacks'."""
    called = layers_called(names, asked, "kept_lr")
    factors: dict[str, float] = {}
    # A layer's own name goes before its stack's.
    for word in sorted(asked, key=lambda word: word in names):
        factors |= dict.fromkeys(called[word].intersection(learnable), asked[word])
    return factors


def named_factors(kept_lr: KeptLr | None) -> Mapping[str, float]:
    """The factors that are given to layers and stacks by their names; empty for any other form."""
    match kept_lr:
        case None | float() | int() | {"decay": _}:
            return {}
        case named:
            return named


def is_kept_lr(value: Any) -> bool:
    """Whether a value says factors: a number, a mapping of names to numbers, or a decay."""
    match value:
        case {"decay": decay, **others}:
            return not others and _is_factor(decay) and decay > 0
        case Mapping():
            # Names alone, and at least one.
            return (
                bool(value)
                and all(map(check.is_text, value))
                and all(map(_is_factor, value.values()))
            )
        case _:
            return _is_factor(value)


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


def _given_factors(values: Mapping[str, Any]) -> Collection[float]:
    kept_lr: Any = values.get("kept_lr")
    if not is_kept_lr(kept_lr):
        return ()  # none are given, or their fault is told with the key
    match kept_lr:
        case Mapping():
            return kept_lr.values()
        case _:
            return (kept_lr,)


def choice_faults(name: str, values: Mapping[str, Any]) -> list[str]:
    """What does not go with the kind called `name`, of ``cut``, ``keep``, ``draw``, ``kept_lr``."""
    kind = KINDS.get(name)
    if kind is None:
        return []  # told with the key
    has_not: dict[str, str] = {}
    if not kind.is_parted:
        has_not |= {"keep": "keep", "draw": "draw"}
    if not kind.takes_cut:
        has_not |= {"cut": "cut", "sweep": "cuts for sweep", "every": "cuts for every"}
    hint = ": give keep or draw" if name == NAMED else ""
    faults = [f"kind {name} has no {has_not[key]}{hint}" for key in has_not if values.get(key)]
    if not kind.has_parent and values.get("kept_lr") is not None:
        faults.append(f"kind {name} keeps nothing, so there is no kept_lr")
    if kind.is_fixed and {*_given_factors(values)} - {kind.kept_lr}:
        faults.append(
            f"kind {name} means kept_lr {kind.kept_lr:g}, so no other can be given; kind slow, or"
            " none, takes any"
        )
    return faults
