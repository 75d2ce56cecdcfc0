"""Counts equal sclite's, on chosen cases and against the program itself."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import transcripts

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.cache import Reader
from espnet_topdown.results.outside import Outside
from espnet_topdown.results.score import TIE, Score
from espnet_topdown.results.scoring import (
    Pair,
    find_scores,
    read_pairs,
    score,
    write_result,
)
from espnet_topdown.results.trn import Transcript, tokens_of, write_trn


def pair(ref: str, hyp: str) -> Pair:
    said, heard = (Transcript("s-1", "s", tokens_of(text)) for text in (ref, hyp))
    return said, heard


def counts(total: Score) -> tuple[int, ...]:
    return (
        total.words,
        total.correct,
        total.substitutions,
        total.deletions,
        total.insertions,
        total.errors,
        total.ties,
    )


@pytest.mark.parametrize(
    ("ref", "hyp", "expected"),
    [
        ("a b c", "a b c", (3, 3, 0, 0, 0, 0, 0)),
        ("a b c", "", (3, 0, 0, 3, 0, 3, 0)),
        ("", "a b", (0, 0, 0, 0, 2, 2, 0)),
        ("a b c", "a x c", (3, 2, 1, 0, 0, 1, 0)),
        # 6 by insertion and deletion, 16 by substitution.
        ("a b c d", "b c d e", (4, 3, 0, 1, 1, 2, 0)),
        # 3 + 3 beat 4 + 4; plain edit distance ties.
        ("a b", "b a", (2, 1, 0, 1, 1, 2, 0)),
        ("A b", "a B", (2, 2, 0, 0, 0, 0, 0)),
        # 3 substitutions (12) or 2 deletions and 2 insertions (12): sclite 2.4.10 prints 3 S.
        ("a b c d", "c x y d", (4, 1, 3, 0, 0, 3, 1)),
    ],
)
def test_counts_by_hand(ref: str, hyp: str, expected: tuple[int, ...]) -> None:
    assert counts(score([pair(ref, hyp)])) == expected


def test_rates_are_totals_over_totals() -> None:
    total = score([pair("a", "b"), pair("a b c d e f g h i", "a b c d e f g h i")])
    assert (total.err_rate, total.sentence_errors) == (10.0, 1)
    assert total.columns() == ("2", "10", "90.0", "10.0", "0.0", "0.0", "10.0", "50.0")


@pytest.mark.parametrize(
    ("errors", "words", "printed"),
    # Printed by sclite.
    [
        (333, 400, "83.3"),
        (113, 400, "28.2"),
        (241, 2000, "12.0"),
        (1, 16, "6.3"),
        (2, 3, "66.7"),
    ],
)
def test_halves_are_rounded_as_sclite_does(errors: int, words: int, printed: str) -> None:
    heard = "b " * errors + "a " * (words - errors)
    assert score([pair("a " * words, heard)]).columns()[6] == printed


def test_nothing_said_has_no_rate() -> None:
    assert score([pair("", "a")]).columns() == ("1", "0", "-", "-", "-", "-", "-", "100.0")


@pytest.mark.parametrize("texts", transcripts.RANDOM_TEXTS)
def test_ties_are_utterances_whose_cheapest_alignments_differ_in_errors(
    tmp_path: Path, texts: str
) -> None:
    pairs = transcripts.pairs_of(tmp_path, *transcripts.random_texts(texts))
    expected = [len(errors_of_best(ref.tokens, hyp.tokens)) > 1 for ref, hyp in pairs]
    assert score(pairs).counts[:, TIE].tolist() == expected


def errors_of_best(ref: tuple[str, ...], hyp: tuple[str, ...]) -> set[int]:
    """Numbers of errors among all cheapest alignments.

    By a second route: the whole set is carried through the recursion.
    """
    row = [(3 * j, {j}) for j in range(len(hyp) + 1)]
    for i, word in enumerate(ref, 1):
        new = [(3 * i, {i})]
        for j, other in enumerate(hyp, 1):
            substitution = (0, 0) if word == other else (4, 1)
            steps = [(row[j - 1], *substitution), (row[j], 3, 1), (new[j - 1], 3, 1)]
            least = min(cost + step for (cost, _), step, _ in steps)
            numbers = set()
            for (cost, errors), step, more in steps:
                if cost + step == least:
                    numbers |= {n + more for n in errors}
            new.append((least, numbers))
        row = new
    return row[-1][1]


def test_pairs_are_in_the_order_of_the_reference(tmp_path: Path) -> None:
    ref = [("1", "s", ["A"]), ("2", "s", ["B"])]
    pairs = transcripts.pairs_of(tmp_path, ref, ref[::-1])
    assert [(said.utterance, *said.tokens, *heard.tokens) for said, heard in pairs] == [
        ("s-1", "a", "a"),
        ("s-2", "b", "b"),
    ]


def test_utterances_missing_on_one_side_are_refused_by_name(tmp_path: Path) -> None:
    few, many = tmp_path / "few.trn", tmp_path / "many.trn"
    write_trn(many, [(f"s-{k}", "s", ["a"]) for k in range(5)])
    write_trn(few, [("s-0", "s", ["a"])])
    message = r"few\.trn: 4 of the utterances in .*many\.trn are missing here \(s-s-1, s-s-2"
    for ref, hyp in ((many, few), (few, many)):
        with pytest.raises(TopdownError, match=message):
            read_pairs(ref, hyp)


def test_a_reference_without_words_is_refused(tmp_path: Path) -> None:
    write_trn(tmp_path / "ref.trn", [("s-1", "s", [])])
    with pytest.raises(TopdownError, match=r"ref\.trn: .*hold no word"):
        read_pairs(tmp_path / "ref.trn", tmp_path / "ref.trn")


def test_scores_are_found_in_espnets_layout(tmp_path: Path) -> None:
    folders = (
        "inf/test/score_wer",
        "inf/test/score_cer",
        "inf/org/dev/score_ter",
        "inf/logdir",
        "x/score_wer",
    )
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    scores = find_scores(tmp_path)
    expected = [("inf", "org/dev", "ter"), ("inf", "test", "wer"), ("inf", "test", "cer")]
    assert list(scores) == expected
    scored = tmp_path / "inf/org/dev/score_ter"
    assert scores["inf", "org/dev", "ter"] == (scored / "ref.trn", scored / "hyp.trn")
    with pytest.raises(TopdownError, match="no such directory"):
        find_scores(tmp_path / "gone")


def test_case_counts_on_demand(tmp_path: Path) -> None:
    transcripts.write_scored(tmp_path, "test", [("1", "s", ["A"])], [("1", "s", ["a"])])
    key = (transcripts.INFERENCE, "test", "wer")
    folded, as_written = (Reader(case).decoded(tmp_path)[key] for case in (False, True))
    assert (folded.score.errors, as_written.score.errors) == (0, 1)


def average_line(text: str) -> list[str]:
    """What ESPnet2's show_asr_result.sh makes of the lines that hold "Avg"."""
    (line,) = [line for line in text.splitlines() if "Avg" in line]
    return line.replace("Sum/Avg", "").replace("|", " ").split()


