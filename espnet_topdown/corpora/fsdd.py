"""Connected digits from the Free Spoken Digit Dataset.

Strings of one speaker with pauses and babble, drawn by a seed.

Recordings 0 to 14 of each digit and speaker make the test set, 15 to 19 the dev set, 20 and up the
training set; babble comes from other recordings of the same set, so no recording is ever heard in
two sets.
"""

import argparse
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_topdown import files
from espnet_topdown.corpora.audio import run_command
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.errors import TopdownError, nearest

RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TAKES = {
    "train": range(20, 50),
    "dev": range(15, 20),
    "test": range(15),
}  # numbers of the recordings of each set
LENGTHS = (3, 7)  # digits of a string
PAUSES_S = (0.0, 0.3)  # between digits
EDGE_S = 0.1  # before the first and after the last digit
TALKERS = 3  # of the babble
PEAK = 0.99

Recordings = Mapping[
    tuple[str, int], Sequence[np.ndarray]
]  # (speaker, digit) -> samples of the recordings of one set


def recordings_dir(source: Path, downloads: Path) -> Path:
    """Directory of the recordings.

    `source` itself, its ``recordings``, or what the archive `source` unpacks to.

    Raises:
        TopdownError: `source` is neither a directory with recordings nor an archive with them.
    """
    if source.is_file():
        try:
            with tarfile.open(source) as archive:
                archive.extractall(downloads, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise TopdownError(
                f"FSDD names {source}, which cannot be unpacked ({error}); give a tar archive"
            ) from None
        source = downloads
    for directory in (source / "recordings", source, *sorted(source.glob("*/recordings"))):
        if any(directory.glob("[0-9]_*_*.wav")):
            return directory
    raise TopdownError(
        f"FSDD names {source}, but it has no recordings like 7_theo_0.wav; give a clone of FSDD or"
        " an archive of it"
    )


def read_recordings(directory: Path) -> dict[tuple[str, int, int], np.ndarray]:
    """Samples of every recording by (speaker, digit, number), as floats between -1 and 1.

    Raises:
        TopdownError: a name is not DIGIT_SPEAKER_NUMBER, the audio is not 8 kHz mono, or a
            recording is missing.
    """
    import soundfile

    found = {}
    for path in sorted(directory.glob("*.wav")):
        try:
            digit, speaker, number = path.stem.split("_")
            key = speaker, int(digit), int(number)
        except ValueError:
            raise TopdownError(
                f"{path}: FSDD names its recordings DIGIT_SPEAKER_NUMBER.wav; move it away"
            ) from None
        samples, rate = soundfile.read(path, dtype="float64")
        if rate != RATE or samples.ndim != 1 or not len(samples):
            raise TopdownError(
                f"{path}: {rate} Hz, {samples.shape}; FSDD is {RATE} Hz mono; fetch it again"
            )
        found[key] = samples
    takes = sorted(number for numbers in TAKES.values() for number in numbers)
    missing = [
        f"{d}_{s}_{n}.wav"
        for s in speakers(found)
        for d in range(10)
        for n in takes
        if (s, d, n) not in found
    ]
    if missing:
        some = ", ".join(missing[:3])
        raise TopdownError(
            f"{directory}: {len(missing)} recordings are missing ({some}, ...); fetch FSDD again"
        )
    return found


def speakers(recordings: Mapping[tuple[str, int, int], np.ndarray]) -> list[str]:
    """Sorted names of the speakers."""
    return sorted({speaker for speaker, _, _ in recordings})


def speakers_of_sets(names: Sequence[str], rotation: str) -> dict[str, list[str]]:
    """Set -> its speakers.

    All in every set, or with a test speaker held out, and the next speaker for dev.

    Args:
        names: all speakers.
        rotation: ``none``, or the name of the test speaker.

    Raises:
        TopdownError: no speaker has that name.
    """
    if rotation == "none":
        return dict.fromkeys(TAKES, list(names))
    if rotation not in names:
        raise TopdownError(
            f"--rotation {rotation}: no such speaker; {nearest(rotation, ['none', *names])}"
        )
    dev = names[(names.index(rotation) + 1) % len(names)]
    return {
        "train": [n for n in names if n not in (rotation, dev)],
        "dev": [dev],
        "test": [rotation],
    }


def babble(pool: Sequence[np.ndarray], samples: int, draw: np.random.Generator) -> np.ndarray:
    """`TALKERS` tracks of recordings drawn from `pool`, one after another, added up; (samples,)."""
    tracks = []
    for _ in range(TALKERS):
        track = np.zeros(0)
        while (
            len(track) < 2 * samples
        ):  # a random part of it is taken, so that not all talkers begin a word at once
            track = np.concatenate([track, pool[draw.integers(len(pool))]])
        start = int(draw.integers(len(track) - samples))
        tracks.append(track[start : start + samples])
    return np.sum(tracks, axis=0)


def make_string(
    recordings: Recordings, speaker: str, snr_db: float | None, draw: np.random.Generator
) -> tuple[list[int], np.ndarray]:
    """One string: its digits and its samples, (samples,).

    Args:
        recordings: those of one set.
        speaker: who says the digits; babble comes from all speakers of the set.
        snr_db: energy of the digits (pauses left out) over that of the babble, per sample; None: no
            babble.
        draw: random numbers.
    """
    digits = draw.integers(10, size=draw.integers(LENGTHS[0], LENGTHS[1] + 1)).tolist()
    used = {(speaker, d): int(draw.integers(len(recordings[speaker, d]))) for d in digits}
    said = [recordings[speaker, d][used[speaker, d]] for d in digits]
    pieces = [np.zeros(int(EDGE_S * RATE))]
    for number, samples in enumerate(said):
        pieces += [np.zeros(int(draw.uniform(*PAUSES_S) * RATE))] if number else []
        pieces.append(samples)
    speech = np.concatenate([*pieces, pieces[0]])
    if snr_db is not None:
        pool = [
            r
            for key, takes in recordings.items()
            for n, r in enumerate(takes)
            if used.get(key) != n
        ]
        noise = babble(pool, len(speech), draw)
        power = np.mean(np.concatenate(said) ** 2)
        speech = speech + noise * np.sqrt(power / np.mean(noise**2) / 10 ** (snr_db / 10))
    return digits, speech * min(1.0, PEAK / np.abs(speech).max())


def write_set(
    name: str, recordings: Recordings, strings: int, snr_db: float | None, seed: int, output: Path
) -> None:
    """Writes ``output/name`` with `strings` strings, as many of each speaker, their audio in
    ``output/name/wav``.
    """
    import soundfile

    draw = np.random.default_rng([seed, list(TAKES).index(name)])
    names = sorted({speaker for speaker, _ in recordings})
    audio, text, owner = {}, {}, {}
    folder = output / name / "wav"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(strings):
        speaker = names[number % len(names)]
        utterance = f"{speaker}-{name}{number:05d}"
        digits, samples = make_string(recordings, speaker, snr_db, draw)
        soundfile.write(folder / f"{utterance}.wav", samples, RATE, subtype="PCM_16")
        audio[utterance] = str(folder / f"{utterance}.wav")
        text[utterance] = " ".join(WORDS[d] for d in digits)
        owner[utterance] = speaker
    DataDir(audio, text, owner).write(output / name)


def prepare(options: argparse.Namespace) -> None:
    """Writes train, dev and test below ``options.output``, and the options that made them as
    ``options.json``.

    Raises:
        TopdownError: the source is not FSDD, or an option is out of range.
    """
    sizes = {
        "train": options.train_strings,
        "dev": options.dev_strings,
        "test": options.test_strings,
    }
    if small := [f"--{name}_strings {size}" for name, size in sizes.items() if size < 1]:
        raise TopdownError(f"{', '.join(small)}: every set needs one string at least")
    recordings = read_recordings(recordings_dir(options.fsdd, options.downloads))
    snr_db = None if options.snr_db == "none" else _decibels(options.snr_db)
    for name, names in speakers_of_sets(speakers(recordings), options.rotation).items():
        own = {(s, d): [recordings[s, d, n] for n in TAKES[name]] for s in names for d in range(10)}
        write_set(name, own, sizes[name], snr_db, options.seed, options.output)
    chosen = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    files.write_json(options.output / "options.json", chosen)


def _decibels(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TopdownError(
            f"--snr_db {text}: give a number of dB, or none for clean strings"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """``python3 -m espnet_topdown.corpora.fsdd --fsdd DIR_OR_ARCHIVE [options]``.

    Returns the exit status.
    """
    parser = argparse.ArgumentParser(
        "python3 -m espnet_topdown.corpora.fsdd", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add(
        "--fsdd",
        type=Path,
        required=True,
        help="clone of FSDD, directory of its recordings, or an archive",
    )
    add(
        "--downloads",
        type=Path,
        default=Path("downloads"),
        help="where an archive is unpacked (downloads)",
    )
    add("--output", type=Path, default=Path("data"), help="where the sets go (data)")
    add("--train_strings", type=int, default=1000, help="strings of the training set (1000)")
    add("--dev_strings", type=int, default=180, help="strings of the dev set (180)")
    add("--test_strings", type=int, default=1500, help="strings of the test set (1500)")
    add("--snr_db", default="10", help="speech over babble in dB, or none (10)")
    add(
        "--rotation",
        default="none",
        help="speaker held out for test, the next one for dev; none: all in all (none)",
    )
    add("--seed", type=int, default=0, help="of the strings, pauses and babble (0)")
    return run_command(prepare, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
