"""Frozen weights under AMP: cast as often as trainable ones, with the very same results."""

import pytest
import tiny
import torch
from models import build
from new_process import in_new_process
from torch.utils._python_dispatch import TorchDispatchMode

from espnet_topdown.plan.layer_names import cut_index
from espnet_topdown.training import freeze
from espnet_topdown.training.casts import cast_once
from espnet_topdown.training.model_layers import order_of

OUTPUT_STEPS = 18


class Casts(TorchDispatchMode):
    """Counts casts to bfloat16."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        is_cast = function is torch.ops.aten._to_copy.default
        if is_cast and kwargs.get("dtype") == torch.bfloat16:
            self.count += 1
        return function(*args, **kwargs)


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return dict(
        speech=torch.randn(2, 70, tiny.DIM, generator=generator),
        speech_lengths=torch.tensor([70, 60]),
        text=torch.randint(2, 8, (2, OUTPUT_STEPS), generator=generator),
        text_lengths=torch.tensor([OUTPUT_STEPS, OUTPUT_STEPS]),
    )


def frozen_model(config: dict[str, object], cut: str | None) -> torch.nn.Module:
    torch.manual_seed(0)
    model = build("asr", config)
    if cut is not None:
        order = order_of(model)
        layers = order.layers[cut_index(order.names, cut) :]
        tensors = {tensor for layer in layers for tensor in layer.tensors}
        freeze.freeze(model, order, {layer.name for layer in layers}, tensors)
    return model.train()


def step(model: torch.nn.Module, device: str = "cpu") -> tuple[int, int, list[torch.Tensor]]:
    """One step under AMP: casts, bytes kept for backward, and the loss with all gradients."""
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    model.to(device)
    inputs = {name: tensor.to(device) for name, tensor in batch().items()}
    torch.manual_seed(5)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with Casts() as casts, hooks, torch.autocast(device, dtype=torch.bfloat16):
        loss = model(**inputs)[0]
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return casts.count, sum(map(len, kept.values())), [loss.detach(), *gradients]


RNN = tiny.asr_config("vgg_rnn", "rnn", decoder_conf=tiny.DECODERS["rnn"] | dict(dropout=0.1))
TRANSFORMER = tiny.asr_config("transformer", "transformer")


@pytest.mark.parametrize("config", [RNN, TRANSFORMER], ids=["rnn", "transformer"])
def test_a_frozen_decoder_is_cast_as_often_as_a_trainable_one(config, espnet):
    casts, _, _ = step(frozen_model(config, None))
    assert step(frozen_model(config, "decoder"))[0] == casts


def test_results_and_gradients_are_those_of_casts_at_each_use(espnet, monkeypatch):
    casts, kept, results = step(frozen_model(RNN, "decoder"))
    monkeypatch.setattr(freeze, "cast_once", lambda model: None)
    more_casts, more_kept, plain = step(frozen_model(RNN, "decoder"))
    # 11 weights and biases of the decoder and its attention, at each output step.
    assert more_casts - casts > 10 * OUTPUT_STEPS
    assert more_kept > kept
    assert len(results) == len(plain) > 10
    assert all(torch.equal(one, other) for one, other in zip(results, plain, strict=True))


@pytest.mark.gpu
def test_on_a_gpu_too_a_frozen_decoder_is_cast_once_a_step():
    in_new_process(casts_of_a_frozen_decoder, "cuda")


def casts_of_a_frozen_decoder(device: str) -> None:
    # torch's CTC on a GPU takes its lengths from the CPU, and under a TorchDispatchMode refuses it.
    config = RNN | {"model_conf": {"ctc_weight": 0.0}}
    casts, _, _ = step(frozen_model(config, None), device)
    assert step(frozen_model(config, "decoder"), device)[0] <= casts


def test_an_embedding_tied_to_a_softmax_stays_in_float32():
    model = torch.nn.Sequential(torch.nn.Embedding(4, 4), torch.nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[0].weight.requires_grad_(False)
    cast_once(model)
    seen = []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.tensor([1])).dtype == torch.bfloat16
    assert seen == [torch.float32]


def test_the_model_is_as_before_after_each_step_also_after_a_failed_one():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[0].requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    cast_once(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(torch.ones(1, 4))
        with pytest.raises(RuntimeError):
            model(torch.ones(1, 3))
    assert model[0].weight is dict(model.named_parameters())["0.weight"]
    assert model[0].weight.dtype == torch.float32
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


def test_without_autocast_a_frozen_weight_is_used_as_it_is():
    linear = torch.nn.Linear(4, 4).requires_grad_(False)
    cast_once(linear)
    seen = []
    linear.register_forward_pre_hook(lambda module, _: seen.append(module.weight))
    linear(torch.ones(1, 4))
    assert seen[0] is linear.weight


def test_a_later_step_sees_weights_that_were_loaded_in_between():
    linear = torch.nn.Linear(4, 4).requires_grad_(False)
    cast_once(linear)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear(torch.ones(1, 4))
        linear.load_state_dict({"weight": torch.ones(4, 4), "bias": torch.zeros(4)})
        assert linear(torch.ones(1, 4)).tolist() == [[4.0] * 4]
