"""Formatted sets: the samples of their source, cut at the segments' times."""

from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile
from recipes import RATE, tone, write_set

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, formats
from espnet_topdown.text_files import read_table


@pytest.mark.parametrize("audio_format", formats.FORMATS)
def test_formatted_audio_holds_the_samples_of_its_source(tmp_path: Path, audio_format: str) -> None:
    # Letters of one and of two bytes: places in an ark are counted in bytes.
    source = write_set(tmp_path / "d", {"a1": 0.3, "ä2": 0.2, "я1": 0.1})
    seconds = formats.format_set(
        source, tmp_path / "o", audio_format=audio_format, rate=RATE, processes=1, parts=2
    )
    assert seconds == pytest.approx(0.6)
    assert (tmp_path / "o" / "utt2num_samples").read_text() == "a1 2400\nä2 1600\nя1 800\n"
    assert (tmp_path / "o" / "spk2utt").read_text() == "a a1\nä ä2\nя я1\n"
    for utterance, place in read_table(tmp_path / "o" / "wav.scp").items():
        if audio_format.endswith("ark"):
            rate, samples = kaldiio.load_mat(place)
            samples = np.round(np.asarray(samples) * 32768)
        else:
            samples, rate = soundfile.read(place, dtype="int16")
        assert rate == RATE
        expected, _ = soundfile.read(source / f"{utterance}.wav", dtype="int16")
        np.testing.assert_array_equal(samples, expected)


def test_resampling_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    source = write_set(tmp_path / "d", {"a1": 0.3, "a2": 0.2, "b1": 0.1})
    soundfile.write(source / "b1.wav", tone(0.1, 2 * RATE), 2 * RATE, subtype="PCM_16")
    options = {"audio_format": "wav", "processes": 1, "parts": 1}
    formats.format_set(source, tmp_path / "o", rate=2 * RATE, **options)
    told = f"{source}: 2 of 3 utterances resampled from 8000 Hz to 16000 Hz; --fs 8000 keeps that"
    assert [record.message for record in caplog.records] == [f"{told} rate"]
    caplog.clear()
    formats.format_set(write_set(tmp_path / "e", {"a1": 0.3}), tmp_path / "o", rate=RATE, **options)
    assert caplog.records == []


def test_segments_are_cut_at_their_times_and_minus_one_means_the_end(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"rec": 1.0})
    datadir.write_table(source / "segments", {"r1": "rec 0.1 0.35", "r2": "rec 0.9 -1"})
    datadir.write_table(source / "utt2spk", {"r1": "r", "r2": "r"})
    datadir.write_table(source / "text", {"r1": "A", "r2": "B"})
    formats.format_set(source, tmp_path / "o", audio_format="wav", rate=RATE, processes=1, parts=1)
    places, whole = read_table(tmp_path / "o" / "wav.scp"), tone(1.0)
    np.testing.assert_array_equal(soundfile.read(places["r1"], dtype="int16")[0], whole[800:2800])
    np.testing.assert_array_equal(soundfile.read(places["r2"], dtype="int16")[0], whole[7200:])


def formatted(source: Path, target: Path) -> dict[str, int]:
    """Samples of each utterance of a set, formatted as it stands."""
    formats.format_set(source, target, audio_format="wav", rate=RATE, processes=1, parts=1)
    return {u: int(n) for u, n in read_table(target / "utt2num_samples").items()}


def write_cuts(root: Path, cuts: dict[str, str]) -> Path:
    """A set of one recording of a second, ``rec``, and of `cuts`."""
    source = write_set(root, {"rec": 1.0})
    datadir.write_table(source / "segments", cuts)
    datadir.write_table(source / "utt2spk", dict.fromkeys(cuts, "r"))
    datadir.write_table(source / "text", dict.fromkeys(cuts, "A"))
    return source


def test_an_end_little_behind_the_audio_is_cut_off_there(tmp_path: Path) -> None:
    source = write_cuts(tmp_path / "d", {"r1": "rec 0.5 1.00004", "r2": "rec 0.9 1.4"})
    assert formatted(source, tmp_path / "o") == {"r1": 4000, "r2": 800}


