"""Formatted sets: the samples of their source, cut at the segments' times."""

from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from recipes import RATE, tone, write_set

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, formats


@pytest.mark.parametrize("audio_format", formats.FORMATS)
def test_formatted_audio_holds_the_samples_of_its_source(tmp_path: Path, audio_format: str) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.3, "a2": 0.2, "b1": 0.1})
    seconds = formats.format_set(
        source, tmp_path / "o", audio_format=audio_format, rate=RATE, processes=1, parts=2
    )
    assert seconds == pytest.approx(0.6)
    assert (tmp_path / "o" / "utt2num_samples").read_text() == "a1 2400\na2 1600\nb1 800\n"
    assert (tmp_path / "o" / "spk2utt").read_text() == "a a1 a2\nb b1\n"
    for utterance, place in datadir.read_table(tmp_path / "o" / "wav.scp").items():
        if audio_format.endswith("ark"):
            rate, samples = kaldiio.load_mat(place)
            samples = np.round(np.asarray(samples) * 32768)
        else:
            samples, rate = soundfile.read(place, dtype="int16")
        assert rate == RATE
        expected, _ = soundfile.read(source / f"{utterance}.wav", dtype="int16")
        np.testing.assert_array_equal(samples, expected)


def test_segments_are_cut_at_their_times_and_minus_one_means_the_end(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"rec": 1.0})
    datadir.write_table(source / "segments", {"r1": "rec 0.1 0.35", "r2": "rec 0.9 -1"})
    datadir.write_table(source / "utt2spk", {"r1": "r", "r2": "r"})
    datadir.write_table(source / "text", {"r1": "A", "r2": "B"})
    formats.format_set(source, tmp_path / "o", audio_format="wav", rate=RATE, processes=1, parts=1)
    places, whole = datadir.read_table(tmp_path / "o" / "wav.scp"), tone(1.0)
    np.testing.assert_array_equal(soundfile.read(places["r1"], dtype="int16")[0], whole[800:2800])
    np.testing.assert_array_equal(soundfile.read(places["r2"], dtype="int16")[0], whole[7200:])


def test_a_segment_of_an_unknown_recording_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    datadir.write_table(source / "segments", {"a1": "nowhere 0 1"})
    with pytest.raises(TopdownError, match="cut from 'nowhere', which wav.scp lacks"):
        formats.format_set(
            source, tmp_path / "o", audio_format="wav", rate=RATE, processes=1, parts=1
        )


def test_an_id_that_cannot_name_a_file_is_refused_or_goes_to_an_ark(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    for name in ("wav.scp", "text", "utt2spk"):
        (source / name).write_text((source / name).read_text().replace("a1 ", "a/1 ", 1))
    places = dict(rate=RATE, processes=1, parts=1)
    with pytest.raises(TopdownError, match="the id 'a/1' has a '/'.*--audio_format flac.ark"):
        formats.format_set(source, tmp_path / "o", audio_format="flac", **places)
    formats.format_set(source, tmp_path / "o", audio_format="flac.ark", **places)
    assert list(datadir.read_table(tmp_path / "o" / "wav.scp")) == ["a/1"]
