"""What stands in the way of a model is told at once, with what mends it."""

import re
import sys
import types
import urllib.error
from pathlib import Path

import pytest
import yaml

from espnet_topdown.errors import TopdownError

SMALL = dict(output_size=4, linear_units=4, attention_heads=1, num_blocks=1)
BASE = dict(
    encoder="transformer",
    encoder_conf=SMALL,
    decoder="transformer",
    decoder_conf=dict(linear_units=4, attention_heads=1, num_blocks=1),
)
PACKAGES = ("s3prl", "transformers", "whisper", "fairseq", "longformer", "warprnnt_pytorch", "k2")
SOURCE = dict(extra_asr_decoder="transformer", src_token_type="char")
BART = dict(decoder="hugging_face_transformers", decoder_conf=dict(model_name_or_path="bart"))
FUSED = dict(frontend="fused", frontend_conf=dict(frontends=[dict(frontend_type="s3prl")]))


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, espnet: None) -> None:
    """None of the packages outside our dependencies is there."""
    for package in PACKAGES:
        for name in [*sys.modules]:
            if name == package or name.startswith(f"{package}."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)


def check(tmp_path: Path, changes: dict[str, object], task: str = "asr", **more: bool) -> None:
    from espnet_topdown.training import model_options, obstacles
    from espnet_topdown.training.tasks import task_of

    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(BASE | changes))
    options = model_options.options_of(task_of(task), path, vocab_size=9, input_size=3)
    obstacles.check(task_of(task), options, path, **more)


def refused(tmp_path: Path, changes: dict[str, object], task: str = "asr", **more: bool) -> str:
    with pytest.raises(TopdownError) as caught:
        check(tmp_path, changes, task, **more)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "package", "advice"),
    [
        (dict(frontend="s3prl"), "s3prl", "pip install 'espnet_topdown[ssl]'"),
        (FUSED, "s3prl", "pip install 'espnet_topdown[ssl]'"),
        (BART, "transformers", "pip install 'espnet_topdown[hf]'"),
        (dict(encoder="whisper"), "whisper", "pip install 'espnet_topdown[whisper]', then"),
        (dict(decoder="whisper"), "whisper", "pip install 'espnet_topdown[whisper]'"),
        (dict(decoder="transducer"), "warprnnt_pytorch", "install it as ESPnet's"),
        (dict(ctc_conf=dict(ctc_type="brctc")), "k2", "install it as ESPnet's"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    changes: dict[str, object], package: str, advice: str, bare: None, tmp_path: Path
) -> None:
    error = refused(tmp_path, changes)
    assert f"needs {package}, which is not installed here; " in error
    assert f"; {advice}" in error
    setup = (Path(__file__).parents[2] / "setup.py").read_text()
    for extra in re.findall(r"\[(\w+)\]", advice):
        assert f'"{extra}": [' in setup


def test_blanks_of_several_frames_need_no_package_since_their_loss_is_espnets(
    bare: None, tmp_path: Path
) -> None:
    model = dict(transducer_multi_blank_durations=[2])
    check(tmp_path, dict(decoder="transducer", model_conf=model))


def test_everything_that_stands_in_the_way_is_told_at_once(bare: None, tmp_path: Path) -> None:
    changes = dict(frontend="s3prl", encoder="longformer", encoder_conf={}, use_adapter=True) | BART
    lines = refused(tmp_path, changes).splitlines()
    told = [
        "no layer order is known for the encoder 'LongformerEncoder'",
        "the frontend 's3prl' needs s3prl",
        "the encoder 'longformer' needs longformer",
        "the decoder 'hugging_face_transformers' needs transformers",
        "use_adapter (lora): an adapter renames the layers",
    ]
    assert len(lines) == len(told)
    assert all(part in line for part, line in zip(told, lines, strict=True))


def test_an_order_of_the_plans_own_leaves_the_table_unasked(bare: None, tmp_path: Path) -> None:
    error = refused(tmp_path, dict(encoder="longformer", encoder_conf={}), has_own_order=True)
    assert "no layer order" not in error and "needs longformer" in error


def test_of_two_decoders_the_unknown_one_is_named(bare: None, tmp_path: Path) -> None:
    error = refused(tmp_path, SOURCE | dict(decoder="s4", decoder_conf={}), "st")
    assert " has no decoder 's4' for this task (it has: transformer, " in error
    error = refused(tmp_path, SOURCE | dict(extra_asr_decoder="s4"), "st")
    assert " has no extra_asr_decoder 's4' for this task (it has: transformer, " in error
    both = SOURCE | dict(extra_mt_decoder="s4", extra_mt_encoder="s5")
    lines = refused(tmp_path, both, "st").splitlines()
    assert [line.split("'")[1] for line in lines] == ["s4", "s5"]
    error = refused(tmp_path, dict(decoder="s4", decoder_conf={}))
    assert "no layer order is known for the decoder 'S4Decoder' (known: transformer," in error


def test_a_whisper_that_is_too_new_for_espnet_is_told_with_one_that_fits(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper, audio = types.ModuleType("whisper"), types.ModuleType("whisper.audio")
    whisper.audio = audio  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "whisper", whisper)
    monkeypatch.setitem(sys.modules, "whisper.audio", audio)
    error = refused(tmp_path, dict(encoder="whisper"))
    assert "does not import here (module 'whisper.audio' has no attribute 'N_MELS')" in error
    assert error.endswith("pip install --no-deps --no-build-isolation openai-whisper==20230918")


def test_a_whisper_of_today_serves_what_espnet_asks_no_older_one_for(
    bare: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "whisper", types.ModuleType("whisper"))
    for part in ("frontend", "decoder"):
        check(tmp_path, {part: "whisper", f"{part}_conf": {}})


@pytest.mark.parametrize("reason", [OSError(-2, "Name or service not known"), TimeoutError()])
def test_models_of_hugging_faces_are_named_at_once_where_no_hub_answers(
    reason: OSError, espnet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (extra hf)")
    asked = []

    def urlopen(url: str, timeout: float) -> None:
        asked.append(url)
        raise urllib.error.URLError(reason)

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    conf = dict(model_name_or_path="nobody/has-this")
    changes = BART | dict(postencoder="hugging_face_transformers", postencoder_conf=conf)
    lines = refused(tmp_path, changes | dict(use_adapter=True)).splitlines()
    told = [
        "postencoder_conf's model_name_or_path 'nobody/has-this' is not here and cannot be",
        "decoder_conf's model_name_or_path 'bart' is not here and cannot be downloaded",
        "use_adapter (lora)",
    ]
    assert all(part in line for part, line in zip(told, lines, strict=True))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        (dict(upstream="wavlm_huge"), "S3PRL has no upstream 'wavlm_huge'; see wavlm_large"),
        (
            dict(upstream="wavlm_local"),
            "'wavlm_local' needs its checkpoint as path_or_url: None is",
        ),
        (
            dict(upstream="wavlm_local", path_or_url="/nfs/wavlm.pt"),
            "'wavlm_local' needs its checkpoint as path_or_url: /nfs/wavlm.pt is no file",
        ),
    ],
)
def test_an_upstream_that_s3prl_would_assert_against_is_named(
    conf: dict[str, object], told: str, espnet: None, tmp_path: Path
) -> None:
    pytest.importorskip("s3prl", reason="s3prl is not installed (extra ssl)")
    alone = dict(frontend="s3prl", frontend_conf=dict(frontend_conf=conf))
    assert told in refused(tmp_path, alone)
    both = [dict(frontend_type="default"), dict(frontend_type="s3prl", frontend_conf=conf)]
    assert told in refused(tmp_path, dict(frontend="fused", frontend_conf=dict(frontends=both)))


