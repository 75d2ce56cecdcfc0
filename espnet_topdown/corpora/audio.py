"""What the corpus commands share: audio files checked, options, error output."""

import logging
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from espnet_topdown.corpora import sphere
from espnet_topdown.corpora.faults import POLICIES, Faults
from espnet_topdown.errors import TopdownError

_CHUNK = 512  # files that one process takes at a time
CHECKS = ("header", "full", "none")
# Path -> (the compression that its header names, "" for none, None where it was not to be read;
# what is wrong, or "").
Findings = dict[str, tuple[str | None, str]]


def add_options(parser: ArgumentParser) -> None:
    """Add the options that every corpus has."""
    parser.add_argument(
        "--output", type=Path, default=Path("data"), help="where the sets go (default: data)"
    )
    parser.add_argument(
        "--faults",
        choices=POLICIES,
        default="refuse",
        help=(
            "files that are damaged and utterances without a transcript: refuse the corpus"
            " (default) or name and skip them"
        ),
    )
    parser.add_argument(
        "--audio_check",
        choices=CHECKS,
        default="header",
        help=(
            "of every audio file read the header and compare the size (default), decode it whole "
            "(the only check that sees damage inside compressed files), or trust it"
        ),
    )


def run_command(prepare: Callable[[Namespace], None], options: Namespace) -> int:
    """Run `prepare`; a refusal is printed without a traceback and gives exit status 1."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
    )
    try:
        prepare(options)
    except TopdownError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


class AudioCheck:
    """Looks at SPHERE files in other processes, for the length of a ``with`` block.

    Args:
        how: one of `CHECKS`.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.pool = (
            Pool()
        )  # processes, because desphere decodes in Python, and because headers take time

    def __enter__(self) -> "AudioCheck":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.terminate()

    def begin(self, paths: Iterable[str], rate: int, channels: int) -> Callable[[], Findings]:
        """Begins to look at files; what is returned waits for the findings.

        Args:
            paths: the files.
            rate: samples per second that the corpus must have.
            channels: channels that every file must have.
        """
        paths = list(paths)
        if self.how == "none":
            return lambda: dict.fromkeys(paths, (None, ""))
        one = partial(_inspect, decode=self.how == "full", rate=rate, channels=channels)
        found = self.pool.map_async(one, paths, chunksize=_CHUNK)
        return lambda: dict(zip(paths, found.get(), strict=True))


def sound_files(corpus: str, findings: Findings, faults: Faults) -> dict[str, str | None]:
    """The compression of every file of `corpus` that can be used.

    The others, each with its complaint, go to `faults`.

    Raises:
        TopdownError: files are compressed, and no decoder is installed.
    """
    packed = next((path for path, (compression, _) in findings.items() if compression), None)
    if packed:
        sphere.find_decoder(packed, sphere.read_header(packed))
    for _, complaint in findings.values():
        if complaint:
            faults.add(f"{corpus}: audio cannot be used", complaint)
    return {
        path: compression for path, (compression, complaint) in findings.items() if not complaint
    }


def _inspect(path: str, *, decode: bool, rate: int, channels: int) -> tuple[str | None, str]:
    try:
        header = sphere.read_header(path)
        if decode:
            sphere.decode(path)
    except TopdownError as error:
        return None, str(error)
    if (header.rate, header.channels) == (rate, channels):
        return sys.intern(header.compression), ""  # one object, pickled once for many files
    expected = f"expected {rate} and {channels}"
    return (
        None,
        f"{path}: {header.rate} samples per second and {header.channels} channel(s), {expected}",
    )
