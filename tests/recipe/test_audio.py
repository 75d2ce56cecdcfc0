"""Audio as wav.scp names it: files, commands and SPHERE are read exactly, damage is named."""

import re
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from recipes import RATE, tone

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import audio, truncated


def test_resampling_keeps_the_tone_and_its_length(tmp_path: Path) -> None:
    samples = audio.resample(tone(1.0), RATE, 16000)
    assert samples.dtype == np.int16
    assert len(samples) == 16000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_sph2pipe_lines_are_read_without_sph2pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    two = np.stack([tone(0.1), tone(0.1, hertz=880)], axis=1)
    soundfile.write(tmp_path / "a.sph", two, RATE, subtype="PCM_16", format="NIST")
    samples, rate = audio.read_audio(f"sph2pipe -f wav -p -c 2 {tmp_path}/a.sph |")
    assert rate == RATE
    np.testing.assert_array_equal(samples, two[:, 1])


def test_half_a_file_is_named_and_not_half_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.sph", tone(0.1), RATE, subtype="PCM_16", format="NIST")
    soundfile.write(tmp_path / "a.wav", tone(0.1), RATE, subtype="PCM_16")
    for path in (tmp_path / "a.sph", tmp_path / "a.wav"):
        path.write_bytes(path.read_bytes()[:-200])
    files = [f"{tmp_path}/a.sph", f"{tmp_path}/a.wav"]
    commands = [f"sph2pipe -f wav {tmp_path}/a.sph |", f"cat {tmp_path}/a.wav |"]
    for source in [*files, *commands]:
        with pytest.raises(TopdownError, match="truncated"):
            audio.read_audio(source)


FORMATS = {
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "rifx.wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "svx": ("SVX", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_of_any_format_is_named(tmp_path: Path, kind: str) -> None:
    container, subtype = FORMATS[kind]
    path = tmp_path / f"a.{kind}"
    endian = "BIG" if kind == "rifx.wav" else "FILE"
    noise = np.random.default_rng(0).integers(-3000, 3000, 4 * RATE).astype(np.int16)
    soundfile.write(path, noise, RATE, subtype=subtype, format=container, endian=endian)
    samples, rate = audio.read_audio(str(path))
    assert (len(samples), rate) == (4 * RATE, RATE)
    whole = path.read_bytes()
    for share in (0.4, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(TopdownError, match="cannot be read: .*"):
            audio.read_audio(str(path))


def test_lengths_that_a_pipe_did_not_know_are_taken_as_they_come(tmp_path: Path) -> None:
    for kind, place, length in (("wav", 40, 0xFFFFFFFF), ("wav", 40, 0x7FFFF000)):
        path = tmp_path / f"a.{kind}"
        soundfile.write(path, tone(0.1), RATE, subtype="PCM_16")
        whole = bytearray(path.read_bytes())
        whole[place : place + 4] = length.to_bytes(4, "little")
        path.write_bytes(whole)
        assert len(audio.read_audio(f"cat {path} |")[0]) == 800
    soundfile.write(tmp_path / "a.au", tone(0.1), RATE, subtype="PCM_16", format="AU")
    whole = bytearray((tmp_path / "a.au").read_bytes())
    whole[8:12] = b"\xff" * 4
    (tmp_path / "a.au").write_bytes(whole)
    assert len(audio.read_audio(f"cat {tmp_path}/a.au |")[0]) == 800


def test_an_mp3_of_which_libsndfile_would_read_half_is_named(tmp_path: Path) -> None:
    """Without the frame that tells its length: loud and soft parts have other bit rates."""
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).standard_normal(20 * RATE)
    noise *= np.repeat([0.0005, 0.1, 0.003, 0.25], 5 * RATE)
    options = dict(format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    soundfile.write(path, noise, RATE, **options)
    assert len(audio.read_audio(str(path))[0]) == 20 * RATE
    whole = path.read_bytes()
    length, _ = truncated._mp3_frame(whole[:4])
    path.write_bytes(whole[length:])
    with pytest.raises(TopdownError, match="of 15.... samples were read; write it anew as WAV"):
        audio.read_audio(str(path))
    # Its size tells nothing where tags are as large as the sound.
    tag = b"ID3\x04\0\0\0\x03\0\0"
    softer = dict(options, bitrate_mode="CONSTANT")
    soundfile.write(path, noise, RATE, **softer)
    constant = path.read_bytes()
    length, _ = truncated._mp3_frame(constant[:4])
    path.write_bytes(tag + bytes(3 << 14) + constant[length:])
    assert len(audio.read_audio(str(path))[0]) > 20 * RATE
    # Whole frames that are missing.
    path.write_bytes(constant[: 100 * length])
    with pytest.raises(TopdownError, match="truncated, 99 of 2.. frames"):
        audio.read_audio(str(path))
    # Tags stand before and behind the frames.
    path.write_bytes(b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + whole + b"TAG" + bytes(125))
    assert len(audio.read_audio(str(path))[0]) == 20 * RATE


def test_half_a_recording_of_an_ark_is_named(tmp_path: Path) -> None:
    sounds = {"a": (RATE, tone(0.1)), "b": (RATE, tone(0.2))}
    kaldiio.save_ark(str(tmp_path / "x.ark"), sounds, scp=str(tmp_path / "x.scp"))
    places = [line.split()[1] for line in (tmp_path / "x.scp").read_text().splitlines()]
    assert [len(audio.read_audio(place)[0]) for place in places] == [800, 1600]
    ark = tmp_path / "x.ark"
    ark.write_bytes(ark.read_bytes()[:-200])
    assert len(audio.read_audio(places[0])[0]) == 800
    with pytest.raises(TopdownError, match="truncated, 3000 of 3200 bytes"):
        audio.read_audio(places[1])
    with pytest.raises(TopdownError, match="asked for the audio .*cannot be read"):
        audio.read_audio(f"{ark}:99999")


def test_headerless_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(tone(0.1).tobytes())
    with pytest.raises(TopdownError, match="a.raw', but it cannot be read"):
        audio.read_audio(str(tmp_path / "a.raw"))


@pytest.mark.parametrize(
    "sample, said",
    [
        (float("nan"), "some of its samples are NaN or infinite"),
        (float("-inf"), "some of its samples are NaN or infinite"),
        (-16000.0, "floating-point samples reach 16000, where 1 is full scale"),
    ],
)
def test_floats_that_are_no_samples_are_refused(tmp_path: Path, sample: float, said: str) -> None:
    floats = np.array([0.0, 0.5, sample, 0.1])
    soundfile.write(tmp_path / "a.wav", floats, RATE, subtype="FLOAT")
    with pytest.raises(TopdownError, match=said):
        audio.read_audio(str(tmp_path / "a.wav"))


def test_a_command_is_run_and_a_failing_one_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.1), RATE, subtype="PCM_16")
    np.testing.assert_array_equal(audio.read_audio(f"cat {tmp_path}/a.wav |")[0], tone(0.1))
    for source in (f"cat {tmp_path}/b.wav |", str(tmp_path / "b.wav"), f"{tmp_path}/b.ark:12"):
        with pytest.raises(TopdownError, match="asked for the audio .*cannot be read"):
            audio.read_audio(source)


