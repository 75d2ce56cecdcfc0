"""SPHERE audio: PCM, mu-law and shorten are read; damage is named, never half-read."""

import importlib.util
import io
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from fake_audio import header, speak, to_ulaw, write_sphere

from espnet_topdown.corpora import sphere
from espnet_topdown.corpora.sphere_header import read_header
from espnet_topdown.errors import TopdownError

SAMPLES = speak("hello", 16000)


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH without any program."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "bin"


def test_pcm_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_sphere(tmp_path / "a.wv1", SAMPLES, 16000)
    decoded, rate = sphere.decode(tmp_path / "a.wv1")
    assert rate == 16000
    np.testing.assert_array_equal(decoded[:, 0], SAMPLES)


def test_ulaw_codes_become_the_values_of_g711(tmp_path: Path) -> None:
    # Code 0xFF is 0, 0x80 the loudest positive value, 0x00 the loudest negative one (ITU-T G.711,
    # 14 bits times 4).
    (tmp_path / "a.sph").write_bytes(header(4, 1, 8000, "ulaw") + bytes([0xFF, 0x80, 0x00, 0xFE]))
    assert sphere.decode(tmp_path / "a.sph")[0][:, 0].tolist() == [0, 32124, -32124, 8]
    assert to_ulaw(np.array([0, 32124, -32124, 8])).tolist() == [0xFF, 0x80, 0x00, 0xFE]


def test_one_side_of_a_conversation_is_written_as_wav(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture
) -> None:
    sides = np.stack([speak("aaaa", 8000), speak("zzzz", 8000)], axis=1)
    write_sphere(tmp_path / "a.sph", sides, 8000, "ulaw")
    whole = sphere.decode(tmp_path / "a.sph")[0]
    sphere.main(["--channel", "2", str(tmp_path / "a.sph")])
    with wave.open(io.BytesIO(capfdbinary.readouterr().out)) as wav:
        assert (wav.getnchannels(), wav.getframerate(), wav.getsampwidth()) == (1, 8000, 2)
        np.testing.assert_array_equal(np.frombuffer(wav.readframes(len(sides)), "<i2"), whole[:, 1])


def test_truncated_pcm_is_refused_by_its_size_and_writes_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "short.wv1"
    write_sphere(path, SAMPLES, 16000)
    path.write_bytes(path.read_bytes()[:-2])
    said = r"short.wv1: truncated \(10622 bytes, its header needs 10624\)"
    with pytest.raises(TopdownError, match=said):
        read_header(path)
    with pytest.raises(SystemExit) as stopped:
        sphere.main([str(path)])
    captured = capfdbinary.readouterr()
    assert stopped.value.code == 1
    assert captured.out == b""
    assert b"truncated" in captured.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a whole SPHERE header"),
        (b"RIFF" + bytes(2000), "not a whole SPHERE header"),
        (b"NIST_1A\n   1024\nchannel_count -i 1\n", "not a whole SPHERE header"),
        (b"NIST_1A\n   ten?\n" + bytes(1010), "no size in its second line"),
        (
            b"NIST_1A\n   1024\nchannel_count -i 1\nend_head\n".ljust(1024),
            "sample_rate, channel_count or sample_count",
        ),
    ],
)
def test_damaged_headers_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.sph").write_bytes(content)
    with pytest.raises(TopdownError, match=message):
        read_header(tmp_path / "bad.sph")


@pytest.mark.parametrize("channel", [0, 2])
def test_a_missing_channel_is_refused(tmp_path: Path, channel: int) -> None:
    write_sphere(tmp_path / "mono.sph", SAMPLES, 16000)
    with pytest.raises(TopdownError, match=f"has no channel {channel}, it has 1"):
        sphere.to_wav(tmp_path / "mono.sph", channel)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "printf 'RIFF0000WAVEdata0000abcd'",
            r"c.wv1: truncated or corrupt \(2 samples, header says 4800\)",
        ),
        ("echo bad block >&2; exit 3", r"c.wv1: sph2pipe cannot decode it \(bad block\)"),
    ],
)
def test_a_decoder_that_gives_less_or_fails_is_an_error(
    tmp_path: Path, bare_path: Path, script, message
) -> None:
    write_sphere(tmp_path / "c.wv1", SAMPLES, 16000, shorten=True)
    (bare_path / "sph2pipe").write_text(f"#!/bin/sh\n{script}\n")
    (bare_path / "sph2pipe").chmod(0o755)
    with pytest.raises(TopdownError, match=message):
        sphere.decode(tmp_path / "c.wv1")


def test_compressed_audio_without_a_decoder_says_what_to_install(
    tmp_path: Path, bare_path: Path, monkeypatch
) -> None:
    write_sphere(tmp_path / "c.wv1", SAMPLES, 16000, shorten=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TopdownError, match="embedded-shorten-v2.00.*install sph2pipe, ffmpeg"):
        sphere.decode(tmp_path / "c.wv1")


