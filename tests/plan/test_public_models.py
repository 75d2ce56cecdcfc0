"""The classes of ESPnet's public configs beside the usual encoders: every parameter has its layer.

Each is built small with random weights; gradients confirm the order.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pretrained
import pytest
import tiny
import torch
import yaml
from models import build

from espnet_topdown.cascade.text import layer_table
from espnet_topdown.errors import TopdownError
from espnet_topdown.training import model_layers
from espnet_topdown.training.freeze import freeze
from espnet_topdown.training.layer_notes import layer_notes
from espnet_topdown.training.model_layers import order_of
from espnet_topdown.training.obstacles import forward_faults, machine_notes

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
POSTENCODER = STACK | dict(input_layer="linear", cnn_module_kernel=7)
HIERARCHY = (*ENCODER, "hier_encoder.0", "hier_encoder.1", "hier_encoder.2", *TOP)
CNN = pretrained.CNN
SPEECH = ("model_conf", "input_size", "normalize")
HUBERT = dict(
    encoder_embed_dim=16, encoder_num_layers=2, encoder_num_heads=2, encoder_ff_interm_features=16,
    encoder_pos_conv_kernel=8, encoder_pos_conv_groups=2, num_classes=4, final_dim=8,
    extractor_conv_layer_config=[[8, 10, 5], [8, 3, 2]], finetuning=True,
)  # fmt: skip
WINDOWS = dict(win_length=400, hop_length=160, channels=1, padding=0, fs=16000)
CONVOLUTION = DECODER | dict(conv_kernel_length=[3, 3])
MEL = dict(frontend_type="default", n_mels=20, fs=16000, hop_length=160)
FUSED = dict(frontends=[MEL, MEL], align_method="linear_projection", proj_dim=8, fs=16000)
BEATS = dict(
    encoder_layers=2, encoder_embed_dim=16, encoder_ffn_embed_dim=16, embed_dim=16,
    encoder_attention_heads=2,
)  # fmt: skip


def st(**changes: object) -> dict[str, object]:
    """A translation that recognises too."""
    return ST | dict(model_conf=dict(asr_weight=0.3, mtlalpha=0.5)) | changes


def second(part: str, encoder: str, **changes: object) -> dict[str, object]:
    """A translation with a second encoder, which reads states instead of features."""
    conf = tiny.ENCODERS[encoder] | (dict(input_layer=None) if "former" in encoder else {})
    return st(**{part: encoder, f"{part}_conf": conf}, **changes)


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
        | dict(encoder_conf=STACK | dict(num_blocks_sd=1, num_inf=2))
        | dict(model_conf=dict(num_inf=2, num_ref=2, ctc_weight=0.5), ctc_conf=dict(reduce=False)),
        ("encoder.embed", "encoder_sd.0", "encoder.0", "encoder.1", *TOP),
    ),
    "beats": (
        "asr",
        BASE | dict(input_size=1, encoder="beats", encoder_conf=dict(beats_config=BEATS)),
        (*ENCODER[:-1], *TOP),
    ),
    "hierarchical translation": ("st", second("hier_encoder", "transformer"), HIERARCHY),
    "hierarchical translation, recurrent": ("st", second("hier_encoder", "rnn"), HIERARCHY),
    "hierarchical translation, branched": (
        "st",
        second("hier_encoder", "e_branchformer"),
        HIERARCHY,
    ),
    "translation with several decoders": (
        "st",
        # ESPnet's forward takes no other recogniser there (espnet2/st/espnet_model.py, 202511).
        second("md_encoder", "transformer", decoder="transformer_md", decoder_conf=DECODER)
        | dict(extra_asr_decoder="transformer_md")
        | dict(extra_asr_decoder_conf=DECODER | dict(use_speech_attn=False)),
        (*ENCODER, "asr_decoder", "md_encoder.0", "md_encoder.1", "md_encoder.2", *TOP),
    ),
    "wav2vec_cnn frontend": (
        "asr",
        BASE | dict(input_size=None, frontend="wav2vec_cnn", frontend_conf=CNN),
        ("frontend", *ENCODER, *TOP),
    ),
    "understanding, postencoder": (
        "slu",
        BASE | dict(postencoder="conformer", postencoder_conf=POSTENCODER),
        (*ENCODER, "postencoder.0", "postencoder.1", *TOP),
    ),
    # Its classes are the tokens from the third on.
    "understanding, classifier": (
        "slu",
        BASE
        | dict(decoder=None, decoder_conf={})
        | dict(model_conf=dict(ctc_weight=0.0, superb_setup=True, num_class=8, ssl_input_size=16)),
        (*ENCODER, "output"),
    ),
    "torchaudiohubert": (
        "asr",
        BASE | dict(input_size=1, encoder="torchaudiohubert", encoder_conf=HUBERT),
        (*ENCODER[:-1], *TOP),
    ),
}
# Those that are placed, and trained elsewhere or by other tasks.
PLACED = {
    "patches of tokens": (
        "mt",
        {k: v for k, v in BASE.items() if k not in SPEECH}
        | dict(
            model="discrete_asr",
            frontend="patch",
            src_token_list=tiny.TOKENS,
            src_token_type="char",
        )
        | dict(frontend_conf=dict(embed_dim=16), input_size=None)
        | dict(encoder_conf=tiny.ENCODERS["transformer"] | dict(input_layer="linear")),
        ("frontend", *ENCODER, *TOP),
    ),
    "translation of text beside speech": (
        "st",
        st(
            extra_mt_encoder="transformer",
            extra_mt_encoder_conf=STACK | dict(input_layer="embed"),
            extra_mt_decoder="transformer",
            extra_mt_decoder_conf=DECODER,
        )
        | dict(model_conf=dict(asr_weight=0.3, mtlalpha=0.5, mt_weight=0.1)),
        ENCODER + TOP,
    ),
}


def check_placed(model: torch.nn.Module) -> None:
    order = order_of(model)
    placed = [name for layer in order.layers for name in layer.tensors]
    assert sorted([*placed, *order.outside]) == sorted(model.state_dict())
    assert len(set(placed)) == len(placed)


def first_gradients(
    model: torch.nn.Module, batch: dict[str, object], *, counts: Callable[[list[int]], int] = min
) -> list[int]:
    """When the first gradient of each layer arrives in a backward pass, lowest layer first.

    With `counts` `max` the last one.
    """
    arrived: list[str] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda _, name=name: arrived.append(name))
    model.train()
    model(**batch)[0].backward()
    first = []
    for layer in order_of(model).layers:
        times = [arrived.index(name) for name in layer.tensors if name in arrived]
        first.append(counts(times))
    return first


SOUND: dict[str, object] = dict(dim=None)


def batch(
    dim: int | None = tiny.DIM, texts: Sequence[str] = (), words: int = 3
) -> dict[str, object]:
    """Features, or with `dim` None one second of sound, and the text, also under other names."""
    torch.manual_seed(0)
    speech = torch.randn(2, 90, dim) if dim else torch.randn(2, 16000)
    frames = speech.shape[1]
    text = torch.tensor([[2, 3, 4], [3, 4, 5]])[:, :words]
    lengths = torch.tensor([words, words])
    given = dict(speech=speech, speech_lengths=torch.tensor([frames, frames - 8]))
    for name in ("text", *texts):
        given |= {name: text, f"{name}_lengths": lengths}
    return given


def transducer(durations: Sequence[int] = ()) -> dict[str, object]:
    """A transducer with CTC, with blanks that stand for several frames if there are `durations`."""
    model = dict(ctc_weight=0.3)
    if durations:
        model |= dict(transducer_multi_blank_durations=list(durations))
    return BASE | dict(
        decoder="transducer",
        decoder_conf=dict(num_layers=2, hidden_size=8),
        joint_net_conf=dict(joint_space_size=8),
        model_conf=model,
    )


def s3prl(directory: Path) -> dict[str, object]:
    """A model above S3PRL's WavLM."""
    config = BASE | dict(input_size=None, frontend="s3prl")
    config |= dict(frontend_conf=pretrained.wavlm(directory), preencoder="linear")
    return config | dict(preencoder_conf=dict(input_size=16, output_size=20))


