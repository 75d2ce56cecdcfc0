"""The layers of a built torch model: their order, sizes, ties and dropouts. Nothing is changed.

Which tensors form a layer is decided in `espnet_topdown.plan.layers`; freezing is
`espnet_topdown.training.freeze`'s, and what that meets in a layer is told by
`espnet_topdown.training.layer_notes`.
"""

import argparse
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.nn.modules.batchnorm import _NormBase

from espnet_topdown.check import is_number, mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.layers import LayerOrder, layer_order
from espnet_topdown.plan.model_table import IDLE_RATES, MODELS, UNTRAINED, find_model

# What numbers of dropouts are called, of single weights, of branches and of layers.
_RATE = re.compile("drop|stochastic_depth")
# Of OpenAI's checkpoints: English, several languages, several since large-v3.
_WHISPER_TOKENS = (51864, 51865, 51866)
# What ESPnet loads again after an `init` other than chainer, which draws the whole model
# (espnet2/torch_utils/initialize.py, 202301 to 202611).
_LOADED_AGAIN = ("encoder", "frontend", "postencoder", "decoder")
# Address and shape.
Place = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class Rate:
    """A dropout that acts.

    Args:
        name: of its module in the model.
        module: what holds its number: the module, or a config that the module asks.
        attribute: under which the module holds it.
        layers: those in which it acts; empty where that cannot be told.
    """

    name: str
    module: Any
    attribute: str
    layers: frozenset[str]

    @property
    def label(self) -> str:
        """``module.attribute``."""
        return f"{self.name}.{self.attribute}"


def model_parts(model: torch.nn.Module) -> dict[str, str]:
    """What an ESPnet model is made of, part -> class name, for `layer_order`.

    Parts of other names make tensors in no layer, which `layer_order` names.
    """
    own = [part for part in MODELS if getattr(model, part, None) is not None]
    parts = {part: type(getattr(model, part)).__name__ for part in own}
    # A frontend that the table does not know computes features: it is no layer.
    if find_model("frontend", parts.get("frontend", "")) is None:
        parts.pop("frontend", None)
    return parts


def order_of(
    model: torch.nn.Module, custom: Mapping[str, Sequence[str]] | None = None
) -> LayerOrder:
    """The layer order of a built ESPnet model.

    Args:
        model: an ESPnet model (ESPnetASRModel, ESPnetLanguageModel).
        custom: layer name -> name prefixes, lowest first, for models outside the table.

    Raises:
        TopdownError: as `layer_order`; also when a frontend that is no layer has parameters.
    """
    parts = model_parts(model)
    order = layer_order(
        parts,
        model.state_dict(),
        custom=custom,
        conditioned=_conditioned_layer(model),
    )
    parameters = _parameters(model)
    outside = [name for name in order.outside if name in parameters]
    if outside:
        raise TopdownError(
            f"{type(model.frontend).__name__} has parameters of its own ({outside[0]}, ...), which"
            " are in no layer; give the plan an order of your own: 'layers:'"
        )
    # A part that could load a checkpoint may have been told not to.
    drawn = [f"{part}." for part, name in parts.items() if not _is_loaded(model, part, name)]
    loaded = {name for name in order.loaded if not name.startswith(tuple(drawn))}
    return replace(order, loaded=frozenset(loaded - _of_other_tokens(model)))


def _is_loaded(model: torch.nn.Module, part: str, name: str) -> bool:
    """Whether a part that can load a pre-trained checkpoint still has it when it is built."""
    known = find_model(part, name)
    module = getattr(model, part)
    # Of a model that no task of ours has built, nothing is known.
    options = vars(getattr(model, "built_by", argparse.Namespace()))
    conf = mapping_in(options, f"{part}_conf")
    if known and not _says(module, conf, known.loads_by):
        return False
    match options.get("init"):
        case None:
            # ESPnet 202511 loads that one after an `init` alone (espnet2/asr/encoder/
            # beats_encoder.py).
            return type(module).__name__ != "BeatsEncoder" or hasattr(module, "initialize")
        case "chainer":
            return False
        case _:
            can = part in _LOADED_AGAIN and _can_load_again(module)
            return can and (known is None or _says(module, conf, known.loads_again_by))


