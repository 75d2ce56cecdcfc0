"""Corpora: counts, vocabularies, slices and streams; every refusal names the file and what to do."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm import corpus, data

TEXTS = {"train": " = A =\n\na b a\nc <unk> b a\n", "valid": "a x\n\n", "test": "b y z\n"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with the three texts: 4 train lines with 10 words, 14 tokens."""
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text)
    return tmp_path


def test_preparation_keeps_blank_lines_and_maps_unknown_words(source: Path, tmp_path: Path) -> None:
    report = data.prepare(source, tmp_path / "data", expect_tokens=[14, 4, 4], expect_vocabulary=7)
    assert (tmp_path / "data/train/text").read_text() == (
        "train_0000001 = A =\ntrain_0000002\ntrain_0000003 a b a\ntrain_0000004 c <unk> b a\n"
    )
    assert (tmp_path / "data/valid/text").read_text() == "valid_0000001 a <unk>\nvalid_0000002\n"
    assert (tmp_path / "data/test/text").read_text() == "test_0000001 b <unk> <unk>\n"
    assert report.splitlines() == [
        "vocabulary: 7 words, <unk> and <eos> counted",
        "train: 4 lines, 14 tokens, 0 words mapped to <unk>",
        "valid: 2 lines, 4 tokens, 1 words mapped to <unk>",
        "test: 1 lines, 4 tokens, 2 words mapped to <unk>",
    ]


def test_token_list_is_the_vocabulary_with_eos_last(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data")
    data.write_tokens(tmp_path / "data/train/text", tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text().split() == ["=", "A", "a", "b", "c", "<unk>", "<eos>"]


def test_slice_is_whole_lines_and_has_its_own_vocabulary(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data", train_tokens=9, min_count=2)
    assert (
        tmp_path / "data/train/text"
    ).read_text() == "train_0000001 = <unk> =\ntrain_0000002\ntrain_0000003 a <unk> a\n"
    assert (tmp_path / "data/test/text").read_text() == "test_0000001 <unk> <unk> <unk>\n"


def test_gzip_and_the_original_archives_names_are_read(source: Path, tmp_path: Path) -> None:
    for split, text in TEXTS.items():
        (source / f"{split}.txt").unlink()
        (source / f"wiki.{split}.tokens.gz").write_bytes(gzip.compress(text.encode()))
    assert (
        data.prepare(source, tmp_path / "data").splitlines()[1] == "train: 4 lines, 14 tokens, 0 words mapped to <unk>"
    )


def test_lines_drops_blank_lines_only(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data")
    report = data.write_lines(tmp_path / "data/train/text", tmp_path / "lines")
    assert [row.split()[0] for row in (tmp_path / "lines").read_text().splitlines()] == [
        "train_0000001",
        "train_0000003",
        "train_0000004",
    ]
    assert report.endswith("3 lines, 1 blank ones dropped")


def test_stream_has_eos_after_every_line_and_for_a_blank_one(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u1 b a\nu2\nu3 b\n")
    lines = corpus.read_text(tmp_path / "text")
    assert corpus.word_ids(lines, ["a", "b", "<eos>"], tmp_path) == [1, 0, 2, 2, 1, 2]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: (d / "valid.txt").unlink(), {}, "exactly one of valid.txt"),
        (lambda d: (d / "wiki.test.tokens").write_text("a\n"), {}, "found test.txt, wiki.test.tokens"),
        (lambda d: (d / "train.txt").write_bytes(b" \n\n"), {}, "train.txt: the file is empty"),
        (lambda d: (d / "test.txt").write_bytes(b"a\nb \xff\n"), {}, "test.txt, line 2: not UTF-8"),
        (lambda d: (d / "train.txt").rename(d / "train.txt.gz"), {}, "train.txt.gz: cannot be read"),
        (lambda d: None, {"expect_tokens": [14, 5, 4]}, "tokens of valid: 4, expected 5"),
        (lambda d: None, {"expect_vocabulary": 6, "expect_tokens": [1, 4, 4]}, "tokens of train: 14, expected 1"),
        (lambda d: None, {"train_tokens": 15}, "a slice of 15 tokens was asked for; the text has 14"),
        (lambda d: None, {"train_tokens": 2}, "its first line 4"),
    ],
)
def test_bad_sources_are_refused_before_anything_is_written(
    source: Path, tmp_path: Path, change: object, options: dict, message: str
) -> None:
    change(source)
    with pytest.raises(TopdownError, match=message.replace(".", r"\.")):
        data.prepare(source, tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("text", "tokens", "message"),
    [
        ("u1 a\n\nu2 b\n", ["a", "b", "<eos>"], "line 2: no utterance id"),
        ("u1 a c d\n", ["a", "<unk>", "<eos>"], r"2 words are not in the vocabulary of 3 \(c, d\)"),
    ],
)
def test_text_that_does_not_fit_is_refused(tmp_path: Path, text: str, tokens: list[str], message: str) -> None:
    (tmp_path / "text").write_text(text)
    with pytest.raises(TopdownError, match=message):
        corpus.word_ids(corpus.read_text(tmp_path / "text"), tokens, tmp_path / "text")


def test_preparation_needs_neither_torch_nor_espnet() -> None:
    code = "import sys, espnet_topdown.lm.data; sys.exit(any(m in sys.modules for m in ('torch', 'espnet2', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_command_prints_a_fault_without_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        data.main(["prepare", "--source", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
    error = capsys.readouterr().err
    assert "nowhere: not a directory" in error and "Traceback" not in error
