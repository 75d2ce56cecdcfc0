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


def add_options(parser: ArgumentParser) -> None:
    """Add the options that every corpus has."""
    parser.add_argument("--output", type=Path, default=Path("data"), help="where the sets go (default: data)")
    parser.add_argument("--faults", choices=POLICIES, default="refuse",
                        help="files that are damaged and utterances without a transcript: refuse the corpus (default) "
                        "or name and skip them")
    parser.add_argument("--audio_check", choices=CHECKS, default="header",
                        help="of every audio file read the header and compare the size (default), decode it whole "
                        "(the only check that sees damage inside compressed files), or trust it")


def run_command(prepare: Callable[[Namespace], None], options: Namespace) -> int:
    """Run `prepare`; a refusal is printed without a traceback and gives exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s")
    try:
        prepare(options)
    except TopdownError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def sound_files(paths: Iterable[str], rate: int, channels: int, check: str, faults: Faults
                ) -> dict[str, sphere.SphereHeader | None]:
    """The files that are sound, with their headers (None where they were not to be read).

    Args:
        paths: SPHERE files.
        rate: samples per second that the corpus must have.
        channels: channels that every file must have.
        check: one of `CHECKS`.
        faults: takes the files that are missing, damaged, or of another rate or number of channels.
    """
    paths = list(paths)
    inspect = partial(_inspect, check=check, rate=rate, channels=channels)
    if len(paths) <= _CHUNK or check == "none":
        results = map(inspect, paths)
    else:
        with Pool() as pool:  # processes, because desphere decodes in Python
            results = pool.map(inspect, paths, chunksize=_CHUNK)
    sound = {}
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, str):
            faults.add("audio cannot be used", result)
        else:
            sound[path] = result
    return sound


def _inspect(path: str, *, check: str, rate: int, channels: int) -> sphere.SphereHeader | str | None:
    """The header, None where it was not to be read, or what is wrong."""
    if check == "none":
        return None
    try:
        header = sphere.read_header(path)
        if check == "full":
            sphere.decode(path)
    except TopdownError as error:
        return str(error)
    if (header.rate, header.channels) == (rate, channels):
        return header
    return (f"{path}: {header.rate} samples per second and {header.channels} channel(s), expected {rate} and "
            f"{channels}")
