"""Audio files of a corpus: checked before anything is written, and named in ``wav.scp``."""

import filecmp
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.corpora import sphere
from espnet_topdown.corpora.disc_names import plain
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.lists import files_below
from espnet_topdown.corpora.sphere_header import read_header
from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.grouping import grouped

CHECKS = ("header", "full", "none")
CHANNELS = {"A": 1, "B": 2}  # sides of a telephone conversation
# Files that one process takes at a time: what it has begun is not interrupted.
_CHUNKS = {"header": 512, "full": 8}


class Finding(NamedTuple):
    """What was seen of one audio file.

    Attributes:
        compression: the one that its header names, "" for none; None where it was not read.
        complaint: why the file cannot be used, or "".
    """

    compression: str | None
    complaint: str = ""


class AudioCheck:
    """Looks at SPHERE files in other processes, for the length of a ``with`` block.

    Args:
        how: one of `CHECKS`.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        # Processes, because desphere decodes in Python, and because even headers take time. No
        # multiprocessing.Pool, whose terminate() can wait for ever.
        self.pool = ProcessPoolExecutor()

    def __enter__(self) -> "AudioCheck":
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            # A refusal does not wait for what was begun.
            for process in active_children():
                process.terminate()
        self.pool.shutdown(cancel_futures=True)

    def begin(
        self, paths: Iterable[str], rate: int, channels: int
    ) -> Callable[[], dict[str, Finding]]:
        """A function that waits for the findings by path; the processes begin to look at once.

        Args:
            paths: the files.
            rate: samples per second that the corpus must have.
            channels: channels that every file must have.
        """
        paths = list(paths)
        if self.how == "none":
            return lambda: dict.fromkeys(paths, Finding(None))
        look = partial(_inspect, decode=self.how == "full", rate=rate, channels=channels)
        pending = self.pool.map(look, paths, chunksize=_CHUNKS[self.how])
        return lambda: dict(zip(paths, pending, strict=True))


def _inspect(path: str, *, decode: bool, rate: int, channels: int) -> Finding:
    try:
        header = read_header(path)
        if decode:
            sphere.decode(path)
    except TopdownError as error:
        return Finding(None, str(error))
    if (header.rate, header.channels) != (rate, channels):
        seen = f"{header.rate} samples per second and {header.channels} channel(s)"
        return Finding(None, f"{path}: {seen}, expected {rate} and {channels}")
    # One object for all files is pickled once.
    return Finding(sys.intern(header.compression))


def sound_files(
    corpus: str, findings: Mapping[str, Finding], faults: Faults
) -> dict[str, str | None]:
    """The compression of every file of `corpus` that can be used.

    The others, each with its complaint, go to `faults`.

    Raises:
        TopdownError: files are compressed, and no decoder is installed.
    """
    # Told at once, and not by a thousand complaints or in stage 3.
    packed = [path for path, finding in findings.items() if finding.compression]
    if packed:
        sphere.find_decoder(packed[0], read_header(packed[0]))
    sound = {}
    for path, finding in findings.items():
        if finding.complaint:
            faults.add(f"{corpus}: audio cannot be used", finding.complaint)
        else:
            sound[path] = finding.compression
    return sound


def sphere_files(corpus: str, root: Path) -> dict[str, str]:
    """SPHERE files below a directory by their name in lower case without ``.sph``.

    Args:
        corpus: what the message names.
        root: the directory.

    Raises:
        TopdownError: files of the same name have other contents.
    """
    by_name = grouped(files_below(root, ".sph"), name_of)
    twice = [" and ".join(paths) for paths in by_name.values() if _are_several(paths)]
    if twice:
        raise TopdownError(
            f"{corpus}: audio of one name in several places; leave one of each there:"
            f" {some_of(twice, 6)}"
        )
    return {name: paths[0] for name, paths in by_name.items()}


def _are_several(paths: Sequence[str]) -> bool:
    first, *others = paths
    return not all(filecmp.cmp(first, other, shallow=False) for other in others)


def name_of(path: str) -> str:
    """The plain name of an audio file without its ending of four characters."""
    # Called for every file of a corpus: pathlib would take seconds.
    return plain(path[path.rindex("/") + 1 :])[:-4]


def conversation_sides(
    corpus: str, files: Mapping[str, str], rate: int, check: AudioCheck, faults: Faults
) -> dict[str, str]:
    """The ``wav.scp`` entry of each side, ``NAME-A`` and ``NAME-B``, of two-channel conversations.

    Args:
        corpus: what complaints name.
        files: name of a conversation -> its file.
        rate: samples per second that every file must have.
        check: looks at the audio.
        faults: takes the files that cannot be used; they get no entry.
    """
    findings = check.begin(files.values(), rate, len(CHANNELS))
    sound = sound_files(corpus, findings(), faults)
    has_sph2pipe = sphere.has_sph2pipe()
    entries = {}
    for name, path in files.items():
        if path not in sound:
            continue
        for side, channel in CHANNELS.items():
            entry = sphere.wav_entry(path, sound[path], channel, sph2pipe=has_sph2pipe)
            entries[f"{name}-{side}"] = entry
    return entries


def lengths_s(sides: Iterable[str], files: Mapping[str, str]) -> dict[str, float]:
    """Seconds of every conversation of which `sides`, as `conversation_sides` names them, are used.

    Args:
        sides: ``NAME-A`` and ``NAME-B``.
        files: name of a conversation -> its file.
    """
    conversations = {side.rpartition("-")[0] for side in sides}
    headers = {name: read_header(files[name]) for name in sorted(conversations)}
    return {name: header.samples / header.rate for name, header in headers.items()}
