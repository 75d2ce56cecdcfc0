"""Fisher transcripts (LDC2004T19, LDC2005T19), without audio, for Switchboard's language model."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from espnet_topdown.corpora.disc_names import DiscNames
from espnet_topdown.corpora.lists import files_below, read_lines
from espnet_topdown.corpora.swbd_text import unspell
from espnet_topdown.errors import TopdownError

PARTS = {"LDC2004T19": "fe_03_p1_tran", "LDC2005T19": "fe_03_p2_tran"}
CALLS = 11699  # in both parts
# start end side: words. A turn of exactly two characters does not match, so that Kaldi's and
# ESPnet's text lacks it too.
_TURN = re.compile(r"([0-9.]+)\s+([0-9.]+) ([AB]):\s*(\S.+\S|\S)\s*$")
_NOISE = re.compile(r"\[(?:sigh|cough|mn|breath|lipsmack)\]")
_UNINTELLIGIBLE = "(("


def find_transcripts(root: Path) -> list[Path]:
    """Every transcript file of Fisher below `root`, names in any case; none where neither part is.

    Raises:
        TopdownError: only one of the two corpora is there, or one lacks its directory or its files.
    """
    on_disk = DiscNames()
    present = [name for name in PARTS if Path(on_disk.actual(root, name)).is_dir()]
    if not present:
        logging.info("no Fisher (%s) in %s: lm_train.txt is Switchboard's", ", ".join(PARTS), root)
        return []
    transcripts = []
    for name, part in PARTS.items():
        directory = Path(on_disk.actual(root, f"{name}/{part}/data"))
        of_part = list(map(Path, files_below(directory, ".txt")))
        if not of_part:
            raise TopdownError(
                f"Fisher is incomplete: {', '.join(present)} found in {root}, but {name} has no"
                f" *.txt below {directory}"
            )
        transcripts += of_part
    if len(transcripts) != CALLS:
        logging.warning("Fisher has %d calls, found %d in %s", CALLS, len(transcripts), root)
    return transcripts


def read_call(path: Path) -> Iterator[tuple[str, str]]:
    """(utterance id, words) of the turns of one call, noises under their Switchboard names.

    Raises:
        TopdownError: the first line does not name the call.
    """
    first, *lines = read_lines(path) or [""]
    if f"# {path.stem}.sph" not in first:
        raise TopdownError(
            f"{path}: expected '# {path.stem}.sph' in its first line, found {first!r}"
        )
    # Unintelligible ones are left out.
    for turn in filter(None, map(_TURN.search, lines)):
        start_s, end_s, side, words = turn.groups()
        if _UNINTELLIGIBLE in words:
            continue
        start, end = (int(float(seconds) * 100.0) for seconds in (start_s, end_s))
        words = _NOISE.sub("[noise]", words.replace("[laugh]", "[laughter]"))
        yield f"{path.stem}-{side}-{start:06d}-{end:06d}", words


def lm_lines(calls: Iterable[Path], training: Mapping[str, str]) -> Iterator[str]:
    """Lines ``id sentence`` for the language model: Fisher's turns by id, then `training`."""
    for call in sorted(calls, key=lambda path: path.stem):
        for utterance, same in groupby(sorted(read_call(call)), key=itemgetter(0)):
            # Of several with one id the first by its words.
            _, words = next(same)
            yield f"{utterance} {unspell(words)}"
    for utterance in sorted(training):
        yield f"{utterance} {unspell(training[utterance])}"
