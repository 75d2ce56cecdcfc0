"""The steps of ``python3 -m espnet_topdown.recipe``."""

from pathlib import Path

import pytest
from recipes import write_set

from espnet_topdown import gpus
from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir
from espnet_topdown.recipe.__main__ import main
from espnet_topdown.recipe.steps import parse_rate


def test_scores_are_written_for_every_set_in_one_call(tmp_path: Path) -> None:
    for name, hypothesis in (("x", "A BD"), ("y", "a bc")):
        datadir.write_table(tmp_path / name / "utt2spk", {"s-1": "s"})
        datadir.write_table(tmp_path / name / "text", {"s-1": "A BC"})
        datadir.write_table(tmp_path / f"hyp_{name}" / "text", {"s-1": hypothesis})
    options = []
    for name in ("nlsyms_txt", "cleaner", "hyp_cleaner", "bpemodel"):
        options += [f"--{name}", "none"]
    options += ["--data", f"{tmp_path}/x {tmp_path}/y"]
    options += ["--decoded", f"{tmp_path}/hyp_x {tmp_path}/hyp_y"]
    main(["score", *options, "--score_opts", ""])
    first, second = tmp_path / "hyp_x", tmp_path / "hyp_y" / "score_wer" / "result.txt"
    assert (first / "score_cer" / "ref.trn").read_text() == "A <space> B C\t(s-s-1)\n"
    assert (first / "score_wer" / "hyp.trn").read_text() == "A BD\t(s-s-1)\n"
    totals = (first / "score_wer" / "result.txt").read_text().splitlines()
    expected = "| Sum/Avg | 1 2 | 50.0 50.0 0.0 0.0 50.0 100.0 |"
    assert expected.split() in [line.split() for line in totals]
    # Case is folded, unless -s.
    assert " 0.0 |" in second.read_text()
    main(["score", *options, "--score_opts=-s"])
    assert " 100.0 |" in second.read_text()
    with pytest.raises(SystemExit):
        main(["score", *options, "--score_opts=-f 2"])


def test_keys_are_shared_out_by_the_shortest_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    datadir.write_table(tmp_path / "a", {"u1": 1, "u2": 2, "u3": 3})
    datadir.write_table(tmp_path / "b", {"v1": 1, "v2": 2})
    log = tmp_path / "log"
    main(["split", str(log), f"train={tmp_path}/a", f"valid={tmp_path}/b", "--nj", "32"])
    assert capsys.readouterr().out == "2\n"
    assert {p.name: p.read_text() for p in log.iterdir()} == {
        "train.1.scp": "u1 1\nu2 2\n",
        "train.2.scp": "u3 3\n",
        "valid.1.scp": "v1 1\n",
        "valid.2.scp": "v2 2\n",
    }
    with pytest.raises(SystemExit) as stopped:
        main(["split", str(log), f"train={tmp_path}/none", "--nj", "2"])
    assert stopped.value.code == 1
    assert "missing or empty" in capsys.readouterr().err


