"""Text corpora: plain text in, text files in ESPnet2's format and a word list out.

Needs neither torch nor ESPnet.

Every line ends with ``<eos>``, blank lines included (they are ``<eos>`` alone). In ESPnet2's format
a line is an utterance id and its words; a blank line is an id alone.
"""

import codecs
import gzip
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.errors import TopdownError

EOS = "<eos>"
UNK = "<unk>"
SPLITS = ("train", "valid", "test")
Lines = list[list[str]]


def find_split(directory: Path, split: str) -> Path:
    """The one file of `split` in `directory`.

    ``{split}.txt`` or ``wiki.{split}.tokens``, plain or .gz.

    Raises:
        TopdownError: no such directory, none of the files, or several.
    """
    if not directory.is_dir():
        raise TopdownError(
            f"{directory}: not a directory; give the one that holds the corpus's text files."
        )
    names = [base + end for base in (f"{split}.txt", f"wiki.{split}.tokens") for end in ("", ".gz")]
    found = [directory / name for name in names if (directory / name).is_file()]
    if len(found) != 1:
        have = ", ".join(p.name for p in found) or "none of them"
        raise TopdownError(
            f"{directory}: exactly one of {', '.join(names)} is needed, found {have}."
        )
    return found[0]


def read_plain(path: Path) -> Lines:
    """The words of every line of a plain or gzip text file.

    Raises:
        TopdownError: missing, unreadable or empty file, a byte order mark, or bytes that are not
            UTF-8 (with the line number).
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as e:
        raise TopdownError(f"{path}: cannot be read ({e}).") from e
    if not data.strip():
        raise TopdownError(f"{path}: the file is empty; give a text with at least one word.")
    if data.startswith(codecs.BOM_UTF8):
        raise TopdownError(
            f"{path}, line 1: begins with a byte order mark, which would become part of a word;"
            " remove it."
        )
    lines = []
    for number, line in enumerate(data.removesuffix(b"\n").split(b"\n"), 1):
        try:
            lines.append(line.decode("utf-8").split())
        except UnicodeDecodeError as e:
            raise TopdownError(
                f"{path}, line {number}: not UTF-8 ({e.reason}); convert the file first."
            ) from e
    return lines


def read_text(path: Path) -> Lines:
    """The words of every line of a text file in ESPnet2's format, without the utterance ids.

    Raises:
        TopdownError: as `read_plain`; or a line without an id.
    """
    lines = read_plain(path)
    bare = next((n for n, words in enumerate(lines, 1) if not words), None)
    if bare is not None:
        raise TopdownError(
            f"{path}, line {bare}: no utterance id; a blank line of the corpus is written as its id"
            " alone."
        )
    return [words[1:] for words in lines]


def write_text(path: Path, split: str, lines: Lines) -> None:
    """Writes `lines` in ESPnet2's format, ids ``{split}_0000001`` and on."""
    rows = (" ".join([f"{split}_{n:07d}", *words]) for n, words in enumerate(lines, 1))
    files.write_text(path, "".join(f"{row}\n" for row in rows))


def count_tokens(lines: Lines) -> int:
    """Number of words plus one ``<eos>`` a line."""
    return sum(map(len, lines)) + len(lines)


def cut(lines: Lines, tokens: int) -> Lines:
    """The longest beginning of whole lines with at most `tokens` tokens.

    Raises:
        TopdownError: `tokens` is below the first line's, or above all there are.
    """
    ends = list(accumulate(len(words) + 1 for words in lines))
    kept = bisect_right(ends, tokens)
    if kept == 0 or tokens > ends[-1]:
        raise TopdownError(
            f"a slice of {tokens} tokens was asked for; the text has {ends[-1]}, its first line"
            f" {ends[0]}."
        )
    return lines[:kept]


def word_list(lines: Lines, min_count: int = 1) -> list[str]:
    """Words seen `min_count` times or more in order of appearance, ``<unk>`` if it is missing,
    ``<eos>`` last.
    """
    counts = Counter(word for words in lines for word in words)
    counts[UNK] = max(counts[UNK], min_count)
    return [word for word, n in counts.items() if n >= min_count and word != EOS] + [EOS]


def map_unknown(lines: Lines, known: Iterable[str]) -> tuple[Lines, int]:
    """`lines` with words outside `known` written as ``<unk>``, and how many were."""
    known = set(known)
    mapped = [[word if word in known else UNK for word in words] for words in lines]
    return mapped, sum(word not in known for words in lines for word in words)


def word_ids(lines: Lines, tokens: Sequence[str], source: Path) -> list[int]:
    """The stream of ids of `lines` with ``<eos>``, the last token, after each.

    Raises:
        TopdownError: a word is not in `tokens`: the text and the vocabulary do not belong together.
    """
    index = {token: i for i, token in enumerate(tokens)}
    missing = sorted({word for words in lines for word in words} - index.keys())
    if missing:
        raise TopdownError(
            f"{source}: {len(missing)} words are not in the vocabulary of {len(tokens)}"
            f" ({', '.join(missing[:5])}); text and token list must come from one preparation"
            " (stages 1 and 5)."
        )
    eos = len(tokens) - 1
    return [i for words in lines for i in (*map(index.__getitem__, words), eos)]
