"""Transcript files in NIST's trn format, ``TOKENS<tab>(speaker-utterance)`` a line.

Reading follows sclite's habits where they change a count: comment lines, ``@``, ``word;tag``,
backslashes, ASCII-only case folding. Alternatives (``{ a / b }``) are `espnet_topdown.results
.alternatives`'s, scoring is `espnet_topdown.results.scoring`'s.
"""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text
from espnet_topdown.results.alternatives import EMPTY, Items, parse
from espnet_topdown.results.outside import Outside

COMMENT = ";;"  # at the beginning of a line
# The words said and the id: in brackets the last word, which may hold brackets, or else all behind
# the last opening bracket, as no blank need stand before it.
_LAST_WORD = re.compile(r"(.*[ \t]|)\(([^ \t]+)\)", re.DOTALL)
_LAST_BRACKET = re.compile(r"(.*)\(([^ (]+)\)", re.DOTALL)
_WORD = re.compile(r"[^ \t\r\f\v]+")
_TAG = re.compile(r"(?<!\\);")
# É and é stay two letters to sclite.
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Transcript:
    """One utterance.

    Args:
        utterance: its id, as between the brackets.
        speaker: who speaks.
        tokens: words, characters or subwords; braces and slashes of alternatives as they stand.
        outside: of a hypothesis, how another scorer counted it.
        alternatives: of a reference that has some, its words and alternatives.
    """

    utterance: str
    speaker: str
    tokens: tuple[str, ...]
    outside: Outside | None = None
    alternatives: Items | None = None


def speaker_of(utterance: str) -> str:
    """The speaker of a ``speaker-utterance`` id.

    Utterance ids begin with the speaker in Kaldi-style data, so the speaker is the part before the
    hyphen that is repeated behind it (``sw_4390-A-sw_4390-A_000031`` gives ``sw_4390-A``); else all
    before the first hyphen, as in ``sclite -i rm``.
    """
    parts = utterance.split("-")
    for length in range(1, len(parts)):
        speaker = "-".join(parts[:length])
        if utterance.startswith(speaker, len(speaker) + 1):
            return speaker
    return parts[0]


def read_trn(
    path: Path, *, case_sensitive: bool = False, alternatives: bool = False
) -> dict[str, Transcript]:
    """All utterances of a trn file by id, tokens as sclite compares them.

    Args:
        path: a UTF-8 file.
        case_sensitive: sclite's ``-s``, as in `tokens_of`.
        alternatives: whether ``{ a / b }`` stands for either; else, and where the braces make no
            alternatives, they are words as all others.

    Raises:
        TopdownError: the file is missing, empty, not UTF-8, has a line without ``(id)``, or an id
            twice.
    """
    try:
        # To sclite only \n ends a line; str.splitlines knows more line ends.
        lines = Path(path).read_bytes().decode("utf-8").split("\n")
    except OSError as error:
        raise TopdownError(
            f"{path}: cannot be read ({error.strerror}); run scoring (stage 13) again"
        ) from error
    except UnicodeDecodeError as error:
        raise TopdownError(
            f"{path}: not UTF-8 at byte {error.start}; write the transcript as UTF-8"
        ) from error
    transcripts: dict[str, Transcript] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip(" \t\r") or line.startswith(COMMENT):
            continue
        transcript = _parse(line, f"{path}:{number}", case_sensitive, alternatives)
        if transcript.utterance in transcripts:
            raise TopdownError(
                f"{path}:{number}: utterance {transcript.utterance} occurs twice; keep one of the"
                " lines"
            )
        transcripts[transcript.utterance] = transcript
    if not transcripts:
        raise TopdownError(
            f"{path}: no utterance in this file; run decoding and scoring (stages 12 and 13) again"
        )
    return transcripts


def _parse(line: str, where: str, case_sensitive: bool, alternatives: bool) -> Transcript:
    text = line.rstrip(" \t\r")
    parts = _LAST_WORD.fullmatch(text) or _LAST_BRACKET.fullmatch(text)
    if parts is None:
        raise TopdownError(
            f"{where}: expected 'TOKENS<tab>(speaker-utterance)', found {line[:60]!r}"
        )
    spoken, utterance = parts.groups()
    tokens = tokens_of(spoken, case_sensitive=case_sensitive)
    items = None
    if alternatives and "{" in spoken:
        written = _cleaned(spoken, case_sensitive)
        items = parse(" ".join(written))
        tokens = tuple(written) if items else tokens
    return Transcript(utterance, speaker_of(utterance), tokens, alternatives=items)


def tokens_of(text: str, *, case_sensitive: bool = False) -> tuple[str, ...]:
    """The tokens of a text as sclite compares them.

    Args:
        text: of one utterance, without its id. ``@`` stands for no word, what follows ``;`` in a
            word is a tag, and a backslash is none of its characters: it takes the next one, if that
            is ``;``, for a letter.
        case_sensitive: sclite's ``-s``; without it ASCII letters are folded, and no others.
    """
    return tuple(word for word in _cleaned(text, case_sensitive) if word != EMPTY)


def _cleaned(text: str, case_sensitive: bool) -> list[str]:
    # str.split would also part at blanks that sclite takes for letters, such as a no-break space.
    if not case_sensitive:
        text = text.translate(_ASCII_LOWER)
    return [_TAG.split(word, maxsplit=1)[0].replace("\\", "") for word in _WORD.findall(text)]


def write_trn(path: Path, rows: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Write (utterance, speaker, tokens) rows as ESPnet2's stage 13 does, whole or not at all.

    A text that begins as comments do begins with a blank, since sclite would pass it over.
    """
    lines = []
    for utterance, speaker, tokens in rows:
        text = " ".join(tokens)
        blank = " " if text.startswith(COMMENT) else ""
        lines.append(f"{blank}{text}\t({speaker}-{utterance})\n")
    write_text(Path(path), "".join(lines))
