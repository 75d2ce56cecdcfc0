"""Data directories, audio, tokens and job lists of our own asr.sh, on tones written here."""

import shutil
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import audio, datadir, jobs, text
from espnet_topdown.recipe.__main__ import main, parse_rate

RATE = 8000


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (8000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.int16
    )


def write_set(root: Path, lengths: dict[str, float], words: str = "A BC") -> Path:
    """A data directory of tones, one a second-long-or-so utterance.

    Speakers are the ids' first letters.
    """
    root.mkdir(parents=True)
    for utterance, seconds in lengths.items():
        soundfile.write(root / f"{utterance}.wav", tone(seconds), RATE, subtype="PCM_16")
    datadir.write_table(root / "wav.scp", {u: root / f"{u}.wav" for u in lengths})
    datadir.write_table(root / "utt2spk", {u: u[0] for u in lengths})
    datadir.write_table(root / "text", dict.fromkeys(lengths, words))
    return root


# ---- data directories ----


def test_tables_are_sorted_as_bytes_and_read_back(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "t", {"b": "x y", "B": 1, "a": "", "é": "z"})
    assert (tmp_path / "t").read_text() == "B 1\na\nb x y\né z\n"
    assert datadir.read_table(tmp_path / "t") == {"B": "1", "a": "", "b": "x y", "é": "z"}


@pytest.mark.parametrize(
    "content, said", [(None, "no such file"), ("", "no lines"), ("a 1\na 2\n", "t:2: 'a'")]
)
def test_a_missing_empty_or_doubled_table_is_refused(
    tmp_path: Path, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "t").write_text(content)
    with pytest.raises(TopdownError, match=said):
        datadir.read_table(tmp_path / "t")


def test_a_set_whose_files_name_other_utterances_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1})
    datadir.write_table(source / "text", {"a1": "A"})
    with pytest.raises(
        TopdownError, match="text and utt2spk name different utterances .1 in one only, first b1"
    ):
        audio.format_set(
            source, tmp_path / "out", audio_format="wav", rate=RATE, processes=1, parts=1
        )


# ---- audio ----


@pytest.mark.parametrize("audio_format", audio.FORMATS)
def test_formatted_audio_holds_the_samples_of_its_source(tmp_path: Path, audio_format: str) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.3, "a2": 0.2, "b1": 0.1})
    seconds = audio.format_set(
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
        np.testing.assert_array_equal(
            samples, soundfile.read(source / f"{utterance}.wav", dtype="int16")[0]
        )


def test_segments_are_cut_at_their_times_and_minus_one_means_the_end(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"rec": 1.0})
    datadir.write_table(source / "segments", {"r1": "rec 0.1 0.35", "r2": "rec 0.9 -1"})
    datadir.write_table(source / "utt2spk", {"r1": "r", "r2": "r"})
    datadir.write_table(source / "text", {"r1": "A", "r2": "B"})
    audio.format_set(source, tmp_path / "o", audio_format="wav", rate=RATE, processes=1, parts=1)
    places, whole = datadir.read_table(tmp_path / "o" / "wav.scp"), tone(1.0)
    np.testing.assert_array_equal(soundfile.read(places["r1"], dtype="int16")[0], whole[800:2800])
    np.testing.assert_array_equal(soundfile.read(places["r2"], dtype="int16")[0], whole[7200:])


def test_a_segment_of_an_unknown_recording_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    datadir.write_table(source / "segments", {"a1": "nowhere 0 1"})
    with pytest.raises(TopdownError, match="cut from 'nowhere', which wav.scp lacks"):
        audio.format_set(
            source, tmp_path / "o", audio_format="wav", rate=RATE, processes=1, parts=1
        )


