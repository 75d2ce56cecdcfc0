"""Facts about a base's model (layers, sizes, ties, epochs), kept beside a cascade.

They are found by `espnet_topdown.bin.model_facts` in a process of its own, so that whoever asks
needs neither torch nor ESPnet; a rerun reads them from the cascade's ``model.json``, or from the
user's cache (`espnet_topdown.cascade.asked`).
"""

import hashlib
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade import asked
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.plan.freeze_param import fault
from espnet_topdown.plan.layer_names import acts_inside, moving_fault
from espnet_topdown.plan.plan import UNTIED, Phase
from espnet_topdown.plan.sides import Sides
from espnet_topdown.versions import check_versions, espnet_version

FINDER = "espnet_topdown.bin.model_facts"


def _are_layers(value: Any) -> bool:
    if not check.are_rows(value) or not value:
        return False
    return not any(check.lacking(layer, _LAYER) for layer in value)


# Of what is written; facts of another one are found again.
_FORMAT = b"3"
_LAYER = {
    "name": check.NAME,
    "parameters": check.whole(0),
    "notes": check.TEXT,
    "tied_to": check.MAPPING,
}
_FACTS = {
    "layers": Must("a list of layers", _are_layers),
    "dropouts": check.MAPPING,
    "notes": check.LIST,
    "parser_keys": check.LIST,
    "epochs": check.ROWS,
}


