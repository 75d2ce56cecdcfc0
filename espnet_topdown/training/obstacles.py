"""What stands in the way of a model here, all at once and before it is built.

Missing packages, classes without a layer order and adapters. What ESPnet finds at fault with its
own options is told by `espnet_topdown.training.model_options`.
"""

import argparse
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from espnet2.st.espnet_model import ESPnetSTModel

from espnet_topdown.check import list_in, mapping_in, refuse_in
from espnet_topdown.plan.layers import unknown_parts
from espnet_topdown.plan.model_table import MODELS
from espnet_topdown.training.downloads import out_of_reach, upstream_faults
from espnet_topdown.training.tasks import TopdownTask
from espnet_topdown.versions import espnet_version

# Gone since openai-whisper 20231105; ESPnet imports it (espnet2/asr/encoder/whisper_encoder.py).
_WHISPER = "whisper.audio:N_MELS"
# ESPnet's choice of a part -> module, or attribute of one, that it imports when it is built
# (espnet2/asr of 202511 and 202611).
_NEEDS = {
    ("frontend", "s3prl"): "s3prl.nn",
    ("frontend", "huggingface"): "transformers",
    ("frontend", "whisper"): "whisper",
    ("encoder", "whisper"): _WHISPER,
    ("encoder", "hugging_face_transformers"): "transformers",
    ("encoder", "wav2vec2"): "fairseq",
    ("encoder", "hubert"): "fairseq",
    ("encoder", "hubert_pretrain"): "fairseq",
    ("encoder", "longformer"): "longformer.longformer",
    ("postencoder", "hugging_face_transformers"): "transformers",
    ("postdecoder", "hugging_face_transformers"): "transformers",
    ("decoder", "whisper"): "whisper",
    ("decoder", "hugging_face_transformers"): "transformers",
    ("decoder", "transducer"): "warprnnt_pytorch",
    ("deliberationencoder", "hugging_face_transformers"): "transformers",
    ("extra_mt_encoder", "hugging_face_transformers"): "transformers",
    ("ctc", "brctc"): "k2",
    ("ctc", "gtnctc"): "gtn",
}
# Of speech translation, in one layer each: their class makes no difference.
_SIDES = ("extra_asr_decoder", "extra_mt_decoder", "extra_mt_encoder")
# What brings a package, or a version that has an attribute: extras of setup.py.
_ADVICE = {
    "s3prl": "pip install 'espnet_topdown[ssl]'",
    "transformers": "pip install 'espnet_topdown[hf]'",
    "whisper": "pip install 'espnet_topdown[whisper]'",
    # The older one's own dependencies are of its time and do not fit torch's.
    _WHISPER: (
        "pip install 'espnet_topdown[whisper]', then the one that ESPnet needs: pip install"
        " --no-deps --no-build-isolation openai-whisper==20230918"
    ),
}

_INSTALLERS = "install it as ESPnet's tools/installers do"


def check(
    task: type[TopdownTask],
    options: argparse.Namespace,
    config: Path,
    *,
    has_own_order: bool = False,
    has_packages: bool = False,
) -> None:
    """Refuse a model that cannot be built or cut here.

    Args:
        task: whose options they are.
        options: as the task's parser gave them.
        config: the file that they come from, for the message.
        has_own_order: whether the plan has a layer order, so that the table is not asked.
        has_packages: whether the packages that its parts need count as there.

    Raises:
        TopdownError: everything that stands in its way.
    """
    parts, faults = _parts(task, options)
    if not has_own_order:
        faults += filter(None, [unknown_parts(parts)])
    if not has_packages:
        faults += [*_missing(options), *upstream_faults(options), *out_of_reach(options)]
    given = vars(options)
    if given.get("use_adapter"):
        faults.append(
            f"use_adapter ({given.get('adapter')}): an adapter renames the layers that it is put"
            " into; train without it (use_adapter: false)"
        )
    # A model's parts may need the same package.
    refuse_in(config, faults)


def _parts(
    task: type[TopdownTask], options: argparse.Namespace
) -> tuple[dict[str, str], list[str]]:
    """Part -> class, of those that the options name; and those that this ESPnet does not have."""
    parts, faults = {}, []
    # A task has choices besides, such as of normalisation.
    asked = [one for one in task.class_choices_list if one.name in (*MODELS, *_SIDES)]
    for choices in asked:
        part, name = choices.name, vars(options).get(choices.name)
        if not name:
            continue
        try:
            parts[part] = choices.get_class(name).__name__
        except ValueError:
            faults.append(
                f"ESPnet {espnet_version()} has no {part} '{name}' for this task (it has:"
                f" {', '.join(choices.classes)})"
            )
    # A frontend outside the table computes features: it is no layer.
    for outside in ("frontend", *_SIDES):
        parts.pop(outside, None)
    return parts, faults