def test_resampling_keeps_the_tone_and_its_length(tmp_path: Path) -> None:
    samples = audio.resample(tone(1.0), RATE, 16000)
    assert samples.dtype == np.int16 and len(samples) == 16000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def test_speed_is_done_without_sox_and_named_for_sox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = write_set(tmp_path / "data" / "train", {"a1": 1.0})
    datadir.write_table(train / "spk2utt", {"a": "a1"})
    assert audio.perturb(train, [0.9, 1.0, 1.1]) == tmp_path / "data" / "train_sp"
    table = datadir.read_table(tmp_path / "data" / "train_sp" / "wav.scp")
    assert list(table) == ["a1", "sp0.9-a1", "sp1.1-a1"]
    assert table["sp1.1-a1"] == f"sox {train}/a1.wav -t wav - speed 1.1 |"
    assert (
        tmp_path / "data" / "train_sp" / "utt2spk"
    ).read_text() == "a1 a\nsp0.9-a1 sp0.9-a\nsp1.1-a1 sp1.1-a\n"
    monkeypatch.setenv("PATH", "/nowhere")
    samples, rate = audio.read_audio(table["sp1.1-a1"])
    assert rate == RATE and abs(len(samples) - RATE / 1.1) <= 1
    assert abs(np.abs(np.fft.rfft(samples, RATE)).argmax() - 484) <= 1  # 440 Hz x 1.1


@pytest.mark.skipif(shutil.which("sox") is None, reason="sox is the second route")
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_agrees_with_sox(tmp_path: Path, factor: float) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    command = audio._faster(str(tmp_path / "a.wav"), factor)
    done = subprocess.run(
        ["bash", "-c", command.rstrip("|")], stdout=subprocess.PIPE, check=True
    ).stdout
    samples, _ = audio.read_audio(command)
    reference = np.frombuffer(done[-2 * len(samples) :], np.int16)
    middle = slice(len(samples) // 4, len(samples) // 2)
    assert np.abs(samples[middle].astype(int) - reference[middle]).max() < 200  # of 8000


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
    for source in (
        f"{tmp_path}/a.sph",
        f"sph2pipe -f wav {tmp_path}/a.sph |",
        f"{tmp_path}/a.wav",
        f"cat {tmp_path}/a.wav |",
    ):
        with pytest.raises(TopdownError, match="truncated"):
            audio.read_audio(source)


def test_a_command_is_run_and_a_failing_one_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.1), RATE, subtype="PCM_16")
    np.testing.assert_array_equal(audio.read_audio(f"cat {tmp_path}/a.wav |")[0], tone(0.1))
    for source in (f"cat {tmp_path}/b.wav |", str(tmp_path / "b.wav"), f"{tmp_path}/b.ark:12"):
        with pytest.raises(TopdownError, match="asked for the audio .*cannot be read"):
            audio.read_audio(source)


def test_float_files_are_scaled_to_whole_numbers(tmp_path: Path) -> None:
    soundfile.write(
        tmp_path / "a.wav", np.array([0.0, 0.5, -1.0, 0.9999999]), RATE, subtype="FLOAT"
    )
    np.testing.assert_array_equal(
        audio.read_audio(str(tmp_path / "a.wav"))[0], [0, 16384, -32768, 32767]
    )


# ---- stages 4, 5 and 13 ----


def test_bounds_are_exclusive_and_empty_text_goes(tmp_path: Path) -> None:
    source = write_set(tmp_path / "org", {"a1": 0.1, "a2": 0.2, "b1": 0.3, "b2": 0.4})
    audio.format_set(source, tmp_path / "f", audio_format="wav", rate=RATE, processes=1, parts=1)
    datadir.write_table(tmp_path / "f" / "text", {"a1": "A", "a2": "", "b1": "B", "b2": "C"})
    said = text.keep_usable(tmp_path / "f", tmp_path / "k", shortest=800, longest=3200)
    assert said.endswith("4 utterances, 1 too short, 1 too long, 1 without text: 1 kept")
    assert {n: (tmp_path / "k" / n).read_text() for n in ("text", "utt2num_samples", "spk2utt")} == {
        "text": "b1 B\n", "utt2num_samples": "b1 2400\n", "spk2utt": "b b1\n"
    }  # fmt: skip
    with pytest.raises(TopdownError, match="none is left; see --min_wav_duration"):
        text.keep_usable(tmp_path / "f", tmp_path / "n", shortest=9000, longest=9001)


