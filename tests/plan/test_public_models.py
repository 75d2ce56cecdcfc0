"""The classes of ESPnet's public configs beside the usual encoders: every parameter has its layer.

Each is built small with random weights; gradients confirm the order.
"""

import pretrained
import pytest
import tiny
import torch
from models import build

from espnet_topdown.errors import TopdownError
from espnet_topdown.training.model_layers import layer_notes, order_of

ENCODER = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2")
TOP = ("decoder.0", "decoder.1", "output")
DECODER = tiny.DECODERS["transformer"]
STACK = dict(output_size=16, attention_heads=2, linear_units=16, num_blocks=2)
BASE = tiny.asr_config("transformer", "transformer")
SOURCE = dict(src_token_list=tiny.TOKENS, src_token_type="char", extra_asr_decoder="transformer")
ST = BASE | SOURCE | dict(extra_asr_decoder_conf=DECODER)
MULTICONV = dict(
    output_size=16, attention_heads=2, cgmlp_linear_units=16, num_blocks=3,
    multicgmlp_kernel_sizes="3,5",
)  # fmt: skip
WINDOWS = dict(win_length=400, hop_length=160, channels=1, padding=0, fs=16000)
CONVOLUTION = DECODER | dict(conv_kernel_length=[3, 3])
MEL = dict(frontend_type="default", n_mels=20, fs=16000, hop_length=160)
FUSED = dict(frontends=[MEL, MEL], align_method="linear_projection", proj_dim=8, fs=16000)
BEATS = dict(
    encoder_layers=2, encoder_embed_dim=16, encoder_ffn_embed_dim=16, embed_dim=16,
    encoder_attention_heads=2,
)  # fmt: skip

# Name of the case: task, config, layers, lowest first.
CASES = {
    "multiconv_conformer": (
        "asr",
        BASE | dict(encoder="multiconv_conformer", encoder_conf=MULTICONV),
        ENCODER + TOP,
    ),
    "linear preencoder": (
        "asr",
        BASE | dict(preencoder="linear", preencoder_conf=dict(input_size=20, output_size=16)),
        ENCODER + TOP,
    ),
    "linear preencoder below an encoder without a subsampling layer": (
        "asr",
        tiny.asr_config(
            "rnn", None, preencoder="linear", preencoder_conf=dict(input_size=20, output_size=16)
        ),
        (*ENCODER[1:], "ctc"),
    ),
    "sinc preencoder": (
        "asr",
        BASE
        | dict(input_size=None, frontend="sliding_window", frontend_conf=WINDOWS)
        | dict(preencoder="sinc", preencoder_conf=dict(fs=16000)),
        ENCODER + TOP,
    ),
    "fused frontends": (
        "asr",
        BASE
        | dict(input_size=None, frontend="fused", frontend_conf=FUSED, preencoder="linear")
        | dict(preencoder_conf=dict(input_size=16, output_size=20)),
        ("frontend", *ENCODER, *TOP),
    ),
    "length adaptor": (
        "asr",
        BASE | dict(postencoder="length_adaptor", postencoder_conf=dict(length_adaptor_n_layers=1)),
        (*ENCODER, "postencoder", *TOP),
    ),
    "mlm": ("asr", BASE | dict(model="maskctc", decoder="mlm"), ENCODER + TOP),
    "lightweight_conv": (
        "asr",
        BASE | dict(decoder="lightweight_conv", decoder_conf=CONVOLUTION),
        ENCODER + TOP,
    ),
    "dynamic_conv2d": (
        "asr",
        BASE | dict(decoder="dynamic_conv2d", decoder_conf=CONVOLUTION),
        ENCODER + TOP,
    ),
    "linear decoder": (
        "asr",
        BASE | dict(decoder="linear_decoder", decoder_conf={}, model_conf=dict(ctc_weight=0.0)),
        (*ENCODER, "output"),
    ),
    "several speakers": (
        "asr",
        BASE
        | dict(model="pit_espnet", encoder="transformer_multispkr")
        | dict(encoder_conf=STACK | dict(num_blocks_sd=1))
        | dict(model_conf=dict(num_inf=2, num_ref=2, ctc_weight=0.5)),
        ("encoder.embed", "encoder_sd.0", "encoder.0", "encoder.1", *TOP),
    ),
    "beats": (
        "asr",
        BASE | dict(input_size=1, encoder="beats", encoder_conf=dict(beats_config=BEATS)),
        (*ENCODER[:-1], *TOP),
    ),
    "hierarchical translation": (
        "st",
        ST
        | dict(hier_encoder="transformer", hier_encoder_conf=STACK | dict(input_layer=None))
        | dict(model_conf=dict(asr_weight=0.3, mtlalpha=0.5)),
        (*ENCODER, "hier_encoder.0", "hier_encoder.1", *TOP),
    ),
    "translation with several decoders": (
        "st",
        ST
        | dict(md_encoder="transformer", md_encoder_conf=STACK | dict(input_layer=None))
        | dict(decoder="transformer_md", decoder_conf=DECODER)
        | dict(model_conf=dict(asr_weight=0.3, mtlalpha=0.5)),
        (*ENCODER, "asr_decoder", "md_encoder.0", "md_encoder.1", *TOP),
    ),
}


