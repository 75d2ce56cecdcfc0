"""What frozen means, module by module: statistics, dropout, ties, state that cannot be held."""

import copy
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from models import CUSTOM, build
from plan import test_public_models as public

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.layer_names import cut_index
from espnet_topdown.plan.layers import layer_order
from espnet_topdown.training.freeze import copy_tensors, dropout_off, freeze
from espnet_topdown.training.kept import crossing_ties
from espnet_topdown.training.model_layers import dropouts, order_of


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return dict(
        speech=torch.randn(2, 70, tiny.DIM, generator=generator),
        speech_lengths=torch.tensor([70, 60]),
        text=torch.tensor([[2, 3, 4], [3, 4, 5]]),
        text_lengths=torch.tensor([3, 3]),
    )


def train_steps(model, steps: int = 3) -> None:
    """Real updates, with `model.train()` before each as ESPnet's trainer does before each epoch."""
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(steps):
        model.train()
        optimiser.zero_grad()
        model(**batch())[0].backward()
        optimiser.step()


def state_of(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def freeze_from(model, cut: str) -> set[str]:
    """Freeze from `cut` upward; the names of the frozen tensors."""
    order = order_of(model)
    layers = order.layers[cut_index(order.names, cut) :]
    tensors = {t for layer in layers for t in layer.tensors}
    freeze(model, order, {layer.name for layer in layers}, tensors)
    return tensors


@pytest.mark.parametrize("encoder", tiny.ENCODERS)
def test_frozen_tensors_are_bit_identical_after_updates_and_every_fresh_one_moved(encoder, espnet):
    torch.manual_seed(0)
    model = build("asr", tiny.asr_config(encoder, "rnn"))
    frozen = freeze_from(model, "encoder.1")
    before = state_of(model)
    train_steps(model)
    moved = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert not moved & frozen
    still = {n for n, _ in model.named_parameters()} - frozen - moved
    assert still <= {
        f"encoder.encoders.0.{part}.linear_k.bias" for part in ("self_attn", "attn")
    }  # softmax ignores it


@pytest.mark.parametrize("encoder", ["conformer", "contextual_block_conformer"])
def test_frozen_batchnorm_keeps_its_statistics_where_stock_freezing_moves_them(encoder, espnet):
    model = build("asr", tiny.asr_config(encoder, "rnn"))
    statistics = "encoder.encoders.2.conv_module.norm.running_mean"
    for parameter in model.parameters():  # ESPnet's --freeze_param
        parameter.requires_grad_(False)
    model.ctc.ctc_lo.requires_grad_(True)
    before = state_of(model)[statistics]
    train_steps(model, 1)
    assert not torch.equal(model.state_dict()[statistics], before)

    model = build("asr", tiny.asr_config(encoder, "rnn"))
    freeze_from(model, "encoder.1")
    before = state_of(model)
    train_steps(model)
    assert torch.equal(model.state_dict()[statistics], before[statistics])
    below = "encoder.encoders.0.conv_module.norm.running_mean"
    assert not torch.equal(model.state_dict()[below], before[below])


def test_recurrent_layers_stay_in_train_mode(espnet):
    """cuDNN cannot back-propagate through an RNN in eval mode."""
    model = build("asr", tiny.asr_config("vgg_rnn", "rnn"))
    freeze_from(model, "encoder.1")
    train_steps(model, 1)
    assert all(
        module.training for module in model.modules() if isinstance(module, torch.nn.RNNBase)
    )


def test_stock_freezing_of_one_lstm_freezes_all_its_layers(espnet):
    """ESPnet's --freeze_param (tasks/abs_task.py, main_worker) takes whole modules.

    A layer inside one has no prefix.
    """
    model = build("lm", tiny.lm_config())
    for asked in ("lm.rnn.l1", "lm.rnn.1"):
        assert not [
            name
            for name, _ in model.named_parameters()
            if name.startswith(f"{asked}.") or name == asked
        ]
    for name, parameter in model.named_parameters():
        if name.startswith("lm.rnn."):
            parameter.requires_grad_(False)
    assert not model.lm.rnn.weight_ih_l0.requires_grad  # the layer that should be trained


def test_a_cut_inside_one_lstm_freezes_its_upper_layers_alone(espnet):
    torch.manual_seed(0)
    model = build("lm", tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": False}))
    order = order_of(model)
    tensors = {
        t for layer in order.layers[cut_index(order.names, "rnn.1") :] for t in layer.tensors
    }
    freeze(model, order, {"rnn.1", "rnn.2", "output"}, tensors)
    before = state_of(model)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0, weight_decay=0.1)
    model.train()
    model(text=torch.tensor([[2, 3, 4, 5]]), text_lengths=torch.tensor([4]))[0].backward()
    optimiser.step()
    moved = {
        name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert moved == {
        "lm.encoder.weight",
        *(f"lm.rnn.{w}_{p}_l0" for w in ("weight", "bias") for p in ("ih", "hh")),
    }


def test_stock_prefixes_take_layer_ten_with_layer_one_where_ours_does_not(espnet, tmp_path):
    """ESPnet's --init_param excludes by bare prefix (torch_utils/load_pretrained_model.py)."""
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    config = tiny.asr_config(
        "transformer", encoder_conf=tiny.ENCODERS["transformer"] | {"num_blocks": 12}
    )
    model = build("asr", config)
    parent = {name: torch.full_like(tensor, 7) for name, tensor in model.state_dict().items()}
    torch.save(parent, tmp_path / "parent.pth")
    ten, one = (f"encoder.encoders.{k}.norm1.weight" for k in (10, 1))

    load_pretrained_model(f"{tmp_path}/parent.pth:::encoder.encoders.1", model, False)
    assert not torch.equal(model.state_dict()[ten], parent[ten])  # stock left layer 10 out as well

    layers = order_of(model).layers
    copy_tensors(
        model, parent, [t for layer in layers if layer.name != "encoder.1" for t in layer.tensors]
    )
    assert torch.equal(model.state_dict()[ten], parent[ten])
    assert not torch.equal(model.state_dict()[one], parent[one])


def test_ties_are_found_by_storage_where_stock_freezing_leaves_the_matrix_trainable(espnet):
    model = build("lm", tiny.lm_config())
    for name, parameter in model.named_parameters():  # ESPnet's --freeze_param lm.decoder
        if name.startswith("lm.decoder."):
            parameter.requires_grad_(False)
    assert model.lm.decoder.weight.requires_grad
    kept = ["lm.decoder.weight", "lm.decoder.bias"]
    assert crossing_ties(model, kept) == [("lm.encoder.weight", "lm.decoder.weight")]
    assert crossing_ties(model, [*kept, "lm.encoder.weight"]) == []


def test_dropout_off_silences_the_frozen_layers_and_no_others(espnet):
    config = tiny.asr_config("transformer", "transformer", ctc_conf=dict(dropout_rate=0.3))
    model = build("asr", config)
    order = order_of(model)
    frozen = set(order.names[cut_index(order.names, "encoder.1") :])
    switched = dropout_off(model, order, frozen)
    assert "ctc.dropout_rate" in switched
    assert model.ctc.dropout_rate == 0.0
    left = {layer for rate in dropouts(model, order) for layer in rate.layers}
    assert left == {"encoder.embed", "encoder.0"}


def test_a_number_that_nothing_reads_hinders_no_cut(espnet):
    conf = tiny.DECODERS["rnn"] | {"dropout": 0.1}
    model = build("asr", tiny.asr_config("transformer", "rnn", decoder_conf=conf))
    switched = dropout_off(model, order_of(model), ["decoder.1", "output"])
    assert switched == ["decoder.dropout_dec.1.p"]
    assert model.decoder.dropout == 0.1


ENCODERS = {name: ("asr", tiny.asr_config(name, "transformer"), ()) for name in tiny.ENCODERS}
# Of the public classes all but one, which draws the words that it hides.
SILENCED = ENCODERS | {name: case for name, case in public.CASES.items() if name != "mlm"}
# A second of sound, sample by sample.
LONG = ("sinc preencoder",)


def with_dropouts(task: str, config: dict[str, object]) -> dict[str, object]:
    """A config with every dropout that the classes of its model have an option for."""
    model = build(task, copy.deepcopy(config))
    changed = copy.deepcopy(config)
    for part in model._modules:
        options = inspect.signature(type(getattr(model, part)).__init__).parameters.values()
        rates = [
            option.name
            for option in options
            if ("drop" in option.name or "stochastic" in option.name)
            and type(option.default) in (int, float)
        ]
        if isinstance(config.get(f"{part}_conf"), dict):
            changed[f"{part}_conf"] |= dict.fromkeys(rates, 0.3)
    return changed


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in SILENCED],
)
def test_with_dropout_off_everywhere_a_training_step_draws_nothing(name, espnet):
    task, config, _ = SILENCED[name]
    config = with_dropouts(task, config)
    if name == "torchaudiohubert":
        # It hides frames of its input, which is no dropout.
        config["encoder_conf"]["mask_prob"] = 0.0
    model = build(task, config)
    order = order_of(model)
    dropout_off(model, order, order.names)
    model.train()
    losses = set()
    read = public.BATCHES.get(name, dict(texts=["src_text"]) if task == "st" else {})
    given = public.batch(**read)
    for seed in range(3):
        torch.manual_seed(seed)
        np.random.seed(seed)
        losses.add(model(**given)[0].item())
    assert len(losses) == 1


