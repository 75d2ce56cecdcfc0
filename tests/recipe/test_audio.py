"""Audio as wav.scp names it: files, commands and SPHERE are read exactly, damage is named."""

from pathlib import Path

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