def test_a_checkpoint_that_would_have_to_be_downloaded_is_named(
    espnet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    task = task_of("asr")

    def build(*_: object) -> None:
        try:
            raise urllib.error.URLError("no network")
        except urllib.error.URLError:
            # As Hugging Face's of what its cache does not have.
            raise FileNotFoundError("upstream") from None

    monkeypatch.setattr(task, "build_model", build)
    path = tmp_path / "train.yaml"
    nested = dict(frontend_conf=dict(upstream="wavlm_large"), download_dir="./hub")
    path.write_text(yaml.safe_dump(BASE | dict(frontend="s3prl", frontend_conf=nested)))
    options = model_options.options_of(task, path, vocab_size=9, input_size=3)
    said = "frontend_conf's upstream 'wavlm_large' is not here and cannot be downloaded; fetch it"
    with pytest.raises(TopdownError, match=said):
        model_options.build(task, options, path)


@pytest.mark.parametrize(
    ("changes", "lost", "said"),
    [
        (
            dict(encoder="beats", encoder_conf=dict(beats_ckpt_path="/nfs/beats.pt")),
            "/nfs/beats.pt",
            "encoder_conf's beats_ckpt_path '/nfs/beats.pt' is not there",
        ),
        (
            dict(
                frontend="espnet_ssl",
                frontend_conf=dict(frontend_conf=dict(path_or_url="../ssl/exp/5best.pth")),
            ),
            "../ssl/exp/config.yaml",
            r"path_or_url '../ssl/exp/5best.pth' is not there \(../ssl/exp/config.yaml",
        ),
        (dict(), "conf/x.json", "FileNotFoundError: .* 'conf/x.json'"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_named(
    changes: dict[str, object],
    lost: str,
    said: str,
    espnet: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from espnet_topdown.training import model_options
    from espnet_topdown.training.tasks import task_of

    task = task_of("asr")

    def build(*_: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", lost)

    monkeypatch.setattr(task, "build_model", build)
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(BASE | changes))
    options = model_options.options_of(task, path, vocab_size=9, input_size=3)
    with pytest.raises(TopdownError, match=said):
        model_options.build(task, options, path)
