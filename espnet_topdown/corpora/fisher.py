"""Fisher transcripts (LDC2004T19, LDC2005T19) as further text for the Switchboard language model,
without audio.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from espnet_topdown.corpora.lists import read_lines
from espnet_topdown.corpora.swbd_text import unspell
from espnet_topdown.errors import TopdownError

PARTS = {"LDC2004T19": "fe_03_p1_tran", "LDC2005T19": "fe_03_p2_tran"}
# A turn of exactly two characters does not match, so that Kaldi's and ESPnet's text lacks it too.
_TURN = re.compile(r"([0-9.]+)\s+([0-9.]+) ([AB]):\s*(\S.+\S|\S)\s*$")
_NOISE = re.compile(r"\[(?:sigh|cough|mn|breath|lipsmack)\]")


def find_transcripts(root: Path) -> list[Path]:
    """Every transcript file of Fisher below `root`; none where neither corpus is there.

    Raises:
        TopdownError: only one of the two corpora is there, or one lacks its directory or its files.
    """
    present = [name for name in PARTS if (root / name).is_dir()]
    if not present:
        return []
    files = []
    for name, part in PARTS.items():
        directory = root / name / part / "data"
        found = sorted(directory.rglob("*.txt"))
        if not found:
            raise TopdownError(
                f"Fisher is incomplete: {', '.join(present)} found in {root}, but {name} has no"
                f" *.txt below {directory}"
            )
        files += found
    return files


def read_call(path: Path) -> Iterator[tuple[str, str]]:
    """(utterance id, words) of the turns of one call, noises under their Switchboard names.

    Raises:
        TopdownError: the first line does not name the call.
    """
    lines = read_lines(path)
    first = lines[0] if lines else ""
    if f"# {path.stem}.sph" not in first:
        raise TopdownError(
            f"{path}: expected '# {path.stem}.sph' in its first line, found {first!r}"
        )
    for line in lines[1:]:
        turn = _TURN.search(line)
        if turn and "((" not in turn[4]:
            start, end = (int(float(time) * 100.0) for time in turn.groups()[:2])
            words = _NOISE.sub("[noise]", turn[4].replace("[laugh]", "[laughter]"))
            yield f"{path.stem}-{turn[3]}-{start:06d}-{end:06d}", words


def lm_lines(calls: Iterable[Path], training: Mapping[str, str]) -> Iterator[str]:
    """Lines ``id sentence`` of the language-model text.

    Fisher's turns sorted by id, then the training transcripts.
    """
    for call in sorted(calls, key=lambda path: path.stem):
        turns: dict[str, str] = {}
        for utterance, words in sorted(read_call(call)):
            turns.setdefault(utterance, words)
        yield from (f"{utterance} {unspell(words)}" for utterance, words in turns.items())
    for utterance in sorted(training):
        yield f"{utterance} {unspell(training[utterance])}"
