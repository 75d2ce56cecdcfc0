"""One phase before its first epoch: kept layers are the parent's and frozen, and that is on record.

The epochs are ESPnet's; what follows them is for `espnet_topdown.training.phase_end`.
"""

import itertools
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.check import list_in
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.keys import training_key
from espnet_topdown.experiment.phase_dir import BEGUN, REDO, START, holds_training
from espnet_topdown.plan.freeze_param import fault, left_random
from espnet_topdown.plan.layer_names import layer_span
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.plan.sides import Sides
from espnet_topdown.plan.ties import tie_of
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import checkpoint, freeze, model_layers, pretrained, vocabulary
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.kept import kept_of
from espnet_topdown.training.parent import Parent, read_parent
from espnet_topdown.versions import versions


@dataclass(frozen=True)
class Begun:
    """A phase whose model is ready to be trained.

    Args:
        sides: kept, fresh and frozen layers.
        parent: None for a restart without one, and on ranks that do not write.
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
    conf: TopdownConf,
    *,
    config: Mapping[str, Any],
    output_dir: Path,
    writes: bool = True,
) -> Begun:
    """Keep and freeze layers of a newly built model, whose other layers are fresh already.

    Gradients, dropout and normalisation of the frozen layers: see `freeze`. The model is changed in
    place.

    Args:
        model: as ESPnet built it under this phase's seed (and after its ``init_param``).
        conf: the phase.
        config: all of this training's options, as ESPnet's parser gave them.
        output_dir: the phase's directory.
        writes: False on the ranks of a distributed training that must not write; they read no
            parent either.

    Raises:
        TopdownError: a model outside the table, an unknown cut, a foreign or missing parent, an
            ancestor's seed, state that cannot be frozen, or a directory in which another training
            was begun.
    """
    order = model_layers.order_of(model, conf.layers)
    # The other ranks get the first one's tensors when their model is wrapped (torch/nn/parallel/
    # distributed.py, `_sync_module_states`), frozen ones too.
    parent = read_parent(model, order, conf, config) if writes else None
    own = kept_of(model, order, conf)
    sides = own.sides
    by_espnet = model_layers.untrained(model)
    unreached = model_layers.unreached(model)
    # Not asked to move, and not counted as what is left to train.
    for name in unreached:
        model.get_parameter(name).requires_grad_(False)
    frozen: State = {}
    if parent is not None:
        vocabulary.check_kept(own.tensors, parent.foreign)
        freeze.copy_tensors(model, parent.state, own.tensors)
        if conf.tied == "untie_copy":
            _copy_untied(model, config, parent.state, own.tensors)
        # The parent's tensors, which no step of this training can reach.
        frozen = {name: parent.state[name] for name in own.frozen}
    if sides.frozen:
        freeze.freeze(model, order, sides.frozen, own.frozen)
        if conf.dropout == "off":
            switched = freeze.dropout_off(model, order, sides.frozen)
            names = listed(switched, "nothing (no rate above 0)")
            logging.info(f"top-down: dropout off in {names}")
    by_file = pretrained.filled(
        list_in(config, "init_param"),
        model,
        ignore_mismatch=bool(config.get("ignore_init_mismatch")),
    )
    filled = {*order.loaded, *unreached, *by_file}
    _check_freeze_param(model, order, sides, config, filled, by_espnet)
    trainable = _trainable(model, order)
    # Taken before ESPnet resumes, so that a rerun has the start of the first run.
    state = model.state_dict()
    learning = {name: state[name] for name in itertools.chain(*trainable.values())}
    begun = Begun(
        sides=sides,
        parent=parent,
        frozen=frozen,
        start=checkpoint.fingerprints(learning) if writes else {},
        trainable=trainable,
    )
    if writes:
        _write_start(output_dir, _start(begun, conf, config))
        _log(model, order, begun, conf, config.get("seed"))
    return begun


def _copy_untied(
    model: torch.nn.Module, config: Mapping[str, Any], parent: State, kept: Collection[str]
) -> None:
    """Start the lower end of an untied pair from the parent's one matrix instead of afresh."""
    tie = tie_of(config)
    if tie is None or tie.lower in kept:
        return
    if tie.upper not in parent:
        raise vocabulary.keeps_dependent([tie.upper])
    freeze.copy_tensors(model, {tie.lower: parent[tie.upper]}, [tie.lower])