def _says(module: torch.nn.Module, conf: Mapping[str, Any], option: str | None) -> bool:
    """Whether a part's option, if there is such a one, is true or not given."""
    return option is None or bool(getattr(module, option, conf.get(option, True)))


def _can_load_again(module: torch.nn.Module) -> bool:
    modules = [module, *getattr(module, "frontends", ())]
    return any(hasattr(each, "reload_pretrained_parameters") for each in modules)


def _of_other_tokens(model: torch.nn.Module) -> set[str]:
    """What ESPnet draws of a Whisper decoder for tokens that its checkpoint does not have.

    See espnet2/asr/decoder/whisper_decoder.py (202511, 202611).
    """
    decoder: Any = getattr(model, "decoder", None)
    if type(decoder).__name__ != "OpenAIWhisperDecoder":
        return set()
    embedding = decoder.decoders.token_embedding
    name = "decoder.decoders.token_embedding"
    if hasattr(embedding, "add_emb"):
        return {f"{name}.add_emb.weight"}
    if embedding.num_embeddings in _WHISPER_TOKENS:
        return set()
    return {f"{name}.weight"}


def _conditioned_layer(model: torch.nn.Module) -> int | None:
    """Index of the lowest encoder layer that interctc's conditioning layer feeds, if any."""
    encoder: Any = getattr(model, "encoder", None)
    if getattr(encoder, "conditioning_layer", None) is None:
        return None
    # Added to the output of these layers, counted from 1: the next one, counted from 0, is fed.
    return min(encoder.interctc_layer_idx, default=None)