def deliberation(directory: Path, kind: str) -> dict[str, object]:
    """Two-pass understanding: a language model of the transcript, and an encoder of both."""
    bert = pretrained.hugging_face(directory, "bert")
    conf: dict[str, object] = POSTENCODER
    if kind == "hugging_face_transformers":
        conf = dict(model_name_or_path=bert)
    return BASE | dict(
        postdecoder="hugging_face_transformers",
        postdecoder_conf=dict(model_name_or_path=bert, output_size=16),
        # ESPnet's task writes into it (espnet2/tasks/slu.py).
        model_conf=dict(ctc_weight=0.5),
        two_pass=True,
        transcript_token_list=tiny.TOKENS,
        deliberationencoder=kind,
        deliberationencoder_conf=conf,
    )


def fused_upstream(directory: Path) -> dict[str, object]:
    """A model above WavLM and mel features side by side."""
    upstream = dict(frontend_type="s3prl", **pretrained.wavlm(directory))
    fused = FUSED | dict(frontends=[MEL, upstream])
    config = BASE | dict(input_size=None, frontend="fused", frontend_conf=fused)
    return config | dict(preencoder="linear", preencoder_conf=dict(input_size=16, output_size=20))


def huggingface(directory: Path) -> dict[str, object]:
    """A model above a Hugging Face model of sound."""
    conf = dict(model=pretrained.hugging_face_sound(directory))
    return BASE | dict(input_size=None, frontend="huggingface", frontend_conf=conf)


