"""Transcript files in NIST's trn format as ESPnet2 writes them.

One ``TOKENS<tab>(speaker-utterance)`` a line.

Reading follows sclite's habits where they change a count: comment lines, ``@``, ``word;tag``,
ASCII-only case folding. Scoring is left to `espnet_topdown.results.scoring`.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text

_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Transcript:
    """One utterance: its id (as between the brackets), its speaker and its tokens."""

    utterance: str
    speaker: str
    tokens: tuple[str, ...]


def speaker_of(utterance: str) -> str:
    """The speaker of a ``speaker-utterance`` id.

    Utterance ids begin with the speaker in Kaldi-style data, so the speaker is the part before the
    hyphen that is repeated behind it (``sw_4390-A-sw_4390-A_000031`` gives ``sw_4390-A``); else all
    before the first hyphen, as in ``sclite -i rm``.
    """
    at = utterance.find("-")
    while at != -1:
        if utterance.startswith(utterance[:at], at + 1):
            return utterance[:at]
        at = utterance.find("-", at + 1)
    return utterance.partition("-")[0]


def read_trn(path: Path, *, case_sensitive: bool = False) -> dict[str, Transcript]:
    """All utterances of a trn file by id, tokens as sclite compares them.

    Args:
        path: a UTF-8 file.
        case_sensitive: False folds ASCII letters only, as sclite does without ``-s`` (``É`` and
            ``é`` differ).

    Raises:
        TopdownError: the file is missing, empty, not UTF-8, has a line without ``(id)``, an id
            twice, or alternatives in sclite's notation, ``{ a / b }``.
    """
    try:
        # Only \n ends a line and only ASCII blanks part tokens; str.splitlines and str.split know
        # more of either.
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
        if not line.strip(" \t\r") or line.startswith(";;"):
            continue
        transcript = _parse(line, f"{path}:{number}", case_sensitive)
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


def _parse(line: str, where: str, case_sensitive: bool) -> Transcript:
    text = line.rstrip(" \t\r")
    opening = text.rfind("(")
    utterance = text[opening + 1 : -1]
    if opening == -1 or not text.endswith(")") or not utterance or " " in utterance:
        raise TopdownError(
            f"{where}: expected 'TOKENS<tab>(speaker-utterance)', found {line[:60]!r}"
        )
    words = text[:opening].replace("\t", " ").split(" ")
    if "{" in words:
        raise TopdownError(
            f"{where}: '{{' opens alternatives in sclite, which are not supported; rename that"
            " token"
        )
    tokens = (word.split(";")[0] for word in words if word not in ("", "@"))
    folded = tokens if case_sensitive else (token.translate(_ASCII_LOWER) for token in tokens)
    return Transcript(utterance, speaker_of(utterance), tuple(folded))


def write_trn(path: Path, rows: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Write (utterance, speaker, tokens) rows as ESPnet2's stage 13 does, whole or not at all."""
    lines = (
        f"{' '.join(tokens)}\t({speaker}-{utterance})\n" for utterance, speaker, tokens in rows
    )
    write_text(Path(path), "".join(lines))
