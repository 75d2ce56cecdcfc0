"""Audio as wav.scp names it: files, commands and SPHERE are read exactly, damage is named."""

from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from recipes import RATE, tone

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import audio


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


def test_float_files_are_scaled_to_whole_numbers(tmp_path: Path) -> None:
    floats = np.array([0.0, 0.5, -1.0, 0.9999999])
    soundfile.write(tmp_path / "a.wav", floats, RATE, subtype="FLOAT")
    samples, _ = audio.read_audio(str(tmp_path / "a.wav"))
    np.testing.assert_array_equal(samples, [0, 16384, -32768, 32767])
