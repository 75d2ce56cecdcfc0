"""trn files are read as sclite reads them, and bad ones are refused with the place."""

from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.results.trn import read_trn, speaker_of, write_trn


def test_lines_written_are_espnets(tmp_path: Path) -> None:
    write_trn(
        tmp_path / "ref.trn", [("fash-cen7-b", "fash", ["ONE", "TWO"]), ("fash-cen8-b", "fash", [])]
    )
    assert (
        tmp_path / "ref.trn"
    ).read_bytes() == b"ONE TWO\t(fash-fash-cen7-b)\n\t(fash-fash-cen8-b)\n"
    assert read_trn(tmp_path / "ref.trn")["fash-fash-cen7-b"].tokens == ("one", "two")


@pytest.mark.parametrize(
    ("utterance", "speaker"),
    [
        ("fash-fash-cen7-b", "fash"),
        ("sw_4390-A-sw_4390-A_000031-000144", "sw_4390-A"),
        ("a-b-a-b", "a-b"),
        ("011-011c0201", "011"),
        ("george-0_1", "george"),
    ],
)
def test_speaker_is_the_part_that_the_utterance_repeats(utterance: str, speaker: str) -> None:
    assert speaker_of(utterance) == speaker


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("A É ß", ("a", "É", "ß")),  # ASCII letters fold, others do not
        ("a @ b", ("a", "b")),
        ("a;x b", ("a", "b")),
        (
            "a\u00a0b c\u3000d e\u0085f",
            ("a\u00a0b", "c\u3000d", "e\u0085f"),
        ),  # not blanks to sclite
        ("a  \t b", ("a", "b")),
        ("(a) ( b", ("(a)", "(", "b")),
        ("a\fb\vc\rd", ("a", "b", "c", "d")),
        ("a\\b \\ c\\", ("ab", "", "c")),
        ("a\\;b c;d", ("a;b", "c")),
        ("@;x @\\ \\@ @a", ("@a",)),
        ("{ a / b } {a c} x{y} / }", ("{", "a", "/", "b", "}", "{a", "c}", "x{y}", "/", "}")),
    ],
)
def test_tokens_are_those_that_sclite_compares(
    tmp_path: Path, text: str, tokens: tuple[str, ...]
) -> None:
    (tmp_path / "x.trn").write_text(f";; a comment\n{text}\t(s-s-1)\n", encoding="utf-8")
    assert read_trn(tmp_path / "x.trn")["s-s-1"].tokens == tokens


def test_a_text_that_begins_as_a_comment_is_read_back(tmp_path: Path) -> None:
    write_trn(tmp_path / "x.trn", [("1", "s", [";;", "a"]), ("2", "s", [";;b"])])
    assert (tmp_path / "x.trn").read_text() == " ;; a\t(s-1)\n ;;b\t(s-2)\n"
    assert {u: t.tokens for u, t in read_trn(tmp_path / "x.trn").items()} == {
        "s-1": ("", "a"),
        "s-2": ("",),
    }


@pytest.mark.parametrize("utterance", ["s-1(a)", "s-(1)", "s-a/b"])
def test_ids_may_hold_brackets(tmp_path: Path, utterance: str) -> None:
    write_trn(tmp_path / "x.trn", [(utterance, "s", ["(a", "b)"])])
    (transcript,) = read_trn(tmp_path / "x.trn").values()
    assert (transcript.utterance, transcript.tokens) == (f"s-{utterance}", ("(a", "b)"))


def test_case_is_kept_on_demand(tmp_path: Path) -> None:
    (tmp_path / "x.trn").write_text("Ab\t(s-s-1)\n")
    assert read_trn(tmp_path / "x.trn", case_sensitive=True)["s-s-1"].tokens == ("Ab",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no utterance"),
        (b"\n \n", "no utterance"),
        (
            b"a b\t(s-1)\na b\n",
            r"x\.trn:2: expected 'TOKENS<tab>\(speaker-utterance\)', found 'a b'",
        ),
        (b"a\t()\n", r"x\.trn:1: expected"),
        (b"a (b c)\n", r"x\.trn:1: expected"),
        (b"a\t(s-1)\nb\t(s-1)\n", r"x\.trn:2: utterance s-1 occurs twice"),
        (b"a\xff\t(s-1)\n", "not UTF-8 at byte 1"),
    ],
)
def test_bad_files_are_refused_with_the_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.trn").write_bytes(content)
    with pytest.raises(TopdownError, match=message):
        read_trn(tmp_path / "x.trn")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TopdownError, match=r"gone\.trn: cannot be read \(No such file"):
        read_trn(tmp_path / "gone.trn")