@dataclass(frozen=True)
class ModelFacts:
    """What the cascade needs to know of a model, as `espnet_topdown.bin.model_facts` wrote it."""

    data: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Layer names, lowest first."""
        return tuple(layer["name"] for layer in self.data["layers"])

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of each layer, lowest first.

        A tied matrix counts once, in the lowest layer that has it.
        """
        return {layer["name"]: layer["parameters"] for layer in self.data["layers"]}

    @property
    def total(self) -> int:
        """Parameters of the model."""
        return sum(self.parameters.values())

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The base's epochs, a row each, with ``train`` and ``valid`` metrics."""
        return self.data["epochs"]

    @property
    def ties(self) -> list[tuple[str, str]]:
        """Lower and upper layer of each pair that shares a matrix, lowest first."""
        pairs = []
        for place, layer in enumerate(self.data["layers"]):
            above = [name for name in layer["tied_to"] if self.names.index(name) > place]
            pairs += [(layer["name"], name) for name in above]
        return pairs

    def held_from_above(self) -> tuple[str, ...]:
        """Layers that are nothing but a matrix tied to a higher layer, lowest first."""
        held = []
        for layer in self.data["layers"]:
            above = [upper for lower, upper in self.ties if lower == layer["name"]]
            tied = sum(layer["tied_to"][name] for name in above)
            if tied and tied == layer["parameters"]:
                held.append(layer["name"])
        return tuple(held)

    def frozen_layers(self, phase: Phase) -> tuple[str, ...]:
        """Layers of which nothing is trained, lowest first.

        Those kept and frozen, and a fresh one that is nothing but a matrix tied to one of them.
        """
        sides = phase.sides(self.names)
        frozen = []
        for layer in self.data["layers"]:
            held = 0 if _unties(phase) else sum(_held(layer, sides).values())
            is_all_held = held > 0 and held == layer["parameters"]
            by_base = self._frozen_by_base(phase).get(layer["name"], 0)
            is_all_frozen = by_base > 0 and by_base == layer["parameters"]
            if layer["name"] in sides.frozen or is_all_held or is_all_frozen:
                frozen.append(layer["name"])
        return tuple(frozen)

    def factors(self, phase: Phase) -> dict[str, float]:
        """Layers of the parent that are trained, lowest first, with the factors on their rate.

        Those kept, and a fresh one that is nothing but a matrix tied to one of them.
        """
        sides = phase.sides(self.names)
        factors = {name: sides.factor(name) for name in sides.learning}
        if not _unties(phase):
            for lower, upper in self.ties:
                if lower in self.held_from_above() and lower in sides.fresh and upper in factors:
                    factors[lower] = factors[upper]
        return {name: factors[name] for name in self.names if name in factors}

    def frozen_parameters(self, phase: Phase) -> tuple[int, int]:
        """(frozen, all) parameters of a phase; untying gives the lower end a matrix of its own."""
        sides = phase.sides(self.names)
        own = self._own_parameters(phase)
        frozen = sum(own[name] for name in sides.frozen)
        for name, count in self._frozen_by_base(phase).items():
            if name not in sides.frozen:
                frozen += count
        total = sum(own.values()) + self._added_by_tokens(phase)
        if _unties(phase):
            return frozen, total
        for place, layer in enumerate(self.data["layers"]):
            for frozen_end, count in _held(layer, sides).items():
                # A tied matrix is counted in its lowest layer: in this fresh one where the frozen
                # end stands above, else with the frozen layers already.
                if self.names.index(frozen_end) > place:
                    frozen += count
        return frozen, total

    def _own_parameters(self, phase: Phase) -> dict[str, int]:
        """Parameters of each layer; of a phase that unties, the upper ends have theirs too."""
        own = self.parameters
        if not _unties(phase):
            return own
        for place, layer in enumerate(self.data["layers"]):
            for other, count in layer["tied_to"].items():
                if self.names.index(other) < place:
                    own[layer["name"]] += count
        return own

    def _added_by_tokens(self, phase: Phase) -> int:
        """Parameters that a phase has more than the base by a vocabulary of its own."""
        sizes = self.data.get("vocabularies", {})
        if phase.tokens not in sizes:
            return 0
        added: int = self.data["per_token"] * (sizes[phase.tokens] - sizes[""])
        return added

    @property
    def base_frozen(self) -> int:
        """Parameters that the base's ``freeze_param``, or ESPnet's class, froze."""
        return sum(layer.get("frozen_by_base", 0) for layer in self.data["layers"])

    def _frozen_by_base(self, phase: Phase) -> dict[str, int]:
        """Parameters of each layer that ``freeze_param`` or ESPnet's class freezes in a phase."""
        # A plan's own can only be empty.
        key = "frozen_by_class" if "freeze_param" in phase.train else "frozen_by_base"
        return {layer["name"]: layer.get(key, 0) for layer in self.data["layers"]}

    @property
    def loaded_by_base(self) -> tuple[str, ...]:
        """Layers that start from a pre-trained checkpoint whenever the model is built."""
        return tuple(layer["name"] for layer in self.data["layers"] if layer.get("loaded"))

    def loaded_layers(self, phase: Phase) -> tuple[str, ...]:
        """Fresh layers that start from a pre-trained checkpoint instead of being drawn."""
        fresh = phase.sides(self.names).fresh
        return tuple(name for name in self.loaded_by_base if name in fresh)

    def loaded_parameters(self, layers: Collection[str]) -> int:
        """Parameters of `layers` that start from a pre-trained checkpoint."""
        count = 0
        for layer in self.data["layers"]:
            if layer["name"] in layers:
                count += layer.get("loaded", 0)
        return count

    def check_moving(self, phases: Iterable[Phase]) -> None:
        """Refuse `phases` that would freeze state that a forward pass moves.

        Raises:
            TopdownError: the faults of all of them.
        """
        faults = []
        for phase in phases:
            frozen = phase.sides(self.names).frozen
            moving = []
            for layer in self.data["layers"]:
                if layer["name"] in frozen:
                    moving += layer.get("moving", [])
            if moving:
                faults.append(f"{phase.name}: {moving_fault(moving)}")
        if faults:
            raise TopdownError("\n".join(faults))

    def check_trains(self, phases: Iterable[Phase]) -> None:
        """Refuse `phases` in which nothing would be trained.

        Raises:
            TopdownError: the faults of all of them.
        """
        faults = []
        for phase in phases:
            frozen, total = self.frozen_parameters(phase)
            if frozen < total:
                continue
            fresh = ", ".join(phase.sides(self.names).fresh)
            faults.append(
                f"{phase.name}: nothing is left to train: what is not kept ({fresh}) is frozen by"
                " the base's freeze_param, by ESPnet's class or by a tie; cut higher"
            )
        if faults:
            raise TopdownError("\n".join(faults))

    def check_freeze_param(self, phases: Iterable[Phase], config: Mapping[str, Any]) -> None:
        """Refuse `phases` whose fresh layers ``freeze_param``, or a class, would leave random.

        Args:
            phases: of an expanded plan.
            config: the base's.

        Raises:
            TopdownError: the faults of all of them.
        """
        faults = []
        for phase in phases:
            fresh = phase.sides(self.names).fresh
            key = "left_random" if phase.init_param == "keep" else "random_if_dropped"
            # A plan's own can only be empty: what is left is ESPnet's class.
            if "freeze_param" in phase.train:
                key += "_by_class"
            random = []
            for layer in self.data["layers"]:
                if layer["name"] in fresh and layer.get(key):
                    random.append(layer["name"])
            if random:
                faults.append(f"{phase.name}: {fault(random, {**config, **phase.train})}")
        if faults:
            raise TopdownError("\n".join(faults))

    def check_dropouts(self, phases: Iterable[Phase]) -> None:
        """Refuse `phases` that want a dropout off which cannot be switched off.

        Raises:
            TopdownError: in one of them one number serves frozen and fresh layers together.
        """
        for phase in phases:
            frozen = phase.sides(self.names).frozen
            if phase.dropout != "off" or not frozen:
                continue
            for dropout, served in self.data["dropouts"].items():
                try:
                    acts_inside(dropout, served, frozen)
                except TopdownError as error:
                    raise TopdownError(f"{phase.name}: {error}") from None

    @property
    def hours(self) -> float | None:
        """Wall time of the base's epochs; None where it was not recorded."""
        seconds = []
        for row in self.epochs:
            for part in ("train", "valid"):
                seconds.append(row.get(part, {}).get("time"))
        known = [value for value in seconds if value is not None]
        return sum(known) / 3600 if known else None

    def seconds_per_epoch(self) -> float | None:
        """Median wall time of the base's epochs, training and validation; None where unknown."""
        times = []
        for row in self.epochs:
            train = row.get("train", {}).get("time") or 0.0
            valid = row.get("valid", {}).get("time") or 0.0
            times.append(train + valid)
        if not times:
            return None
        # Not the mean: the first epoch, and one that shared the machine, take longer.
        median = statistics.median_high(times)
        return median if median > 0 else None


