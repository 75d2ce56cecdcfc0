"""The recordings of the Free Spoken Digit Dataset: found or unpacked, checked and read.

Recordings 0 to 14 of each digit and speaker make the test set, 15 to 19 the dev set, 20 and up the
training set.
"""

import hashlib
import itertools
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_topdown import files
from espnet_topdown.archives import unpack
from espnet_topdown.errors import TopdownError, some_of

RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Numbers of the recordings of each set.
TAKES = {"train": range(20, 50), "dev": range(15, 20), "test": range(15)}
# Of the 3,000 recordings, by `checksum`: those that the results of this recipe are from.
SHA256 = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"

Corpus = Mapping[tuple[str, int, int], np.ndarray]  # by speaker, digit and number


def recordings_dir(source: Path, downloads: Path) -> Path:
    """The directory of the recordings.

    Args:
        source: it, or a clone of FSDD with ``recordings``, or an archive of one of them.
        downloads: where an archive is unpacked.

    Raises:
        TopdownError: `source` is neither a directory with recordings nor an archive with them.
    """
    if source.is_file():
        try:
            with tarfile.open(source) as archive:
                unpack(archive, downloads)
                # Recordings of another archive may be there too.
                folders = {(downloads / name).parent for name in archive.getnames()}
        except (tarfile.TarError, OSError) as error:
            raise TopdownError(
                f"FSDD names {source}, which cannot be unpacked ({error}); give a tar archive"
            ) from None
        return _with_recordings(source, sorted(folders))
    return _with_recordings(
        source, [source / "recordings", source, *sorted(source.glob("*/recordings"))]
    )


def _with_recordings(source: Path, directories: Sequence[Path]) -> Path:
    for directory in directories:
        if any(directory.glob("[0-9]_*_*.wav")):
            return directory
    raise TopdownError(
        f"FSDD names {source}, but it has no recordings like 7_theo_0.wav; give a clone of FSDD or"
        " an archive of it"
    )


def checksum(directory: Path) -> str:
    """SHA-256 of the list of recordings, in the format of ``sha256sum *.wav``, sorted by name."""
    names = sorted(path.name for path in directory.glob("*.wav"))
    lines = [f"{files.sha256(directory / name)}  {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_recordings(directory: Path, expected: str) -> None:
    """Refuse recordings other than those with the `checksum` `expected`.

    Args:
        directory: of the recordings.
        expected: SHA-256 in hexadecimal, or ``none`` to take any.

    Raises:
        TopdownError: they are others.
    """
    if expected == "none":
        return
    actual = checksum(directory)
    if actual != expected:
        count = len(list(directory.glob("*.wav")))
        raise TopdownError(
            f"{directory}: the {count} recordings have the checksum {actual}, not {expected}, so"
            " they are not those of this recipe's results; move them away and fetch FSDD again, or"
            " give --checksum none to take them as they are"
        )


def read_recordings(directory: Path) -> Corpus:
    """Samples of every recording by (speaker, digit, number), as floats between -1 and 1.

    Raises:
        TopdownError: a name is not DIGIT_SPEAKER_NUMBER, the audio is not 8 kHz mono, or a
            recording is missing.
    """
    import soundfile

    recordings = {}
    for path in sorted(directory.glob("*.wav")):
        key = _read_name(path)
        samples, rate = soundfile.read(path, dtype="float64")
        if rate != RATE or samples.ndim != 1 or not len(samples):
            raise TopdownError(
                f"{path}: {rate} Hz, {samples.shape}; FSDD is {RATE} Hz mono; fetch it again"
            )
        recordings[key] = samples
    _refuse_missing(recordings, directory)
    return recordings


def _read_name(path: Path) -> tuple[str, int, int]:
    try:
        digit, speaker, number = path.stem.split("_")
        return speaker, int(digit), int(number)
    except ValueError:
        raise TopdownError(
            f"{path}: FSDD names its recordings DIGIT_SPEAKER_NUMBER.wav; move it away"
        ) from None


def _refuse_missing(recordings: Corpus, directory: Path) -> None:
    takes = sorted(itertools.chain.from_iterable(TAKES.values()))
    expected = itertools.product(speakers(recordings), range(len(WORDS)), takes)
    missing = [f"{d}_{s}_{n}.wav" for s, d, n in expected if (s, d, n) not in recordings]
    if missing:
        raise TopdownError(
            f"{directory}: recordings are missing ({len(missing)}): {some_of(missing, 3)}; fetch"
            " FSDD again"
        )


def speakers(recordings: Corpus) -> list[str]:
    """Sorted names of the speakers."""
    return sorted({speaker for speaker, _, _ in recordings})