def _use(decoder: str, bare: Path, original: str | None) -> None:
    """Make `decoder` the only one that is found, or skip."""
    if decoder == "desphere":
        pytest.importorskip("desphere")
    elif original is None:
        pytest.skip(f"{decoder} is not installed")
    else:
        (bare / decoder).symlink_to(original)


@pytest.mark.parametrize("decoder", ["desphere", "ffmpeg", "sph2pipe"])
def test_shorten_is_decoded_without_loss_and_damage_is_named(
    tmp_path: Path, decoder: str, request
) -> None:
    original = shutil.which(decoder)
    _use(decoder, request.getfixturevalue("bare_path"), original)
    path = tmp_path / "c.wv1"
    write_sphere(path, SAMPLES, 16000, shorten=True)
    np.testing.assert_array_equal(sphere.decode(path)[0][:, 0], SAMPLES)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(TopdownError, match=str(path)):
        sphere.decode(path)


def test_a_version_of_shorten_that_desphere_does_not_know_is_told(tmp_path: Path, request) -> None:
    _use("desphere", request.getfixturevalue("bare_path"), None)
    path = tmp_path / "c.wv1"
    write_sphere(path, SAMPLES, 16000, shorten=True)
    path.write_bytes(
        path.read_bytes().replace(b"embedded-shorten-v2.00", b"embedded-shorten-v1.09")
    )
    said = "desphere cannot decode it .*v1.09.*of shorten it knows version 2 alone"
    with pytest.raises(TopdownError, match=said):
        sphere.decode(path)


@pytest.mark.parametrize("shorten", [False, True])
def test_a_flipped_bit_is_found_by_the_headers_checksum(
    tmp_path: Path, bare_path: Path, shorten: bool
) -> None:
    path = tmp_path / "c.wv1"
    write_sphere(path, SAMPLES, 16000, shorten=shorten)
    content = bytearray(path.read_bytes())
    content[3000] ^= 4
    path.write_bytes(content)
    with pytest.raises(TopdownError, match=f"{path}: .*(sample_checksum|corrupt|cannot decode)"):
        sphere.decode(path)


def test_entries_are_read_without_a_process(tmp_path: Path, bare_path: Path) -> None:
    sides = np.stack([speak("aaaa", 8000), speak("zzzz", 8000)], axis=1)
    for name in ("a b.sph", "it's.sph", "it's a 'b'.sph"):
        write_sphere(tmp_path / name, sides, 8000)
        entry = sphere.wav_entry(tmp_path / name, "", 2, sph2pipe=False)
        np.testing.assert_array_equal(sphere.read_wav_entry(entry)[0][:, 0], sides[:, 1])
    path = tmp_path / "c.sph"
    write_sphere(path, SAMPLES, 16000)
    for text in (
        str(path),
        f"sph2pipe -f wav -p {path} |",
        f"python3 -m espnet_topdown.corpora.sphere {path} |",
    ):
        np.testing.assert_array_equal(sphere.read_wav_entry(text)[0][:, 0], SAMPLES)
    path.write_bytes(path.read_bytes()[:5000])
    for text in (str(path), f"sph2pipe -f wav -p -c 1 {path} |"):
        with pytest.raises(TopdownError, match="truncated"):
            sphere.read_wav_entry(text)
    assert sphere.read_wav_entry(f"sox {path} -t wav - |") is None
    assert sphere.read_wav_entry(str(tmp_path / "none")) is None


def test_entries_prefer_sph2pipe_then_the_path_then_this_module(bare_path: Path) -> None:
    plain, packed = "", "embedded-shorten-v2.00"
    assert not sphere.has_sph2pipe()
    assert sphere.wav_entry("/d/a.wv1", plain, sph2pipe=False) == "/d/a.wv1"
    reader = "python3 -m espnet_topdown.corpora.sphere"
    assert sphere.wav_entry("/d/a.wv1", packed, sph2pipe=False) == f"{reader} /d/a.wv1 |"
    one_side = sphere.wav_entry("/d/a b.sph", plain, 2, sph2pipe=False)
    assert one_side == f"{reader} --channel 2 '/d/a b.sph' |"
    (bare_path / "sph2pipe").write_text("")
    (bare_path / "sph2pipe").chmod(0o755)
    assert sphere.has_sph2pipe()
    assert sphere.wav_entry("/d/a.wv1", packed, sph2pipe=True) == "sph2pipe -f wav /d/a.wv1 |"
    one_side = sphere.wav_entry("/d/a.sph", plain, 1, sph2pipe=True)
    assert one_side == "sph2pipe -f wav -p -c 1 /d/a.sph |"
