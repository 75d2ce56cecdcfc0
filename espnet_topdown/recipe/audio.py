"""Audio as Kaldi's wav.scp names it, read as 16-bit samples, and stages 2 and 3.

Speed perturbation and formatting.

Read are: a file that soundfile knows, SPHERE files, ``FILE.ark:OFFSET``, and ``COMMAND |``. A plain
``sph2pipe -f wav [-p] [-c N] FILE |`` needs no sph2pipe, and sox's ``speed`` at the end of a line
is done by soxr, without sox.
"""

import contextlib
import io
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import kaldiio
import numpy as np
import soundfile
import soxr

from espnet_topdown.corpora import sphere
from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, jobs

FORMATS = ("flac", "wav", "flac.ark", "wav.ark")
_SPEED = re.compile(
    r"(?:sox (?P<file>\S+)|(?P<pipe>.*\|) *sox -t wav -) -t wav - speed (?P<factor>[\d.]+) \|"
)
_UNKNOWN_LENGTH = (
    0x7FFF0000  # what programs that write WAV to a pipe put in the place of a length, or more
)
Row = tuple[
    str, str, float, float
]  # utterance, wav.scp's value, start and end in seconds (-1: the end of the file)


def read_audio(source: str) -> tuple[np.ndarray, int]:
    """Samples and rate of one wav.scp value.

    Returns:
        ``int16`` samples, shape ``(samples,)``, with several channels ``(samples, channels)``; and
        the rate in Hz.

    Raises:
        TopdownError: nothing readable is there, it holds less than its header says, or the command
            failed.
    """
    if match := _SPEED.fullmatch(source):
        samples, rate = read_audio(match["file"] or match["pipe"])
        return resample(samples, rate * float(match["factor"]), rate), rate
    if (decoded := sphere.read_wav_entry(source)) is not None:
        samples, rate = decoded
        return (samples[:, 0] if samples.shape[1] == 1 else samples), rate
    try:
        if source.endswith("|"):
            done = subprocess.run(["bash", "-c", source[:-1]], stdout=subprocess.PIPE, check=True)
            return _decode(io.BytesIO(done.stdout))
        if re.fullmatch(r".+:\d+", source) and not Path(source).exists():
            rate, samples = kaldiio.load_mat(source)
            return _int16(np.asarray(samples)), rate
        return _decode(source)
    except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
        raise TopdownError(
            f"asked for the audio {source!r}, but it cannot be read: {error}; see wav.scp"
        ) from error


def _decode(file: str | io.BytesIO) -> tuple[np.ndarray, int]:
    _check_wav(file)
    with soundfile.SoundFile(
        file
    ) as sound:  # whole numbers stay exact; libsndfile does not scale floats to int16
        exact = sound.subtype.startswith(("PCM", "ULAW", "ALAW"))
        return _int16(sound.read(dtype="int16" if exact else "float64")), sound.samplerate


def _check_wav(file: str | io.BytesIO) -> None:
    """Refuses a WAV file that is shorter than its data chunk says.

    Libsndfile reads what is there and says nothing.
    """
    with (
        contextlib.nullcontext(file) if isinstance(file, io.BytesIO) else open(file, "rb")
    ) as stream:
        head, size = stream.read(12), stream.seek(0, io.SEEK_END)
        at = 12
        while head[:4] == b"RIFF" and at + 8 <= size:
            stream.seek(at)
            name, length = struct.unpack("<4sI", stream.read(8))
            if name == b"data":
                if at + 8 + length > size and length < _UNKNOWN_LENGTH:
                    raise ValueError(f"truncated, {size - at - 8} of {length} bytes of samples")
                break
            at += 8 + length + length % 2
        stream.seek(0)


def _int16(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.int16:
        return samples
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, old: float, new: float) -> np.ndarray:
    """`samples` (int16) taken from the rate `old` to the rate `new`, in Hz, by soxr's high quality."""
    return (
        samples if old == new else _int16(soxr.resample(samples / 32768.0, old, new, quality="HQ"))
    )


# ---- stage 2 ----


def perturb(train: Path, factors: Sequence[float]) -> Path:
    """Writes data/TRAIN_spF of each factor and their union data/TRAIN_sp.

    Ids of a factor other than 1 get ``spF-``.

    The audio is not touched: wav.scp names it with sox's ``speed`` at the end, which stage 3 does.
    """
    parts = []
    for factor in factors:
        parts.append(train if factor == 1 else train.with_name(f"{train.name}_sp{factor:g}"))
        if factor != 1:
            _perturbed(train, parts[-1], factor)
    target = train.with_name(f"{train.name}_sp")
    datadir.combine(parts, target)
    return target


