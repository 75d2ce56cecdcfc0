"""One phase before its first epoch.

Kept layers are set from the parent and frozen, and what was done is written down.

The epochs are ESPnet's; what follows them is the part of `espnet_topdown.training.phase_end`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import RECORD, START
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.plan.plan import Sides, seed_fault
from espnet_topdown.plan.ties import tie_of
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import checkpoint, freeze, model_layers
from espnet_topdown.training.checkpoint import State


@dataclass(frozen=True)
class Parent:
    """A trained experiment whose weights a phase keeps.

    `state` under this model's names, and its fingerprint.
    """

    directory: Path
    file: str
    state: State
    hash: str


@dataclass(frozen=True)
class Begun:
    """A phase whose model is ready to be trained.

    Args:
        sides: kept, fresh and frozen layers.
        parent: None for a restart without one.
        frozen: frozen tensors with their values, tied far ends included.
        start: fingerprints of the trainable tensors before the first update.
        trainable: trainable parameters of each layer that has any.
    """

    sides: Sides
    parent: Parent | None
    frozen: State
    start: Mapping[str, str]
    trainable: Mapping[str, tuple[str, ...]]


def begin(
    model: torch.nn.Module,
    settings: TopdownConf,
    *,
    config: Mapping[str, Any],
    output_dir: Path,
    writes: bool = True,
) -> Begun:
    """Keep and freeze layers of a newly built `model`.

    Its other layers are already fresh under the phase's own seed.

    Gradients, dropout and normalisation of the frozen layers: see `freeze`. The model is changed in
        place.

    Args:
        model: as ESPnet built it under this phase's seed (and after its ``init_param``).
        settings: the phase.
        config: this training's options, for ``seed`` and ``token_list``.
        output_dir: the phase's directory.
        writes: False on the ranks of a distributed training that must not write.

    Raises:
        TopdownError: a model outside the table, an unknown cut, a foreign or missing parent, an
            ancestor's seed, state that cannot be frozen, or a directory in which another training
            was begun.
    """
    order = model_layers.order_of(model, settings.layers)
    sides = settings.sides(order.names)
    parent = _read_parent(model, order, settings, config)
    kept = _kept_tensors(model, order, sides, settings)
    sides = _with_ties(sides, order, kept)
    if parent is not None:
        freeze.copy_tensors(model, parent.state, kept)
        _copy_untied(model, settings, config, parent.state, kept)
    frozen: State = {}
    if sides.frozen and parent is not None:
        freeze.freeze(model, order, sides.frozen, kept)
        frozen = {name: parent.state[name] for name in kept}
        if settings.dropout == "off":
            switched = freeze.dropout_off(model, order, sides.frozen)
            logging.info(
                f"top-down: dropout off in {', '.join(switched) or 'nothing (no rate above 0)'}"
            )
    trainable = _trainable(model, order)
    state = model.state_dict()
    start = {
        name: checkpoint.fingerprint(state[name]) for names in trainable.values() for name in names
    }
    begun = Begun(sides, parent, frozen, start, trainable)
    if writes:
        _write_start(begun, settings, config, output_dir)
    _log(model, order, begun, settings, config)
    return begun


def _read_parent(
    model: torch.nn.Module, order: LayerOrder, settings: TopdownConf, config: Mapping[str, Any]
) -> Parent | None:
    if settings.parent is None:
        return None
    directory = Path(settings.parent)
    parent_config = read_config(directory / "config.yaml")
    _check_tokens(config, parent_config, directory)
    _check_seeds(config, parent_config, directory, settings)
    criteria = parent_config.get("best_model_criterion") or []
    file = settings.parent_model or default_model(directory)
    state = checkpoint.parent_state(
        directory, file, criteria, as_list(parent_config.get("keep_nbest_models", 1))
    )
    digest = checkpoint.state_fingerprint(
        {name: checkpoint.fingerprint(tensor) for name, tensor in state.items()}
    )
    state = freeze.read_parent(model, state, str(directory / file))
    freeze.check_outside(order, model, state, str(directory / file))
    return Parent(directory, file, state, digest)


def as_list(value: Any) -> list[Any]:
    """ESPnet's ``keep_nbest_models`` is a number or a list of them."""
    return list(value) if isinstance(value, list | tuple) else [value]


def default_model(directory: Path) -> str:
    """The averaged model that decoding uses.

    By accuracy, or by loss where there is none (language models).
    """
    names = ("valid.acc.ave.pth", "valid.loss.ave.pth")
    return next((name for name in names if (directory / name).exists()), names[0])


def _check_tokens(config: Mapping[str, Any], parent: Mapping[str, Any], directory: Path) -> None:
    own, theirs = config.get("token_list"), parent.get("token_list")
    own = (
        Path(own).read_text(encoding="utf-8").splitlines()
        if isinstance(own, str)
        else list(own or [])
    )
    if theirs is not None and list(theirs) != own:
        raise TopdownError(
            f"{directory} was trained with another token list ({len(theirs)} tokens, here"
            f" {len(own)}); a frozen classifier needs its own"
        )


def _check_seeds(
    config: Mapping[str, Any], parent: Mapping[str, Any], directory: Path, settings: TopdownConf
) -> None:
    """An ancestor's seed would draw the very weights that it started from."""
    seeds = _ancestors_seeds(parent, directory)
    fault = seed_fault(settings.kind, config["seed"], seeds)
    if fault:
        raise TopdownError(fault)