def check_placed(model: torch.nn.Module) -> None:
    order = order_of(model)
    placed = [name for layer in order.layers for name in layer.tensors]
    assert sorted([*placed, *order.outside]) == sorted(model.state_dict())
    assert len(set(placed)) == len(placed)


def first_gradients(model: torch.nn.Module, batch: dict[str, object]) -> list[int]:
    """When the first gradient of each layer arrives in a backward pass, lowest layer first."""
    arrived: list[str] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.append(name))
    model.train()
    model(**batch)[0].backward()
    first = []
    for layer in order_of(model).layers:
        times = [arrived.index(name) for name in layer.tensors if name in arrived]
        first.append(min(times))
    return first


def batch(dim: int | None = tiny.DIM, **more: object) -> dict[str, object]:
    """Features, or with `dim` None one second of sound, and texts."""
    torch.manual_seed(0)
    speech = torch.randn(2, 90, dim) if dim else torch.randn(2, 16000)
    frames = speech.shape[1]
    text = torch.tensor([[2, 3, 4], [3, 4, 5]])
    lengths = torch.tensor([3, 3])
    return dict(
        speech=speech, speech_lengths=torch.tensor([frames, frames - 8]), text=text,
        text_lengths=lengths, **more,
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_of_a_public_class_is_in_exactly_one_layer(case, espnet):
    task, config, names = CASES[case]
    model = build(task, config)
    assert order_of(model).names == names
    check_placed(model)


@pytest.mark.parametrize(
    "case", ["multiconv_conformer", "linear preencoder", "length adaptor", "lightweight_conv"]
)
def test_gradients_of_a_public_class_arrive_from_the_top(case, espnet):
    first = first_gradients(build(*CASES[case][:2]), batch())
    assert first == sorted(first, reverse=True)


def test_gradients_of_a_sinc_preencoder_arrive_last(espnet):
    first = first_gradients(build(*CASES["sinc preencoder"][:2]), batch(dim=None))
    assert first == sorted(first, reverse=True)


@pytest.mark.builds("warprnnt_pytorch", decoder="transducer")
def test_a_transducer_has_joint_network_and_ctc_on_top(espnet, monkeypatch):
    pretrained.transducer_loss(monkeypatch)
    config = BASE | dict(
        decoder="transducer",
        decoder_conf=dict(num_layers=2, hidden_size=8),
        joint_net_conf=dict(joint_space_size=8),
        model_conf=dict(ctc_weight=0.3),
    )
    model = build("asr", config)
    layers = {layer.name: layer.tensors for layer in order_of(model).layers}
    assert tuple(layers) == ENCODER + TOP
    assert "decoder.embed.weight" in layers["decoder.0"]
    assert {name.split(".")[0] for name in layers["output"]} == {"ctc", "joint_network"}
    check_placed(model)
    first = first_gradients(model, batch())
    # Encoder and prediction network meet in the joint network: each arrives in its own order.
    assert first[:4] == sorted(first[:4], reverse=True) and first[4:] == sorted(
        first[4:], reverse=True
    )


@pytest.mark.builds("ssl", frontend="s3prl")
def test_an_s3prl_frontend_is_the_lowest_layer_and_loaded(espnet, tmp_path):
    conf = pretrained.wavlm(tmp_path)
    config = BASE | dict(input_size=None, frontend="s3prl", frontend_conf=conf)
    config |= dict(preencoder="linear", preencoder_conf=dict(input_size=16, output_size=20))
    model = build("asr", config)
    order = order_of(model)
    assert order.names == ("frontend", *ENCODER, *TOP)
    assert "frontend.featurizer.weights" in order.layers[0].tensors
    assert order.loaded and all(name.startswith("frontend.upstream.") for name in order.loaded)
    assert "loaded from its pre-trained checkpoint" in layer_notes(model, order)["frontend"]
    check_placed(model)
    first = first_gradients(model, batch(dim=None))
    assert first == sorted(first, reverse=True)


@pytest.mark.builds("whisper", encoder="whisper", decoder="whisper")
def test_whisper_classifies_with_the_matrix_that_it_embeds_with(espnet, monkeypatch):
    pretrained.small_whisper(monkeypatch)
    config = BASE | dict(input_size=1, encoder="whisper", decoder="whisper")
    config |= {part: dict(whisper_model="tiny") for part in ("encoder_conf", "decoder_conf")}
    model = build("asr", config)
    order = order_of(model)
    assert order.names == (*ENCODER[:-1], *TOP)
    assert order.of_module("decoder.decoders.token_embedding") == "output"
    assert order.constants == {"encoder.encoders.positional_embedding"}
    # It acts between all layers.
    assert order.of_module("encoder.dropout") is None
    assert any("token embedding is read twice" in note for note in order.notes)
    check_placed(model)


@pytest.mark.builds("hf", postencoder="hugging_face_transformers")
@pytest.mark.parametrize("name", ["bert", "bart"])
def test_a_hugging_face_postencoder_has_layers(name, espnet, tmp_path):
    conf = dict(model_name_or_path=pretrained.hugging_face(tmp_path, name))
    model = build(
        "asr", BASE | dict(postencoder="hugging_face_transformers", postencoder_conf=conf)
    )
    order = order_of(model)
    assert order.names == (*ENCODER, "postencoder.embed", "postencoder.0", "postencoder.1", *TOP)
    assert order.of_module("postencoder.linear_in") == "postencoder.embed"
    check_placed(model)
    first = first_gradients(model, batch())
    assert first == sorted(first, reverse=True)


@pytest.mark.builds("hf", decoder="hugging_face_transformers")
def test_a_hugging_face_decoder_has_layers_and_its_tie(espnet, tmp_path):
    conf = dict(model_name_or_path=pretrained.hugging_face(tmp_path, "bart"))
    model = build("asr", BASE | dict(decoder="hugging_face_transformers", decoder_conf=conf))
    order = order_of(model)
    assert order.names == ENCODER + TOP
    assert (
        "decoder.decoder.embed_tokens.weight tied to decoder.lm_head.weight"
        in layer_notes(model, order)["decoder.0"]
    )
    check_placed(model)


@pytest.mark.builds("hf", postdecoder="hugging_face_transformers", deliberationencoder="conformer")
def test_deliberation_reads_encoder_and_transcript(espnet, tmp_path):
    bert = pretrained.hugging_face(tmp_path, "bert")
    config = BASE | dict(
        postdecoder="hugging_face_transformers",
        postdecoder_conf=dict(model_name_or_path=bert, output_size=16),
        deliberationencoder="conformer",
        deliberationencoder_conf=STACK | dict(input_layer="linear", cnn_module_kernel=7),
    )
    model = build("slu", config)
    order = order_of(model)
    assert order.names == (*ENCODER, "postdecoder", "deliberation.0", "deliberation.1", *TOP)
    assert order.of_module("uniform_linear") == "postdecoder"
    assert order.of_module("deliberationencoder.embed") == "deliberation.0"
    check_placed(model)


def test_all_parts_outside_the_table_are_named_at_once(espnet):
    model = build("asr", BASE)
    for part in ("encoder", "decoder"):
        unknown = type(f"Unknown{part.capitalize()}", (type(getattr(model, part)),), {})
        getattr(model, part).__class__ = unknown
    with pytest.raises(TopdownError, match="encoder 'UnknownEncoder'.*decoder 'UnknownDecoder'"):
        order_of(model)


def test_a_part_is_loaded_where_it_was_given_a_checkpoint_alone(espnet, tmp_path):
    config = BASE | dict(input_size=1, encoder="beats", encoder_conf=dict(beats_config=BEATS))
    model = build("asr", config)
    assert not order_of(model).loaded
    # As from `beats_ckpt_path` (espnet2/asr/encoder/beats_encoder.py).
    model.encoder.beats_ckpt_path = str(tmp_path / "beats.pt")
    order = order_of(model)
    assert order.loaded == {name for name in model.state_dict() if name.startswith("encoder.")}
