"""Unpack and check the mini_an4 recordings, and write data directories.

Sets: train, train_nodev and train_dev (parts of it), test, and test_seg (pieces of recordings).
The archive (434 kB, from AN4 of Carnegie Mellon University) is in the espnet 202611 package: taken
from the installed one, else from its wheel, which pip fetches.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import soundfile

from espnet_topdown import archives
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.recipe import datadir
from espnet_topdown.text_files import read_lines, read_table

MD5 = "e730c1b99db3259397ab3c8b58fe085a"
MEMBER = "egs3/mini_an4/esp2_asr/downloads.tar.gz"
PACKAGE = "espnet==202611"


class Spoken(NamedTuple):
    """One utterance of a transcript: the name of its recording, and its words."""

    recording: str
    words: str


def find_archive(given: str, downloads: Path) -> Path:
    """The archive: `given`, else one fetched before, else the installed package's, else fetched.

    Args:
        given: path of the archive, or "".
        downloads: directory where one is or will be fetched.
    """
    if given:
        return Path(given)
    fetched = downloads / "downloads.tar.gz"
    if fetched.exists():
        return fetched
    try:
        installed = Path(str(metadata.distribution("espnet").locate_file(MEMBER)))
    except metadata.PackageNotFoundError:
        installed = Path(MEMBER)
    if installed.exists():
        return installed
    fetch(fetched)
    return fetched


def fetch(target: Path) -> None:
    """Take the archive out of the wheel, which pip fetches for any version of Python.

    Raises:
        TopdownError: pip fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--ignore-requires-python", "--dest", str(target.parent), PACKAGE]
    if subprocess.run(command).returncode:
        raise TopdownError(
            f"asked pip for {PACKAGE}, which holds mini_an4, but it failed (above); see MINI_AN4"
        )
    wheel = next(target.parent.glob("espnet-202611*.whl"))
    with zipfile.ZipFile(wheel) as package:
        target.write_bytes(package.read(MEMBER))
    wheel.unlink()


def unpack(archive: Path, downloads: Path) -> Path:
    """The an4 directory that `archive` unpacks to, after a check of its MD5.

    Raises:
        TopdownError: there is no such file, or it is another one.
    """
    if not archive.is_file():
        raise TopdownError(
            f"asked for the mini_an4 archive {archive}, but there is no such file; see MINI_AN4"
        )
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != MD5:
        raise TopdownError(
            f"{archive} has MD5 {md5}, not mini_an4's {MD5}; delete it and run again, or see"
            " MINI_AN4"
        )
    with tarfile.open(archive) as tar:
        # Its members begin with downloads/.
        archives.unpack(tar, downloads.parent)
    return downloads / "an4"


def read_transcript(path: Path) -> dict[str, Spoken]:
    """Utterances by id, ``speaker-x-y``, of lines ``<s> WORDS </s> (x-speaker-y)``."""
    utterances = {}
    for line in read_lines(path):
        marked, _, recording = line.rstrip(")").rpartition("(")
        before, speaker, after = recording.split("-")
        words = [word for word in marked.split() if word not in ("<s>", "</s>")]
        utterances[f"{speaker}-{before}-{after}"] = Spoken(recording, " ".join(words))
    return utterances


def write_set(target: Path, utterances: Mapping[str, Spoken], audio: Path) -> None:
    """Write a data directory, with recordings ``audio/SPEAKER/NAME.sph``."""
    speaker = {utterance: utterance.split("-")[0] for utterance in utterances}
    text = {utterance: spoken.words for utterance, spoken in utterances.items()}
    recordings = {}
    for utterance, spoken in utterances.items():
        recordings[utterance] = audio / speaker[utterance] / f"{spoken.recording}.sph"
    datadir.write_table(target / "text", text)
    datadir.write_table(target / "utt2spk", speaker)
    datadir.write_table(target / "spk2utt", datadir.speakers(speaker))
    datadir.write_table(target / "wav.scp", recordings)


def cut(target: Path) -> None:
    """Turn a set into pieces of its recordings, which end at their last tenth of a second."""
    recordings = read_table(target / "wav.scp")
    segments = {}
    for utterance, path in recordings.items():
        end_s = int(soundfile.info(path).duration * 10) / 10
        segments[utterance] = f"{utterance}_org 0.0 {end_s}"
    datadir.write_table(target / "wav.scp", {f"{u}_org": path for u, path in recordings.items()})
    datadir.write_table(target / "segments", segments)


def prepare(archive: Path, downloads: Path, data: Path) -> None:
    """Write all sets below `data`."""
    root = unpack(archive, downloads)
    train = dict(sorted(read_transcript(root / "etc" / "an4_train.transcription").items()))
    test = read_transcript(root / "etc" / "an4_test.transcription")
    first, *others = train
    audio = root / "wav" / "an4_clstk"
    write_set(data / "train", train, audio)
    write_set(data / "train_dev", {first: train[first]}, audio)
    write_set(data / "train_nodev", {utterance: train[utterance] for utterance in others}, audio)
    for name in ("test", "test_seg"):
        write_set(data / name, test, root / "wav" / "an4test_clstk")
    cut(data / "test_seg")


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare all sets; user faults are printed without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--archive", default="", help="downloads.tar.gz; default: the espnet 202611 package's"
    )
    parser.add_argument("--downloads", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args(argv)
    with reported():
        prepare(find_archive(args.archive, args.downloads), args.downloads, args.data)


if __name__ == "__main__":
    main()
