"""Corpora: counts, vocabularies, slices and streams; refusals name the file and what to do."""

import gzip
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm import corpus, data
from espnet_topdown.text_files import read_tokens

TEXTS = {"train": " = A =\n\na b a\nc <unk> b a\n", "valid": "a x\n\n", "test": "b y z\n"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with the three texts: 4 train lines with 10 words, 14 tokens."""
    for split, text in TEXTS.items():
        (tmp_path / f"{split}.txt").write_text(text)
    return tmp_path


def test_preparation_keeps_blank_lines_and_maps_unknown_words(source: Path, tmp_path: Path) -> None:
    report = data.prepare(source, tmp_path / "data", expect_tokens=[14, 4, 4], expect_vocabulary=7)
    assert (
        (tmp_path / "data/train/text").read_text()
        == "train_0000001 = A =\ntrain_0000002\ntrain_0000003 a b a\ntrain_0000004 c <unk> b a\n"
    )
    assert (tmp_path / "data/valid/text").read_text() == "valid_0000001 a <unk>\nvalid_0000002\n"
    assert (tmp_path / "data/test/text").read_text() == "test_0000001 b <unk> <unk>\n"
    assert report.splitlines() == [
        "vocabulary: 7 words, <unk> and <eos> counted",
        "train: 4 lines, 14 tokens, 0 words mapped to <unk>",
        "valid: 2 lines, 4 tokens, 1 word mapped to <unk>",
        "test: 1 line, 4 tokens, 2 words mapped to <unk>",
    ]


def test_token_list_is_the_vocabulary_with_eos_last(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data")
    data.write_tokens(tmp_path / "data/train/text", tmp_path / "tokens.txt")
    tokens = (tmp_path / "tokens.txt").read_text().split()
    assert tokens == ["=", "A", "a", "b", "c", "<unk>", "<eos>"]


def test_a_vocabulary_that_would_begin_with_a_byte_order_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a_1\na_2 \ufeff hello\na_3 hello\n", encoding="utf-8")
    message = r"text: its first word is a byte order mark \(U\+FEFF\) alone"
    with pytest.raises(TopdownError, match=message):
        data.write_tokens(tmp_path / "text", tmp_path / "tokens.txt")
    (tmp_path / "text").write_text("a_1 hello \ufeff\n", encoding="utf-8")
    data.write_tokens(tmp_path / "text", tmp_path / "tokens.txt")
    assert read_tokens(tmp_path / "tokens.txt") == ["hello", "\ufeff", "<unk>", "<eos>"]


def test_slice_is_whole_lines_and_has_its_own_vocabulary(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data", train_tokens=9, min_count=2)
    assert (
        tmp_path / "data/train/text"
    ).read_text() == "train_0000001 = <unk> =\ntrain_0000002\ntrain_0000003 a <unk> a\n"
    assert (tmp_path / "data/test/text").read_text() == "test_0000001 <unk> <unk> <unk>\n"


def test_validation_is_sliced_too_where_asked_and_the_options_say_so(
    source: Path, tmp_path: Path
) -> None:
    data.prepare(source, tmp_path / "data", valid_tokens=3)
    assert (tmp_path / "data/valid/text").read_text() == "valid_0000001 a <unk>\n"
    options = (tmp_path / "data/options.json").read_text()
    assert '"valid_tokens": 3' in options
    data.prepare(source, tmp_path / "data")
    assert "valid_tokens" not in (tmp_path / "data/options.json").read_text()


def test_gzip_and_the_original_archives_names_are_read(source: Path, tmp_path: Path) -> None:
    for split, text in TEXTS.items():
        (source / f"{split}.txt").unlink()
        (source / f"wiki.{split}.tokens.gz").write_bytes(gzip.compress(text.encode()))
    assert (
        data.prepare(source, tmp_path / "data").splitlines()[1]
        == "train: 4 lines, 14 tokens, 0 words mapped to <unk>"
    )


def test_lines_drops_blank_lines_only(source: Path, tmp_path: Path) -> None:
    data.prepare(source, tmp_path / "data")
    report = data.write_without_blanks(tmp_path / "data/train/text", tmp_path / "lines")
    names = [row.split()[0] for row in (tmp_path / "lines").read_text().splitlines()]
    assert names == ["train_0000001", "train_0000003", "train_0000004"]
    assert report.endswith("3 lines, 1 blank dropped")


def test_stream_has_eos_after_every_line_and_for_a_blank_one(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("u1 b a\nu2\nu3 b\n")
    lines = corpus.read_text(tmp_path / "text")
    assert corpus.word_ids(lines, ["a", "b", "<eos>"], tmp_path) == [1, 0, 2, 2, 1, 2]


def flip_a_bit(directory: Path) -> None:
    """Compress the training text and damage the stream."""
    packed = bytearray(gzip.compress((directory / "train.txt").read_bytes() * 50))
    packed[20] ^= 64
    (directory / "train.txt").unlink()
    (directory / "train.txt.gz").write_bytes(packed)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda d: (d / "valid.txt").unlink(), {}, "exactly one of valid.txt"),
        (
            lambda d: (d / "wiki.test.tokens").write_text("a\n"),
            {},
            "found test.txt, wiki.test.tokens",
        ),
        (lambda d: (d / "train.txt").write_bytes(b" \n\n"), {}, "train.txt: the file is empty"),
        (lambda d: (d / "test.txt").write_bytes(b"a\nb \xff\n"), {}, "test.txt, line 2: not UTF-8"),
        (
            lambda d: (d / "train.txt").rename(d / "train.txt.gz"),
            {},
            "train.txt.gz: cannot be read",
        ),
        (flip_a_bit, {}, "train.txt.gz: cannot be read"),
        (
            lambda d: (d / "test.txt").write_bytes(b"\xef\xbb\xbfa\n"),
            {},
            "test.txt, line 1: begins with a byte order mark",
        ),
        (lambda d: None, {"expect_tokens": [14, 5, 4]}, "tokens of valid: 4, expected 5"),
        (
            lambda d: None,
            {"expect_vocabulary": 6, "expect_tokens": [1, 4, 4]},
            "tokens of train: 14, expected 1",
        ),
        (
            lambda d: None,
            {"train_tokens": 15},
            "a slice of 15 tokens was asked for; the text has 14",
        ),
        (lambda d: None, {"train_tokens": 2}, "its first line 4"),
        (lambda d: None, {"min_count": 0}, "--min_count 0: give 1, which keeps every word"),
        (lambda d: None, {"min_count": -1}, "--min_count -1: give 1, which keeps every word"),
        (lambda d: None, {"min_count": 99999999}, "--min_count 99999999: no word of the training"),
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
        ("u1 a c d\n", ["a", "<unk>", "<eos>"], r"words outside the vocabulary of 3: 2 \(c, d\)"),
    ],
)
def test_text_that_does_not_fit_is_refused(
    tmp_path: Path, text: str, tokens: list[str], message: str
) -> None:
    (tmp_path / "text").write_text(text)
    with pytest.raises(TopdownError, match=message):
        corpus.word_ids(corpus.read_text(tmp_path / "text"), tokens, tmp_path / "text")


def test_preparation_needs_neither_torch_nor_espnet() -> None:
    code = (
        "import sys, espnet_topdown.lm.data; sys.exit(any(m in sys.modules for m in ('torch',"
        " 'espnet2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_lines_refuses_what_the_stream_refuses(tmp_path: Path) -> None:
    for content, message in (
        (b"", "the file is empty"),
        (b"u1 \xff\n", "line 1: not UTF-8"),
        (b"u1\n", r"nothing but blank lines \(1\)"),
    ):
        (tmp_path / "text").write_bytes(content)
        with pytest.raises(TopdownError, match=message):
            data.write_without_blanks(tmp_path / "text", tmp_path / "lines")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on PATH")
def test_the_archive_is_unpacked_even_after_a_killed_attempt(tmp_path: Path) -> None:
    recipe = Path(__file__).parents[2] / "egs2/wikitext2/lm1"
    shutil.copytree(recipe / "local", tmp_path / "local")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for split in ("train", "valid", "test"):
            archive.writestr(f"wikitext-2/wiki.{split}.tokens", " a b \n")
    (tmp_path / "no.zip").write_text("<html>")
    (tmp_path / "downloads/unpacking/wikitext-2").mkdir(parents=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("WIKITEXT2", "TEXT_CORPUS")}
    environment |= {"PYTHONPATH": str(recipe.parents[2])}
    for name, said in (
        ("no.zip", "gave no zip archive"),
        ("archive.zip", "tokens of train: 3, expected 2088628"),
    ):
        url = {"WIKITEXT2_URL": (tmp_path / name).as_uri()}
        done = subprocess.run(
            ["local/data.sh"], cwd=tmp_path, env=environment | url, capture_output=True, text=True
        )
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_command_prints_a_fault_without_traceback(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        data.main(["prepare", "--source", str(tmp_path / "nowhere"), "--output", str(tmp_path)])
    error = capsys.readouterr().err
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        data.main(["prepare", "--source", str(source), "--output", str(tmp_path / "file")])
    assert f"{tmp_path}/file/train: Not a directory" in capsys.readouterr().err
    assert "nowhere: not a directory" in error and "Traceback" not in error
