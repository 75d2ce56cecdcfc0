"""A set's audio in one format and rate, an utterance a file or a place in an ark: stage 3."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kaldiio
import numpy as np
import soundfile

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, jobs
from espnet_topdown.recipe.audio import read_audio, resample
from espnet_topdown.warm.groups import end_with_parent

FORMATS = ("flac", "wav", "flac.ark", "wav.ark")


class Cut(NamedTuple):
    """An utterance as a piece of a recording.

    Attributes:
        utterance: its id.
        source: the recording, as wav.scp names it.
        start_s: seconds from its beginning.
        end_s: likewise; below 0 for its end.
    """

    utterance: str
    source: str
    start_s: float
    end_s: float


class Written(NamedTuple):
    """An utterance's audio: the wav.scp value by which it is read, and its number of samples."""

    place: str
    samples: int


def format_set(
    source: Path, target: Path, *, audio_format: str, rate: int, processes: int, parts: int
) -> float:
    """Write a set's audio and lists to `target`.

    Args:
        source: a data directory (wav.scp, text, utt2spk, and segments or not).
        target: the directory for the lists; the audio goes to ``data/format.N`` in it.
        audio_format: one of FORMATS.
        rate: Hz of what is written.
        processes: processes at a time.
        parts: parts of the audio (``format.N``), at most the number of utterances.

    Returns:
        The seconds of audio written.

    Raises:
        TopdownError: the set's lists disagree, or audio cannot be read.
    """
    # Lists that disagree are refused before any audio is read.
    datadir.utterances(source)
    cuts = _cuts(source)
    if not audio_format.endswith(".ark"):
        _check_names(source, cuts)
    pieces = list(jobs.pieces(cuts, parts))
    # Arks are appended to, so what an earlier run left must go.
    shutil.rmtree(target / "data", ignore_errors=True)
    work = []
    for number, piece in enumerate(pieces, 1):
        work.append((piece, target / "data" / f"format.{number}", audio_format, rate))
    written = {}
    for utterances in _run(work, processes):
        written.update(utterances)
    samples = {utterance: audio.samples for utterance, audio in written.items()}
    datadir.copy_set(source, target)
    datadir.write_table(target / "utt2num_samples", samples)
    (target / "feats_type").write_text("raw\n")
    datadir.write_table(target / "wav.scp", {u: audio.place for u, audio in written.items()})
    return sum(samples.values()) / rate


Work = tuple[Sequence[Cut], Path, str, int]


def _run(work: Sequence[Work], processes: int) -> list[dict[str, Written]]:
    processes = min(processes, len(work))
    if processes <= 1:
        return [_write_piece(*piece) for piece in work]
    # Killed, this process could not stop them, and they would wait for work for ever.
    with ProcessPoolExecutor(processes, initializer=end_with_parent) as pool:
        return list(pool.map(_write_piece, *zip(*work, strict=True)))


def _cuts(source: Path) -> list[Cut]:
    recordings = datadir.read_table(source / "wav.scp")
    if not (source / "segments").exists():
        return [
            Cut(utterance, recordings[utterance], 0.0, -1.0) for utterance in sorted(recordings)
        ]
    cuts = []
    for utterance, value in sorted(datadir.read_table(source / "segments").items()):
        recording, start, end = value.split()
        if recording not in recordings:
            raise TopdownError(
                f"{source}/segments: {utterance} is cut from {recording!r}, which wav.scp lacks"
            )
        cuts.append(Cut(utterance, recordings[recording], float(start), float(end)))
    return cuts


def _check_names(source: Path, cuts: Sequence[Cut]) -> None:
    """Refuse ids that cannot name a file."""
    for cut in cuts:
        if "/" in cut.utterance:
            raise TopdownError(
                f"{source}: the id '{cut.utterance}' has a '/', and each utterance becomes a file"
                " of its name; rename it in local/data.sh, or give --audio_format flac.ark"
            )


def _write_piece(
    cuts: Sequence[Cut], directory: Path, audio_format: str, rate: int
) -> dict[str, Written]:
    """Write one part, and say by utterance what was written."""
    directory.mkdir(parents=True, exist_ok=True)
    kind, _, ark = audio_format.partition(".")
    written = {}
    for utterance, samples in _read(cuts, rate):
        if ark:
            place = _append(directory / "data_wav.ark", utterance, samples, kind, rate)
        else:
            place = str(directory / f"{utterance}.{kind}")
            soundfile.write(place, samples, rate, subtype="PCM_16", format=kind.upper())
        written[utterance] = Written(place, len(samples))
    return written


def _append(ark: Path, utterance: str, samples: np.ndarray, kind: str, rate: int) -> str:
    """Append to an ark; where in it the audio begins, behind the id and a blank."""
    size = ark.stat().st_size if ark.exists() else 0
    kaldiio.save_ark(
        str(ark),
        {utterance: (rate, samples)},
        append=True,
        write_function="soundfile",
        write_kwargs={"format": kind},
    )
    return f"{ark}:{size + len(utterance) + 1}"


def _read(cuts: Sequence[Cut], rate: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each utterance's samples at `rate`; a recording that neighbours share is read once."""
    held = None
    samples, old_rate = np.zeros(0, np.int16), rate
    for utterance, source, start_s, end_s in cuts:
        if source != held:
            samples, old_rate = read_audio(source)
            held = source
        end = None if end_s < 0 else int(end_s * old_rate)
        yield utterance, resample(samples[int(start_s * old_rate) : end], old_rate, rate)