def test_a_config_that_is_asked_at_each_step_is_silenced_too():
    """As Hugging Face's speech encoders ask whether to leave out a layer."""
    model = torch.nn.ModuleDict({"low": torch.nn.Linear(2, 2), "high": torch.nn.Linear(2, 2)})
    model["high"].attention_dropout = 0.1
    model.config = model["low"].config = SimpleNamespace(layerdrop=0.1, dropout=0.1)
    whole = torch.nn.ModuleDict({"frontend": model})
    names = {"low": ["frontend.low"], "high": ["frontend.high"]}
    order = layer_order({}, whole.state_dict(), custom=names)
    assert dropout_off(whole, order, order.names) == [
        "frontend.config.layerdrop",
        "frontend.high.attention_dropout",
    ]
    assert (model.config.layerdrop, model["high"].attention_dropout) == (0.0, 0.0)
    # Nothing asks it for what its modules were built with.
    assert model.config.dropout == 0.1
    model.config.layerdrop = 0.1
    with pytest.raises(TopdownError, match="the one number frontend.config.layerdrop serves"):
        dropout_off(whole, order, ["high"])


@pytest.mark.parametrize(
    ("task", "config", "cut", "number"),
    [
        (
            "asr",
            tiny.asr_config("vgg_rnn", encoder_conf=tiny.ENCODERS["vgg_rnn"] | {"dropout": 0.2}),
            "encoder.1",
            "encoder.enc.1.dropout",
        ),
        (
            "lm",
            tiny.lm_config(lm_conf={**tiny.LMS["seq_rnn"], "tie_weights": False}),
            "rnn.1",
            "lm.drop.p",
        ),
    ],
)
def test_dropout_off_is_refused_where_one_number_serves_both_sides(
    task, config, cut, number, espnet
):
    model = build(task, config)
    order = order_of(model)
    with pytest.raises(TopdownError, match=f"the one number {number} serves"):
        dropout_off(model, order, order.names[cut_index(order.names, cut) :])


def test_state_that_a_forward_pass_may_move_is_refused_by_name(espnet):
    model = build("asr", tiny.asr_config("transformer", "rnn"))
    model.encoder.encoders[2].register_buffer("num_updates", torch.tensor(0))
    order = order_of(model, CUSTOM | {"bottom": ["encoder.embed"]})
    top = order.layers[1:]
    with pytest.raises(
        TopdownError, match="encoder.encoders.2.num_updates: state of a frozen layer"
    ):
        freeze(
            model, order, {layer.name for layer in top}, {t for layer in top for t in layer.tensors}
        )


def test_freezing_everything_is_refused(espnet):
    model = build("asr", tiny.asr_config("transformer", "rnn"))
    order = order_of(model)
    with pytest.raises(TopdownError, match="nothing is left to train"):
        freeze(model, order, order.names, {t for layer in order.layers for t in layer.tensors})