def _check_freeze_param(
    model: torch.nn.Module,
    order: LayerOrder,
    sides: Sides,
    config: Mapping[str, Any],
    filled: Collection[str],
    by_espnet: Collection[str],
) -> None:
    """Refuse fresh layers that ESPnet, which freezes `by_espnet`, leaves random and untrained.

    `filled` are loaded, or do not matter.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    random = set(left_random(config, parameters, filled, by_espnet))
    fresh = [layer for layer in order.holding(random) if layer in sides.fresh]
    if fresh:
        raise TopdownError(fault(fresh, config))


def _trainable(model: torch.nn.Module, order: LayerOrder) -> dict[str, tuple[str, ...]]:
    """Trainable parameters of each layer that has any."""
    # A tied parameter counts under each of its names.
    parameters = model.named_parameters(remove_duplicate=False)
    names = {name for name, parameter in parameters if parameter.requires_grad}
    return {
        layer: tuple(tensor for tensor in order.tensors[layer] if tensor in names)
        for layer in order.holding(names)
    }


def _start(begun: Begun, conf: TopdownConf, config: Mapping[str, Any]) -> dict[str, Any]:
    """What start.json says, by which an interrupted phase knows itself again."""
    parent = None
    if begun.parent is not None:
        parent = {"file": begun.parent.file, "hash": begun.parent.hash}
    # The parent is known by its weights, not by its place; the layer order by what it makes.
    settings = replace(conf, parent=None, layers={}).to_conf()
    return {
        "settings": settings,
        "seed": config.get("seed"),
        **training_key(config),
        "parent": parent,
        "kept": list(begun.sides.kept),
        "fresh": list(begun.sides.fresh),
        "frozen": list(begun.sides.frozen),
        # Only where a layer learns at a factor: what was begun before stays as it was.
        **({"kept_lr": dict(begun.sides.slow)} if begun.sides.slow else {}),
        "start": checkpoint.state_fingerprint(begun.start),
        "versions": versions(),
    }


def _write_start(output_dir: Path, start: dict[str, Any]) -> None:
    """Write start.json, or compare with the one that an interrupted run of this phase left."""
    # What is left of a training that never ended an epoch is not resumed.
    if holds_training(output_dir):
        _check_start(output_dir, start)
    files.write_json(output_dir / START, start)


def _check_start(output_dir: Path, start: Mapping[str, Any]) -> None:
    """Refuse to resume what was begun as another training."""
    path = output_dir / START
    if not path.exists():
        # Where the runner has begun the phase, it has compared.
        if (output_dir / BEGUN).exists():
            return
        raise TopdownError(
            f"{output_dir} holds a training that is not this phase (model files, no {START});"
            " ESPnet would continue it instead of starting fresh. Give another output directory"
        )
    changes = files.differences(_read_start(output_dir), start)
    if changes:
        lines = "\n  ".join(changes)
        raise TopdownError(
            f"{output_dir} was begun with something else (begun with -> now); undo that, or start"
            f" over, in another output directory or, a phase of a cascade, with {REDO}:\n  {lines}"
        )


def _read_start(output_dir: Path) -> dict[str, Any]:
    path = output_dir / START
    try:
        return files.read_object(path)
    except TopdownError:
        # It can be written anew where the runner knows what the phase was begun with.
        if (output_dir / BEGUN).exists():
            raise
        raise TopdownError(
            f"{path} is damaged, and nothing else tells what this training was begun with; restore"
            " it, or give another output directory"
        ) from None


def _slow(sides: Sides) -> str:
    """The kept layers that learn, with their factors, for the log; empty without any."""
    rates = [f"{name} {sides.factor(name):g}" for name in sides.learning]
    told = f" kept and trained, at a factor of the learning rate: {', '.join(rates)};"
    return told if rates else ""


def _log(
    model: torch.nn.Module, order: LayerOrder, begun: Begun, conf: TopdownConf, seed: Any
) -> None:
    total = sum(model_layers.parameter_counts(model, order).values())
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    pretrained = model_layers.loaded_layers(order, begun.sides.fresh)
    loaded = f" (of these loaded, not drawn: {layer_span(pretrained)})" if pretrained else ""
    source = "none"
    if begun.parent is not None:
        path = begun.parent.directory / begun.parent.file
        source = f"{path} sha256 {begun.parent.hash[:16]}"
    logging.info(
        f"top-down: {conf.kind}, cut {conf.parting or 'none'}, seed {seed}, parent {source};"
        f" frozen: {listed(begun.sides.frozen)} ({frozen:,} of {total:,} parameters);"
        f"{_slow(begun.sides)}"
        f" fresh: {listed(begun.sides.fresh)}{loaded};"
        f" dropout in frozen layers: {conf.dropout}; threads {torch.get_num_threads()}"
    )
    for note in order.notes:
        logging.info(f"top-down: {note}")