@pytest.mark.parametrize("fs, hertz", [("16k", 16000), ("8000", 8000), ("22.05k", 22050)])
def test_rates_are_read_as_espnet_writes_them(fs: str, hertz: int) -> None:
    assert parse_rate(fs) == hertz


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["perturb", "x", "--factors", "0.9,1.1"], "several with blanks between, not '0.9,1.1'"),
        (["filter", "x", "--min_wav_duration", "soon"], "not 'soon'"),
        (["filter", "x", "--min_wav_duration", "nan"], "give seconds, not 'nan'"),
        (["filter", "x", "--max_wav_duration", ""], "give seconds, not ''"),
    ],
)
def test_what_is_no_number_is_told_in_words(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("fs", ["fast", "0", "-16k", "inf", "nan", "16", "1e9"])
def test_a_rate_that_is_none_is_refused(fs: str) -> None:
    with pytest.raises(TopdownError, match=f"--fs '{fs}'; give Hz, such as 16k or 8000"):
        parse_rate(fs)


def list_tokens(place: Path, said: str, *options: str) -> None:
    """Stage 5 on transcripts, with other options where they are given."""
    (place / "text").write_text(said, encoding="utf-8")
    words = ["tokens", str(place / "tokens.txt"), "--texts", str(place / "text")]
    words += ["--token_type", "char", "--nbpe", "7", "--bpe_input_sentence_size", "1000"]
    words += ["--bpe_char_cover", "1", "--bpemode", "unigram", "--bpe_nlsyms", ""]
    words += ["--nlsyms_txt", "none", "--cleaner", "none"]
    words += ["--blank", "<blank>", "--oov", "<unk>", "--sos_eos", "<sos/eos>"]
    main([*words, *options])


def test_the_token_list_has_no_other_blank_than_space(tmp_path: Path) -> None:
    # ESPnet strips the lines of a list, so that such a token would be none.
    list_tokens(tmp_path, "u1 a\tb\u3000a\u2028a\n")
    expected = ["<blank>", "<unk>", "a", "<space>", "b", "<sos/eos>"]
    assert (tmp_path / "tokens.txt").read_text(encoding="utf-8").split("\n") == [*expected, ""]


@pytest.mark.parametrize(
    "said, told",
    [
        ("\ufb01x x\n", "rewrites 1 of 9 lines by Unicode's NFKC, such as '\ufb01x x' to 'fix x'"),
        ("ix  f\n", ""),  # blanks are none of what is scored
    ],
)
def test_letters_that_bpe_would_rewrite_are_told(
    tmp_path: Path, said: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = "".join(f"u{k} fix if\n" for k in range(8))
    list_tokens(tmp_path, f"{lines}v {said}", "--token_type", "bpe")
    assert told in caplog.text
    assert bool(told) is ("NFKC" in caplog.text)


def test_the_lists_of_every_set_are_checked_before_any_audio_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_set(tmp_path / "first", {"a1": 0.1})
    last = write_set(tmp_path / "last", {"a1": 0.1})
    (last / "wav.scp").write_text(f"a1 {last}/a1.wav\na1 {last}/a1.wav\n")
    options = ["--audio_format", "wav", "--fs", "8k", "--nj", "1"]
    sets = ["--sources", f"{first} {last}", "--targets", f"{tmp_path}/o1 {tmp_path}/o2"]
    with pytest.raises(SystemExit):
        main(["format", *sets, *options])
    assert "wav.scp, line 2: 'a1' is on line 1 too" in capsys.readouterr().err
    assert not (tmp_path / "o1").exists()


@pytest.mark.parametrize(
    "words",
    ["{", "}", "/", "@", "\\", ";;", "m^{me}", "{ a / b }", "{ a", "(a", "(s-1)"],
)
def test_no_transcript_stops_the_scoring(tmp_path: Path, words: str) -> None:
    datadir.write_table(tmp_path / "x" / "utt2spk", {"s-1": "s", "s-2": "s"})
    datadir.write_table(tmp_path / "x" / "text", {"s-1": words, "s-2": "A"})
    datadir.write_table(tmp_path / "hyp" / "text", {"s-1": words, "s-2": f"A {words}"})
    options = ["--data", str(tmp_path / "x"), "--decoded", str(tmp_path / "hyp")]
    for name in ("nlsyms_txt", "cleaner", "hyp_cleaner", "bpemodel"):
        options += [f"--{name}", "none"]
    main(["score", *options, "--score_opts", ""])
    for metric in ("cer", "wer"):
        assert "Sum/Avg" in (tmp_path / "hyp" / f"score_{metric}" / "result.txt").read_text()


def test_gpus_that_are_not_here_are_refused_with_the_option_that_does_without(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "devices", lambda: 1)
    main(["gpus", "--ngpu", "1", "--cure=--ngpu 0"])
    with pytest.raises(SystemExit):
        main(["gpus", "--ngpu", "2", "--cure=--ngpu 0"])
    said = capsys.readouterr().err
    assert "asked for 2 GPUs, and found 1 on this machine; --ngpu 0 computes on the CPU" in said
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with pytest.raises(SystemExit):
        main(["gpus", "--ngpu", "1", "--cure=--gpu_inference false"])
    assert "found 0 on this machine, as CUDA_VISIBLE_DEVICES='-1' says" in capsys.readouterr().err
