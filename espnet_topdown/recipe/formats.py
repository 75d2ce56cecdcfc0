"""A set's audio in one format and rate, an utterance a file or a place in an ark: stage 3."""

import itertools
import logging
import operator
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import kaldiio
import numpy as np
import soundfile

from espnet_topdown.corpora.kaldi_dir import TO_THE_END, segment_fault
from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.grouping import grouped
from espnet_topdown.recipe import datadir, jobs
from espnet_topdown.recipe.audio import is_missing, read_audio, resample
from espnet_topdown.recipe.segments import Segment, read_segments
from espnet_topdown.table import counted
from espnet_topdown.text_files import read_table
from espnet_topdown.warm.groups import end_with_parent

FORMATS = ("flac", "wav", "flac.ark", "wav.ark")


class Cut(NamedTuple):
    """An utterance as a piece of a recording.

    Attributes:
        utterance: its id.
        source: the recording, as wav.scp names it.
        start_s: seconds from its beginning.
        end_s: likewise, or `TO_THE_END`.
    """

    utterance: str
    source: str
    start_s: float
    end_s: float

    def take(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """The piece of its recording, cut off where that ends.

        Raises:
            TopdownError: there is no such piece.
        """
        fault = segment_fault(self.start_s, self.end_s, len(samples) / rate)
        if fault:
            raise TopdownError(f"{self.utterance}: {fault}")
        end = len(samples) if self.end_s == TO_THE_END else int(self.end_s * rate)
        return samples[int(self.start_s * rate) : end]


class Written(NamedTuple):
    """An utterance's audio.

    Attributes:
        place: the wav.scp value by which it is read.
        samples: how many were written.
        source_rate: Hz of the recording that they were taken from.
        channels: of the recording and of what was written.
    """

    place: str
    samples: int
    source_rate: int
    channels: int


def format_set(
    source: Path,
    target: Path,
    *,
    audio_format: str,
    rate: int,
    processes: int,
    parts: int,
    needs_text: bool = True,
) -> float:
    """Write a set's audio and lists to `target`.

    Args:
        source: a data directory (wav.scp, text, utt2spk, and segments or not).
        target: the directory for the lists; the audio goes to ``data/format.N`` in it.
        audio_format: one of FORMATS.
        rate: Hz of what is written.
        processes: processes at a time.
        parts: parts of the audio (``format.N``), at most the number of utterances.
        needs_text: whether the set must have transcripts.

    Returns:
        The seconds of audio written.

    Raises:
        TopdownError: the set's lists disagree, audio cannot be read or holds nothing, or a set to
            train on has recordings of different numbers of channels.
    """
    cuts = check_set(source, needs_text=needs_text)
    pieces = list(jobs.pieces(cuts, parts))
    # Arks are appended to, so what an earlier run left must go.
    shutil.rmtree(target / "data", ignore_errors=True)
    work = []
    for number, piece in enumerate(pieces, 1):
        work.append((piece, target / "data" / f"format.{number}", audio_format, rate))
    written: dict[str, Written] = {}
    faults: list[str] = []
    for utterances, complaints in _run(work, processes):
        written.update(utterances)
        faults += complaints
    datadir.refuse_some(faults, f"{source} has utterances without audio")
    # Of a set that is only decoded, each utterance is a batch of its own.
    if needs_text:
        _refuse_mixed(source, written)
    _tell_resampled(source, Counter(audio.source_rate for audio in written.values()), rate)
    samples = {utterance: audio.samples for utterance, audio in written.items()}
    datadir.copy_set(source, target)
    datadir.write_table(target / "utt2num_samples", samples)
    (target / "feats_type").write_text("raw\n")
    datadir.write_table(target / "wav.scp", {u: audio.place for u, audio in written.items()})
    return sum(samples.values()) / rate


def _refuse_mixed(source: Path, written: Mapping[str, Written]) -> None:
    """Refuse utterances of different numbers of channels: ESPnet ends at a batch with such."""
    by_channels = grouped(sorted(written), lambda utterance: written[utterance].channels)
    if len(by_channels) > 1:
        counts = [
            f"{channels} ({counted(len(names), 'utterance')}: {some_of(names, datadir.SHOWN)})"
            for channels, names in sorted(by_channels.items())
        ]
        raise TopdownError(
            f"{source} has recordings of different numbers of channels, of which ESPnet makes no"
            f" batch: {', '.join(counts)}; take one channel of all in wav.scp, as by"
            " 'sox FILE -t wav - remix 1 |'"
        )


def _tell_resampled(source: Path, rates: Counter[int], rate: int) -> None:
    """Log how many utterances of a set were recorded at another rate than they are written at."""
    total = rates.total()
    for old, count in sorted(rates.items()):
        if old != rate:
            logging.info(
                f"{source}: {count} of {counted(total, 'utterance')} resampled from {old} Hz to"
                f" {rate} Hz; --fs {old} keeps that rate"
            )


def check_set(source: Path, *, needs_text: bool = True) -> list[Cut]:
    """What is to be cut out of which recording, from lists that were found to agree.

    Raises:
        TopdownError: they disagree, hold what cannot be cut, or name files that are not there.
    """
    datadir.utterances(source, needs_text=needs_text)
    recordings = read_table(source / "wav.scp")
    if (source / "segments").exists():
        segments = read_segments(source)
    else:
        segments = {name: Segment(name, 0.0, TO_THE_END) for name in recordings}
    # Recordings of which nothing is cut need not be there.
    used = {segment.recording: recordings[segment.recording] for segment in segments.values()}
    _refuse_missing(used, source / "wav.scp")
    return [
        Cut(utterance, recordings[segment.recording], segment.start_s, segment.end_s)
        for utterance, segment in sorted(segments.items())
    ]


Work = tuple[Sequence[Cut], Path, str, int]


Done = tuple[dict[str, Written], list[str]]  # what was written, and why the rest was not


def _run(work: Sequence[Work], processes: int) -> list[Done]:
    processes = min(processes, len(work))
    if processes <= 1:
        return [_write_piece(*piece) for piece in work]
    # Killed, this process could not stop them, and they would wait for work for ever.
    with ProcessPoolExecutor(processes, initializer=end_with_parent) as pool:
        return list(pool.map(_write_piece, *zip(*work, strict=True)))


def _refuse_missing(recordings: Mapping[str, str], wav_scp: Path) -> None:
    """Raise recordings whose file is not there, or that name none, as one error."""
    faults = []
    for name, place in recordings.items():
        if not place:
            faults.append(f"{name}: names no audio")
        elif is_missing(place):
            faults.append(f"{name}: no file {place}")
    title = f"{wav_scp} names audio that is not there"
    if faults and not wav_scp.read_bytes().endswith(b"\n"):
        title += ", and its last line has no end: it may have been cut off"
    datadir.refuse_some(faults, title)


def _write_piece(cuts: Sequence[Cut], directory: Path, audio_format: str, rate: int) -> Done:
    """Write one part, and say by utterance what was written.

    Raises:
        TopdownError: the audio cannot be read or written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    kind, _, ark = audio_format.partition(".")
    written = {}
    faults: list[str] = []
    for utterance, samples, source_rate in _read(cuts, rate, faults):
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        try:
            if ark:
                place = _append(directory / "data_wav.ark", utterance, samples, kind, rate)
            else:
                place = _write_file(directory / f"{utterance}.{kind}", samples, kind, rate)
        except (OSError, RuntimeError) as error:
            raise TopdownError(
                f"cannot write {utterance} (channels: {channels}) as {audio_format} to"
                f" {directory}: {error}; is the disk full, the id too long for a file's name, or"
                " are these more than the 8 channels of flac? See --audio_format"
            ) from None
        written[utterance] = Written(place, len(samples), source_rate, channels)
    return written, faults


def _write_file(path: Path, samples: np.ndarray, kind: str, rate: int) -> str:
    # ESPnet writes to folders too where ids hold slashes.
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16", format=kind.upper())
    return str(path)


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
    return f"{ark}:{size + len(utterance.encode()) + 1}"


def _read(
    cuts: Sequence[Cut], rate: int, faults: list[str]
) -> Iterator[tuple[str, np.ndarray, int]]:
    """Each utterance's samples at `rate`, and the rate of its recording.

    A recording that neighbours share is read once.

    Utterances that hold nothing are passed over and added to `faults`.
    """
    for source, of_recording in itertools.groupby(cuts, operator.attrgetter("source")):
        samples, old_rate = read_audio(source)
        for cut in of_recording:
            try:
                piece = resample(cut.take(samples, old_rate), old_rate, rate)
                if not len(piece):
                    raise TopdownError(f"{cut.utterance}: holds no sample")
            except TopdownError as error:
                faults.append(str(error))
            else:
                yield cut.utterance, piece, old_rate
