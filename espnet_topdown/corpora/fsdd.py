"""Connected digits from the Free Spoken Digit Dataset: strings with pauses and babble, by a seed.

Babble comes from other recordings of the same set, so no recording is ever heard in two sets. Which
recordings these are, and whether all are there, is `espnet_topdown.corpora.fsdd_recordings`'s part.
"""

import argparse
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_topdown import files
from espnet_topdown.corpora.command import run_command
from espnet_topdown.corpora.fsdd_recordings import (
    RATE,
    SHA256,
    TAKES,
    WORDS,
    check_recordings,
    read_recordings,
    recordings_dir,
    speakers,
)
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.errors import Parser, TopdownError, nearest

LENGTHS = (3, 7)  # digits of a string
PAUSES_S = (0.0, 0.3)  # between digits
EDGE_S = 0.1  # before the first and after the last digit
TALKERS = 3  # of the babble
PEAK = 0.99
MAX_SNR_DB = 90
CLEAN = "clean"  # among several levels of babble, the one without

SpokenDigit = tuple[str, int]  # speaker, digit
Recordings = Mapping[SpokenDigit, Sequence[np.ndarray]]  # of one set


def speakers_of_sets(names: Sequence[str], rotation: str) -> dict[str, list[str]]:
    """Set -> its speakers: all in every set, or one held out for test and the next for dev.

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
    others = [name for name in names if name not in (rotation, dev)]
    return {"train": others, "dev": [dev], "test": [rotation]}


def babble(pool: Sequence[np.ndarray], samples: int, draw: np.random.Generator) -> np.ndarray:
    """`TALKERS` tracks of recordings drawn from `pool`, one after another, added up; (samples,)."""
    tracks = []
    for _ in range(TALKERS):
        track = np.zeros(0)
        # A random stretch of it is taken, so that not all talkers begin a word at once.
        while len(track) < 2 * samples:
            track = np.concatenate([track, pool[int(draw.integers(len(pool)))]])
        start = int(draw.integers(len(track) - samples))
        tracks.append(track[start : start + samples])
    return np.sum(tracks, axis=0)


def make_string(
    recordings: Recordings, speaker: str, snr_db: float | None, draw: np.random.Generator
) -> tuple[list[int], list[int], np.ndarray]:
    """One string: its digits, the place of each one's recording, and its samples, (samples,).

    Args:
        recordings: those of one set.
        speaker: who says the digits; babble comes from all speakers of the set.
        snr_db: energy of the digits (pauses left out) over that of the babble, per sample; None: no
            babble is drawn; infinite: it is drawn, so that the next string is that of other levels,
            and left out.
        draw: random numbers.
    """
    shortest, longest = LENGTHS
    digits = draw.integers(10, size=draw.integers(shortest, longest + 1)).tolist()
    # A digit that comes twice is the same recording twice.
    used = {}
    for digit in digits:
        used[speaker, digit] = int(draw.integers(len(recordings[speaker, digit])))
    said = [recordings[speaker, digit][used[speaker, digit]] for digit in digits]
    speech = _with_pauses(said, draw)
    if snr_db is not None:
        noise = babble(_all_but(recordings, used), len(speech), draw)
        power = np.mean(np.concatenate(said) ** 2)
        gain = np.sqrt(power / np.mean(noise**2) / 10 ** (snr_db / 10))
        speech = speech + noise * gain
    places = [used[speaker, digit] for digit in digits]
    return digits, places, speech * min(1.0, PEAK / np.abs(speech).max())


def _with_pauses(said: Sequence[np.ndarray], draw: np.random.Generator) -> np.ndarray:
    """Recordings one after another, (samples,)."""
    edge = np.zeros(int(EDGE_S * RATE))
    pieces = [edge, said[0]]
    for samples in said[1:]:
        pause = np.zeros(int(draw.uniform(*PAUSES_S) * RATE))
        pieces += [pause, samples]
    return np.concatenate([*pieces, edge])


def _all_but(recordings: Recordings, used: Mapping[SpokenDigit, int]) -> list[np.ndarray]:
    """All recordings but one of each (speaker, digit) in `used`, whose place that gives."""
    pool: list[np.ndarray] = []
    for key, takes in recordings.items():
        pool += [samples for place, samples in enumerate(takes) if place != used.get(key)]
    return pool


def write_set(
    of: str,
    recordings: Recordings,
    strings: int,
    snr_db: float | None,
    seed: int,
    output: Path,
    *,
    suffix: str = "",
) -> None:
    """Write ``output/SET`` with as many strings of each speaker.

    Args:
        of: train, dev or test.
        recordings: those of the set.
        strings: how many.
        snr_db: see `make_string`.
        seed: decides everything that is drawn.
        output: the audio goes to ``output/SET/wav``.
        suffix: of the set's name, by which sets of one seed with other babble are told apart.
    """
    import soundfile

    name = of + suffix
    draw = np.random.default_rng([seed, list(TAKES).index(of)])
    names = sorted({speaker for speaker, _ in recordings})
    audio, text, owner, said = {}, {}, {}, {}
    folder = output / name / "wav"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(strings):
        speaker = names[number % len(names)]
        utterance = f"{speaker}-{name}{number:05d}"
        digits, places, samples = make_string(recordings, speaker, snr_db, draw)
        path = folder / f"{utterance}.wav"
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        audio[utterance] = str(path)
        text[utterance] = " ".join(WORDS[d] for d in digits)
        owner[utterance] = speaker
        takes = [TAKES[of][place] for place in places]
        said[utterance] = [f"{d}_{speaker}_{t}" for d, t in zip(digits, takes, strict=True)]
    DataDir(audio=audio, text=text, speaker=owner).write(output / name)
    # Strings share recordings, which a study has to know to say how far its test set reaches.
    lines = [f"{utterance} {' '.join(names)}\n" for utterance, names in sorted(said.items())]
    files.write_text(output / name / "recordings", "".join(lines))


def prepare(options: argparse.Namespace) -> None:
    """Write train, dev and test below ``options.output``, each with ``options.json``, what made it.

    Raises:
        TopdownError: the source is not FSDD, or an option is out of range.
    """
    sizes = {name: getattr(options, f"{name}_strings") for name in TAKES}
    small = [f"--{name}_strings {size}" for name, size in sizes.items() if size < 1]
    if small:
        raise TopdownError(f"{', '.join(small)}: every set needs one string at least")
    if options.seed < 0:
        raise TopdownError(f"--seed {options.seed}: give a whole number of 0 or more")
    directory = recordings_dir(options.fsdd, options.downloads)
    # Names, formats and gaps are told first: they say more than a checksum.
    corpus = read_recordings(directory)
    check_recordings(directory, options.checksum)
    levels = _levels(options.snr_db)
    # Where things lie changes nothing in the sets.
    chosen = {key: value for key, value in vars(options).items() if not isinstance(value, Path)}
    for name, names in speakers_of_sets(speakers(corpus), options.rotation).items():
        own: dict[SpokenDigit, list[np.ndarray]] = {}
        for speaker, digit in itertools.product(names, range(len(WORDS))):
            own[speaker, digit] = [corpus[speaker, digit, number] for number in TAKES[name]]
        for suffix, snr_db in levels.items():
            where = (options.seed, options.output)
            write_set(name, own, sizes[name], snr_db, *where, suffix=suffix)
            files.write_json(options.output / f"{name}{suffix}" / "options.json", chosen)


def _levels(text: str) -> dict[str, float | None]:
    """Suffix of the names of sets -> their babble in dB: one of sets called train, or several."""
    words = text.split(",")
    if len(words) == 1:
        return {"": _decibels(text)}
    levels: dict[str, float | None] = {}
    for word in words:
        # With the babble of the others drawn, so that all have the same strings.
        if word == CLEAN:
            levels[f"_{CLEAN}"] = math.inf
        else:
            levels[f"_{word}dB"] = _decibels(word)
    if len(levels) < len(words) or None in levels.values():
        raise TopdownError(
            f"--snr_db {text}: of several, each is a number of dB or {CLEAN}, and stands once, such"
            f" as {CLEAN},10,5,0"
        )
    return levels


def _decibels(text: str) -> float | None:
    if text == "none":
        return None
    try:
        decibels = float(text)
    except ValueError:
        decibels = math.nan
    # Beyond, one of the two is silence in 16-bit samples.
    if not abs(decibels) <= MAX_SNR_DB:
        raise TopdownError(
            f"--snr_db {text}: give a number of dB, -{MAX_SNR_DB} to {MAX_SNR_DB}, none for clean"
            f" strings, or several with commas such as {CLEAN},10,5,0"
        )
    return decibels


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.corpora.fsdd --fsdd DIR_OR_ARCHIVE [options]``."""
    parser = Parser("python3 -m espnet_topdown.corpora.fsdd", description=__doc__.splitlines()[0])
    source = "clone of FSDD, directory of its recordings, or an archive"
    rotation = "speaker held out for test, the next one for dev; none: all in all (none)"
    snr_db = (
        f"speech over babble in dB, or none; several, such as {CLEAN},10,5,0, make the same strings"
        f" with each, in sets called train_{CLEAN}, train_10dB, ... (10)"
    )
    add = parser.add_argument
    add("--fsdd", type=Path, required=True, help=source)
    add("--downloads", type=Path, default="downloads", help="where archives go (downloads)")
    add("--output", type=Path, default="data", help="where the sets go (data)")
    add("--checksum", default=SHA256, help="of the recordings, or none to take any (FSDD's)")
    add("--train_strings", type=int, default=1000, help="strings of the training set (1000)")
    add("--dev_strings", type=int, default=180, help="strings of the dev set (180)")
    add("--test_strings", type=int, default=1500, help="strings of the test set (1500)")
    add("--snr_db", default="10", help=snr_db)
    add("--rotation", default="none", help=rotation)
    add("--seed", type=int, default=0, help="of the strings, pauses and babble (0)")
    run_command(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    main()
