"""Small checkpoints of self-supervised and language models, random and local, as hubs offer them.

Nothing is downloaded. What needs a package outside our dependencies skips the test with the reason;
setup.py's extras `ssl`, `whisper` and `hf` bring them.
"""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

WAVLM = dict(
    extractor_mode="default",
    encoder_layers=2,
    encoder_embed_dim=16,
    encoder_ffn_embed_dim=16,
    encoder_attention_heads=2,
    conv_feature_layers="[(8,10,5)] + [(8,3,2)] * 4 + [(8,2,2)] * 2",
    conv_pos=8,
    conv_pos_groups=2,
)
TERA = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=16,
    hidden_act="gelu",
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
    initializer_range=0.02,
    layer_norm_eps=1e-12,
    share_layer=False,
    pre_layer_norm=False,
)
MELS: dict[str, Any] = dict(
    target_level=-25,
    win_ms=25,
    hop_ms=10,
    n_freq=201,
    n_mels=8,
    n_mfcc=4,
    input=dict(feat_type="mel", channel=0, log=True, delta=0, cmvn=True),
)
# Of ESPnet's frontend wav2vec_cnn: 16 features 800 times a second.
CNN = dict(
    shapes=[[8, 10, 5], [8, 3, 2], [16, 2, 2]],
    norm_mode="layer_norm",
    conv_mode="standard",
    bias=False,
    fs=16000,
)
BERT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz")


def wavlm(directory: Path) -> dict[str, Any]:
    """A WavLM checkpoint, and the ``frontend_conf`` of S3PRL that loads it."""
    pytest.importorskip("s3prl", reason="s3prl is not installed (extra ssl)")
    import torch
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    path = directory / "wavlm.pt"
    torch.save({"cfg": WAVLM, "model": WavLM(WavLMConfig(WAVLM)).state_dict()}, path)
    upstream = dict(upstream="wavlm_local", path_or_url=str(path))
    return dict(frontend_conf=upstream, download_dir=str(directory), multilayer_feature=True)


def tera(directory: Path) -> dict[str, Any]:
    """A TERA checkpoint, which computes mel features itself, and the ``frontend_conf`` for it."""
    pytest.importorskip("s3prl", reason="s3prl is not installed (extra ssl)")
    import torch
    from s3prl.upstream.mockingjay.model import TransformerConfig, TransformerModel

    model = TransformerModel(TransformerConfig(TERA), MELS["n_mels"])
    config = dict(transformer=TERA, task=dict(sequence_length=1500), audio=MELS)
    path = directory / "tera.ckpt"
    torch.save({"Config": config, "Transformer": model.state_dict()}, path)
    upstream = dict(upstream="tera_local", path_or_url=str(path))
    return dict(frontend_conf=upstream, download_dir=str(directory), multilayer_feature=True)


def hugging_face(directory: Path, name: str, size: int = len(BERT_WORDS)) -> str:
    """A tiny BERT or BART of `size` tokens with a tokenizer, as `from_pretrained` reads it."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra hf)"
    )
    if name == "bert":
        config = transformers.BertConfig(
            vocab_size=size,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
        )
        model = transformers.BertModel(config)
    else:
        config = transformers.BartConfig(
            vocab_size=size,
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
        )
        model = transformers.BartForConditionalGeneration(config)
    target = directory / name
    model.save_pretrained(target)
    vocabulary = directory / "vocab.txt"
    vocabulary.write_text("\n".join(BERT_WORDS))
    transformers.BertTokenizerFast(str(vocabulary)).save_pretrained(target)
    return str(target)


def hugging_face_sound(directory: Path) -> str:
    """A tiny w2v-BERT, as `from_pretrained` reads it; ESPnet counts the frames of no other kind."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed (extra hf)"
    )
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        output_hidden_size=16,
        conv_depthwise_kernel_size=3,
    )
    target = directory / "w2v-bert"
    transformers.Wav2Vec2BertModel(config).save_pretrained(target)
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(target)
    return str(target)


def espnet_ssl(directory: Path) -> str:
    """A tiny HuBERT of ESPnet's own, with its config beside it; the model file."""
    import torch
    import yaml
    from espnet2.tasks.ssl import SSLTask

    options = vars(SSLTask.get_parser().parse_args([]))
    options |= dict(
        token_list=["<unk>", "a", "b", "<sos/eos>"],
        frontend_conf=CNN,
        encoder_conf=dict(
            output_size=16, attention_heads=2, linear_units=16, num_blocks=2, input_layer=None
        ),
        preencoder=None,
        loss=[dict(name="hubert", conf=dict(num_classes=4, final_dim=8))],
    )
    directory = directory / "ssl"
    directory.mkdir()
    (directory / "config.yaml").write_text(yaml.safe_dump(options))
    model, _ = SSLTask.build_model_from_file(directory / "config.yaml", None)
    torch.save(model.state_dict(), directory / "valid.loss.ave.pth")
    return str(directory / "valid.loss.ave.pth")


def small_whisper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `whisper.load_model` give a tiny random model instead of a download."""
    whisper = pytest.importorskip("whisper", reason="openai-whisper is not installed")
    import torch
    from whisper.model import ModelDimensions, Whisper

    sizes = ModelDimensions(
        n_mels=80,
        n_audio_ctx=1500,
        n_audio_state=16,
        n_audio_head=2,
        n_audio_layer=2,
        n_vocab=30,
        n_text_ctx=64,
        n_text_state=16,
        n_text_head=2,
        n_text_layer=2,
    )
    # Gone since openai-whisper 20231105; ESPnet 202511 imports it (asr/encoder/whisper_encoder.py).
    monkeypatch.setattr(whisper.audio, "N_MELS", 80, raising=False)

    def load_model(*_: Any, **__: Any) -> Any:
        model = Whisper(sizes)
        # Whisper leaves it as the memory was, which may be anything.
        torch.nn.init.normal_(model.decoder.positional_embedding, std=0.01)
        return model

    monkeypatch.setattr(whisper, "load_model", load_model)


def transducer_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchaudio's transducer loss under the name of warprnnt_pytorch, which PyPI does not have.

    And in the place of ESPnet's for blanks of several frames, which a CPU does not have.
    """
    import torch
    import torchaudio

    class RNNTLoss(torch.nn.Module):
        def __init__(self, blank: int = 0, **_: Any) -> None:
            super().__init__()
            self.blank = blank

        def forward(self, scores, labels, frames, lengths):
            integers = [value.int() for value in (labels, frames, lengths)]
            return torchaudio.functional.rnnt_loss(scores, *integers, blank=self.blank)

    module = types.ModuleType("warprnnt_pytorch")
    module.RNNTLoss = RNNTLoss  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "warprnnt_pytorch", module)
    from espnet2.asr.transducer.rnnt_multi_blank import rnnt_multi_blank

    class MultiblankRNNTLossNumba(RNNTLoss):
        pass

    monkeypatch.setattr(rnnt_multi_blank, "MultiblankRNNTLossNumba", MultiblankRNNTLossNumba)
