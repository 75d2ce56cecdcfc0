"""The trained experiment whose weights a phase keeps: read, and checked to fit this training."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from espnet_topdown.check import list_in, mapping_in
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.averages import counts_of
from espnet_topdown.experiment.config import Experiment, read_config
from espnet_topdown.experiment.phase_data import tokens_of
from espnet_topdown.experiment.task import task_of_config
from espnet_topdown.plan.layers import LayerOrder
from espnet_topdown.plan.plan import Plan, seed_fault
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.text_files import read_tokens
from espnet_topdown.training import averages, checkpoint, vocabulary
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.model_layers import tied_groups


@dataclass(frozen=True)
class Parent:
    """A trained experiment whose weights a phase keeps.

    Args:
        directory: the experiment.
        file: the model file in it.
        state: its tensors under this model's names.
        hash: fingerprint of the file's tensors under their own names.
        foreign: names of this model's tensors that depend on the vocabulary, where the parent has
            another: `state` has none of them.
    """

    directory: Path
    file: str
    state: State
    hash: str
    foreign: tuple[str, ...] = ()


def read_parent(
    model: torch.nn.Module, order: LayerOrder, conf: TopdownConf, config: Mapping[str, Any]
) -> Parent | None:
    """The parent that `conf` names, None where it names none.

    Args:
        model: this phase's model, unchanged when this returns.
        order: its layers.
        conf: the phase.
        config: this training's options, for ``seed`` and ``token_list``.

    Raises:
        TopdownError: no such experiment or model file, other tokens, another architecture or
            precision, other feature statistics, or an ancestor's seed.
    """
    if conf.parent is None:
        return None
    directory = Path(conf.parent)
    parent_config = read_config(directory / "config.yaml")
    has_own_tokens = _has_own_tokens(conf, config, parent_config, directory)
    # Its seed would draw the very weights that the ancestor started from.
    fault = seed_fault(conf.kind, config["seed"], _ancestors_seeds(parent_config, directory))
    if fault:
        raise TopdownError(fault)
    file = conf.parent_model or _default_model(directory, parent_config)
    saved = averages.exact_state(
        directory,
        file,
        list_in(parent_config, "best_model_criterion"),
        counts_of(parent_config.get("keep_nbest_models", 1)),
    )
    source = str(directory / file)
    foreign = tuple(vocabulary.of_model(model)) if has_own_tokens else ()
    state = upgraded_state(model, saved, source, without=foreign)
    _check_precision(saved, state, source)
    _check_outside(order, model, state, source)
    # Of the file's own names: an upgrade by a later ESPnet does not make it another parent.
    digest = checkpoint.state_fingerprint(checkpoint.fingerprints(saved))
    return Parent(directory=directory, file=file, state=state, hash=digest, foreign=foreign)


def upgraded_state(
    model: torch.nn.Module, state: State, source: str, *, without: Collection[str] = ()
) -> State:
    """A saved state under this ESPnet's names for the tensors of `model`, on the CPU.

    The whole state is loaded strictly, so that this ESPnet version's own upgrade of older
    checkpoints runs, and the model's own tensors are put back, in place, so that optimisers built
    on the parameters stay valid.

    Args:
        model: freshly built model, unchanged when this returns.
        state: state dict of a model file.
        source: where it comes from, for the message.
        without: names of tensors that the state need not have, and that are left out.

    Raises:
        TopdownError: another architecture, or a state whose tied weights differ from one another.
    """
    _check_ties(model, state, source)
    own = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    # Such a tensor of the state may be of another size; the model's own loads strictly.
    loaded = {**state, **{name: own[name] for name in without}}
    try:
        model.load_state_dict(loaded, strict=True)
        return {
            name: tensor.detach().cpu().clone()
            for name, tensor in model.state_dict().items()
            if name not in without
        }
    except RuntimeError as error:
        # Parts such as ``frontend.upstream`` of which the state has no tensor.
        lacking = _modules(model.state_dict()) - _modules(state)
        raise TopdownError(f"{source} {_misfit(error, sorted(lacking))}") from None
    finally:
        model.load_state_dict(own, strict=True)


def _misfit(error: Exception, lacking: Sequence[str]) -> str:
    """Why a state cannot be loaded, as torch's `error` has it; parts that it lacks are told."""
    if lacking:
        return (
            f"has no tensors of {', '.join(lacking)}; give a model file of the whole model (a"
            " training with 'save_strategy: all' writes such), or this architecture"
        )
    # The first line only names the class.
    lines = str(error).splitlines()[1:4]
    reason = "; ".join(map(str.strip, lines))
    return f"does not fit this model (another architecture?): {reason}"


