"""Scores of eval2000: hypotheses as ctm, hubscr's counts, and plain errors without hubscr."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_swbd import make_swbd

from espnet_topdown.corpora import hub5, swbd
from espnet_topdown.errors import TopdownError

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


def test_optional_words_left_out_are_right(tmp_path: Path) -> None:
    sgml = tmp_path / "a.sgml"
    steps = [
        'C,"(%uh)","",0.0+0.0',
        'C,"he\'s","he is",0.1+0.2',
        'S,"a","the",0.2+0.3',
        'D,"b",,',
        'I,,"c",0.3+0.4',
    ]
    begin = '<SYSTEM title="x">\n<PATH id="(sw_1_a-000)" word_cnt="4">'
    sgml.write_text(f"{begin}\n{':'.join(steps)}\n</PATH>\n")
    assert hub5.read_alignments(sgml) == [("sw_1_a-000", "%uh he's a b", "%uh he's the c")]


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
def test_sets_that_do_not_have_hubscrs_totals_are_refused(
    decoded: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = hub5.read_alignments
    monkeypatch.setattr(hub5, "read_alignments", lambda sgml: read(sgml)[1:])
    assert "hubscr counts errors and words as [322, 1320]" in refused(score, decoded)


def test_a_failing_hubscr_is_named_with_its_log(
    decoded: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub5, "find_hubscr", lambda: "/bin/false")
    assert "hubscr failed; see" in refused(score, decoded)


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
