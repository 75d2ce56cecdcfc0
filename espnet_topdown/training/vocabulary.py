"""Which tensors of a model depend on its vocabulary, so that no phase keeps them over another one.

They are found by building the model once more with one token more: their shapes differ.
"""

import argparse
import copy
from collections.abc import Callable, Collection, Iterable

import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.training import random_numbers

Build = Callable[[argparse.Namespace], torch.nn.Module]
ONE_MORE = "<one more>"
# Of a model that was built for a phase with a vocabulary of its own.
ATTRIBUTE = "topdown_vocabulary"


def grown(build: Build, options: argparse.Namespace) -> torch.nn.Module:
    """The model of `options` with one token more.

    Random numbers are as before when this returns.

    Args:
        build: ESPnet's ``build_model`` of the task.
        options: of the training, ``token_list`` as a list; unchanged.
    """
    own = copy.deepcopy(vars(options))
    # The first and the last are symbols that models look for there.
    own["token_list"] = [*own["token_list"][:-1], ONE_MORE, own["token_list"][-1]]
    with random_numbers.kept():
        return build(argparse.Namespace(**own))


def dependent(model: torch.nn.Module, larger: torch.nn.Module) -> dict[str, int]:
    """Names of the tensors that depend on the vocabulary, with the numbers that a token adds.

    Args:
        model: as it was built.
        larger: the same with one token more.
    """
    grown = larger.state_dict()
    added = {
        name: grown[name].numel() - tensor.numel() for name, tensor in model.state_dict().items()
    }
    return {name: more for name, more in added.items() if more}


def of_model(model: torch.nn.Module) -> dict[str, int]:
    """What `dependent` found when the model was built for a vocabulary of its own."""
    found: dict[str, int] = getattr(model, ATTRIBUTE, {})
    return found


def check_kept(kept: Collection[str], dependent: Collection[str]) -> None:
    """Refuse to keep tensors that depend on the vocabulary under another one.

    Raises:
        TopdownError: their names.
    """
    names = [name for name in kept if name in dependent]
    if names:
        raise keeps_dependent(names)


def keeps_dependent(names: Iterable[str]) -> TopdownError:
    """The error about kept tensors that depend on the vocabulary, under another one."""
    return TopdownError(
        f"of another vocabulary than the parent's, no kept tensor may depend on it, and these"
        f" do: {', '.join(names)}. Name layers without them, such as 'keep: [encoder]'"
        " ('espnet-topdown layers EXP' lists the names)"
    )
