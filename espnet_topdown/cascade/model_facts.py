"""Facts about a base's model (layers, sizes, ties, epochs), and what each phase makes of them.

They are found by `espnet_topdown.cascade.find_facts`; neither torch nor ESPnet is needed.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from espnet_topdown.plan.plan import Phase


class SharedMatrix(NamedTuple):
    """A matrix that two layers share, and its parameters; they are counted in the lower one."""

    lower: str
    upper: str
    parameters: int


@dataclass(frozen=True)
class ModelFacts:
    """What the cascade needs to know of a model, as `espnet_topdown.bin.model_facts` wrote it."""

    data: dict[str, Any]

    def with_vocabularies(self, sizes: Mapping[str, int], of_base: Sequence[str]) -> "ModelFacts":
        """These facts, and those about the token lists that phases name.

        Args:
            sizes: token list -> the number of its tokens; "" stands for the base's.
            of_base: those that list the base's own tokens.
        """
        told = {"vocabularies": dict(sizes), "base_tokens": list(of_base)}
        return replace(self, data=self.data | told)

    @property
    def base_tokens(self) -> tuple[str, ...]:
        """Token lists of phases that list the base's own tokens, in its order."""
        return tuple(self.data.get("base_tokens", ()))

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names, lowest first."""
        return tuple(layer["name"] for layer in self.data["layers"])

    def counts(self, key: str) -> dict[str, int]:
        """Layer -> its number under `key`, lowest first; 0 where an older file has none."""
        return {layer["name"]: layer.get(key, 0) for layer in self.data["layers"]}

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of each layer, lowest first.

        A tied matrix counts once, in the lowest layer that has it.
        """
        return self.counts("parameters")

    @property
    def total(self) -> int:
        """Parameters of the model."""
        return sum(self.parameters.values())

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The base's epochs, a row each, with ``train`` and ``valid`` metrics."""
        return self.data["epochs"]

    @property
    def ties(self) -> list[SharedMatrix]:
        """What each pair of layers shares, the lowest first."""
        # Both name one another.
        return [
            SharedMatrix(lower["name"], upper["name"], lower["tied_to"][upper["name"]])
            for lower, upper in combinations(self.data["layers"], 2)
            if upper["name"] in lower["tied_to"]
        ]

    def held_from_above(self) -> tuple[str, ...]:
        """Layers that are nothing but a matrix tied to a higher layer, lowest first."""
        return self._all_of(self._tied_to(self.names))

    def frozen_layers(self, phase: Phase) -> tuple[str, ...]:
        """Layers of which nothing is trained, lowest first.

        Those kept and frozen, and a fresh one that is nothing but a matrix tied to one of them.
        """
        sides = phase.sides(self.names)
        held = self._all_of(self._tied_in(phase))
        by_base = self._all_of(self._frozen_by_base(phase))
        return tuple(name for name in self.names if name in {*sides.frozen, *held, *by_base})

    def factors(self, phase: Phase) -> dict[str, float]:
        """Layers of the parent that are trained, lowest first, with the factors on their rate.

        Those kept, and a fresh one that is nothing but a matrix tied to one of them.
        """
        sides = phase.sides(self.names)
        factors = {name: sides.factor(name) for name in sides.learning}
        if not phase.unties:
            held = set(self.held_from_above()).intersection(sides.fresh)
            factors |= {
                tie.lower: factors[tie.upper]
                for tie in self.ties
                if tie.lower in held and tie.upper in factors
            }
        return {name: factors[name] for name in self.names if name in factors}

    def frozen_parameters(self, phase: Phase) -> tuple[int, int]:
        """(frozen, all) parameters of a phase; untying gives the lower end a matrix of its own."""
        frozen_layers = phase.sides(self.names).frozen
        own = self.parameters
        if phase.unties:
            for tie in self.ties:
                own[tie.upper] += tie.parameters
        of_fresh = self._frozen_by_base(phase)
        frozen_each = of_fresh | {name: own[name] for name in frozen_layers}
        # Of the tied matrices those that stand in a fresh layer below a frozen one.
        frozen = sum(frozen_each.values()) + sum(self._tied_in(phase).values())
        return frozen, sum(own.values()) + self._added_by_tokens(phase)

    def _tied_in(self, phase: Phase) -> dict[str, int]:
        """Fresh layer -> parameters that a phase freezes since they are tied to a higher layer."""
        if phase.unties:
            return {}
        sides = phase.sides(self.names)
        tied = self._tied_to(sides.frozen)
        return {name: tied[name] for name in sides.fresh if name in tied}

    def _tied_to(self, layers: Collection[str]) -> dict[str, int]:
        """Layer -> parameters that it shares with those of `layers` that are above it."""
        tied: dict[str, int] = {}
        for lower, upper, count in self.ties:
            if upper in layers:
                tied[lower] = tied.get(lower, 0) + count
        return tied

    def _all_of(self, some: dict[str, int]) -> tuple[str, ...]:
        """The layers with parameters, lowest first, of which `some` are all."""
        counts = self.parameters.items()
        return tuple(name for name, count in counts if 0 < count == some.get(name))

    def _added_by_tokens(self, phase: Phase) -> int:
        """Parameters that a phase has more than the base by a vocabulary of its own."""
        sizes = self.data.get("vocabularies", {"": 0})
        more = sizes.get(phase.tokens, sizes[""]) - sizes[""]
        added: int = self.data.get("per_token", 0) * more
        return added

    @property
    def base_frozen(self) -> int:
        """Parameters that the base's ``freeze_param``, or ESPnet's class, froze."""
        return sum(self.counts("frozen_by_base").values())

    def _frozen_by_base(self, phase: Phase) -> dict[str, int]:
        """Parameters of each layer that ``freeze_param`` or ESPnet's class freezes in a phase."""
        # A plan's own can only be empty.
        return self.counts("frozen_by_class" if "freeze_param" in phase.train else "frozen_by_base")

    @property
    def loaded_by_base(self) -> tuple[str, ...]:
        """Layers that start from a pre-trained checkpoint whenever the model is built."""
        return tuple(name for name, count in self.counts("loaded").items() if count)

    def loaded_layers(self, phase: Phase) -> tuple[str, ...]:
        """Fresh layers that start from a pre-trained checkpoint instead of being drawn."""
        fresh = phase.sides(self.names).fresh
        return tuple(name for name in self.loaded_by_base if name in fresh)

    def loaded_parameters(self, layers: Collection[str]) -> int:
        """Parameters of `layers` that start from a pre-trained checkpoint."""
        counts = self.counts("loaded")
        return sum(counts[name] for name in layers)

    def _seconds(self) -> list[float]:
        """Wall time of the base's epochs, training and validation, of those that recorded it."""
        times = []
        for row in self.epochs:
            parts = [row.get(part, {}).get("time") or 0.0 for part in ("train", "valid")]
            times.append(sum(parts))
        return [seconds for seconds in times if seconds > 0]

    @property
    def hours(self) -> float | None:
        """Wall time of the base's epochs; None where it was not recorded."""
        return sum(self._seconds()) / 3600 or None

    def seconds_per_epoch(self) -> float | None:
        """Median wall time of the base's epochs; None where it was not recorded."""
        times = self._seconds()
        # Not the mean: the first epoch, and one that shared the machine, take longer.
        return statistics.median_high(times) if times else None