@pytest.mark.parametrize(
    "cut, said",
    [
        ("rec 100.0 101.0", "r1: begins at 100 s, but its recording has 1 s"),
        ("rec 1.0 1.2", "r1: begins at 1 s, but its recording has 1 s"),
        ("rec 0.5 1.5", "r1: ends at 1.5 s, but its recording has 1 s"),
        ("rec 2 -1", "r1: begins at 2 s, but its recording has 1 s"),
        ("rec 0.5 0.50001", "r1: holds no sample"),
        ("rec 0.8 0.3", "r1: ends at 0.3 s, but begins at 0.8 s"),
        ("rec 0.3 0.3", "r1: ends at 0.3 s, but begins at 0.3 s"),
        ("rec 0.3 -2", "r1: ends at -2 s, but begins at 0.3 s"),
        ("rec -0.1 0.3", "r1: begins at -0.1 s, before its recording"),
        ("rec 0.1 nan", "r1: 0.1 to nan are no times"),
        ("rec 0.1", "r1: expected RECORDING START END, found 'rec 0.1'"),
        ("rec", "r1: expected RECORDING START END, found 'rec'"),
        ("rec 0.1 0.2 1", "r1: expected RECORDING START END, found 'rec 0.1 0.2 1'"),
        ("rec 0,1 0,2", "r1: expected RECORDING START END, found 'rec 0,1 0,2'"),
        ("nowhere 0 1", "r1: is cut from 'nowhere', which wav.scp lacks"),
    ],
)
def test_a_segment_that_is_none_is_refused_by_name(tmp_path: Path, cut: str, said: str) -> None:
    source = write_cuts(tmp_path / "d", {"r0": "rec 0 0.5", "r1": cut})
    with pytest.raises(TopdownError) as refusal:
        formatted(source, tmp_path / "o")
    message = str(refusal.value)
    assert message.startswith(f"{source}") and said in message
    assert "(1); mend them in local/data.sh, or leave these utterances out" in message
    assert not (tmp_path / "o" / "wav.scp").exists()


def test_all_segments_at_fault_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    source = write_cuts(tmp_path / "d", {f"r{n}": f"rec {9 + n} 30" for n in range(7)})
    with pytest.raises(TopdownError, match=r"\(7\)(.|\n)*r4: begins(.|\n)*\.\.\. and 2 more$"):
        formatted(source, tmp_path / "o")


def test_a_recording_without_samples_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "a2": 0.0})
    with pytest.raises(TopdownError, match="without audio .*\n  a2: .*recording has 0 s"):
        formatted(source, tmp_path / "o")


def test_a_wav_scp_that_was_cut_off_is_told_as_that(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "a2": 0.1, "b1": 0.1})
    whole = (source / "wav.scp").read_text()
    for cut_at, said in (
        (len("b1.wav\n"), f"no file {source}"),
        (len(f"{source}/b1.wav\n"), "b1: names no audio"),
    ):
        (source / "wav.scp").write_text(whole[:-cut_at])
        with pytest.raises(TopdownError, match="may have been cut off .1.") as refusal:
            formatted(source, tmp_path / "o")
        assert said in str(refusal.value)
    (source / "wav.scp").write_text(whole[: -len(f"b1 {source}/b1.wav\n")])
    with pytest.raises(TopdownError, match=r"wav.scp and utt2spk .*1 \(b1\) missing in wav.scp"):
        formatted(source, tmp_path / "o")


def test_missing_audio_is_named_before_any_is_read(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1})
    (source / "b1.wav").unlink()
    with pytest.raises(TopdownError, match=r"not there \(1\); .*\n  b1: no file .*b1.wav"):
        formatted(source, tmp_path / "o")
    assert not (tmp_path / "o").exists()
    # Of a recording of which nothing is cut it is no matter.
    datadir.write_table(source / "segments", {"a1": "a1 0 0.1", "b1": "a1 0 0.05"})
    assert formatted(source, tmp_path / "o") == {"a1": 800, "b1": 400}
    (source / "segments").unlink()
    # What a command gives is not known before.
    datadir.write_table(source / "wav.scp", dict.fromkeys(("a1", "b1"), f"cat {source}/a1.wav |"))
    assert formatted(source, tmp_path / "o") == {"a1": 800, "b1": 800}


