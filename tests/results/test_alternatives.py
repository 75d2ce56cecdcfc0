"""Braces, slashes and other characters of transcripts count as they do in sclite, or literally."""

import random
import re
from pathlib import Path

import pytest
import transcripts

from espnet_topdown.results.alternatives import chosen, parse
from espnet_topdown.results.scoring import alignments, read_pairs, score, write_result
from espnet_topdown.results.significance import segment_errors
from espnet_topdown.results.trn import write_trn


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("a { b / c } d", "a b d", "a b d"),
        ("a { b / c } d", "a c d", "a c d"),
        ("a { b / c } d", "a x d", "a b d"),
        ("a { b c / @ } d", "a d", "a d"),
        ("a { @ / b } d", "a d", "a d"),
        ("a { b / c d } e", "a c d e", "a c d e"),
        ("{ a / b } { c / d }", "b d", "b d"),
        ("a { b { c / d } / e } f", "a b d f", "a b d f"),
        ("a {b c/d}e f", "a d e f", "a d e f"),
        ("a { b } d", "a d", "a b d"),
        ("a { / b } d", "a d", "a b d"),
        ("{ a / a b c } d", "", "a d"),
        ("a } / b/c d}", "", "a } / b/c d}"),
    ],
)
def test_the_alternative_that_fits_best_is_chosen(text: str, heard: str, expected: str) -> None:
    items = parse(text)
    assert items is not None
    assert " ".join(chosen(items, heard.split())) == expected


@pytest.mark.parametrize("text", ["a { b / c", "a {b", "m^{me} de", "{ }", "a {} b", "{ x{y / c }"])
def test_braces_that_make_no_alternatives_are_known(text: str) -> None:
    assert parse(text) is None


def scored(folder: Path, ref: str, hyp: str, metric: str = "wer") -> tuple[int, ...]:
    """Words, substitutions, deletions and insertions of one utterance."""
    directory = folder / f"score_{metric}"
    write_trn(directory / "ref.trn", [("1", "s", ref.split(" "))])
    write_trn(directory / "hyp.trn", [("1", "s", hyp.split(" "))])
    total = write_result(directory)
    return total.words, total.substitutions, total.deletions, total.insertions


CASES = [
    ("a { b / c } d", "a c d", (3, 0, 0, 0)),
    ("a { b c / @ } d", "a d", (2, 0, 0, 0)),
    ("a {b/c} d", "a c d", (3, 0, 0, 0)),
    ("A { B / C } d", "a c D", (3, 0, 0, 0)),
    ("a } d", "a d", (3, 0, 1, 0)),
    ("a / d", "a d", (3, 0, 1, 0)),
    ("a/b c", "a/b c", (2, 0, 0, 0)),
    ("a @ d", "a d", (2, 0, 0, 0)),
    ("a d", "a @ d", (2, 0, 0, 0)),
    ("a x@y", "a x@y", (2, 0, 0, 0)),
    ("a x\\y", "a xy", (2, 0, 0, 0)),
    ("a \\ d", "a d", (3, 0, 1, 0)),
    ("a \\ d", "a ; d", (3, 0, 0, 0)),
    ("a\\;b c", "ab c", (2, 1, 0, 0)),
    (";; a b", ";; a b", (3, 0, 0, 0)),
    ("a b", "a } b", (2, 0, 0, 1)),
]


@pytest.mark.parametrize(("ref", "hyp", "expected"), CASES)
def test_special_characters_count_as_they_do_in_sclite(
    tmp_path: Path, ref: str, hyp: str, expected: tuple[int, ...]
) -> None:
    assert scored(tmp_path, ref, hyp) == expected
    assert "literally" not in (tmp_path / "score_wer/result.txt").read_text()
    assert sclite_counts(tmp_path / "score_wer") == [expected]


def sclite_counts(folder: Path) -> list[tuple[int, ...]]:
    """Words, substitutions, deletions and insertions of every utterance, by sclite."""
    transcripts.sclite(folder, ("hyp.trn",), "pralign")
    printed = (folder / "hyp.trn.pra").read_text()
    counts = []
    for line in re.findall(r"Scores: .*\) (.*)", printed):
        correct, substituted, deleted, inserted = map(int, line.split())
        counts.append((correct + substituted + deleted, substituted, deleted, inserted))
    return counts