def _modules(names: Iterable[str]) -> set[str]:
    return {".".join(name.split(".")[:2]) for name in names}


def _check_ties(model: torch.nn.Module, state: State, source: str) -> None:
    """Refuse a state with several matrices for one of `model`; loading would keep the last."""
    for group in tied_groups(model):
        values = [state[name] for name in group if name in state]
        if not all(torch.equal(values[0], value) for value in values[1:]):
            raise TopdownError(
                f"{source} has separate matrices for {' and '.join(group)}, which are one in this"
                " model"
            )


def _check_precision(saved: State, state: State, source: str) -> None:
    """Refuse weights that were rounded as they were loaded into a model of less precision."""
    for name in state.keys() & saved.keys():
        theirs, own = saved[name].dtype, state[name].dtype
        if torch.promote_types(theirs, own) != own and theirs.is_floating_point:
            raise TopdownError(
                f"{source} has weights of {theirs}, and this training of {own}; give the parent's"
                " train_dtype"
            )


def _check_outside(order: LayerOrder, model: torch.nn.Module, parent: State, source: str) -> None:
    """Check that features and their statistics are the parent's, as its kept layers need."""
    own = model.state_dict()
    for name in order.outside:
        # An averaged model's constant buffers are rounded (see `averages.mean`): 1e-7 of the
        # value in float32.
        if not torch.allclose(own[name].cpu(), parent[name], rtol=1e-6, atol=0.0):
            raise TopdownError(
                f"{name} differs from {source}'s: the features or their statistics changed"
                " (feats_stats.npz?); a phase needs its parent's"
            )


def _default_model(directory: Path, config: Mapping[str, Any]) -> str:
    """The averaged model that decoding uses: by accuracy, or by loss where there is none (LMs).

    Else that of a cascade from this parent, such as ``valid.cer_ctc.ave.pth`` under CTC alone.
    """
    for metric in ("acc", "loss"):
        name = f"valid.{metric}.ave.pth"
        if (directory / name).exists() and averages.is_measured(directory, "valid", metric):
            return name
    task = task_of_config(config, directory / "config.yaml")
    try:
        return Experiment(directory, config, task).model_name(Plan(()))
    except TopdownError as error:
        there = sorted(path.name for path in directory.glob("*.ave*.pth"))
        raise TopdownError(
            f"{error}, or topdown_conf 'parent_model: FILE' (there: {listed(there, 'none')})"
        ) from None


def _has_own_tokens(
    conf: TopdownConf, config: Mapping[str, Any], parent: Mapping[str, Any], directory: Path
) -> bool:
    """Whether the training has another vocabulary than its parent, as its `conf` then must say."""
    own = tokens_of(config)
    if conf.tokens and read_tokens(Path(conf.tokens)) != own:
        raise TopdownError(
            f"topdown_conf names the token list {conf.tokens}, and this training has another one"
            f" ({len(own)} tokens); give both the same"
        )
    theirs = parent.get("token_list")
    # A config that names no tokens says nothing against ours.
    if theirs is None or list(theirs) == own:
        return False
    if conf.tokens is None:
        raise TopdownError(
            f"{directory} was trained with another token list ({len(theirs)} tokens, here"
            f" {len(own)}); a frozen classifier needs its own. Where only layers are kept that do"
            " not depend on it (kind bottom_up), name the new list as tokens"
        )
    return True


def _ancestors_seeds(parent: Mapping[str, Any], directory: Path) -> dict[int, str]:
    """Seed -> directory of the parent, or of an ancestor of it, that was trained under it."""
    seeds = {parent.get("seed", 0): str(directory)}
    above = mapping_in(parent, "topdown_conf").get("parent")
    seen = {directory.resolve()}
    # The line of ancestors ends where one was moved away, or where a training into an ancestor's
    # directory, refused or not, has left its own config there: that line runs in a circle.
    while above and Path(above).resolve() not in seen:
        path = Path(above) / "config.yaml"
        if not path.exists():
            break
        seen.add(path.parent.resolve())
        config = read_config(path)
        seeds.setdefault(config.get("seed", 0), above)
        above = mapping_in(config, "topdown_conf").get("parent")
    return seeds