def test_ids_with_slashes_are_files_in_folders(tmp_path: Path) -> None:
    source = write_cuts(tmp_path / "d", {"r/1": "rec 0 0.5"})
    assert formatted(source, tmp_path / "o") == {"r/1": 4000}
    place = read_table(tmp_path / "o" / "wav.scp")["r/1"]
    assert soundfile.info(place).frames == 4000


@pytest.mark.parametrize("audio_format", ["wav", "wav.ark"])
def test_ids_that_are_paths_write_over_no_recording(tmp_path: Path, audio_format: str) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1})
    before = (source / "a1.wav").read_bytes()
    for outside in (f"{source}/a1", "../../../d/a1"):
        datadir.write_table(source / "wav.scp", {outside: source / "b1.wav"})
        datadir.write_table(source / "utt2spk", {outside: "a"})
        datadir.write_table(source / "text", {outside: "A"})
        with pytest.raises(TopdownError, match="ids that are paths out of .*\n  .*d/a1$"):
            formats.format_set(
                source,
                tmp_path / "o",
                audio_format=audio_format,
                rate=RATE,
                processes=1,
                parts=1,
            )
        assert (source / "a1.wav").read_bytes() == before


def test_audio_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    soundfile.write(source / "a1.wav", np.zeros((800, 9), np.int16), RATE)
    for audio_format in ("flac", "flac.ark"):
        with pytest.raises(TopdownError, match=r"cannot write a1 \(channels: 9\) as flac"):
            formats.format_set(
                source,
                tmp_path / "o",
                audio_format=audio_format,
                rate=RATE,
                processes=1,
                parts=1,
            )
    long = "a" * 260
    datadir.write_table(source / "wav.scp", {long: source / "a1.wav"})
    datadir.write_table(source / "utt2spk", {long: "a"})
    datadir.write_table(source / "text", {long: "A"})
    with pytest.raises(TopdownError, match=r"cannot write aaa.*the id too long"):
        formatted(source, tmp_path / "o")


def write_channels(source: Path, channels: dict[str, int]) -> None:
    """Utterances' audio as so many channels of one sound."""
    for utterance, count in channels.items():
        samples = np.repeat(tone(0.2)[:, None], count, axis=1)
        soundfile.write(source / f"{utterance}.wav", samples, RATE, subtype="PCM_16")


def test_recordings_of_different_numbers_of_channels_are_refused_where_batches_are_made(
    tmp_path: Path,
) -> None:
    options = {"audio_format": "wav", "rate": RATE, "processes": 1, "parts": 2}
    mixed = write_set(tmp_path / "d", {"a1": 0.2, "a2": 0.2, "b1": 0.2})
    write_channels(mixed, {"a2": 2})
    with pytest.raises(TopdownError) as error:
        formats.format_set(mixed, tmp_path / "o", **options)
    assert str(error.value) == (
        f"{mixed} has recordings of different numbers of channels, of which ESPnet makes no batch:"
        " 1 (2 utterances: a1, b1), 2 (1 utterance: a2); take one channel of all in wav.scp, as by"
        " 'sox FILE -t wav - remix 1 |'"
    )
    # A set that is only decoded is read one utterance at a time.
    formats.format_set(mixed, tmp_path / "o", needs_text=False, **options)
    stereo = write_set(tmp_path / "e", {"a1": 0.2, "a2": 0.2})
    write_channels(stereo, {"a1": 2, "a2": 2})
    formats.format_set(stereo, tmp_path / "p", **options)
    samples, _ = soundfile.read(read_table(tmp_path / "p" / "wav.scp")["a1"])
    assert samples.shape == (1600, 2)
