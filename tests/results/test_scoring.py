"""Counts equal sclite's, on chosen cases and against the program itself."""

import re
import subprocess
from pathlib import Path

import pytest
import transcripts

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.scoring import (
    align,
    alignments,
    find_scores,
    score_trn,
    write_result,
    write_trn,
)
from espnet_topdown.results.trn import read_trn


def one(tmp_path: Path, ref: str, hyp: str) -> tuple[int, ...]:
    """(words, correct, substitutions, deletions, insertions, errors, ties) of one utterance beside
    a right one.
    """
    for name, text in (("ref", ref), ("hyp", hyp)):
        write_trn(tmp_path / f"{name}.trn", [("s-1", "s", text.split()), ("s-2", "s", ["w"])])
    s = score_trn(tmp_path / "ref.trn", tmp_path / "hyp.trn")
    return s.words - 1, s.correct - 1, s.substitutions, s.deletions, s.insertions, s.errors, s.ties


@pytest.mark.parametrize(
    ("ref", "hyp", "counts"),
    [
        ("a b c", "a b c", (3, 3, 0, 0, 0, 0, 0)),
        ("a b c", "", (3, 0, 0, 3, 0, 3, 0)),
        ("", "a b", (0, 0, 0, 0, 2, 2, 0)),
        ("a b c", "a x c", (3, 2, 1, 0, 0, 1, 0)),
        (
            "a b c d",
            "b c d e",
            (4, 3, 0, 1, 1, 2, 0),
        ),  # 6 by insertion and deletion, 16 by substitution
        ("a b", "b a", (2, 1, 0, 1, 1, 2, 0)),  # 3 + 3 beat 4 + 4; plain edit distance ties
        ("A b", "a B", (2, 2, 0, 0, 0, 0, 0)),
        # 3 substitutions (12) or 2 deletions and 2 insertions (12): sclite 2.4.10 prints 3 S
        ("a b c d", "c x y d", (4, 1, 3, 0, 0, 3, 1)),
    ],
)
def test_counts_by_hand(tmp_path: Path, ref: str, hyp: str, counts: tuple[int, ...]) -> None:
    assert one(tmp_path, ref, hyp) == counts


def test_rates_are_totals_over_totals(tmp_path: Path) -> None:
    write_trn(tmp_path / "ref.trn", [("s-1", "s", ["a"]), ("s-2", "s", list("abcdefghi"))])
    write_trn(tmp_path / "hyp.trn", [("s-1", "s", ["b"]), ("s-2", "s", list("abcdefghi"))])
    score = score_trn(tmp_path / "ref.trn", tmp_path / "hyp.trn")
    assert (score.err_rate, score.sentence_errors) == (10.0, 1)
    assert score.columns() == ("2", "10", "90.0", "10.0", "0.0", "0.0", "10.0", "50.0")


@pytest.mark.parametrize(
    ("errors", "words", "printed"),
    [
        (333, 400, "83.3"),
        (113, 400, "28.2"),
        (241, 2000, "12.0"),
        (1, 16, "6.3"),
        (2, 3, "66.7"),
    ],  # printed by sclite
)
def test_halves_are_rounded_as_sclite_does(
    tmp_path: Path, errors: int, words: int, printed: str
) -> None:
    write_trn(tmp_path / "ref.trn", [("s-1", "s", ["a"] * words)])
    write_trn(tmp_path / "hyp.trn", [("s-1", "s", ["b"] * errors + ["a"] * (words - errors))])
    assert score_trn(tmp_path / "ref.trn", tmp_path / "hyp.trn").columns()[6] == printed


def test_utterances_missing_on_one_side_are_refused_by_name(tmp_path: Path) -> None:
    write_trn(tmp_path / "ref.trn", [(f"s-{k}", "s", ["a"]) for k in range(5)])
    write_trn(tmp_path / "hyp.trn", [("s-0", "s", ["a"])])
    with pytest.raises(
        TopdownError, match=r"hyp\.trn: 4 of the .*ref\.trn are missing here \(s-s-1, s-s-2"
    ):
        score_trn(tmp_path / "ref.trn", tmp_path / "hyp.trn")
    with pytest.raises(
        TopdownError, match=r"hyp\.trn: 4 of the utterances in .*ref\.trn are missing"
    ):
        score_trn(tmp_path / "hyp.trn", tmp_path / "ref.trn")


def test_a_reference_without_words_has_no_rate(tmp_path: Path) -> None:
    write_trn(tmp_path / "ref.trn", [("s-1", "s", [])])
    with pytest.raises(TopdownError, match="hold no word"):
        score_trn(tmp_path / "ref.trn", tmp_path / "ref.trn")