def _ancestors_seeds(parent: Mapping[str, Any], directory: Path) -> dict[int, str]:
    """Seed -> directory of the parent, or of an ancestor of it, that was trained under it."""
    seeds = {parent.get("seed", 0): str(directory)}
    above = (parent.get("topdown_conf") or {}).get("parent")
    while above and (Path(above) / "config.yaml").exists():
        config = read_config(Path(above) / "config.yaml")
        seeds.setdefault(config.get("seed", 0), above)
        above = (config.get("topdown_conf") or {}).get("parent")
    return seeds


def _kept_tensors(
    model: torch.nn.Module, order: LayerOrder, sides: Sides, settings: TopdownConf
) -> tuple[str, ...]:
    """Names of the tensors copied from the parent.

    Those of the kept layers and the far ends of their ties.
    """
    kept = [t for layer in order.layers if layer.name in sides.kept for t in layer.tensors]
    crossing = freeze.crossing_ties(model, kept)
    if (
        crossing
        and settings.tied != "freeze"
        and not (settings.tied is None and hasattr(model, "lm"))
    ):
        names = "; ".join(" = ".join(group) for group in crossing)
        raise TopdownError(
            f"weights are tied across the cut: {names}. Say what to do: 'tied: freeze' (both ends),"
            " or for a model that ESPnet ties by an option 'tied: untie_draw' or 'tied:"
            " untie_copy'"
        )
    kept += [name for group in crossing for name in group if name not in kept]
    return tuple(kept)


def _with_ties(sides: Sides, order: LayerOrder, kept: Sequence[str]) -> Sides:
    """A layer whose tensors are all tied to kept ones is kept with them, and frozen with them."""
    drawn = {layer.name for layer in order.layers if set(layer.tensors) - set(kept)}
    held = tuple(name for name in sides.fresh if name not in drawn)
    if sides.fresh and len(held) == len(sides.fresh):
        raise TopdownError(
            "nothing is left to train: the fresh layers are tied to frozen ones; cut higher, or"
            " untie"
        )
    fresh = tuple(name for name in sides.fresh if name in drawn)
    return Sides(held + sides.kept, fresh, held + sides.frozen if sides.frozen else ())


def _copy_untied(
    model: torch.nn.Module,
    settings: TopdownConf,
    config: Mapping[str, Any],
    parent: State,
    kept: Sequence[str],
) -> None:
    tie = tie_of(config)
    if settings.tied == "untie_copy" and tie and tie.lower not in kept:
        freeze.copy_tensors(model, {tie.lower: parent[tie.upper]}, [tie.lower])


def _trainable(model: torch.nn.Module, order: LayerOrder) -> dict[str, tuple[str, ...]]:
    names = {n for n, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    found = {layer.name: tuple(t for t in layer.tensors if t in names) for layer in order.layers}
    return {layer: tensors for layer, tensors in found.items() if tensors}


def _write_start(
    begun: Begun, settings: TopdownConf, config: Mapping[str, Any], output_dir: Path
) -> None:
    """Write start.json, or compare with the one that an interrupted run of this phase left."""
    start = {
        "settings": {k: v for k, v in settings.to_conf().items() if k not in ("parent", "layers")},
        "seed": config.get("seed"),
        "parent": begun.parent and {"file": begun.parent.file, "hash": begun.parent.hash},
        "kept": list(begun.sides.kept),
        "fresh": list(begun.sides.fresh),
        "frozen": list(begun.sides.frozen),
        "start": checkpoint.state_fingerprint(begun.start),
        "versions": {name: version(name) for name in ("espnet", "torch")},
    }
    path = output_dir / START
    if (
        output_dir / RECORD
    ).exists():  # a job that waited in a queue while a later run did its work
        raise TopdownError(
            f"{output_dir} is finished ({RECORD} is there); to train again, give another output"
            " directory"
        )
    if not path.exists():
        if (output_dir / "checkpoint.pth").exists():
            raise TopdownError(
                f"{output_dir} holds a training that is not this phase (checkpoint.pth, no"
                f" {START}); ESPnet would continue it instead of starting fresh. Give another"
                " output directory"
            )
        files.write_json(path, start)
    elif lines := files.differences(files.read_json(path), start):
        raise TopdownError(
            f"{output_dir} was begun as another phase; move it away, or undo:\n  "
            + "\n  ".join(lines)
        )


def _log(
    model: torch.nn.Module,
    order: LayerOrder,
    begun: Begun,
    settings: TopdownConf,
    config: Mapping[str, Any],
) -> None:
    counts = model_layers.parameter_counts(model, order)
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    source = (
        f"{begun.parent.directory / begun.parent.file} sha256 {begun.parent.hash[:16]}"
        if begun.parent
        else "none"
    )
    logging.info(
        f"top-down: {settings.kind}, cut {settings.cut or 'none'}, seed {config.get('seed')},"
        f" parent {source}; frozen: {', '.join(begun.sides.frozen) or 'none'} ({frozen:,} of"
        f" {sum(counts.values()):,} parameters); fresh: {', '.join(begun.sides.fresh) or 'none'};"
        f" dropout in frozen layers: {settings.dropout}; threads {torch.get_num_threads()}"
    )
    for note in order.notes:
        logging.info(f"top-down: {note}")