def _parameters(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The parameters of a model under all their names, aliases of tied ones included."""
    return dict(model.named_parameters(remove_duplicate=False))


def tied_groups(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """Names of parameters that are one in memory, a tuple for each that has several names."""
    parameters = _parameters(model)
    # Without numbers there is nothing to share, and no address.
    names = [name for name, parameter in parameters.items() if parameter.numel()]
    groups = grouped(names, lambda name: _place(parameters[name]))
    return [tuple(names) for names in groups.values() if len(names) > 1]


def _place(parameter: torch.Tensor) -> Place:
    """Where the numbers of a parameter are: two with the same place are one matrix.

    Not by the storage that holds them: on a GPU cuDNN keeps all weights of an nn.LSTM in one
    (torch/nn/modules/rnn.py, flatten_parameters). Nor by the address alone: a view of the start of
    another parameter has its address and is not tied to it.
    """
    return parameter.data_ptr(), tuple(parameter.shape)


def dropouts(model: torch.nn.Module, order: LayerOrder) -> Iterator[Rate]:
    """Every dropout of the model that acts: modules, and numbers read by functional calls.

    Any number called like a dropout's counts as read, but for `IDLE_RATES`: classes of many
    packages have such.
    """
    asked: set[int] = set()
    for name, module in model.named_modules():
        held = [(name, module, attribute) for attribute in _rate_attributes(module)]
        config = getattr(module, "config", None)
        # Hugging Face's speech encoders ask their config, which all their modules have, at each
        # step whether to leave out a layer (transformers/models/wav2vec2/modeling_wav2vec2.py).
        if getattr(config, "layerdrop", None) and id(config) not in asked:
            asked.add(id(config))
            held.append((f"{name}.config", config, "layerdrop"))
        for label, holder, attribute in held:
            layers = layers_served(name, model, order)
            yield Rate(name=label, module=holder, attribute=attribute, layers=layers)


def _rate_attributes(module: torch.nn.Module) -> list[str]:
    """The attributes of a module that hold numbers of dropouts that act."""
    # nn.LSTM's dropout acts between its layers.
    if isinstance(module, torch.nn.RNNBase) and module.num_layers == 1:
        return []
    kinds = [kind.__name__ for kind in type(module).__mro__]
    is_dropout = any("drop" in kind.lower() for kind in kinds)
    numbers = [name for name, value in vars(module).items() if is_number(value) and value > 0]
    called = [name for name in numbers if _RATE.search(name) or (is_dropout and name == "p")]
    idle = set(map(IDLE_RATES.get, kinds))
    return [name for name in called if name not in idle]


def layers_served(name: str, model: torch.nn.Module, order: LayerOrder) -> frozenset[str]:
    """The layer that holds the module `name`, or else the layers that it holds.

    Of a module without tensors in no layer by its name, those that the module around it is in, or
    holds.
    """
    place = order.of_module(name)
    if place:
        return frozenset([place])
    inside = [tensor for tensor in model.state_dict() if tensor.startswith(f"{name}.")]
    around = name.rpartition(".")[0]
    if around and not inside:
        return layers_served(around, model, order)
    return frozenset(filter(None, map(order.of_module, inside)))


def parameter_counts(model: torch.nn.Module, order: LayerOrder) -> dict[str, int]:
    """Parameters of each layer, lowest first.

    A tied matrix counts in the lowest layer that names it.
    """
    parameters = _parameters(model)
    counted: set[Place] = set()
    counts = {}
    for layer, tensors in order.tensors.items():
        own = [parameters[name] for name in tensors if name in parameters]
        sizes = {_place(parameter): parameter.numel() for parameter in own}
        counts[layer] = sum(sizes[place] for place in sizes.keys() - counted)
        counted |= sizes.keys()
    return counts


def layers_held_by_ties(model: torch.nn.Module, order: LayerOrder) -> dict[str, dict[str, int]]:
    """For each layer, the layers that it shares tensors with, and how many parameters it shares."""
    held: dict[str, Counter[str]] = defaultdict(Counter)
    parameters = _parameters(model)
    for group in tied_groups(model):
        layers = sorted(filter(None, set(map(order.of_module, group))))
        shared = parameters[group[0]].numel()
        for one, other in itertools.permutations(layers, 2):
            held[one][other] += shared
    return {name: dict(held[name]) for name in order.names}


def untrained(model: torch.nn.Module) -> list[str]:
    """Names of the parameters that have no gradient.

    Of a model as ESPnet's task has built it: those that its class never trains.
    """
    return [name for name, parameter in _parameters(model).items() if not parameter.requires_grad]


def unreached(model: torch.nn.Module) -> list[str]:
    """Names of the parameters that ESPnet's forward pass leaves without a gradient, by the table.

    They may be random or not: nothing is read from them, or nothing trains what is.
    """
    prefixes: list[str] = []
    for name, module in model.named_modules():
        for row in UNTRAINED:
            prefixes += [f"{name}.{below}" for below in row.prefixes(module)]
    parameters = _parameters(model)
    names = [name for name in parameters if f"{name}.".startswith(tuple(prefixes))]
    # What has a name elsewhere too is read there.
    read = {_place(parameters[name]) for name in parameters.keys() - names}
    return [name for name in names if _place(parameters[name]) not in read]


def loaded_layers(order: LayerOrder, layers: Collection[str]) -> list[str]:
    """Those of `layers` that start from a pre-trained checkpoint, lowest first."""
    return [name for name in order.holding(order.loaded) if name in layers]


def moving_state(model: torch.nn.Module, order: LayerOrder) -> dict[str, list[str]]:
    """For each layer, the buffers that a forward pass may move and that cannot be kept fixed.

    Those of normalisation are kept fixed (see `espnet_topdown.training.freeze`).
    """
    fixed = set(order.constants)
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and order.of_module(name):
            fixed |= {f"{name}.{buffer}" for buffer, _ in module.named_buffers()}
    still = fixed | _parameters(model).keys()
    return {
        layer: [name for name in tensors if name not in still]
        for layer, tensors in order.tensors.items()
    }