def test_a_command_of_several_parts_fails_with_any_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(0.1), RATE, subtype="PCM_16")
    # A decoder that breaks off leaves what it had written so far.
    with pytest.raises(TopdownError, match="returned non-zero exit status 3"):
        audio.read_audio(f"(cat {path}; exit 3) | cat |")
    # A reader that has had enough is no fault of the writer.
    size = path.stat().st_size
    many = f"(cat {path}; yes) | head -c {size} |"
    np.testing.assert_array_equal(audio.read_audio(many)[0], tone(0.1))


@pytest.mark.parametrize(("command", "size"), [("true |", 0), ("echo hello |", 6)])
def test_a_command_that_prints_no_audio_is_told_so(command: str, size: int) -> None:
    message = f"the audio '{re.escape(command)}', .* it printed {size} bytes, which are no audio"
    with pytest.raises(TopdownError, match=message):
        audio.read_audio(command)


def test_float_files_are_scaled_to_whole_numbers(tmp_path: Path) -> None:
    floats = np.array([0.0, 0.5, -1.0, 0.9999999])
    soundfile.write(tmp_path / "a.wav", floats, RATE, subtype="FLOAT")
    samples, _ = audio.read_audio(str(tmp_path / "a.wav"))
    np.testing.assert_array_equal(samples, [0, 16384, -32768, 32767])


@pytest.mark.parametrize("subtype", ["GSM610", "IMA_ADPCM", "PCM_24"])
def test_wav_files_of_any_coding_are_read_whole(subtype: str, tmp_path: Path) -> None:
    """Of GSM, as telephone systems record, soundfile can not seek the end."""
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE, subtype=subtype)
    samples, rate = audio.read_audio(str(tmp_path / "a.wav"))
    # Codecs fill their last block.
    assert rate == RATE and RATE <= len(samples) < RATE + 600
    assert np.corrcoef(samples[:RATE], tone(1.0))[0, 1] > 0.95