def _perturbed(source: Path, target: Path, factor: float) -> None:
    prefix = f"sp{factor:g}-"
    for name in ("text", "utt2spk", "wav.scp"):
        table = datadir.read_table(source / name)
        if name == "utt2spk":
            table = {k: prefix + v for k, v in table.items()}
        if name == "wav.scp":
            table = {k: _faster(v, factor) for k, v in table.items()}
        datadir.write_table(target / name, {prefix + k: v for k, v in table.items()})
    if (source / "segments").exists():
        lines = {}
        for utterance, value in datadir.read_table(source / "segments").items():
            recording, start, end = value.split()
            times = [t if float(t) < 0 else f"{float(t) / factor:.6f}" for t in (start, end)]
            lines[prefix + utterance] = " ".join([prefix + recording, *times])
        datadir.write_table(target / "segments", lines)
    datadir.write_table(
        target / "spk2utt", datadir.speakers(datadir.read_table(target / "utt2spk"))
    )


def _faster(source: str, factor: float) -> str:
    head = f"{source} sox -t wav -" if source.endswith("|") else f"sox {source}"
    return f"{head} -t wav - speed {factor:g} |"


# ---- stage 3 ----


def format_set(
    source: Path, target: Path, *, audio_format: str, rate: int, processes: int, parts: int
) -> float:
    """Writes a set's audio, one file (or place in an ark) an utterance, and the set's lists, to
    `target`.

    Args:
        source: a data directory (wav.scp, text, utt2spk, and segments or not).
        target: the directory for the lists; the audio goes to ``data/format.N`` in it.
        audio_format: one of FORMATS.
        rate: Hz of what is written.
        processes: processes at a time.
        parts: parts of the audio (``format.N``), at most the number of utterances.

    Returns:
        The seconds of audio written.
    """
    datadir.utterances(source)
    rows = _rows(source)
    pieces = list(jobs.pieces(rows, parts))
    shutil.rmtree(target / "data", ignore_errors=True)
    work = [
        (piece, target / "data" / f"format.{n}", audio_format, rate)
        for n, piece in enumerate(pieces, 1)
    ]
    if processes > 1 and len(work) > 1:
        with ProcessPoolExecutor(min(processes, len(work))) as pool:
            written = list(pool.map(_format_piece, *zip(*work)))
    else:
        written = [_format_piece(*arguments) for arguments in work]
    scp = {utterance: place for piece in written for utterance, (place, _) in piece.items()}
    samples = {utterance: number for piece in written for utterance, (_, number) in piece.items()}
    datadir.copy_set(source, target)
    datadir.write_table(target / "utt2num_samples", samples)
    (target / "feats_type").write_text("raw\n")
    datadir.write_table(target / "wav.scp", scp)
    return sum(samples.values()) / rate


def _rows(source: Path) -> list[Row]:
    sources = datadir.read_table(source / "wav.scp")
    if not (source / "segments").exists():
        return [(utterance, value, 0.0, -1.0) for utterance, value in sorted(sources.items())]
    rows = []
    for utterance, value in sorted(datadir.read_table(source / "segments").items()):
        recording, start, end = value.split()
        if recording not in sources:
            raise TopdownError(
                f"{source}/segments: {utterance} is cut from {recording!r}, which wav.scp lacks"
            )
        rows.append((utterance, sources[recording], float(start), float(end)))
    return rows


def _format_piece(
    rows: Sequence[Row], directory: Path, audio_format: str, rate: int
) -> dict[str, tuple[str, int]]:
    """Writes one part; returns utterance -> (wav.scp's value, samples)."""
    directory.mkdir(parents=True)
    kind, _, ark = audio_format.partition(".")
    written = {}
    for utterance, samples in _cut(rows, rate):
        if ark:
            path = directory / "data_wav.ark"
            place = f"{path}:{(path.stat().st_size if path.exists() else 0) + len(utterance) + 1}"
            kaldiio.save_ark(
                str(path), {utterance: (rate, samples)}, append=True, write_function="soundfile",
                write_kwargs={"format": kind},
            )  # fmt: skip
        else:
            place = str(directory / f"{utterance}.{kind}")
            soundfile.write(place, samples, rate, subtype="PCM_16", format=kind.upper())
        written[utterance] = (place, len(samples))
    return written


def _cut(rows: Sequence[Row], rate: int) -> Iterator[tuple[str, np.ndarray]]:
    """Each utterance's samples at `rate`; a recording that neighbouring rows share is read once."""
    held, samples, old = None, np.zeros(0, np.int16), rate
    for utterance, source, start, end in rows:
        if source != held:
            (samples, old), held = read_audio(source), source
        piece = samples[int(start * old) : None if end < 0 else int(end * old)]
        yield utterance, resample(piece, old, rate)
