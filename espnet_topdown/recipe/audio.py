"""Audio as Kaldi's wav.scp names it, read as 16-bit samples and resampled.

Read are: a file that soundfile knows, SPHERE files, ``FILE.ark:OFFSET``, and ``COMMAND |``. A plain
``sph2pipe -f wav [-p] [-c N] FILE |`` needs no sph2pipe, and sox's ``speed`` at the end of a line
is done by soxr, without sox.
"""

import io
import re
import shlex
import signal
import struct
import subprocess
from pathlib import Path

import kaldiio
import numpy as np
import soundfile
import soxr

from espnet_topdown.corpora import sphere
from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe.truncated import least_samples

_SPEED = re.compile(
    r"(?:sox (?P<file>[^|]+?)|(?P<pipe>.*\|) *sox -t wav -) -t wav - speed (?P<factor>[\d.]+) \|"
)
_IN_ARK = re.compile(r".+:\d+")
_EXACT = ("PCM", "ULAW", "ALAW")  # soundfile's subtypes whose samples are whole numbers
# What soundfile and kaldiio raise at what they cannot read.
_UNREADABLE = (
    OSError,
    RuntimeError,
    ValueError,
    TypeError,
    AssertionError,
    EOFError,
    struct.error,
    subprocess.CalledProcessError,
)
# Of floating-point samples, 1 being full scale. Louder ones are whole numbers in floats.
_LOUDEST = 100.0


def faster(source: str, factor: float) -> str:
    """The wav.scp value of `source` at another speed, by sox as Kaldi's scripts have it."""
    head = f"{source} sox -t wav -" if source.endswith("|") else f"sox {shlex.quote(source)}"
    return f"{head} -t wav - speed {factor:g} |"


def is_missing(source: str) -> bool:
    """Whether a wav.scp value names a file, in an ark or not, that is not there.

    Of commands it is not known before they run.
    """
    if source.endswith("|"):
        return False
    places = [source]
    if _IN_ARK.fullmatch(source):
        places.append(source.rpartition(":")[0])
    # A path that was cut off may be a directory; pipes are files to read too.
    return all(Path(place).is_dir() or not Path(place).exists() for place in places)


def read_audio(source: str) -> tuple[np.ndarray, int]:
    """Samples and rate of one wav.scp value.

    Returns:
        ``int16`` samples, shape ``(samples,)``, with several channels ``(samples, channels)``; and
        the rate in Hz.

    Raises:
        TopdownError: nothing readable is there, it holds less than its header says or what is no
            sample, or the command failed.
    """
    speed = _SPEED.fullmatch(source)
    slower = _before(speed) if speed else None
    if speed and slower:
        samples, rate = read_audio(slower)
        return resample(samples, rate * float(speed["factor"]), rate), rate
    decoded = sphere.read_wav_entry(source)
    if decoded is not None:
        samples, rate = decoded
        one_channel = samples.shape[1] == 1
        return (samples[:, 0] if one_channel else samples), rate
    try:
        return _read(source)
    except _UNREADABLE as error:
        said = str(error) or type(error).__name__
        raise TopdownError(
            f"asked for the audio {source!r}, but it cannot be read: {said}; see wav.scp"
        ) from error


def _before(speed: re.Match[str]) -> str | None:
    """What a line changes the speed of; None where sox is given more than a file."""
    if speed["pipe"]:
        return speed["pipe"]
    try:
        words = shlex.split(speed["file"])
    except ValueError:
        return None
    return words[0] if len(words) == 1 else None


def _read(source: str) -> tuple[np.ndarray, int]:
    if source.endswith("|"):
        return _decode_printed(_piped(source))
    if _IN_ARK.fullmatch(source) and not Path(source).exists():
        ark, _, offset = source.rpartition(":")
        with open(ark, "rb") as stream:
            least_samples(stream, int(offset))
        rate, samples = kaldiio.load_mat(source)
        return _int16(np.asarray(samples)), rate
    with open(source, "rb") as stream:
        least = least_samples(stream)
    return _decode(source, least)


def _piped(source: str) -> bytes:
    """What a wav.scp command prints; each part of its pipe must succeed, a decoder at its head too.

    Raises:
        subprocess.CalledProcessError: one fails.
    """
    words = ["bash", "-o", "pipefail", "-c", source[:-1]]
    done = subprocess.run(words, stdout=subprocess.PIPE)
    # One whose reader had enough, such as head, has not failed.
    if done.returncode != 128 + signal.SIGPIPE:
        done.check_returncode()
    return done.stdout


def _decode_printed(audio: bytes) -> tuple[np.ndarray, int]:
    """Samples and rate of what a command printed.

    Raises:
        ValueError: it is no audio, or as `_decode`.
    """
    sound = io.BytesIO(audio)
    least = least_samples(sound)
    sound.seek(0)
    try:
        return _decode(sound, least)
    except RuntimeError:
        # soundfile's words would name an object of Python, where a file has its name.
        raise ValueError(f"it printed {len(audio)} bytes, which are no audio") from None


def _decode(file: str | io.BytesIO, least: int) -> tuple[np.ndarray, int]:
    """Samples and rate of a file that should hold at least so many."""
    with soundfile.SoundFile(file) as sound:
        # Whole numbers stay as they are; libsndfile does not scale floats to int16.
        is_exact = sound.subtype.startswith(_EXACT)
        # Of what cannot be sought, such as GSM, soundfile wants to be told how much it is.
        whole = -1 if sound.seekable() else sound.frames
        samples = sound.read(whole, dtype="int16" if is_exact else "float64")
        # Of an MP3 it may be an estimate.
        if sound.format != "MP3":
            least = sound.frames
        if len(samples) < least:
            raise ValueError(
                f"truncated, or no header tells its length: {len(samples)} of {least} samples were"
                " read; write it anew as WAV (sox, ffmpeg)"
            )
        if not is_exact:
            _refuse_odd(samples)
        return _int16(samples), sound.samplerate


def _refuse_odd(samples: np.ndarray) -> None:
    """Refuse floating-point samples that would become noise or silence as 16-bit ones.

    Raises:
        ValueError: some are no numbers, infinite, or far over full scale.
    """
    peak = np.abs(samples).max(initial=0.0)  # NaN where there is one
    if not np.isfinite(peak):
        raise ValueError("some of its samples are NaN or infinite")
    if peak > _LOUDEST:
        raise ValueError(
            f"its floating-point samples reach {peak:.0f}, where 1 is full scale: write them"
            " divided by 32768, or as 16-bit samples"
        )


def _int16(samples: np.ndarray) -> np.ndarray:
    if samples.dtype == np.int16:
        return samples
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def resample(samples: np.ndarray, old: float, new: float) -> np.ndarray:
    """`samples` (int16) taken from the rate `old` to the rate `new`, in Hz, by soxr's high quality.

    Args:
        samples: shape ``(samples,)`` or ``(samples, channels)``.
        old: their rate.
        new: the rate of what is returned, in the same shape.
    """
    if old == new:
        return samples
    return _int16(soxr.resample(samples / 32768.0, old, new, quality="HQ"))
