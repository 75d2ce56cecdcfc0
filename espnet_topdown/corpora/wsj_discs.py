"""The discs of both WSJ corpora, and the audio files that each set has on them.

Index files say what is in a set; two development sets have none and are what lies in certain
directories. Transcripts and audio are wsj's.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.corpora.disc_names import DiscNames, plain
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.lists import files_below, numbered_entries
from espnet_topdown.errors import TopdownError

LDC = {"wsj0": "LDC93S6B (or LDC93S6A)", "wsj1": "LDC94S13B (or LDC94S13A)"}
# Indices, dev_dt sets, language-model text.
NEEDED = ("11-2.1", "11-13.1", "13-16.1", "13-32.1", "13-34.1")
# A speaker whose data the training index lists but nobody uses.
WITHDRAWN_DISC, WITHDRAWN_SPEAKER = "11-2.1", "wsj0/si_tr_s/401"


@dataclass(frozen=True)
class Listed:
    """A set whose utterances stand in index files.

    Args:
        name: name of the set.
        indices: index files, disc first.
        expected: utterances in the full corpus, None where not known.
        suffix: what the entries lack at their end.
        wrong_discs: disc id in the index -> that of the disc which really holds the files.
    """

    name: str
    indices: tuple[str, ...]
    expected: int | None
    suffix: str = ""
    wrong_discs: Mapping[str, str] = field(default_factory=dict)


_TRAIN = "11-13.1/wsj0/doc/indices/train"
_TEST = "11-13.1/wsj0/doc/indices/test/nvp"
_EVAL = "13-32.1/wsj1/doc/indices/wsj1/eval"
_WSJ1 = "13-34.1/wsj1/doc/indices"
_MISNAMED = {"13_32_1": "13_33_1"}
LISTED = (
    Listed("train_si284", (f"{_WSJ1}/si_tr_s.ndx", f"{_TRAIN}/tr_s_wv1.ndx"), 37416),
    Listed("test_eval92", (f"{_TEST}/si_et_20.ndx",), 333, suffix=".wv1"),
    Listed("test_eval92_5k", (f"{_TEST}/si_et_05.ndx",), 330, suffix=".wv1"),
    Listed("test_eval93", (f"{_EVAL}/h1_p0.ndx",), 213, wrong_discs=_MISNAMED),
    Listed("test_eval93_5k", (f"{_EVAL}/h2_p0.ndx",), None, wrong_discs=_MISNAMED),
    Listed("test_dev93", (f"{_WSJ1}/h1_p0.ndx",), 503),
    Listed("test_dev93_5k", (f"{_WSJ1}/h2_p0.ndx",), 513),
)
# Sets without an index: (vocabulary that the directories ??_??_VOCABULARY of 13-16.1 name, size).
SCANNED = {"dev_dt_20": ("20", 503), "dev_dt_05": ("05", 913)}
EXPECTED = {listed.name: listed.expected for listed in LISTED} | {
    name: size for name, (_, size) in SCANNED.items()
}
# 11-13.1; the discs' own labels are 11_13_1.
_DISC = re.compile(r"(\d\d)[-_](\d{1,2})[._](\d)")
_DOT = re.compile(r"(.{6})00\.dot")
_ENTRY = re.compile(r"([0-9_]+):\s*(\S+)")


@dataclass(frozen=True)
class Discs:
    """The directories of both corpora, by name, and those of their discs, by number."""

    roots: Mapping[str, Path]
    paths: Mapping[str, Path]
    names: DiscNames

    def file(self, relative: str) -> Path:
        """The path of ``disc/rest``, whose name on the disc may be in upper case."""
        disc, _, rest = relative.partition("/")
        return Path(self.names.actual(self.paths[disc], rest))

    def missing(self, disc: str) -> str:
        """What to say about a disc that is not there."""
        corpus = _corpus(disc)
        return f"disc {disc} of {LDC[corpus]}: no directory {self.roots[corpus] / disc}, nor deeper"


def _corpus(disc: str) -> str:
    return "wsj1" if disc.startswith("13-") else "wsj0"


def find_discs(wsj0: str, wsj1: str) -> Discs:
    """The discs under both roots, or one directory deeper.

    Raises:
        TopdownError: a root is not given or does not exist, a disc that every set-up needs is
            missing, or one is in several places.
    """
    roots = {"wsj0": _root("wsj0", wsj0, "11-13.1"), "wsj1": _root("wsj1", wsj1, "13-34.1")}
    paths: dict[str, Path] = {}
    for root in roots.values():
        # Some copies part the discs: csr_1_senn_d1/11-1.1, csr_1_senn_d2/11-13.1.
        found = _numbered(root.glob("*"))
        deeper = [path for path in root.glob("*/*") if _number(path) not in found]
        found |= _numbered(deeper)
        # 11-2.1 before 11-13.1.
        paths |= {disc: found[disc] for disc in sorted(found, key=lambda disc: (len(disc), disc))}
    discs = Discs(roots, paths, DiscNames())
    absent = [f"  {discs.missing(disc)}" for disc in NEEDED if disc not in paths]
    if absent:
        raise TopdownError("\n".join(["WSJ is incomplete:", *absent]))
    return discs


def _numbered(directories: Iterable[Path]) -> dict[str, Path]:
    """Those that are named like discs, by the disc's number.

    Raises:
        TopdownError: two of them are the same disc.
    """
    found: dict[str, Path] = {}
    for path in sorted(directories):
        disc = _number(path)
        if disc is None:
            continue
        other = found.setdefault(disc, path)
        if not other.samefile(path):
            raise TopdownError(f"WSJ's disc {disc} is in {other} and in {path}; leave one there")
    return found


def _number(path: Path) -> str | None:
    """The number of the disc that a directory is named like; None where it is not."""
    numbers = _DISC.fullmatch(path.name)
    return "{}-{}.{}".format(*numbers.groups()) if numbers else None


def _root(corpus: str, given: str, disc: str) -> Path:
    wanted = f"set it in db.sh to the directory of {LDC[corpus]}, the parent of discs like {disc}"
    if not given:
        raise TopdownError(f"{corpus.upper()} is not set: {wanted}")
    if not Path(given).is_dir():
        raise TopdownError(f"{corpus.upper()}={given} is no directory: {wanted}")
    return Path(given).resolve()


def read_indices(discs: Discs, faults: Faults) -> dict[str, list[str]]:
    """The audio files of every set that index files define, in no particular order.

    Args:
        discs: both corpora.
        faults: takes discs that indices name and that are missing.

    Raises:
        TopdownError: an index file is missing or has a line that is no entry.
    """
    absent: dict[str, str] = {}
    audio = {}
    for listed in LISTED:
        entries = [_read_index(discs, listed, index, absent) for index in listed.indices]
        audio[listed.name] = [*itertools.chain(*entries)]
    for disc, index in absent.items():
        named = f"{discs.missing(disc)} (named by {index})"
        faults.add("index files name discs that are missing", named)
    return audio


def _read_index(discs: Discs, listed: Listed, index: str, absent: dict[str, str]) -> Iterator[str]:
    """The audio files that one index names; discs that are not there go to `absent`."""
    path = discs.file(index)
    corpus = LDC[_corpus(index)]
    if not path.is_file():
        raise TopdownError(f"{corpus}: no index file {path}")
    for number, line in numbered_entries(path, comment=";"):
        entry = _ENTRY.fullmatch(line)
        if not entry:
            raise TopdownError(
                f"{corpus}: {path}, line {number}: expected 'DISC_ID:path', found {line!r}"
            )
        disc_id, relative = entry.groups()
        disc = _disc(listed.wrong_discs.get(disc_id, disc_id))
        if disc not in discs.paths:
            absent.setdefault(disc, str(path))
        elif not _is_withdrawn(disc, relative):
            yield discs.names.actual(discs.paths[disc], _with_suffix(relative, listed.suffix))


def _with_suffix(relative: str, suffix: str) -> str:
    return relative if plain(relative).endswith(suffix) else relative + suffix


def _is_withdrawn(disc: str, relative: str) -> bool:
    return disc == WITHDRAWN_DISC and WITHDRAWN_SPEAKER in relative.lower()


@functools.cache
def _disc(disc_id: str) -> str:
    """The directory of a disc by its name in an index: 13_34_1 -> 13-34.1."""
    return disc_id.replace("_", "-", 1).replace("_", ".")


def scan_audio(discs: Discs) -> dict[str, list[str]]:
    """The audio files of the sets without an index."""
    audio: dict[str, list[str]] = {}
    for name, (vocabulary, _) in SCANNED.items():
        places = sorted(discs.paths["13-16.1"].glob(f"???1/??_??_{vocabulary}"))
        audio[name] = [*itertools.chain.from_iterable(files_below(p, ".wv1") for p in places)]
    return audio


def find_transcripts(discs: Discs) -> dict[str, Path]:
    """Every ``.dot`` file by the 6 characters before its 00, with which its utterances begin."""
    dots = {}
    for root in discs.paths.values():
        for path in map(Path, files_below(root, ".dot")):
            named = _DOT.fullmatch(plain(path.name))
            if named:
                dots[named[1]] = path
    return dots
