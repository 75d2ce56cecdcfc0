"""Transcript files in NIST's trn format, ``TOKENS<tab>(speaker-utterance)`` a line.

Reading follows sclite's habits where they change a count: comment lines, ``@``, ``word;tag``,
ASCII-only case folding. Scoring is left to `espnet_topdown.results.scoring`.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text
from espnet_topdown.results.outside import Outside

# É and é stay two letters to sclite.
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True)
class Transcript:
    """One utterance.

    Args:
        utterance: its id, as between the brackets.
        speaker: who speaks.
        tokens: words, characters or subwords.
        outside: of a hypothesis, how another scorer counted it.
    """

    utterance: str
    speaker: str
    tokens: tuple[str, ...]
    outside: Outside | None = None


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


def read_trn(path: Path, *, case_sensitive: bool = False) -> dict[str, Transcript]:
    """All utterances of a trn file by id, tokens as sclite compares them.

    Args:
        path: a UTF-8 file.
        case_sensitive: sclite's ``-s``, as in `tokens_of`.

    Raises:
        TopdownError: the file is missing, empty, not UTF-8, has a line without ``(id)``, an id
            twice, or alternatives in sclite's notation, ``{ a / b }``.
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
    has_id = opening != -1 and text.endswith(")") and utterance != ""
    if not has_id or " " in utterance:
        raise TopdownError(
            f"{where}: expected 'TOKENS<tab>(speaker-utterance)', found {line[:60]!r}"
        )
    spoken = text[:opening]
    if "{" in _words(spoken):
        raise TopdownError(
            f"{where}: '{{' opens alternatives in sclite, which are not supported; rename that"
            " token"
        )
    tokens = tokens_of(spoken, case_sensitive=case_sensitive)
    return Transcript(utterance, speaker_of(utterance), tokens)


def tokens_of(text: str, *, case_sensitive: bool = False) -> tuple[str, ...]:
    """The tokens of a text as sclite compares them.

    Args:
        text: of one utterance, without its id. ``@`` stands for no word, what follows ``;`` in a
            word is a tag.
        case_sensitive: sclite's ``-s``; without it ASCII letters are folded, and no others.
    """
    tokens = [word.partition(";")[0] for word in _words(text) if word not in ("", "@")]
    if not case_sensitive:
        tokens = [token.translate(_ASCII_LOWER) for token in tokens]
    return tuple(tokens)


def _words(text: str) -> list[str]:
    # str.split would also part at blanks that sclite takes for letters, such as a no-break space.
    return text.replace("\t", " ").split(" ")


def write_trn(path: Path, rows: Iterable[tuple[str, str, Sequence[str]]]) -> None:
    """Write (utterance, speaker, tokens) rows as ESPnet2's stage 13 does, whole or not at all."""
    lines = []
    for utterance, speaker, tokens in rows:
        lines.append(f"{' '.join(tokens)}\t({speaker}-{utterance})\n")
    write_text(Path(path), "".join(lines))