def espnet_ssl(directory: Path) -> dict[str, object]:
    """A model above a model that ESPnet itself has trained on sound alone."""
    conf = dict(frontend_conf=dict(path_or_url=pretrained.espnet_ssl(directory)))
    return BASE | dict(input_size=None, frontend="espnet_ssl", frontend_conf=conf)


FRONTENDS = {"huggingface": huggingface, "espnet_ssl": espnet_ssl, "fused": fused_upstream}


@pytest.mark.parametrize("case", [*CASES, *PLACED])
def test_every_parameter_of_a_public_class_is_in_exactly_one_layer(case, espnet):
    task, config, names = (CASES | PLACED)[case]
    model = build(task, config)
    assert order_of(model).names == names
    check_placed(model)


# Case -> what its batch has that others have not.
BATCHES: dict[str, dict[str, object]] = {
    **dict.fromkeys(("sinc preencoder", "fused frontends", "wav2vec_cnn frontend"), SOUND),
    "beats": SOUND,
    "torchaudiohubert": SOUND,
    "understanding, classifier": dict(words=1),
    "several speakers": dict(texts=["text_spk2"]),
    "linear decoder": dict(words=1),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_of_a_public_class_arrive_from_the_top(case, espnet):
    task, config, names = CASES[case]
    given = BATCHES.get(case, dict(texts=["src_text"]) if task == "st" else {})
    model = build(task, config)
    if case == "several speakers":
        # They share a stack, whose gradients are whole once the last speaker's are.
        names = [name for name in names if name.startswith("encoder")]
        first = first_gradients(model, batch(**given), counts=max)[: len(names)]
    else:
        first = first_gradients(model, batch(**given))
    assert dict(zip(names, first)) == dict(zip(names, sorted(first, reverse=True)))


@pytest.mark.builds("warprnnt_pytorch", decoder="transducer")
@pytest.mark.parametrize("durations", [(), (2,)], ids=["one blank", "several blanks"])
def test_a_transducer_has_joint_network_and_ctc_on_top(durations, espnet, monkeypatch):
    pretrained.transducer_loss(monkeypatch)
    model = build("asr", transducer(durations))
    layers = {layer.name: layer.tensors for layer in order_of(model).layers}
    assert tuple(layers) == ENCODER + TOP
    assert "decoder.embed.weight" in layers["decoder.0"]
    assert {name.split(".")[0] for name in layers["output"]} == {"ctc", "joint_network"}
    check_placed(model)
    assert [note.split(":")[0] for note in machine_notes(model)] == (
        ["trained on GPUs alone"] if durations else []
    )
    first = first_gradients(model, batch())
    # Encoder and prediction network meet in the joint network: each arrives in its own order.
    assert first[:4] == sorted(first[:4], reverse=True) and first[4:] == sorted(
        first[4:], reverse=True
    )


@pytest.mark.builds("ssl", frontend="s3prl")
def test_an_s3prl_frontend_is_the_lowest_layer_and_loaded(espnet, tmp_path):
    model = build("asr", s3prl(tmp_path))
    order = order_of(model)
    assert order.names == ("frontend", *ENCODER, *TOP)
    assert "frontend.featurizer.weights" in order.layers[0].tensors
    assert order.loaded and all(name.startswith("frontend.upstream.") for name in order.loaded)
    assert "loaded from its pre-trained checkpoint" in layer_notes(model, order)["frontend"]
    check_placed(model)
    first = first_gradients(model, batch(dim=None))
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize("upstream", ["tera", "huggingface", "fused"])
def test_windows_and_filters_of_a_pretrained_frontend_may_be_frozen(upstream, espnet, tmp_path):
    config = FRONTENDS.get(upstream, s3prl)(tmp_path)
    if upstream == "tera":
        config["frontend_conf"] = pretrained.tera(tmp_path)
    model = build("asr", config)
    order = order_of(model)
    freeze(model, order, ["frontend"], order.tensors["frontend"])


def test_layers_above_an_s3prl_frontend_are_drawn_under_the_phases_own_seed(espnet, tmp_path):
    """S3PRL seeds torch when its upstream is built (s3prl/util/pseudo_data.py)."""
    from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

    config = s3prl(tmp_path) | dict(topdown_conf=dict(kind="restart"))
    states = []
    for seed in (1000, 2000):
        set_all_random_seed(seed)
        states.append(build("asr", config).state_dict())
    one, other = states
    for name in ("encoder.encoders.0.self_attn.linear_q.weight", "decoder.output_layer.weight"):
        assert not torch.equal(one[name], other[name])


@pytest.mark.builds("hf", frontend="huggingface")
def test_a_hugging_face_frontend_is_loaded_unless_it_was_told_not_to(espnet, tmp_path):
    config = huggingface(tmp_path)
    model = build("asr", config)
    assert order_of(model).names == ("frontend", *ENCODER, *TOP)
    assert order_of(model).loaded
    config["frontend_conf"] |= dict(load_pretrained=False)
    assert not order_of(build("asr", config)).loaded


def test_an_espnet_ssl_frontend_is_loaded_and_may_have_no_encoder_above(espnet, tmp_path):
    config = espnet_ssl(tmp_path)
    model = build("asr", config)
    order = order_of(model)
    assert order.names == ("frontend", *ENCODER, *TOP)
    assert order.loaded and all(name.startswith("frontend.upstream.") for name in order.loaded)
    check_placed(model)
    alone = config | dict(encoder=None, decoder=None, model_conf=dict(ctc_weight=1.0))
    order = order_of(build("asr", alone))
    assert order.names == ("frontend", "ctc")
    ctc = order.layers[1].tensors
    freeze(build("asr", alone), order, ["ctc"], ctc)
    late = alone | dict(frontend_conf=config["frontend_conf"] | dict(freeze_encoder_steps=3))
    with pytest.raises(TopdownError, match="ESPnet leaves the frontend as it is for 3 steps"):
        freeze(build("asr", late), order, ["ctc"], ctc)
    adding = late["frontend_conf"] | dict(multilayer_feature=True)
    freeze(build("asr", late | dict(frontend_conf=adding)), order, ["ctc"], ctc)


def test_of_fused_frontends_the_upstream_is_loaded(espnet, tmp_path):
    order = order_of(build("asr", fused_upstream(tmp_path)))
    assert order.names == ("frontend", *ENCODER, *TOP)
    assert order.loaded
    assert all(name.startswith("frontend.frontends.1.upstream.") for name in order.loaded)


# ESPnet draws the whole model by `init`, and loads again what can be.
@pytest.mark.parametrize(
    ("init", "survives"), [("xavier_uniform", {"frontend"}), ("chainer", set())]
)
def test_init_draws_over_what_was_loaded(init, survives, espnet, tmp_path, monkeypatch):
    from espnet_topdown.versions import espnet_version

    monkeypatch.setattr("espnet2.asr.frontend.s3prl.S3prlFrontend", None, raising=False)
    pretrained.small_whisper(monkeypatch)
    config = s3prl(tmp_path) | dict(init=init, decoder="whisper")
    config |= dict(decoder_conf=dict(whisper_model="tiny"))
    if init == "chainer" and int(espnet_version()) > 202511:
        with pytest.raises(ValueError, match="Unknown initialization: chainer"):
            build("asr", config)
        return
    loaded = {name.split(".")[0] for name in order_of(build("asr", config)).loaded}
    assert loaded == survives
    config |= dict(init=None)
    loaded = {name.split(".")[0] for name in order_of(build("asr", config)).loaded}
    assert loaded == {"frontend", "decoder"}


@pytest.mark.builds("whisper", encoder="whisper", decoder="whisper")
def test_whisper_classifies_with_the_matrix_that_it_embeds_with(espnet, monkeypatch):
    pretrained.small_whisper(monkeypatch)
    config = BASE | dict(input_size=1, encoder="whisper", decoder="whisper")
    config |= {part: dict(whisper_model="tiny") for part in ("encoder_conf", "decoder_conf")}
    model = build("asr", config)
    order = order_of(model)
    assert order.names == (*ENCODER[:-1], *TOP)
    assert order.of_module("decoder.decoders.token_embedding") == "output"
    # Of other tokens than the checkpoint's, ESPnet draws it.
    drawn = {name for name in model.state_dict() if name.startswith("decoder.")} - order.loaded
    assert drawn == {"decoder.decoders.token_embedding.weight"}
    assert order.constants == {"encoder.encoders.positional_embedding"}
    # It acts between all layers.
    assert order.of_module("encoder.dropout") is None
    assert any("token embedding is read twice" in note for note in order.notes)
    check_placed(model)
    # The output's gradient is whole once its matrix has embedded: last of the decoder's.
    first = first_gradients(model, batch(dim=None))
    assert first[:5] == sorted(first[:5], reverse=True)


def test_tokens_beside_those_of_whisper_are_drawn_and_its_own_loaded(espnet, monkeypatch):
    pretrained.small_whisper(monkeypatch)
    tokens = [*tiny.TOKENS[:-1], *map(str, range(30)), tiny.TOKENS[-1]]
    conf = dict(whisper_model="tiny", load_origin_token_embedding=True)
    config = BASE | dict(token_list=tokens, decoder="whisper", decoder_conf=conf)
    model = build("asr", config)
    loaded = order_of(model).loaded
    table = "decoder.decoders.token_embedding"
    assert f"{table}.ori_emb.weight" in loaded and f"{table}.add_emb.weight" not in loaded
    monkeypatch.setattr(model_layers, "_WHISPER_TOKENS", (len(tiny.TOKENS),))
    config |= dict(token_list=tiny.TOKENS, decoder_conf=dict(whisper_model="tiny"))
    assert f"{table}.weight" in order_of(build("asr", config)).loaded


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
    # Of the one matrix that embeds and classifies the gradient is whole with the lowest layer.
    first = first_gradients(model, batch())
    assert first[:-1] == sorted(first[:-1], reverse=True)


@pytest.mark.builds("hf", deliberationencoder="hugging_face_transformers")
def test_a_hugging_face_deliberation_has_layers(espnet, tmp_path):
    model = build("slu", deliberation(tmp_path, "hugging_face_transformers"))
    order = order_of(model)
    stack = ("deliberation.embed", "deliberation.0", "deliberation.1")
    assert order.names == (*ENCODER, "postdecoder", *stack, *TOP)
    parts = {name.split(".")[0] for name in order.loaded}
    assert parts == {"postdecoder", "deliberationencoder"}
    check_placed(model)


@pytest.mark.builds("hf", postdecoder="hugging_face_transformers", deliberationencoder="conformer")
def test_deliberation_reads_encoder_and_transcript(espnet, tmp_path):
    model = build("slu", deliberation(tmp_path, "conformer"))
    order = order_of(model)
    assert order.names == (*ENCODER, "postdecoder", "deliberation.0", "deliberation.1", *TOP)
    assert order.of_module("uniform_linear") == "postdecoder"
    assert order.of_module("deliberationencoder.embed") == "deliberation.0"
    check_placed(model)
    # Encoder and post-decoder meet in the deliberation: each below it in its own order.
    first = dict(zip(order.names, first_gradients(model, batch(texts=["transcript"]))))
    for below in (ENCODER, ("postdecoder",)):
        names = [*below, "deliberation.0", "deliberation.1", *TOP]
        times = [first[name] for name in names]
        assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(("decoder", "trains"), [("transformer", False), ("transformer_md", True)])
def test_several_decoders_are_told_to_fit_espnets_model_or_not(decoder, trains, espnet):
    task, config, _ = CASES["translation with several decoders"]
    config = config | dict(extra_asr_decoder=decoder, extra_asr_decoder_conf=DECODER)
    if decoder == "transformer_md":
        config["extra_asr_decoder_conf"] = DECODER | dict(use_speech_attn=False)
    model = build(task, config)
    faults = forward_faults(model)
    if trains:
        assert faults == []
        assert model(**batch(texts=["src_text"]))[0] > 0
        return
    (fault,) = faults
    assert "whose extra_asr_decoder is a TransformerDecoder" in fault and model.training
    with pytest.raises(ValueError, match="not enough values to unpack"):
        model(**batch(texts=["src_text"]))


def test_a_branch_from_text_is_told_to_fit_espnets_model_or_not(espnet, tmp_path):
    task, config, _ = PLACED["translation of text beside speech"]
    (fault,) = forward_faults(build(task, config))
    assert "trains no branch from text (mt_weight 0.1)" in fault
    with pytest.raises(ValueError, match="too many values to unpack"):
        build(task, config)(**batch(texts=["src_text"]))
    bart = dict(model_name_or_path=pretrained.hugging_face(tmp_path, "bart"))
    config = config | dict(extra_mt_encoder="hugging_face_transformers")
    model = build(task, config | dict(extra_mt_encoder_conf=bart))
    assert forward_faults(model) == []
    assert model(**batch(texts=["src_text"]))[0] > 0


def test_a_beats_whose_gradients_espnet_loses_is_told(espnet):
    conf = dict(beats_config=BEATS | dict(layer_wise_gradient_decay_ratio=0.2))
    model = build("asr", BASE | dict(input_size=1, encoder="beats", encoder_conf=conf))
    (fault,) = forward_faults(model)
    assert "trains nothing below the highest layer of a BEATs encoder" in fault
    model(**batch(dim=None))[0].backward()
    reached = {name for name, own in model.encoder.named_parameters() if own.grad is not None}
    assert reached and all(name.startswith("encoder.layers.1.") for name in reached)
    task, config, _ = CASES["beats"]
    assert forward_faults(build(task, config)) == []


def test_all_parts_outside_the_table_are_named_at_once(espnet):
    model = build("asr", BASE)
    for part in ("encoder", "decoder"):
        unknown = type(f"Unknown{part.capitalize()}", (type(getattr(model, part)),), {})
        getattr(model, part).__class__ = unknown
    with pytest.raises(TopdownError, match="encoder 'UnknownEncoder'.*decoder 'UnknownDecoder'"):
        order_of(model)


def test_what_its_class_never_trains_is_counted_and_left_random_unless_filled(espnet, tmp_path):
    from espnet_topdown.bin import model_facts

    path = tmp_path / "train.yaml"
    words = ["--config", str(path), "--task", "asr", "--output", "unused"]
    task, config, _ = CASES["torchaudiohubert"]
    # Under 'finetuning' (espnet2/asr/encoder/hubert_encoder.py).
    never = [
        parameter.numel()
        for name, parameter in build(task, config).named_parameters()
        if ".feature_extractor." in name
    ]
    keys = [
        f"{key}{by}" for key in ("left_random", "random_if_dropped") for by in ("", "_by_class")
    ]
    for init_param, expected in (([], 4 * [len(never)]), (["x.pth"], [0, 0, *2 * [len(never)]])):
        path.write_text(yaml.safe_dump(config | dict(init_param=init_param)))
        facts = model_facts.model_facts(model_facts.get_parser().parse_args(words))
        embed, *others = facts["layers"]
        assert embed["frozen_by_base"] == embed["frozen_by_class"] == sum(never) > 0
        assert [embed[key] for key in keys] == expected
        assert not any(layer[key] for layer in others for key in [*keys, "frozen_by_class"])
    lines = layer_table(facts["layers"]).splitlines()
    assert [line for line in lines if f"{sum(never):,} FROZEN by its class" in line] == [lines[-2]]
    path.write_text(yaml.safe_dump(config | dict(freeze_param=["encoder"])))
    facts = model_facts.model_facts(model_facts.get_parser().parse_args(words))
    assert "FROZEN by freeze_param" in layer_table(facts["layers"]).splitlines()[-2]


# Of BEATs: what is above its stack, but for what needs Hugging Face's package.
ABOVE_BEATS = dict(downsampling_rate=2, use_weighted_representation=True)


@pytest.mark.parametrize(("highest", "read"), [(None, "01"), (1, "0")])
def test_what_a_beats_encoder_has_above_its_stack_is_of_its_highest_layer(highest, read, espnet):
    # As in the public checkpoints, all layers have one matrix of relative positions.
    beats = dict(beats_config=BEATS | dict(relative_position_embedding=True), max_layer=highest)
    conf = beats | ABOVE_BEATS if highest else beats | dict(downsampling_rate=2)
    model = build("asr", BASE | dict(input_size=1, encoder="beats", encoder_conf=conf))
    order = order_of(model)
    assert order.names == (*ENCODER[:-1], *TOP)
    assert order.of_module("encoder.downsample_conv") == "encoder.1"
    assert "encoder.layer_weights" not in order.tensors["encoder.embed"]
    check_placed(model)
    # Of the layers above the one that is asked for, and of that, nothing is read.
    model(**batch(dim=None))[0].backward()
    idle = {name for name, own in model.named_parameters() if own.grad is None}
    assert set(model_layers.unreached(model)) == idle
    layers = {name.split(".")[3] for name in idle if ".layers." in name}
    assert layers == set("01") - set(read)


def test_of_a_beats_encoder_is_loaded_what_its_checkpoint_has(espnet, tmp_path):
    config = BASE | dict(input_size=1, encoder="beats", encoder_conf=dict(beats_config=BEATS))
    first = build("asr", config)
    assert not order_of(first).loaded
    names = [name for name in first.encoder.state_dict() if "_pad." not in name]
    tensors = {name: first.encoder.state_dict()[name] for name in names}
    torch.save({"cfg": BEATS, "model": tensors}, tmp_path / "beats.pt")
    config |= dict(encoder_conf=ABOVE_BEATS | dict(beats_ckpt_path=str(tmp_path / "beats.pt")))
    loaded = []
    for init in ("xavier_uniform", None):
        model = build("asr", config | dict(init=init))
        own = model.encoder.state_dict()
        is_loaded = torch.equal(
            own["encoder.layers.0.fc1.weight"], tensors["encoder.layers.0.fc1.weight"]
        )
        expected = {f"encoder.{name}" for name in names} if is_loaded else set()
        assert order_of(model).loaded == expected
        loaded.append(is_loaded)
    # ESPnet 202511 loads it after `init` alone.
    assert loaded[0]


@pytest.mark.parametrize(
    ("init", "loads", "is_loaded"),
    [
        (None, False, True),
        ("xavier_uniform", False, False),
        ("xavier_uniform", True, True),
    ],
)
def test_a_hugging_face_decoder_is_loaded_unless_init_draws_it(
    init, loads, is_loaded, espnet, tmp_path
):
    bart = pretrained.hugging_face(tmp_path, "bart", size=len(tiny.TOKENS))
    conf = dict(model_name_or_path=bart, load_pretrained_weights=loads)
    config = BASE | dict(init=init, decoder="hugging_face_transformers", decoder_conf=conf)
    one, other = (build("asr", config) for _ in range(2))
    name = "decoder.decoder.layers.0.fc1.weight"
    assert torch.equal(one.state_dict()[name], other.state_dict()[name]) == is_loaded
    assert (name in order_of(one).loaded) == is_loaded
