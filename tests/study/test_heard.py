"""What experiments heard, as their score files tell it, and as a record gives it back."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_records import SET, record, usual

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.outside import Outside, write_outside
from espnet_topdown.results.scoring import read_pairs, score
from espnet_topdown.study.contrasts import ErrorRates, pairs_of
from espnet_topdown.study.heard import Spoken, read_heard, read_recordings
from espnet_topdown.study.record_files import read_record, write_record
from espnet_topdown.study.records import Record, RecordedPhase


def scored(experiment: Path, ref: str, hyp: str) -> Path:
    folder = experiment / "decode" / "test" / "score_wer"
    folder.mkdir(parents=True)
    (folder / "ref.trn").write_text(ref)
    (folder / "hyp.trn").write_text(hyp)
    return experiment


def test_hypotheses_that_differ_are_read_with_their_case(tmp_path: Path) -> None:
    ref = "Ja nein\t(a-a1)\ndoch\t(b-b1)\n"
    hyp = "ja  @ ;tag nein;x\t(a-a1)\ndoch\t(b-b1)\n"
    spoken = Spoken()
    heard, counted = read_heard(scored(tmp_path, ref, hyp), spoken)
    assert heard == {"decode/test": {"a-a1": "ja nein"}}
    assert spoken.texts == {"decode/test": {"a-a1": "Ja nein", "b-b1": "doch"}}
    # To sclite the tag that stands alone is a word more.
    assert counted == {"decode/test": {"a-a1": Outside(2, 0, 0, 1, "CIC")}}


def test_references_other_than_the_base_had_are_refused(tmp_path: Path) -> None:
    spoken = Spoken()
    read_heard(scored(tmp_path / "1", "ja\t(a-a1)\n", "ja\t(a-a1)\n"), spoken)
    other = scored(tmp_path / "2", "nein\t(a-a1)\n", "ja\t(a-a1)\n")
    with pytest.raises(TopdownError, match="differs from phase0's references; decode and score"):
        read_heard(other, spoken)


def test_an_utterance_without_hypothesis_is_not_taken_for_right(tmp_path: Path) -> None:
    """A checkout's sclite passes over it without a word."""
    lacking = scored(tmp_path, "ja\t(a-a1)\nnein\t(b-b1)\n", "ja\t(a-a1)\n")
    with pytest.raises(TopdownError, match="hyp.trn: 1 of the utterances in .* missing here"):
        read_heard(lacking, Spoken())


def of_a_phase(experiment: Path, spoken: Spoken) -> tuple[Record, RecordedPhase]:
    """A record of one phase that was scored, as it is written and read again."""
    hypotheses, counted = read_heard(experiment, spoken)
    base = replace(usual(1).phases[0], hypotheses=hypotheses, counted=counted)
    made = replace(record(1, [base]), references=spoken.texts, speakers=spoken.speakers)
    path = experiment / "seed1.json"
    write_record(path, made)
    again = read_record(path)
    return again, again.phases[0]


def test_speakers_with_hyphens_stay_apart(tmp_path: Path) -> None:
    trn = "ja\t(spk-1-utt1)\nnein\t(spk-2-utt2)\n"
    experiment = scored(tmp_path, trn, trn)
    (experiment / "decode/test/text").write_text("utt1 ja\nutt2 nein\n")
    made, phase = of_a_phase(experiment, Spoken())
    assert [ref.speaker for ref, _ in pairs_of(made, phase, "decode/test")] == ["spk-1", "spk-2"]


def test_another_scorers_counts_and_alternatives_are_a_studys_too(tmp_path: Path) -> None:
    ref = "{ i am / i'm } here\t(a-a1)\nwell yes\t(b-b1)\nja\t(c-c1)\n"
    hyp = "him here\t(a-a1)\nwell\t(b-b1)\nja\t(c-c1)\n"
    experiment = scored(tmp_path, ref, hyp)
    made, phase = of_a_phase(experiment, Spoken())
    folder = experiment / "decode/test/score_wer"
    # Of five words with "i'm": one replaced, one missed.
    assert score(pairs_of(made, phase, "decode/test")).err_rate == 100 * 2 / 5
    assert {*phase.counted["decode/test"]} == {"a-a1"}
    # A scorer to which "yes" was optional.
    one, two, three = Outside(1, 1, 0, 0, "SC"), Outside(1, 0, 0, 0, "CD"), Outside(1, 0, 0, 0, "C")
    write_outside(folder, {"a-a1": one, "b-b1": two, "c-c1": three})
    made, phase = of_a_phase(experiment, Spoken())
    assert score(pairs_of(made, phase, "decode/test")).err_rate == 100 * 1 / 4
    # And so are the words that resampled test data have.
    assert ErrorRates([made], "decode/test").draw.words.tolist() == [[2], [1], [1]]
    whole = score(read_pairs(folder / "ref.trn", folder / "hyp.trn"))
    assert (whole.errors, whole.words) == (1, 4)


def test_recordings_of_a_corpus_are_those_of_its_utterances(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spoken = Spoken({SET: {"s0-s0-a": "one two", "s0-s0-b": "two"}})
    assert read_recordings(spoken) == {}
    (tmp_path / "data/test").mkdir(parents=True)
    (tmp_path / "data/test/recordings").write_text("s0-a 1_s0_3 2_s0_0\ns0-b 2_s0_0\n")
    assert read_recordings(spoken) == {
        "test": {"s0-s0-a": ("1_s0_3", "2_s0_0"), "s0-s0-b": ("2_s0_0",)}
    }
    (tmp_path / "data/test/recordings").write_text("s0-a 1_s0_3 2_s0_0\n")
    with pytest.raises(TopdownError, match="data/test/recordings has no line for s0-b"):
        read_recordings(spoken)


def test_characters_scored_beside_the_words_are_not_what_was_heard(tmp_path: Path) -> None:
    experiment = scored(tmp_path, "ab c\t(a-a1)\n", "ab c\t(a-a1)\n")
    folder = experiment / "decode" / "test" / "score_cer"
    folder.mkdir()
    for name in ("ref.trn", "hyp.trn"):
        (folder / name).write_text("a b <space> c\t(a-a1)\n")
    heard, _ = read_heard(experiment, Spoken())
    assert heard == {"decode/test": {}}