def _missing(options: argparse.Namespace) -> Iterator[str]:
    """The packages that the parts need and that do not import here."""
    needs = dict(_NEEDS)
    conf = mapping_in(vars(options), "model_conf")
    if conf.get("transducer_multi_blank_durations"):
        # Its loss is ESPnet's own (espnet2/asr/espnet_model.py).
        del needs["decoder", "transducer"]
    for part, choice in filter(needs.get, _choices(options)):
        try:
            pkgutil.resolve_name(needs[part, choice])
        # An installed package of the wrong version fails in ways of its own.
        except Exception as error:
            yield f"the {part} '{choice}' needs {lacking(needs[part, choice], error)}"


def _choices(options: argparse.Namespace) -> list[tuple[str, Any]]:
    """Each part with ESPnet's choice of it, None for what the model does not have.

    A fused frontend's are several; that of CTC is its kind of loss.
    """
    given = vars(options)
    choices = {part: given.get(part) for part in (*MODELS, *_SIDES)}
    fused = list_in(mapping_in(given, "frontend_conf"), "frontends")
    return [
        *choices.items(),
        *(("frontend", row.get("frontend_type")) for row in fused),
        ("ctc", mapping_in(given, "ctc_conf").get("ctc_type")),
    ]


def lacking(needed: str, error: Exception) -> str:
    """What to say of what ESPnet cannot import, and what brings it.

    Args:
        needed: a module, or an attribute of one after a colon.
        error: as the import failed.
    """
    package = needed.partition(".")[0]
    advice = _ADVICE.get(needed) or _ADVICE.get(package) or _INSTALLERS
    state = f"does not import here ({error})"
    # A package that is there may lack one of those that it needs itself.
    if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == package:
        state = "is not installed here"
    return f"{package}, which {state}; {advice}"


def forward_faults(model: torch.nn.Module) -> list[str]:
    """What ESPnet's own model does not train, or asks of its parts and does not get.

    Args:
        model: as ESPnet built it, in memory; the weights stay as they are.
    """
    faults = _gradients_lost(model)
    if isinstance(model, ESPnetSTModel):
        faults += _translation_faults(model)
    return faults


def _gradients_lost(model: torch.nn.Module) -> list[str]:
    """Of BEATs, whose scaling of gradients has no input that autograd follows (GradMultiply)."""
    encoder = getattr(model, "encoder", None)
    stack = getattr(encoder, "encoder", None)
    ratio = getattr(stack, "layer_wise_gradient_decay_ratio", 1.0)
    if type(encoder).__name__ != "BeatsEncoder" or ratio == 1.0:
        return []
    fault = (
        f"ESPnet {espnet_version()} trains nothing below the highest layer of a BEATs encoder with"
        f" 'layer_wise_gradient_decay_ratio: {ratio:g}' in its beats_config: the gradient ends"
        " where it should be scaled; train the base without it"
    )
    return [fault]


def _translation_faults(model: ESPnetSTModel) -> list[str]:
    """What a translation asks of its parts in the first step."""
    tokens, lengths = torch.tensor([[2, 3]]), torch.tensor([2])
    was_training = model.training
    model.eval()
    with torch.no_grad():
        faults = [*_of_several_decoders(model, tokens, lengths)]
        faults += _of_text_branch(model, tokens, lengths)
    model.train(was_training)
    return faults


def _of_several_decoders(
    model: ESPnetSTModel, tokens: torch.Tensor, lengths: torch.Tensor
) -> Iterator[str]:
    if not model.use_multidecoder or not hasattr(model, "extra_asr_decoder"):
        return
    states = torch.zeros(1, 4, model.encoder.output_size())
    try:
        model._calc_asr_att_loss(states, torch.tensor([4]), tokens, lengths, True)
    except ValueError:
        kind = type(model.extra_asr_decoder).__name__
        yield (
            f"ESPnet {espnet_version()} trains no translation with several decoders whose"
            f" extra_asr_decoder is a {kind}: it takes three values of it and gets two;"
            " 'extra_asr_decoder: transformer_md' with 'use_speech_attn: false' in its conf"
            " has the same tensors and gives three"
        )


def _of_text_branch(
    model: ESPnetSTModel, tokens: torch.Tensor, lengths: torch.Tensor
) -> Iterator[str]:
    if model.mt_weight == 0:
        return
    branch = model.extra_mt_encoder
    if branch is None or len(branch(tokens, lengths)) != 2:
        yield (
            f"ESPnet {espnet_version()} trains no branch from text (mt_weight"
            f" {model.mt_weight:g}) with extra_mt_encoder {type(branch).__name__}: it takes"
            " two values of it, which 'hugging_face_transformers' alone gives"
        )


def machine_notes(model: torch.nn.Module) -> list[str]:
    """What a model needs of the machine that trains it, beside memory."""
    if type(getattr(model, "criterion_transducer", None)).__name__ != "MultiblankRNNTLossNumba":
        return []
    return [
        (
            "trained on GPUs alone: ESPnet's loss for blanks that stand for several frames"
            " (transducer_multi_blank_durations) has no gradients on a CPU"
        )
    ]