@pytest.mark.parametrize("texts", transcripts.RANDOM_TEXTS)
def test_totals_and_result_file_equal_sclites(tmp_path: Path, texts: str) -> None:
    transcripts.pairs_of(tmp_path, *transcripts.random_texts(texts))
    transcripts.sclite(tmp_path, ("hyp.trn",), "rsum", "sum")
    total = write_result(tmp_path)
    raw = (tmp_path / "hyp.trn.raw").read_text().splitlines()
    (sums,) = [line for line in raw if "Sum" in line]
    words, *rest, errors, _ = counts(total)
    ours = [total.sentences, words, *rest, errors, total.sentence_errors]
    assert [int(n) for n in re.findall(r"\d+", sums)] == ours
    theirs = average_line((tmp_path / "hyp.trn.sys").read_text())
    assert average_line((tmp_path / "result.txt").read_text()) == theirs == list(total.columns())


def test_result_file_has_a_line_for_every_speaker(tmp_path: Path) -> None:
    ref = [("1", "one", ["A", "B"]), ("2", "two", ["A", "B"])]
    hyp = [("1", "one", ["A", "B"]), ("2", "two", ["A", "X"])]
    transcripts.pairs_of(tmp_path, ref, hyp)
    write_result(tmp_path)
    assert (tmp_path / "result.txt").read_text().splitlines() == [
        "| SPKR    | # Snt  # Wrd |  Corr    Sub    Del    Ins    Err  S.Err |",
        "| one     |     1      2 | 100.0    0.0    0.0    0.0    0.0    0.0 |",
        "| two     |     1      2 |  50.0   50.0    0.0    0.0   50.0  100.0 |",
        "| Sum/Avg |     2      4 |  75.0   25.0    0.0    0.0   25.0   50.0 |",
        "",
        "Case folded; 0 alignment ties, settled as sclite does.",
    ]


def test_speakers_are_what_stands_before_the_decoded_ids(tmp_path: Path) -> None:
    rows = [("utt-7", "new-york-1"), ("utt-8", "new-york-2"), ("9", "utt")]
    folder = tmp_path / "decode" / "test" / "score_wer"
    said = [(utterance, speaker, ["A"]) for utterance, speaker in rows]
    transcripts.pairs_of(folder, said, said)
    speakers = [said.speaker for said, _ in read_pairs(folder / "ref.trn", folder / "hyp.trn")]
    assert speakers == ["new", "new", "utt"]  # nothing tells more
    (folder.parent / "text").write_text("".join(f"{utterance} A\n" for utterance, _ in rows))
    total = Reader().decoded(tmp_path)["decode", "test", "wer"].score
    assert total.reference.speakers == ("new-york-1", "new-york-2", "utt")
    write_result(folder)
    table = (folder / "result.txt").read_text()
    assert "| new-york-1 |     1      1 |" in table
    assert "| new-york-2 |     1      1 |" in table


def test_a_tie_is_no_error_of_its_utterance() -> None:
    total = score([pair("a b c d", "c x y d")])
    assert (total.ties, total.errors, total.errors_each.tolist()) == (1, 3, [3])


def test_ties_of_a_hand_case() -> None:
    """Two ways through, of equal weight."""
    assert score([pair("c a d d", "b b d c a")]).ties == 1


def test_words_that_another_scorer_counted_are_the_references() -> None:
    said, heard = pair("a b c d", "a x")
    total = score([(said, replace(heard, outside=Outside(1, 1, 2, 0, "CSDD")))])
    assert (total.words, total.errors) == (4, 3)


def test_case_is_kept_in_both_texts_where_it_counts(tmp_path: Path) -> None:
    paths = tmp_path / "ref.trn", tmp_path / "hyp.trn"
    for path in paths:
        write_trn(path, [("u1", "s", ["A", "b"])])
    assert score(read_pairs(*paths, case_sensitive=True)).errors == 0
