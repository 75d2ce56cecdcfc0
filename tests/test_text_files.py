"""Tables and token lists are read as ESPnet2 reads them; damage is named with its line."""

import bz2
import gzip
import lzma
from pathlib import Path

import pytest
from espnet2.fileio.read_text import read_2columns_text

from espnet_topdown.errors import TopdownError
from espnet_topdown.text_files import read_lines, read_table, read_tokens

TABLES = {
    "a blank, then a tab": "u1 hello\tworld\n",
    "a tab, then a blank": "u1\thello world\n",
    "several blanks": "u1 \t  hello   world \t\n",
    "an id alone": "u1\nu2 \nu3\t\n",
    "blanks before the id": "  u1 hello\n",
    "a line separator": "u1 hello\u2028world\nu2 a\u2029b\n",
    "a next line": "u1 hello\u0085world\n",
    "form feeds and other controls": "u1 a\fb\nu2 a\vb\nu3 a\x1cb\x1db\x1eb\n",
    "no-break and wide blanks": "u1 a\u00a0b\u3000c\u3000\n",
    "a wide blank behind the id": "u1\u3000hello\n",
    "Windows line ends": "u1 hello\r\nu2 \r\nu3\r\n",
    "old Mac line ends": "u1 hello\ru2 world\r",
    "no line end": "u1 hello\nu2 world",
    "an id as bzip2's files begin": "BZhang-1 hello\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_as_espnet_reads_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_bytes(TABLES[name].encode())
    assert read_table(tmp_path / "text") == read_2columns_text(tmp_path / "text")


def test_only_line_ends_part_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("u1 a\u2028b\fc\u0085d\r\nu2\n".encode())
    assert read_lines(tmp_path / "text") == ["u1 a\u2028b\fc\u0085d", "u2"]


def test_blank_lines_of_a_table_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("\nu1 a\n  \nu2 b\n\n")
    assert read_table(tmp_path / "text") == {"u1": "a", "u2": "b"}


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "no such file; run the stage"),
        (b"", "has no lines"),
        (b" \n", "has no lines"),
        (b"u1 a\nu2 b\n\nu1\tc\n", "text, line 4: 'u1' is on line 1 too; .* remove or rename"),
        (b"u1 a\nu2 b\nu1 a\nu2 b\n", "text, line 3: .* with the same text: .* ran twice"),
        ("u1 a\nu2 é\n".encode("latin-1"), "text, line 2: not UTF-8 .*iconv -f latin1 -t utf-8"),
        ("u1 a\nu2 é\n".encode("utf-16"), "text, line 1: holds a zero byte: .* or is UTF-16"),
        (b"u1 a.wav\nu2 b.w\0\0\0\0", "text, line 2: holds a zero byte: the file was cut off"),
        (
            gzip.compress(b"u1 a\n", mtime=0),
            "text: compressed by gzip, and texts are read as they stand; unp",
        ),
        (bz2.compress(b"u1 a\n"), "text: compressed by bzip2, and texts"),
        (lzma.compress(b"u1 a\n"), "text: compressed by xz, and texts"),
        (
            b"THE END\nTHE\n",
            "text, line 2: 'THE' is on line 1 too; the first word of every line is",
        ),
        (b"\xef\xbb\xbfu1 a\n", "text, line 1: begins with a byte order mark"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "text").write_bytes(content)
    with pytest.raises(TopdownError, match=said):
        read_table(tmp_path / "text")


def test_token_lists_are_read_as_espnet_reads_them(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.txt"
    tokens.write_bytes("<blank>\n a\u2028b\n\nc \t\r\nd\u0085e\n<sos/eos>".encode())
    # As in build_model of espnet2/tasks/asr.py (202511).
    with tokens.open(encoding="utf-8") as stream:
        expected = [line.rstrip() for line in stream]
    assert read_tokens(tokens) == expected
    assert len(expected) == 6
    with pytest.raises(TopdownError, match=r"cannot read .*none\.txt: No such file"):
        read_tokens(tmp_path / "none.txt")
