"""Unpacks and checks the mini_an4 recordings and writes data directories.

Train, train_{nodev,dev}, test, test_seg.

The archive (434 kB, from AN4 of Carnegie Mellon University) is in the espnet 202611 package: taken
from the installed one, else from its wheel, which pip fetches.
"""

import argparse
import hashlib
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import soundfile

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir

MD5 = "e730c1b99db3259397ab3c8b58fe085a"
MEMBER = "egs3/mini_an4/esp2_asr/downloads.tar.gz"
PACKAGE = "espnet==202611"


def find_archive(given: str, downloads: Path) -> Path:
    """The archive.

    The one given, else one fetched before, else the installed package's, else the wheel's.
    """
    if given:
        return Path(given)
    fetched = downloads / "downloads.tar.gz"
    if not fetched.exists():
        try:
            installed = Path(str(metadata.distribution("espnet").locate_file(MEMBER)))
        except metadata.PackageNotFoundError:
            installed = Path(MEMBER)
        if installed.exists():
            return installed
        fetch(fetched)
    return fetched


def fetch(target: Path) -> None:
    """Takes the archive out of the wheel, which pip fetches for any version of Python."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--ignore-requires-python",
    ]
    command += ["--dest", str(target.parent), PACKAGE]
    if subprocess.run(command).returncode:
        raise TopdownError(
            f"asked pip for {PACKAGE}, which holds mini_an4, but it failed (above); see MINI_AN4"
        )
    wheel = next(target.parent.glob("espnet-202611*.whl"))
    with zipfile.ZipFile(wheel) as package:
        target.write_bytes(package.read(MEMBER))
    wheel.unlink()


def unpack(archive: Path, downloads: Path) -> Path:
    """Unpacks the archive after a check of its MD5 and returns the an4 directory."""
    if not archive.is_file():
        raise TopdownError(
            f"asked for the mini_an4 archive {archive}, but there is no such file; see MINI_AN4"
        )
    found = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    if found != MD5:
        raise TopdownError(
            f"{archive} has MD5 {found}, not mini_an4's {MD5}; delete it and run again, or see"
            " MINI_AN4"
        )
    with tarfile.open(archive) as tar:
        tar.extractall(downloads.parent, filter="data")  # its members begin with downloads/
    return downloads / "an4"


def read_transcript(path: Path) -> dict[str, tuple[str, str]]:
    """Utterance (``speaker-x-y``) -> (name of the recording, words) of ``<s> WORDS </s>
    (x-speaker-y)`` lines.
    """
    lines = {}
    for line in path.read_text().splitlines():
        words, _, name = line.rstrip(")").rpartition("(")
        before, speaker, after = name.split("-")
        lines[f"{speaker}-{before}-{after}"] = (
            name,
            " ".join(w for w in words.split() if w not in ("<s>", "</s>")),
        )
    return lines


def write_set(target: Path, lines: dict[str, tuple[str, str]], audio: Path) -> None:
    """Writes a data directory for `lines`, with recordings ``audio/SPEAKER/NAME.sph``."""
    speaker = {utterance: utterance.split("-")[0] for utterance in lines}
    datadir.write_table(target / "text", {u: words for u, (_, words) in lines.items()})
    datadir.write_table(target / "utt2spk", speaker)
    datadir.write_table(target / "spk2utt", datadir.speakers(speaker))
    datadir.write_table(
        target / "wav.scp",
        {u: audio / speaker[u] / f"{name}.sph" for u, (name, _) in lines.items()},
    )


def write_segments(
    source: Path, target: Path, lines: dict[str, tuple[str, str]], audio: Path
) -> None:
    """Writes the set of `source` again to `target`, as pieces of recordings.

    To the last tenth of a second.
    """
    write_set(target, lines, audio)
    recordings = datadir.read_table(source / "wav.scp")
    datadir.write_table(target / "wav.scp", {f"{u}_org": path for u, path in recordings.items()})
    ends = {u: int(soundfile.info(path).duration * 10) / 10 for u, path in recordings.items()}
    datadir.write_table(target / "segments", {u: f"{u}_org 0.0 {ends[u]}" for u in recordings})


def main() -> int:
    """Prepares all sets; user faults are printed without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--archive", default="", help="downloads.tar.gz; default: the espnet 202611 package's"
    )
    parser.add_argument("--downloads", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    try:
        root = unpack(find_archive(args.archive, args.downloads), args.downloads)
        train = dict(sorted(read_transcript(root / "etc" / "an4_train.transcription").items()))
        test = read_transcript(root / "etc" / "an4_test.transcription")
        dev = next(iter(train))
        audio = root / "wav" / "an4_clstk"
        write_set(args.data / "train", train, audio)
        write_set(args.data / "train_dev", {dev: train[dev]}, audio)
        write_set(args.data / "train_nodev", {u: v for u, v in train.items() if u != dev}, audio)
        write_set(args.data / "test", test, root / "wav" / "an4test_clstk")
        write_segments(
            args.data / "test", args.data / "test_seg", test, root / "wav" / "an4test_clstk"
        )
    except TopdownError as error:
        print(f"local/data_prep.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
