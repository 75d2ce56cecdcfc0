"""Text corpora: plain text in, text files in ESPnet2's format and a word list out.

Needs neither torch nor ESPnet.

Every line ends with ``<eos>``, blank lines included (they are ``<eos>`` alone). In ESPnet2's format
a line is an utterance id and its words; a blank line is an id alone. Tokens are counted as in
salesforce/awd-lstm-lm (data.py, `Corpus.tokenize`), on which published perplexities rest.
"""

import gzip
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.text_files import lines_of

EOS = "<eos>"
UNK = "<unk>"
SPLITS = ("train", "valid", "test")
Lines = list[list[str]]


def find_split(directory: Path, split: str) -> Path:
    """The one file of `split` in `directory`: plain or .gz.

    Its name is ``{split}.txt`` or, as in WikiText's archives, ``wiki.{split}.tokens``.

    Raises:
        TopdownError: no such directory, none of the files, or several.
    """
    if not directory.is_dir():
        raise TopdownError(
            f"{directory}: not a directory; give the one that holds the corpus's text files"
        )
    plain = (f"{split}.txt", f"wiki.{split}.tokens")
    names = [name + ending for name in plain for ending in ("", ".gz")]
    present = [directory / name for name in names if (directory / name).is_file()]
    if len(present) != 1:
        found = listed((path.name for path in present), "none of them")
        raise TopdownError(
            f"{directory}: exactly one of {', '.join(names)} is needed, found {found}"
        )
    return present[0]


def read_plain(path: Path) -> Lines:
    """The words of every line of a plain or gzip text file.

    Raises:
        TopdownError: missing, unreadable or empty file, a byte order mark, or bytes that are not
            UTF-8 (with the line number).
    """
    data = _read_bytes(path)
    if not data.strip():
        raise TopdownError(f"{path}: the file is empty; give a text with at least one word")
    return [line.split() for line in lines_of(data, path)]


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file, decompressed where its name ends with .gz."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    # gzip raises EOFError for a truncated file and zlib.error for a damaged one.
    except (OSError, EOFError, zlib.error) as error:
        raise TopdownError(f"{path}: cannot be read ({error})") from error


def read_text(path: Path) -> Lines:
    """The words of every line of a text file in ESPnet2's format, without the utterance ids.

    Raises:
        TopdownError: as `read_plain`; or a line without an id.
    """
    lines = read_plain(path)
    if [] in lines:
        raise TopdownError(
            f"{path}, line {lines.index([]) + 1}: no utterance id; a blank line of the corpus is"
            " written as its id alone"
        )
    return [words[1:] for words in lines]


def write_text(path: Path, split: str, lines: Lines) -> None:
    """Write `lines` in ESPnet2's format, ids ``{split}_0000001`` and on."""
    rows = []
    for number, words in enumerate(lines, 1):
        rows.append(" ".join([f"{split}_{number:07d}", *words]) + "\n")
    files.write_text(path, "".join(rows))


def count_tokens(lines: Lines) -> int:
    """Number of words plus one ``<eos>`` a line."""
    return sum(map(len, lines)) + len(lines)


def cut(lines: Lines, tokens: int) -> Lines:
    """The longest beginning of whole lines with at most `tokens` tokens, ``<eos>`` counted.

    Raises:
        TopdownError: `tokens` is below the first line's, or above all there are.
    """
    # Tokens up to the end of each line.
    ends = list(accumulate(len(words) + 1 for words in lines))
    kept = bisect_right(ends, tokens)
    if kept == 0 or tokens > ends[-1]:
        raise TopdownError(
            f"a slice of {tokens} tokens was asked for; the text has {ends[-1]}, its first line"
            f" {ends[0]}"
        )
    return lines[:kept]


def word_list(lines: Lines, min_count: int = 1) -> list[str]:
    """Words seen at least `min_count` times in order of appearance, ``<eos>`` last.

    ``<unk>`` is among them, whether it was seen or not.
    """
    counts = Counter(chain.from_iterable(lines))
    counts[UNK] = max(counts[UNK], min_count)
    # Last, since ESPnet2's language models take the last id for the end of a sentence
    # (espnet2/lm/espnet_model.py, 202511); a corpus that spells it out must not move it.
    counts.pop(EOS, None)
    return [*(word for word, seen in counts.items() if seen >= min_count), EOS]


def map_unknown(lines: Lines, known: Iterable[str]) -> tuple[Lines, int]:
    """`lines` with words outside `known` written as ``<unk>``, and how many were."""
    written = {word: word for word in known}
    mapped = []
    unknown = 0
    for words in lines:
        mapped.append([written.get(word, UNK) for word in words])
        unknown += sum(word not in written for word in words)
    return mapped, unknown


def word_ids(lines: Lines, tokens: Sequence[str], source: Path) -> list[int]:
    """The stream of ids of `lines` with ``<eos>``, the last token, after each.

    Args:
        lines: words of each line.
        tokens: the vocabulary; a word's id is its place.
        source: where the lines come from, for the message.

    Raises:
        TopdownError: a word is not in `tokens`: the text and the vocabulary do not belong together.
    """
    index = {token: number for number, token in enumerate(tokens)}
    seen = set(chain.from_iterable(lines))
    missing = sorted(seen - index.keys())
    if missing:
        raise TopdownError(
            f"{source}: words outside the vocabulary of {len(tokens)}: {len(missing)}"
            f" ({', '.join(missing[:5])}); text and token list must come from one preparation"
            " (stages 1 and 5)"
        )
    eos = len(tokens) - 1
    ids: list[int] = []
    for words in lines:
        ids += [index[word] for word in words]
        ids.append(eos)
    return ids
