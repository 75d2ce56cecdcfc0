"""Scores of eval2000: hypotheses as ctm, hubscr's counts, and plain errors without hubscr."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fake_swbd import make_contractions, make_swbd

from espnet_topdown.corpora import hub5, hub5_sgml, swbd
from espnet_topdown.errors import TopdownError
from espnet_topdown.results import scoring
from espnet_topdown.results.cache import Reader
from espnet_topdown.results.significance import mapsswe

needs_hubscr = pytest.mark.skipif(hub5.find_hubscr() is None, reason="SCTK is not installed")


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    """An experiment that heard the references, but for one utterance.

    In the first of sw_4320-A, "well i think so", it heard "uh" and "police" and missed "so".
    """
    make_swbd(tmp_path / "corpus", tiny_audio=True)
    places = ["--swbd", str(tmp_path / "corpus"), "--output", str(tmp_path / "data")]
    swbd.main([*places, "--train_dev_size", "9"])
    references, hypotheses = [], []
    for line in (tmp_path / "data/eval2000/text").read_text().splitlines():
        utterance, words = line.split(" ", 1)
        heard = words
        if utterance.startswith("sw_4320-A_000005"):
            heard = "uh well police i think"
        name = f"({utterance[:9]}-{utterance})"
        references.append(f"{words}\t{name}\n")
        hypotheses.append(f"{heard}\t{name}\n")
    scored = tmp_path / "exp/decode_asr/eval2000/score_wer"
    scored.mkdir(parents=True)
    (scored / "ref.trn").write_text("".join(references))
    (scored / "hyp.trn").write_text("".join(hypotheses))
    return tmp_path


def score(decoded: Path) -> None:
    hub5.main(["--data", str(decoded / "data/eval2000"), str(decoded / "exp")])


def test_words_of_a_segment_are_spread_evenly_and_unscored_ones_left_out() -> None:
    assert hub5.ctm_lines(["uh well i th- [noise] go\t(sw_4390-A-sw_4390-A_000031-000144)"]) == [
        "sw_4390 A 0.49 0.18  WELL",
        "sw_4390 A 0.67 0.18  I",
        "sw_4390 A 1.21 0.23  GO",
    ]
    assert hub5.ctm_lines(["\t(en_4156-B-en_4156-B_000000-000100)"]) == []


def test_an_id_without_times_is_refused() -> None:
    with pytest.raises(TopdownError, match="no eval2000 utterance"):
        hub5.ctm_lines(["well\t(spk-utt1)"])


def report(directory: Path, steps: Sequence[str], reference: str) -> hub5_sgml.Aligned:
    """What is read of a segment that sclite aligned so, with this stm."""
    place = 'file="sw_1" channel="a" sequence="0" R_T1="0.000" R_T2="1.900"'
    begin = f'<SYSTEM title="x">\n<SPEAKER id="sw_1_a">\n<PATH id="(sw_1_a-000)" {place}'
    lines = f"{':'.join(steps)}\n</PATH>\n</SPEAKER>\n"
    (directory / "a.sgml").write_text(f'{begin} word_cnt="{len(steps)}">\n{lines}')
    (directory / "stm").write_text(f";; c\nsw_1 A sw_1_A 0.00 1.90 <O,sw>  {reference}\n")
    [segment] = hub5_sgml.read_alignments(directory / "a.sgml", directory / "stm")
    return segment


def texts(segment: hub5_sgml.Aligned) -> tuple[str, str, str]:
    """Reference, hypothesis and alignment."""
    return " ".join(segment.reference), " ".join(segment.hypothesis), segment.outcome.path


def test_optional_words_left_out_are_right(tmp_path: Path) -> None:
    steps = ['C,"(%uh)","",0.0+0.0', 'S,"a","the",0.2+0.3', 'D,"b",,', 'I,,"c",0.3+0.4']
    segment = report(tmp_path, steps, "(%UH) A B")
    assert segment.name == "sw_1_a-000"
    assert texts(segment) == ("%uh a b", "%uh the c", "CSDI")
    assert segment.outcome[:4] == (1, 1, 1, 1)


# Steps of one system each; the reference is "{HE'S / HE IS / HE HAS} {GONE / @}".
SPELLINGS = {
    "the first": (['C,"he\'s","he\'s",0+1', 'D,"gone",,'], "he's", "CD", (1, 0, 1, 0)),
    "the second, right": (['C,"he","he",0+1', 'C,"is","is",0+1'], "he's gone", "CC", (2, 0, 0, 0)),
    "the third, half right": (
        ['C,"he","he",0+1', 'S,"has","was",0+1', 'C,"gone","gone",0+1'],
        "he was gone",
        "SC",
        (2, 1, 0, 0),
    ),
    "the second, wrong": (
        ['D,"he",,', 'S,"is","was",0+1', 'I,,"so",0+1', 'C,"gone","gone",0+1'],
        "was so gone",
        "ISIC",
        (1, 1, 1, 1),
    ),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_each_system_is_told_on_the_first_spelling(tmp_path: Path, case: str) -> None:
    steps, hypothesis, path, counts = SPELLINGS[case]
    segment = report(tmp_path, steps, "{HE'S / HE IS / HE HAS} {GONE / @}")
    assert texts(segment) == ("he's gone", hypothesis, path)
    assert segment.outcome[:4] == counts


def test_words_hold_any_character(tmp_path: Path) -> None:
    steps = ['C,"a:b","a:b",0+1', 'S,"x,y","z"z",0+1', 'C,"<m>","<m>",0+1', 'I,,"\xe9;d",0+1']
    segment = report(tmp_path, steps, "A:B X,Y <M>")
    assert segment.reference == ("a:b", "x,y", "<m>")
    assert segment.outcome.path == "CSCI"
    assert segment.hypothesis[:2] == ("a:b", 'z"z')


def test_a_segment_without_words_is_read(tmp_path: Path) -> None:
    assert texts(report(tmp_path, [], "")) == ("", "", "")


def test_a_report_that_lacks_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopdownError, match="sw_1_a-000 has 1 aligned words, found 0 in"):
        report(tmp_path, ["what"], "A")


def test_counts_are_hubscrs_where_another_alignment_is_as_cheap(tmp_path: Path) -> None:
    # Three substitutions cost 12 too, and are what sclite makes of these two texts.
    steps = ['D,"a",,', 'D,"b",,', 'C,"c","c",0+1', 'I,,"x",0+1', 'I,,"y",0+1']
    segment = report(tmp_path, steps, "A B C")
    scored = tmp_path / "exp/decode/eval2000_hub5/score_wer"
    total = hub5._write_aligned([segment], scored, "sw_")
    assert (total.errors, total.words) == (4, 3)
    assert (
        "|     1      3 |  33.3    0.0   66.7   66.7  133.3  100.0 |"
        in (scored / "result.txt").read_text()
    )
    decoded = Reader().decoded(tmp_path / "exp")["decode", "eval2000_hub5", "wer"]
    assert decoded.alignments() == {"sw_1_a-000": "DDCII"}
    assert (decoded.score.errors, decoded.score.words) == (4, 3)


def test_counts_of_other_utterances_are_refused(tmp_path: Path) -> None:
    segment = report(tmp_path, ['C,"a","a",0+1'], "A")
    hub5._write_aligned([segment], tmp_path, "sw_")
    for name in ("ref.trn", "hyp.trn"):
        (tmp_path / name).write_text("a\t(sw_1_a-001)\n")
    with pytest.raises(TopdownError, match="outside.tsv counts other utterances"):
        scoring.write_result(tmp_path)


@needs_hubscr
@pytest.mark.parametrize(
    ("seed", "segments"),
    [(0, 160), *(pytest.param(seed, 2400, marks=pytest.mark.full) for seed in range(1, 21))],
)
def test_two_systems_are_compared_on_one_reference(
    tmp_path: Path, seed: int, segments: int
) -> None:
    """Sets with contractions in the glm, half of whose words are wrong."""
    data = tmp_path / "data"
    decoded = {}
    for system in (1, 2):
        scored = tmp_path / f"exp{system}/decode/eval2000/score_wer"
        make_contractions(data, scored, segments, speech=seed, errors=1000 * seed + system)
        # Refuses other totals than hubscr's.
        scores = hub5.score(scored, data)
        assert 0.3 < scores["eval2000_hub5"].err_rate / 100 < 0.7
        decoded[system] = Reader().decoded(tmp_path / f"exp{system}")
    for key in decoded[1]:
        first, second = decoded[1][key], decoded[2][key]
        assert first.score.reference.texts == second.score.reference.texts
        for one in (first, second):
            steps = "".join(one.alignments().values())
            assert len(steps) - steps.count("C") == one.score.errors
        paths, others = first.alignments(), second.alignments()
        # Fails unless both alignments have the same number of reference words.
        assert mapsswe((paths[name], others[name]) for name in paths).segments > 0


@needs_hubscr
def test_hub5_counts_for_both_parts_and_together(
    decoded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score(decoded)
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    # Each side has 10 reference words in 2 segments, or 23 in 6: 40 * 10 + 40 * 23; the text that
    # the hypotheses repeat lacks "a police officer" (80 sides) and "really" and "<noise>" (40
    # sides): 80 * 3 + 40 * 2 = 320 deletions. One insertion and one deletion are sw_4320-A's own.
    assert lines == {
        "decode_asr/eval2000_hub5": "24.4 % (322 of 1320 words)",
        "decode_asr/eval2000_hub5_swbd": "24.5 % (162 of 660 words)",
        "decode_asr/eval2000_hub5_callhm": "24.2 % (160 of 660 words)",
    }
    assert (decoded / "exp/decode_asr/eval2000_hub5_swbd/score_wer/result.txt").exists()


@needs_hubscr
@pytest.mark.parametrize("word", ["(", ")", "(c", "(b)", "{", "a}", "{ a / b }", ";", ";;x"])
def test_sclites_marks_in_a_hypothesis_are_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    scored = tmp_path / "my exp/decode/eval2000/score_wer"
    make_contractions(tmp_path / "data", scored, 80, speech=1, errors=3)
    before = hub5.score(scored, tmp_path / "data")["eval2000_hub5"]
    hypotheses = (scored / "hyp.trn").read_text()
    (scored / "hyp.trn").write_text(f"{word} {hypotheses}")
    after = hub5.score(scored, tmp_path / "data")["eval2000_hub5"]
    # A word more may make another spelling of a contraction the nearest.
    assert abs(after.words - before.words) <= 2
    assert abs(after.errors - before.errors) <= len(word.split()) + 2
    assert after.sentences == before.sentences == 80
    assert "are taken as heard, and as errors (utterances: 1)" in capsys.readouterr().out


@needs_hubscr
def test_sets_that_do_not_have_hubscrs_totals_are_refused(
    decoded: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = hub5.read_alignments
    monkeypatch.setattr(hub5, "read_alignments", lambda *files: read(*files)[1:])
    assert "hubscr counts errors and words as [322, 1320]" in refused(score, decoded)


def test_a_failing_hubscr_is_named_with_its_log(
    decoded: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub5, "find_hubscr", lambda: "/bin/false")
    assert "hubscr failed; see" in refused(score, decoded)


def test_the_log_of_hubscr_is_what_it_said_in_any_locale(tmp_path: Path) -> None:
    for name in ("stm", "glm"):
        (tmp_path / name).touch()
    hubscr = tmp_path / "hubscr"
    hubscr.write_text("#!/bin/sh\nprintf 'na\\303\\257ve \\377\\n'; exit 1\n")
    hubscr.chmod(0o755)
    (tmp_path / "out").mkdir()
    code = "import sys; from pathlib import Path; from espnet_topdown.corpora import hub5;"
    code += "hub5.run_hubscr(sys.argv[1], Path(sys.argv[2]), Path('out'), [])"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, hubscr, tmp_path],
        cwd=tmp_path,
        env=os.environ | ascii_only,
        capture_output=True,
        text=True,
    )
    assert "hubscr failed; see out/score.log" in done.stderr
    assert (tmp_path / "out/score.log").read_bytes() == b"na\xc3\xafve \xff\n"


@needs_hubscr
def test_missing_references_are_named(decoded: Path, refused: Callable[..., str]) -> None:
    (decoded / "data/eval2000/glm").unlink()
    assert "eval2000/glm; prepare the data (stage 1)" in refused(score, decoded)


def test_an_experiment_without_eval2000_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Callable[..., str]
) -> None:
    hub5.main([str(tmp_path)])
    assert f"found no {tmp_path}/*/eval2000/score_wer" in capsys.readouterr().out
    assert f"no directory {tmp_path / 'none'}" in refused(hub5.main, [str(tmp_path / "none")])


def test_without_hubscr_the_parts_are_plain_and_a_message_says_so(
    decoded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub5, "find_hubscr", lambda: None)
    score(decoded)
    first, *lines = capsys.readouterr().out.splitlines()
    assert "plain word errors instead of the hub5 rules" in first
    # "uh" and "police" inserted, "so" deleted; 40 sides of a part have 5 words, or 4 + 1 + 3 + 4 +
    # 1 = 13.
    assert lines == [
        "decode_asr/eval2000_swbd: 0.8 % (3 of 360 words)",
        "decode_asr/eval2000_callhm: 0.0 % (0 of 360 words)",
    ]
