"""Wall Street Journal transcripts: ``.dot`` files read and normalised, and the language-model text.

Source of the rules: dot_spec.doc of LDC93S6, and what Kaldi's and ESPnet's WSJ recipes make of it.
"""

import functools
import re
import string
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from espnet_topdown.corpora.lists import read_lines
from espnet_topdown.errors import TopdownError

NOISE = "<NOISE>"
_LDC = "LDC94S13B (or LDC94S13A)"  # has the language-model text
_FORMS = b"".join(
    b"wsj1_lng_####%03d %%b\n" % number for number in range(1000)
)  # of the lines of a thousand
_FORM = len(_FORMS) // 1000
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LINE = re.compile(r"(.+)\((\w{8})\)\s*", re.ASCII)
# A sound within a word's neighbour ([<x] before, [x>] after), the ends of a longer sound ([x/],
# [/x]; the word that they hang on goes too), a truncation, a pause.
_DROPPED = re.compile(r"\[<\w+\]|\[\w+>\]|.*\[(?:\w+/|/\w+)\]|~|\.", re.ASCII)
_NOISE = re.compile(r"\[\w+\]", re.ASCII)
_DELETED = re.compile(r"<([\w']+)>", re.ASCII)  # <word>: not in the prompt's sense, but spoken
_RENAMED = {"%PERCENT": "PERCENT", ".POINT": "POINT", "--DASH": "-DASH"}


@functools.cache
def normalize_word(word: str) -> str:
    """One word of a ``.dot`` transcript as it stands in ``text``; "" where it is dropped."""
    word = word.translate(_UPPER).replace("\\", "")
    word = _RENAMED.get(word, word)
    if _DROPPED.fullmatch(word):
        return ""
    if _NOISE.search(word):
        return NOISE
    deleted = _DELETED.fullmatch(word)
    return deleted[1] if deleted else word


def normalize(transcript: str) -> str:
    """A ``.dot`` transcript (without the id at its end) as it stands in ``text``."""
    return " ".join(filter(None, map(normalize_word, transcript.split())))


def read_dot(path: Path) -> dict[str, str]:
    """The transcripts of one ``.dot`` file, not normalised, by lower-cased utterance id.

    Raises:
        TopdownError: a line is not ``transcript (utterance id of 8 characters)``.
    """
    transcripts = {}
    for number, line in enumerate(read_lines(path), 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise TopdownError(
                f"{path}, line {number}: expected 'transcript (uttid008)', found {line!r}"
            )
        transcripts[match[2].lower()] = match[1]
    return transcripts


def write_lm_text(directory: Path, output: Path) -> int:
    """Write the sentences of ``np_data/{87,88,89}/*.z`` with an id each.

    Lines of SGML (with ``<``) are left out.

    Args:
        directory: ``np_data`` of disc 13-32.1.
        output: file to write.

    Returns:
        the number of sentences.

    Raises:
        TopdownError: a year has no ``.z`` file, or one cannot be decompressed.
    """
    files = []
    for year in ("87", "88", "89"):
        found = sorted((directory / year).glob("*.[zZ]"))
        if not found:
            raise TopdownError(f"{_LDC}: no *.z in {directory / year}, the language-model text")
        files += found
    with output.open("wb") as stream:
        return _write_sentences(files, stream)


def _write_sentences(files: list[Path], stream: BinaryIO) -> int:
    # gzip also reads the compress(1) format of the real discs, which Python's gzip module does not.
    # Bytes, and as much as possible at a time, for speed.
    count, begun = 0, b""
    try:
        process = subprocess.Popen(
            ["gzip", "-dc", *map(str, files)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=1 << 20,
            pipesize=1 << 20,
        )
    except FileNotFoundError:
        raise TopdownError(
            f"{_LDC}: the language-model text is compressed, and no gzip is on PATH; install it"
        ) from None
    with process:
        while part := process.stdout.read(1 << 20):
            *lines, begun = (begun + part).upper().split(b"\n")
            count += _write_numbered(lines, count, stream)
        count += _write_numbered([begun] if begun else [], count, stream)
        complaint = process.stderr.read().decode("ascii", "replace").strip()
    if process.returncode:
        raise TopdownError(f"{_LDC}: the language-model text cannot be decompressed: {complaint}")
    return count


def _write_numbered(lines: list[bytes], count: int, stream: BinaryIO) -> int:
    """Write the sentences among `lines`, `count` of which came before; how many there were."""
    kept = [line for line in lines if b"<" not in line]
    done = 0
    while done < len(kept):  # up to the next full thousand; a thousand lines are formatted at once
        thousands, first = divmod(count + done + 1, 1000)
        some = kept[done : done + 1000 - first]
        form = _FORMS[first * _FORM : (first + len(some)) * _FORM].replace(
            b"####", b"%04d" % thousands
        )
        stream.write(form % tuple(some))
        done += len(some)
    return len(kept)


def non_linguistic_symbols(texts: Iterable[str]) -> list[str]:
    """Sorted words with ``<`` in `texts`.

    One token each in character models, and left out of scores.
    """
    return sorted({word for text in texts if "<" in text for word in text.split() if "<" in word})