def test_lm_text_gets_the_suffix_of_its_file(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "text", {"u1": "A B", "u2": ""})
    datadir.write_table(tmp_path / "text_more", {"u1": "C"})
    text.join_texts([tmp_path / "text", tmp_path / "text_more"], tmp_path / "lm" / "lm_train.txt")
    assert (tmp_path / "lm" / "lm_train.txt").read_text() == "u1 A B\nu1_more C\n"


@pytest.mark.parametrize(
    "kind, remove, expected",
    [
        ("char", False, ["A", "<space>", "<N>", "<space>", "<N>x", "B"]),
        ("char", True, ["A", "<space>", "<space>", "B"]),
        ("word", False, ["A", "<N>", "<N>xB"]),
        ("word", True, ["A", "<N>xB"]),
    ],
)
def test_tokens_keep_or_lose_symbols_and_the_longest_counts(
    kind: str, remove: bool, expected: list[str]
) -> None:
    assert text.tokenizer(kind, symbols=["<N>", "<N>x"], remove=remove)("A <N> <N>xB") == expected


def test_the_token_list_is_espnets(tmp_path: Path) -> None:
    tokenize = text.tokenizer("char")
    tokens = text.count_tokens(["BAB", "A C"], tokenize)
    text.write_token_list(tmp_path / "x" / "tokens.txt", tokens, ("<blank>", "<unk>", "<sos/eos>"))
    expected = ["<blank>", "<unk>", "B", "A", "<space>", "C", "<sos/eos>"]
    assert (tmp_path / "x" / "tokens.txt").read_text().split() == expected


