"""Wall Street Journal (LDC93S6A/B and LDC94S13A/B, as disc directories) to Kaldi data directories,
without network.

Index files decide what is in a set; file lists, transcripts and audio headers are checked before
anything is written. Transcript rules are wsj_text's, audio is sphere's.

    python3 -m espnet_topdown.corpora.wsj --wsj0 /corpora/LDC93S6B --wsj1 /corpora/LDC94S13B
    --output data
"""

import functools
import logging
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.corpora import sphere, wsj_text
from espnet_topdown.corpora.audio import AudioCheck, add_options, run_command, sound_files
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.corpora.lists import files_below, read_lines, renamed, write_lines
from espnet_topdown.errors import TopdownError

SAMPLE_RATE = 16000
LDC = {"wsj0": "LDC93S6B (or LDC93S6A)", "wsj1": "LDC94S13B (or LDC94S13A)"}
BOTH = " or ".join(LDC.values())
NEEDED = (
    "11-2.1",
    "11-13.1",
    "13-16.1",
    "13-32.1",
    "13-34.1",
)  # indices, dev_dt sets, language-model text
WITHDRAWN = (
    "11-2.1",
    "wsj0/si_tr_s/401",
)  # a speaker whose data the training index lists but nobody uses


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


_TEST = "11-13.1/wsj0/doc/indices/test/nvp"
_EVAL = "13-32.1/wsj1/doc/indices/wsj1/eval"
_WSJ1 = "13-34.1/wsj1/doc/indices"
_MISNAMED = {"13_32_1": "13_33_1"}
LISTED = (
    Listed(
        "train_si284",
        (f"{_WSJ1}/si_tr_s.ndx", "11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx"),
        37416,
    ),
    Listed("test_eval92", (f"{_TEST}/si_et_20.ndx",), 333, suffix=".wv1"),
    Listed("test_eval92_5k", (f"{_TEST}/si_et_05.ndx",), 330, suffix=".wv1"),
    Listed("test_eval93", (f"{_EVAL}/h1_p0.ndx",), 213, wrong_discs=_MISNAMED),
    Listed("test_eval93_5k", (f"{_EVAL}/h2_p0.ndx",), None, wrong_discs=_MISNAMED),
    Listed("test_dev93", (f"{_WSJ1}/h1_p0.ndx",), 503),
    Listed("test_dev93_5k", (f"{_WSJ1}/h2_p0.ndx",), 513),
)
SCANNED = {
    "dev_dt_20": ("20", 503),
    "dev_dt_05": ("05", 913),
}  # no index: directories ??_??_20, ??_??_05 of 13-16.1
_ENTRY = re.compile(r"([0-9_]+):\s*(\S+)")


@dataclass
class Discs:
    """The disc directories of both corpora and the transcript files on them."""

    roots: dict[str, Path]
    paths: dict[str, Path]
    dots: dict[str, Path] = field(default_factory=dict)

    def file(self, relative: str) -> Path:
        """The path of ``disc/rest``."""
        disc, _, rest = relative.partition("/")
        return self.paths[disc] / rest

    def missing(self, disc: str) -> str:
        """What to say about a disc that is not there."""
        corpus = _corpus(disc)
        return f"disc {disc} of {LDC[corpus]}: no directory {self.roots[corpus] / disc}"


def _corpus(disc: str) -> str:
    return "wsj1" if disc.startswith("13-") else "wsj0"


def find_discs(wsj0: str, wsj1: str) -> Discs:
    """The discs under both roots.

    Raises:
        TopdownError: a root is not given or does not exist, or a disc that every set-up needs is
            missing.
    """
    roots = {}
    for corpus, given in (("wsj0", wsj0), ("wsj1", wsj1)):
        disc = "13-34.1" if corpus == "wsj1" else "11-13.1"
        wanted = (
            f"set it in db.sh to the directory of {LDC[corpus]}, the parent of discs like {disc}"
        )
        if not given:
            raise TopdownError(f"{corpus.upper()} is not set: {wanted}")
        if not Path(given).is_dir():
            raise TopdownError(f"{corpus.upper()}={given} is no directory: {wanted}")
        roots[corpus] = Path(given).resolve()
    found = [
        p
        for root in roots.values()
        for p in sorted(root.iterdir(), key=lambda p: (len(p.name), p.name))
        if re.fullmatch(r"\d\d-\d{1,2}\.\d", p.name)
    ]
    discs = Discs(roots, {path.name: path for path in found})
    absent = [discs.missing(disc) for disc in NEEDED if disc not in discs.paths]
    if absent:
        deeper = {
            disc.parent for root in roots.values() for disc in root.glob("*/[0-9][0-9]-*.[0-9]")
        }
        hint = [
            f"There are discs in {place}: is that the directory to set in db.sh?"
            for place in sorted(deeper)
        ]
        raise TopdownError(
            "\n".join(["WSJ is incomplete:", *(f"  {what}" for what in absent), *hint])
        )
    return discs


def read_indices(discs: Discs) -> dict[str, list[str]]:
    """The audio files of every set that index files define, in no particular order.

    Raises:
        TopdownError: an index file is missing or has a line that is no entry, or it names discs
            that are missing; all missing discs are named together.
    """
    absent: dict[str, str] = {}
    files = {
        s.name: [path for index in s.indices for path in _read_index(discs, s, index, absent)]
        for s in LISTED
    }
    if absent:
        raise TopdownError(
            "index files name discs that are missing:\n  "
            + "\n  ".join(
                f"{discs.missing(disc)} (named by {index})" for disc, index in absent.items()
            )
        )
    return files