def test_scores_are_found_in_espnets_layout(tmp_path: Path) -> None:
    for folder in (
        "inf/test/score_wer",
        "inf/test/score_cer",
        "inf/org/dev/score_ter",
        "inf/logdir",
        "x/score_wer",
    ):
        (tmp_path / folder).mkdir(parents=True)
    assert list(find_scores(tmp_path)) == [
        ("inf", "org/dev", "ter"),
        ("inf", "test", "wer"),
        ("inf", "test", "cer"),
    ]
    ref, hyp = find_scores(tmp_path)["inf", "org/dev", "ter"]
    assert (ref, hyp) == tuple(
        tmp_path / "inf/org/dev/score_ter" / name for name in ("ref.trn", "hyp.trn")
    )
    with pytest.raises(TopdownError, match="no such directory"):
        find_scores(tmp_path / "gone")


@pytest.fixture(
    params=[(1, 4, 0.2), (2, 60, 0.1), (3, 12, 0.04)],
    ids=["many ties", "many errors", "few errors"],
)
def decoded(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """ref.trn and hyp.trn with empty, wrong and right sentences."""
    seed, words, share = request.param
    ref = transcripts.reference(seed, utterances=400, words=words, speakers=7)
    write_trn(tmp_path / "ref.trn", ref)
    write_trn(tmp_path / "hyp.trn", transcripts.garbled(ref, seed + 1, share=share, words=words))
    return tmp_path


def sclite(folder: Path, *reports: str) -> None:
    command = [
        transcripts.sctk("sclite"),
        "-r",
        "ref.trn",
        "trn",
        "-h",
        "hyp.trn",
        "trn",
        "-i",
        "rm",
        "-O",
        ".",
        "-o",
    ]
    subprocess.run([*command, *reports], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def average_line(text: str) -> list[str]:
    """What ESPnet2's show_asr_result.sh makes of the lines that hold "Avg"."""
    (line,) = [line for line in text.splitlines() if "Avg" in line]
    return line.replace("Sum/Avg", "").replace("|", " ").split()


def test_totals_and_result_file_equal_sclites(decoded: Path) -> None:
    sclite(decoded, "rsum", "sum")
    score = write_result(decoded)
    (total,) = [
        line for line in (decoded / "hyp.trn.raw").read_text().splitlines() if "Sum" in line
    ]
    ours = (
        score.sentences,
        score.words,
        score.correct,
        score.substitutions,
        score.deletions,
        score.insertions,
    )
    assert [int(n) for n in re.findall(r"\d+", total)] == [
        *ours,
        score.errors,
        score.sentence_errors,
    ]
    theirs = average_line((decoded / "hyp.trn.sys").read_text())
    assert average_line((decoded / "result.txt").read_text()) == theirs == list(score.columns())


def test_every_alignment_equals_sclites(decoded: Path) -> None:
    sclite(decoded, "sgml")
    lines = (decoded / "hyp.trn.sgml").read_text().split("<PATH ")[1:]
    theirs = {
        re.match(r'id="\((.*?)\)"', line)[1]: "".join(
            step[0] for step in line.splitlines()[1].split(":") if step
        )
        for line in lines
    }
    assert alignments(decoded / "ref.trn", decoded / "hyp.trn") == theirs


def test_ties_are_the_utterances_whose_cheapest_alignments_differ_in_errors(decoded: Path) -> None:
    score = score_trn(decoded / "ref.trn", decoded / "hyp.trn")
    refs, hyps = read_trn(decoded / "ref.trn"), read_trn(decoded / "hyp.trn")
    expected = {
        name for name in refs if len(errors_of_best(refs[name].tokens, hyps[name].tokens)) > 1
    }
    assert {u.name for u in score.utterances if u.tie} == expected


def errors_of_best(ref: tuple[str, ...], hyp: tuple[str, ...]) -> set[int]:
    """Numbers of errors among all cheapest alignments, by carrying the whole set through the
    recursion.
    """
    row = [(3 * j, {j}) for j in range(len(hyp) + 1)]
    for i, word in enumerate(ref, 1):
        new = [(3 * i, {i})]
        for j, other in enumerate(hyp, 1):
            same = word == other
            ways = [
                (row[j - 1], 0 if same else 4, 0 if same else 1),
                (row[j], 3, 1),
                (new[j - 1], 3, 1),
            ]
            least = min(cost + step for (cost, _), step, _ in ways)
            counts = {
                n + extra for (cost, ns), step, extra in ways if cost + step == least for n in ns
            }
            new.append((least, counts))
        row = new
    return row[-1][1]


def test_align_prefers_as_sclite_does() -> None:
    assert align(list("bcacbb"), list("bcba")) == "CDDCCS"  # printed by sclite 2.4.10
    assert align([], ["a"]) == "I" and align(["a"], []) == "D" and align([], []) == ""