def test_bpe_gives_the_asked_number_of_pieces_and_refuses_too_many(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("ABAB AB\nBABA\nAAB B\n" * 5)
    pieces = text.train_bpe(
        tmp_path / "train.txt", tmp_path / "bpe", vocab_size=8, model_type="unigram"
    )
    assert len(pieces) == 5 and "<unk>" not in pieces  # with <unk>, <s>, </s>: 8
    split = text.tokenizer("bpe", bpemodel=tmp_path / "bpe.model")("ABAB")
    assert "".join(split) == "▁ABAB" and set(split) <= set(pieces)
    with pytest.raises(TopdownError, match="sentencepiece .*see --nbpe"):
        text.train_bpe(
            tmp_path / "train.txt", tmp_path / "bpe", vocab_size=500, model_type="unigram"
        )


def test_only_named_cleaners_need_espnet() -> None:
    code = (
        "import sys, espnet_topdown.recipe.__main__, espnet_topdown.recipe.audio,"
        " espnet_topdown.recipe.text as t\n"
    )
    code += "t.cleaner('none'); assert not {'torch', 'espnet2', 'espnet'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scores_are_written_for_every_set_in_one_call(tmp_path: Path) -> None:
    for name, hypothesis in (("x", "A BD"), ("y", "a bc")):
        datadir.write_table(tmp_path / name / "utt2spk", {"s-1": "s"})
        datadir.write_table(tmp_path / name / "text", {"s-1": "A BC"})
        datadir.write_table(tmp_path / f"hyp_{name}" / "text", {"s-1": hypothesis})
    options = [
        "--nlsyms_txt",
        "none",
        "--cleaner",
        "none",
        "--hyp_cleaner",
        "none",
        "--bpemodel",
        "none",
    ]
    pairs = [
        "--data",
        f"{tmp_path}/x {tmp_path}/y",
        "--decoded",
        f"{tmp_path}/hyp_x {tmp_path}/hyp_y",
    ]
    assert main(["score", *pairs, *options, "--score_opts", ""]) == 0
    assert (tmp_path / "hyp_x" / "score_cer" / "ref.trn").read_text() == "A <space> B C\t(s-s-1)\n"
    assert (tmp_path / "hyp_x" / "score_wer" / "hyp.trn").read_text() == "A BD\t(s-s-1)\n"
    totals = [
        line.split()
        for line in (tmp_path / "hyp_x" / "score_wer" / "result.txt").read_text().splitlines()
    ]
    assert [
        "|",
        "Sum/Avg",
        "|",
        "1",
        "2",
        "|",
        "50.0",
        "50.0",
        "0.0",
        "0.0",
        "50.0",
        "100.0",
        "|",
    ] in totals
    assert (
        " 0.0 |" in (tmp_path / "hyp_y" / "score_wer" / "result.txt").read_text()
    )  # case is folded ...
    assert main(["score", *pairs, *options, "--score_opts=-s"]) == 0
    assert (
        " 100.0 |" in (tmp_path / "hyp_y" / "score_wer" / "result.txt").read_text()
    )  # ... unless -s
    assert main(["score", *pairs, *options, "--score_opts=-f 2"]) == 1


def test_hypotheses_of_other_utterances_are_refused(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "d" / "utt2spk", {"s-1": "s", "s-2": "s"})
    datadir.write_table(tmp_path / "hyp", {"s-1": "A"})
    with pytest.raises(TopdownError, match="1 in one only, first s-2"):
        text.scored_rows(tmp_path / "d", tmp_path / "hyp", str.split, str)


# ---- jobs ----


@pytest.mark.parametrize(
    "number, expected", [(1, "abcde"), (2, "abc de"), (4, "ab c d e"), (9, "a b c d e")]
)
def test_pieces_neighbour_and_the_longer_come_first(number: int, expected: str) -> None:
    assert list(jobs.pieces("abcde", number)) == expected.split()


def test_keys_are_shared_out_by_the_shortest_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datadir.write_table(tmp_path / "a", {"u1": 1, "u2": 2, "u3": 3})
    datadir.write_table(tmp_path / "b", {"v1": 1, "v2": 2})
    log = tmp_path / "log"
    assert (
        main(["split", str(log), f"train={tmp_path}/a", f"valid={tmp_path}/b", "--nj", "32"]) == 0
    )
    assert capsys.readouterr().out == "2\n"
    assert {p.name: p.read_text() for p in log.iterdir()} == {
        "train.1.scp": "u1 1\nu2 2\n", "train.2.scp": "u3 3\n", "valid.1.scp": "v1 1\n", "valid.2.scp": "v2 2\n"
    }  # fmt: skip
    assert main(["split", str(log), f"train={tmp_path}/none", "--nj", "2"]) == 1
    assert "missing or empty" in capsys.readouterr().err


def test_outputs_are_joined_sorted_and_absent_kinds_stay_absent(tmp_path: Path) -> None:
    for n, line in ((1, "u2 B\n"), (2, "u1 A\n")):
        datadir.write_table(tmp_path / "logdir" / f"output.{n}" / "1best_recog" / "text", {})
        (tmp_path / "logdir" / f"output.{n}" / "1best_recog" / "text").write_text(line)
    jobs.join_outputs(tmp_path)
    assert (tmp_path / "text").read_text() == "u1 A\nu2 B\n" and not (tmp_path / "score").exists()
    with pytest.raises(TopdownError, match="run stage 12"):
        jobs.join_outputs(tmp_path / "logdir")


def test_shapes_get_the_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "text_shape").write_text("u1 3\nu2 5\n")
    (tmp_path / "tokens.txt").write_text("a\nb\nc\n")
    jobs.append_vocabulary([tmp_path / "text_shape"], tmp_path / "tokens.txt", "char")
    assert (tmp_path / "text_shape.char").read_text() == "u1 3,3\nu2 5,3\n"


@pytest.mark.parametrize("fs, hertz", [("16k", 16000), ("8000", 8000), ("22.05k", 22050)])
def test_rates_are_read_as_espnet_writes_them(fs: str, hertz: int) -> None:
    assert parse_rate(fs) == hertz


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(TopdownError, match="--fs 'fast'"):
        parse_rate("fast")