def _read_index(discs: Discs, listed: Listed, index: str, absent: dict[str, str]) -> Iterator[str]:
    path = discs.file(index)
    corpus = LDC[_corpus(index)]
    if not path.is_file():
        raise TopdownError(f"{corpus}: no index file {path}")
    roots = {disc: str(root) for disc, root in discs.paths.items()}
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith(";"):
            continue
        match = _ENTRY.fullmatch(line)
        if not match:
            raise TopdownError(
                f"{corpus}: {path}, line {number}: expected 'DISC_ID:path', found {line!r}"
            )
        named, relative = match.groups()
        disc = _disc(listed.wrong_discs.get(named, named))
        if disc not in roots:
            absent.setdefault(disc, str(path))
        elif disc != WITHDRAWN[0] or WITHDRAWN[1] not in relative.lower():
            yield f"{roots[disc]}/{relative}{listed.suffix}"


@functools.cache
def _disc(named: str) -> str:
    """The directory of a disc by its name in an index: 13_34_1 -> 13-34.1."""
    return named.replace("_", "-", 1).replace("_", ".")


def scan(discs: Discs) -> tuple[dict[str, list[str]], dict[str, Path]]:
    """The audio files of the sets without an index, and every ``.dot`` file by the 6 characters
    before its 00.
    """
    dots = {}
    for root in discs.paths.values():
        for path in map(Path, files_below(root, ".dot")):
            stem = path.stem.lower()
            if len(stem) == 8 and stem.endswith("00"):
                dots[stem[:6]] = path
    audio = {}
    for name, (vocabulary, _) in SCANNED.items():
        places = sorted(discs.paths["13-16.1"].glob(f"???1/??_??_{vocabulary}"))
        audio[name] = [path for place in places for path in files_below(place, ".wv1")]
    return audio, dots


def utterance_id(path: str) -> str:
    """The id of an utterance: the lower-cased name of its file."""
    return path[path.rindex("/") + 1 : -4].lower()


def read_texts(files: Iterable[str], dots: dict[str, Path], faults: Faults) -> dict[str, str]:
    """The normalised transcripts of `files` by utterance id.

    An utterance without one is a fault.
    """
    cache: dict[str, dict[str, str]] = {}
    texts = {}
    for path in files:
        utterance = utterance_id(path)
        prefix = utterance[:6]
        if prefix not in dots:
            faults.add(
                f"{BOTH}: no transcript file on any disc for", f"{path} (expected {prefix}00.dot)"
            )
            continue
        if prefix not in cache:
            try:
                cache[prefix] = wsj_text.read_dot(dots[prefix])
            except TopdownError as error:
                faults.add(f"{BOTH}: transcripts cannot be read", str(error))
                cache[prefix] = {}
        if utterance in cache[prefix]:
            texts[utterance] = wsj_text.normalize(cache[prefix][utterance])
        else:
            faults.add(f"{BOTH}: no transcript in its .dot file for", f"{path} ({dots[prefix]})")
    return texts


def prepare(options: Namespace) -> None:
    """Write every set, ``nlsyms.txt`` and ``local/other_text/text`` under ``options.output``.

    Raises:
        TopdownError: the corpus is incomplete or inconsistent; no set has been written then.
    """
    discs = find_discs(options.wsj0, options.wsj1)
    faults = Faults(options.faults)
    np_data = discs.file("13-32.1/wsj1/doc/lng_modl/lm_train/np_data")
    with (
        renamed(options.output / "local/other_text/text") as lm_text,
        AudioCheck(options.audio_check) as check,
    ):
        sentences = check.pool.apply_async(
            wsj_text.write_lm_text, (np_data, lm_text)
        )  # takes longest
        files = read_indices(discs)
        scanned, dots = scan(discs)
        files |= scanned
        every = sorted({path for paths in files.values() for path in paths})
        findings = check.begin(every, SAMPLE_RATE, 1)
        texts = read_texts(every, dots, faults)
        sound = sound_files(BOTH, findings(), faults)
        faults.settle()
        sets = {name: _data_dir(paths, texts, sound) for name, paths in files.items()}
        if not sets["train_si284"].utterances():
            raise TopdownError(
                f"{BOTH}: no utterance of train_si284 has both audio and transcript; nothing was"
                " written"
            )
        logging.info("language-model text: %d sentences", sentences.get())
    expected = {s.name: s.expected for s in LISTED} | {
        name: count for name, (_, count) in SCANNED.items()
    }
    for name, data in sets.items():
        count = data.write(options.output / name)
        logging.info("%s: %d utterances", name, count)
        if expected[name] not in (None, count):
            logging.warning(
                "%s: the full corpus has %d utterances, found %d", name, expected[name], count
            )
    write_lines(
        options.output / "nlsyms.txt",
        wsj_text.non_linguistic_symbols(sets["train_si284"].text.values()),
    )


def _data_dir(
    paths: Iterable[str], texts: Mapping[str, str], sound: Mapping[str, str | None]
) -> DataDir:
    """The lists of a set with these audio files."""
    by_id = {utterance_id(path): path for path in paths}
    pipe = sphere.has_sph2pipe()
    audio = {
        u: sphere.wav_entry(path, sound[path], sph2pipe=pipe)
        for u, path in by_id.items()
        if path in sound
    }
    return DataDir(audio, {u: texts[u] for u in by_id if u in texts}, {u: u[:3] for u in by_id})


def main(arguments: list[str] | None = None) -> int:
    """Prepare WSJ from the command line."""
    parser = ArgumentParser(description="WSJ to Kaldi data directories")
    parser.add_argument("--wsj0", default="", help=f"directory of {LDC['wsj0']}")
    parser.add_argument("--wsj1", default="", help=f"directory of {LDC['wsj1']}")
    add_options(parser)
    return run_command(prepare, parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