def _unties(phase: Phase) -> bool:
    """Whether the phase gives tied layers a matrix each."""
    return phase.tied in UNTIED


def _held(layer: Mapping[str, Any], sides: Sides) -> dict[str, int]:
    """Parameters of a fresh layer that are tied to a frozen one, by the frozen one's name."""
    if layer["name"] not in sides.fresh:
        return {}
    return {name: count for name, count in layer["tied_to"].items() if name in sides.frozen}


def find_model_facts(
    config: Path,
    task: str,
    *,
    plan: Path | None = None,
    cache: Path | None = None,
    vocab_size: int | None = None,
    input_size: int | None = None,
    per_token: bool = False,
) -> ModelFacts:
    """The facts of the model that `config` describes, from `cache` when nothing changed since.

    Args:
        config: an experiment's ``config.yaml`` or a training config.
        task: ESPnet's, one of `espnet_topdown.experiment.task.TASKS`.
        plan: plan whose own layer order is used.
        cache: JSON file to keep the facts in.
        vocab_size: tokens, for a config without a token list.
        input_size: feature dimension, for a config without a frontend.
        per_token: whether what one more token adds must be known.

    Raises:
        TopdownError: the model cannot be built, or has layers without an order.
    """
    check_versions()
    stamp = _stamp(config, plan)
    before: dict[str, Any] = {}
    if cache is not None and cache.exists():
        before = files.read_object(cache)
        is_enough = not per_token or "per_token" in before
        if before.get("stamp") == stamp and is_enough and not check.lacking(before, _FACTS):
            return ModelFacts(before)
    options = {"plan": plan, "vocab_size": vocab_size, "input_size": input_size}
    options["per_token"] = per_token or None
    own = {"stamp": stamp, "config_sha256": files.sha256(config)}
    data = {**_find(config, task, options), **own}
    known = before.get("epochs")
    is_same = before.get("config_sha256") == own["config_sha256"]
    if not data["epochs"] and is_same and check.are_rows(known):
        # The checkpoint was damaged or taken away since, and no log tells the epochs.
        data["epochs"] = known
    if cache is not None:
        files.write_json(cache, data)
    return ModelFacts(data)


def stored_facts(cache: Path) -> ModelFacts | None:
    """The facts that a cascade keeps, whatever became of its base since; None where damaged."""
    if not cache.exists():
        return None
    data = files.read_object(cache)
    return None if check.lacking(data, _FACTS) else ModelFacts(data)


def _find(config: Path, task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The facts, by a process that builds the model."""
    argv = ["--config", str(config), "--task", task]
    for name, value in options.items():
        if value is not None:
            argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    # The last three tell the epochs.
    trained = [config.parent / name for name in ("checkpoint.pth", EPOCHS, "train.log")]
    question = asked.Question(
        module=FINDER,
        argv=argv,
        reads=[*asked.files_named(read_config(config)), *trained],
        waits_for=f"building the model of {config}: ESPnet is imported, once for this model ...",
        failure=f"the model of {config} cannot be built",
    )
    return dict(asked.answer(question))


def _stamp(config: Path, plan: Path | None) -> str:
    """A hash that changes whenever the facts may have changed.

    Of the config, the plan's layer order, ESPnet's version and the recorded epochs.
    """
    try:
        parts = [config.read_bytes(), plan.read_bytes() if plan else b""]
    except OSError as error:
        raise TopdownError(f"cannot read {error.filename}: {error.strerror}") from None
    # The epochs are read from the checkpoint, which is large: its time stands for its content.
    checkpoint = config.parent / "checkpoint.pth"
    trained = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    parts += [_FORMAT, str(espnet_version()).encode(), str(trained).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
