"""WSJ's words: ``.dot`` transcripts read and normalised, and the language-model text.

Source of the rules: dot_spec.doc of LDC93S6, and what Kaldi's and ESPnet's WSJ recipes make of it.
"""

import functools
import re
import string
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from espnet_topdown.corpora.disc_names import plain
from espnet_topdown.corpora.lists import numbered_entries
from espnet_topdown.errors import TopdownError

NOISE = "<NOISE>"
_LDC = "LDC94S13B (or LDC94S13A)"  # has the language-model text
_UPPER = str.maketrans(string.ascii_lowercase, string.ascii_uppercase)
_LINE = re.compile(r"(.+)\((\w{8})\)\s*", re.ASCII)
# A sound within a word's neighbour ([<x] before, [x>] after), the ends of a longer sound ([x/],
# [/x]; the word that they hang on goes too), a truncation, a pause.
_DROPPED = re.compile(r"\[<\w+\]|\[\w+>\]|.*\[(?:\w+/|/\w+)\]|~|\.", re.ASCII)
_NOISE = re.compile(r"\[\w+\]", re.ASCII)
_DELETED = re.compile(r"^<([\w']+)>$", re.ASCII)  # <word>: not in the prompt's sense, but spoken
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
    return _DELETED.sub(r"\1", word)


def normalize(transcript: str) -> str:
    """A ``.dot`` transcript (without the id at its end) as it stands in ``text``."""
    return " ".join(filter(None, map(normalize_word, transcript.split())))


def read_dot(path: Path) -> tuple[dict[str, str], list[str]]:
    """The transcripts of one ``.dot`` file, not normalised, by lower-cased utterance id.

    Returns:
        them, and a complaint about every line that is not
        ``transcript (utterance id of 8 characters)``.

    Raises:
        TopdownError: the file cannot be read.
    """
    transcripts = {}
    complaints = []
    for number, line in numbered_entries(path):
        match = _LINE.fullmatch(line)
        if not match:
            expected = "expected 'transcript (uttid008)'"
            complaints.append(f"{path}, line {number}: {expected}, found {line!r}")
            continue
        transcripts[match[2].lower()] = match[1]
    return transcripts, complaints


def write_lm_text(directory: Path, output: Path) -> int:
    """Write the sentences of ``np_data/{87,88,89}/*.z`` with an id each, without lines of SGML.

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
        of_year = list(filter(_is_packed, sorted((directory / year).glob("*"))))
        if not of_year:
            raise TopdownError(f"{_LDC}: no *.z in {directory / year}, the language-model text")
        files += of_year
    with output.open("wb") as stream:
        return _write_sentences(files, stream)


def _is_packed(path: Path) -> bool:
    return plain(path.name).endswith((".z", ".gz"))


def _write_sentences(files: list[Path], stream: BinaryIO) -> int:
    # gzip also reads the compress(1) format of the real discs, which Python's gzip module does not.
    count = 0
    with _decompressed(files) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if b"<" not in line:
                count += 1
                stream.write(b"wsj1_lng_%07d %b\n" % (count, line.rstrip(b"\n").upper()))
        complaint = process.stderr.read().decode("ascii", "replace").strip()
    if process.returncode:
        raise TopdownError(f"{_LDC}: the language-model text cannot be decompressed: {complaint}")
    return count


def _decompressed(files: list[Path]) -> subprocess.Popen[bytes]:
    command = ["gzip", "-dc"]
    if files[0].name.endswith(";1"):
        # gzip has to be told of endings that it does not know.
        command += ["-S", ";1"]
    try:
        return subprocess.Popen([*command, *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise TopdownError(
            f"{_LDC}: the language-model text is compressed, and no gzip is on PATH; install it"
        ) from None


def non_linguistic_symbols(texts: Iterable[str]) -> list[str]:
    """The sorted words with ``<``: one token each in character models, and left out of scores."""
    words = set().union(*map(str.split, texts))
    return sorted(word for word in words if "<" in word)