def test_random_alternatives_cost_what_they_cost_sclite(tmp_path: Path) -> None:
    draw = random.Random(0)
    ref, hyp = [], []
    for number in range(800):
        texts = [_with_alternatives(draw), draw.choices("abcdefg", k=draw.randint(0, 9))]
        for rows, words in zip((ref, hyp), texts, strict=True):
            rows.append((f"{number:03d}", "s", words))
    pairs = transcripts.pairs_of(tmp_path, ref, hyp)
    ours = []
    for substitutions, deletions, insertions, _, words in score(pairs).counts.tolist():
        ours.append((words, substitutions, deletions, insertions))
    theirs = sclite_counts(tmp_path)
    assert list(map(_cost, ours)) == list(map(_cost, theirs))
    # Of equally cheap ones sclite sometimes takes another.
    differing = sum(mine != other for mine, other in zip(ours, theirs, strict=True))
    assert differing <= 8


def _with_alternatives(draw: random.Random) -> list[str]:
    words = []
    for _ in range(draw.randint(1, 8)):
        if draw.random() < 0.7:
            words.append(draw.choice("abcdefg"))
            continue
        choices = ["@", "a", "b c", "d", "e f g"]
        words += ["{", *" / ".join(draw.choices(choices, k=draw.randint(1, 3))).split(), "}"]
    return words


def _cost(counts: tuple[int, ...]) -> int:
    _, substituted, deleted, inserted = counts
    return 4 * substituted + 3 * (deleted + inserted)


@pytest.mark.parametrize(
    ("ref", "hyp", "expected"),
    [
        ("m^{me} de", "m^{me} de", (2, 0, 0, 0)),
        ("a { b", "a { b", (3, 0, 0, 0)),
        ("a {b / c", "a b", (4, 1, 2, 0)),
        ("{ } a", "a", (3, 0, 2, 0)),
        # Only a reference may say two things at once.
        ("a b d", "a { b / c } d", (3, 0, 0, 4)),
        ("a { b / c } d", "a { b / c } d", (3, 0, 0, 4)),
    ],
)
def test_other_braces_are_taken_literally_with_a_note(
    tmp_path: Path, ref: str, hyp: str, expected: tuple[int, ...]
) -> None:
    assert scored(tmp_path, ref, hyp) == expected
    noted = (tmp_path / "score_wer/result.txt").read_text()
    assert "braces that are taken literally, where sclite would look for alternatives" in noted
    assert "or fail: 1 (s-1).\n" in noted


@pytest.mark.parametrize("metric", ["cer", "ter"])
def test_characters_and_subwords_have_no_alternatives(tmp_path: Path, metric: str) -> None:
    assert scored(tmp_path, "{ b / c }", "c", metric) == (5, 0, 4, 0)
    assert scored(tmp_path, "x { y", "x { y", metric) == (3, 0, 0, 0)


def test_systems_that_took_other_alternatives_can_be_compared(tmp_path: Path) -> None:
    ref = [("1", "s", ["a", "{", "b", "c", "/", "d", "}", "e", "f"])]
    paths, references = [], []
    for name, heard in (("x", "a b c e x"), ("y", "a d e f")):
        pairs = transcripts.pairs_of(tmp_path / name, ref, [("1", "s", heard.split())])
        references.append(score(pairs).reference.texts[0])
        paths.append(alignments(pairs)["s-1"])
    assert references[0] == references[1]
    assert paths == ["CCCCS", "CCCC"]
    # No word of "b c" stands for "d": the utterance is one segment.
    assert segment_errors(*paths) == [(1, 0)]
    assert segment_errors("CCC", "CC") == []


def test_a_transcript_of_braces_is_read_from_both_sides(tmp_path: Path) -> None:
    rows = [("1", "s", ["{", "a", "/", "@", "}"])]
    for name in ("ref.trn", "hyp.trn"):
        write_trn(tmp_path / name, rows)
    ((ref, hyp),) = read_pairs(tmp_path / "ref.trn", tmp_path / "hyp.trn")
    assert ref.tokens == ("{", "a", "/", "@", "}")
    assert hyp.tokens == ("{", "a", "/", "}")
