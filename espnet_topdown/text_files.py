"""Lists and transcripts, read as ESPnet2 reads them: tables (``ID VALUE`` a line), token lists.

Every file of data in text form is read here, so that nothing is cut up otherwise than in training.
Files of corpora in other encodings are left to `espnet_topdown.corpora.lists`.
"""

import codecs
from pathlib import Path

from espnet_topdown.errors import TopdownError

# How files of these programs begin.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh91AY&SY": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\3\4": "zip",
}


def lines_of(data: bytes, path: Path) -> list[str]:
    r"""The lines of a file's bytes, without their ends: \n, \r\n or \r, as Python's files have it.

    What `str.splitlines` parts besides (form feeds, U+0085, U+2028) stays in its line.

    Raises:
        TopdownError: the bytes are not UTF-8, compressed, or hold what no text editor writes;
            `path` and the line are named.
    """
    for start, program in _COMPRESSED.items():
        if data.startswith(start):
            raise TopdownError(
                f"{path}: compressed by {program}, and texts are read as they stand; unpack it"
            )
    if data.startswith(codecs.BOM_UTF8):
        raise TopdownError(
            f"{path}, line 1: begins with a byte order mark, which would become part of a word;"
            " remove it"
        )
    if b"\0" in data:
        # A machine that went down leaves them at the end of what was being written.
        line = _line_at(data, data.index(b"\0"))
        raise TopdownError(
            f"{path}, line {line}: holds a zero byte: the file was cut off, or is UTF-16; write it"
            " anew, as UTF-8"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = _line_at(data, error.start)
        raise TopdownError(
            f"{path}, line {line}: not UTF-8 ({error.reason}); convert the file first, such as with"
            f" iconv -f latin1 -t utf-8"
        ) from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _line_at(data: bytes, place: int) -> int:
    return data.count(b"\n", 0, place) + 1


def read_lines(path: Path) -> list[str]:
    """The lines of a file without their ends.

    Raises:
        TopdownError: it cannot be read, or as `lines_of`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    return lines_of(data, path)


def log_lines(path: Path) -> list[str]:
    """The lines of a log as far as they are text; none where there is no such file yet."""
    if not path.exists():
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def read_table(path: Path) -> dict[str, str]:
    """The lines of a Kaldi table in file order: first word -> the rest, "" where there is none.

    The first blanks or tabs of a line part them; what follows stays as it stands, but for blanks at
    its end. Blank lines, at which ESPnet2 stops with a traceback, are passed over.

    Source: read_2columns_text (espnet2/fileio/read_text.py, 202511).

    Raises:
        TopdownError: the file is missing or empty, a first word stands on two lines, or as
            `lines_of`.
    """
    if not path.is_file():
        raise TopdownError(
            f"asked for {path}, but there is no such file; run the stage that writes it"
        )
    table: dict[str, str] = {}
    places: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), 1):
        key, *rest = line.rstrip().split(maxsplit=1) or [""]
        if not key:
            continue
        value = "".join(rest)
        if key in table:
            raise _repeated(path, key, (places[key], number), is_same=table[key] == value)
        table[key] = value
        places[key] = number
    if not table:
        raise TopdownError(f"{path} has no lines; run the stage that writes it")
    return table


def _repeated(path: Path, key: str, lines: tuple[int, int], *, is_same: bool) -> TopdownError:
    first, second = lines
    cure = (
        "the first word of every line is its id, and no two may be the same: remove or rename one"
        " of them, or give the lines ids where they have none"
    )
    if is_same:
        cure = (
            "with the same text: where a data preparation that ran twice has added to the file,"
            " remove the file and run it once"
        )
    return TopdownError(f"{path}, line {second}: {key!r} is on line {first} too; {cure}")


def read_tokens(path: Path) -> list[str]:
    """A token list, one a line without the blanks at its end.

    Source: espnet2/tasks/asr.py and lm.py, ``build_model`` (202511).

    Raises:
        TopdownError: as `read_lines`.
    """
    return [line.rstrip() for line in read_lines(path)]
