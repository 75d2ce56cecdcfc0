"""Samples of NIST SPHERE audio; as a command it writes one file as WAV to stdout.

PCM and mu-law are read by libsndfile (soundfile). Shorten, which the real WSJ discs use, is decoded
by the first of sph2pipe, ffmpeg (both on PATH) and the Python package desphere. Resampling is left
to the recipe.

    python3 -m espnet_topdown.corpora.sphere --channel 2 sw02001.sph > side_b.wav
"""

import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_topdown.corpora.sphere_header import SphereHeader, is_sphere, read_header
from espnet_topdown.errors import Parser, TopdownError, reported

if TYPE_CHECKING:
    import numpy as np

# What `wav_entry` writes, and the same with sph2pipe's -p left out.
_SPH2PIPE = r"sph2pipe -f wav(?: -p)?(?: -c (?P<pipe>\d+))?"
_OWN = r"python3 -m espnet_topdown\.corpora\.sphere(?: --channel (?P<own>\d+))?"
# As shlex.quote writes a path: 'it'"'"'s'.
_QUOTED = r"""(?:'[^']*'|"'"|[^\s'"|])+"""
_ENTRY = re.compile(rf"(?:{_SPH2PIPE}|{_OWN}) (?P<path>{_QUOTED}) \|")

# Commands that write 16-bit WAV to stdout.
_TO_WAV = {
    "sph2pipe": "sph2pipe -p -f wav {path}",
    "ffmpeg": "ffmpeg -nostdin -v error -i {path} -f wav -c:a pcm_s16le -",
}


def has_sph2pipe() -> bool:
    """Whether sph2pipe is on PATH."""
    return shutil.which("sph2pipe") is not None


def wav_entry(
    path: str | Path, compression: str | None, channel: int | None = None, *, sph2pipe: bool
) -> str:
    """The ``wav.scp`` entry through which recipes read `path`.

    Args:
        path: absolute path of the SPHERE file.
        compression: that of its header, "" for none; None where the header has not been read.
        channel: 1 or 2 for one side of a two-channel file, None for a file of one channel.
        sph2pipe: whether to use it (see `has_sph2pipe`).

    Returns:
        a sph2pipe command if that is wanted, the path alone where soundfile reads it as it is, else
        a command that runs this module.
    """
    quoted = shlex.quote(str(path))
    if sph2pipe:
        options = f"-p -c {channel} " if channel else ""
        return f"sph2pipe -f wav {options}{quoted} |"
    if channel is None and compression == "":
        return str(path)
    options = f"--channel {channel} " if channel else ""
    return f"python3 -m espnet_topdown.corpora.sphere {options}{quoted} |"


def decode(path: str | Path) -> tuple["np.ndarray", int]:
    """All samples of `path`.

    Returns:
        int16 samples of shape (samples, channels), and samples per second.

    Raises:
        TopdownError: the file is damaged, holds fewer samples than its header says, its samples do
            not have the header's checksum, or no decoder is installed.
    """
    header = read_header(path)
    samples = _decompress(path, header) if header.compression else _read_plain(path)
    if len(samples) < header.samples:
        raise TopdownError(
            f"{path}: truncated or corrupt ({len(samples)} samples, header says {header.samples})"
        )
    samples = samples[: header.samples]
    if header.checksum is not None:
        _check_sum(path, samples, header.checksum)
    return samples, header.rate


def _check_sum(path: str | Path, samples: "np.ndarray", expected: int) -> None:
    total = int(samples.sum(dtype="int64")) % 65536
    if total != expected:
        raise TopdownError(
            f"{path}: corrupt (its samples sum up to {total}, its header's sample_checksum is"
            f" {expected})"
        )


def _read_plain(path: str | Path) -> "np.ndarray":
    import soundfile  # here, because headers are read without it

    try:
        return soundfile.read(str(path), dtype="int16", always_2d=True)[0]
    except (RuntimeError, soundfile.SoundFileError) as error:
        raise TopdownError(f"{path}: cannot be decoded ({error})") from None


def find_decoder(path: str | Path, header: SphereHeader) -> str:
    """What decodes the compressed file `path`: ``sph2pipe``, ``ffmpeg`` or ``desphere``.

    Raises:
        TopdownError: none that can is installed.
    """
    if has_sph2pipe():
        return "sph2pipe"
    # ffmpeg finds no decoder for mu-law inside shorten.
    if header.coding == "pcm" and shutil.which("ffmpeg"):
        return "ffmpeg"
    if importlib.util.find_spec("desphere"):
        return "desphere"
    raise TopdownError(
        f"{path} is compressed ({header.compression}) and no decoder for {header.coding} is "
        "installed: install sph2pipe, ffmpeg (PCM only) or `pip install desphere`"
    )


def _decompress(path: str | Path, header: SphereHeader) -> "np.ndarray":
    import numpy as np

    decoder = find_decoder(path, header)
    if decoder == "desphere":
        wav = _run_desphere(path)
    else:
        # Split before the path is filled in, which may have blanks.
        wav = _run(path, [word.format(path=path) for word in _TO_WAV[decoder].split()])
    # A WAV file on a pipe does not know its length: all that came after "data" and its size counts.
    body = wav[wav.find(b"data", 12) + 8 :]
    frame = 2 * header.channels
    whole = len(body) - len(body) % frame
    return np.frombuffer(body[:whole], dtype="<i2").reshape(-1, header.channels)


def _run(path: str | Path, command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise TopdownError(f"{path}: {command[0]} cannot decode it ({said[-1]})")
    return done.stdout


def _run_desphere(path: str | Path) -> bytes:
    import desphere

    try:
        return desphere.transcode_bytes(Path(path).read_bytes())
    except (desphere.DesphereError, ValueError, IndexError) as error:
        raise TopdownError(
            f"{path}: desphere cannot decode it ({error}); of shorten it knows version 2 alone,"
            " ffmpeg and sph2pipe the older ones too"
        ) from None


def read_wav_entry(entry: str) -> tuple["np.ndarray", int] | None:
    """What `entry` of a ``wav.scp`` stands for, decoded in this process and checked whole.

    Args:
        entry: a path, or a command of sph2pipe or of this module, as `wav_entry` gives them.

    Returns:
        as `decode`, of the channel that the command names; None where `entry` is no SPHERE file and
        no such command.

    Raises:
        TopdownError: as `decode`; or there is no such channel.
    """
    command = _ENTRY.fullmatch(entry)
    if command:
        path = shlex.split(command["path"])[0]
        channel = int(command["pipe"] or command["own"] or 0)
        return _decode_channel(path, channel or None)
    if entry.endswith("|") or not is_sphere(entry):
        return None
    return decode(entry)


def _decode_channel(path: str | Path, channel: int | None) -> tuple["np.ndarray", int]:
    samples, rate = decode(path)
    if channel is None:
        return samples, rate
    if not 1 <= channel <= samples.shape[1]:
        raise TopdownError(f"{path}: has no channel {channel}, it has {samples.shape[1]}")
    return samples[:, channel - 1 : channel], rate


def to_wav(path: str | Path, channel: int | None) -> bytes:
    """`path`, or one `channel` of it (counted from 1), as a 16-bit WAV file.

    Raises:
        TopdownError: as `decode`; or there is no such channel.
    """
    samples, rate = _decode_channel(path, channel)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as wav:
        wav.setparams((samples.shape[1], 2, rate, len(samples), "NONE", "not compressed"))
        wav.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def main(argv: Sequence[str] | None = None) -> None:
    """Write a SPHERE file as WAV to stdout; nothing at all where it is damaged."""
    parser = Parser(
        "python3 -m espnet_topdown.corpora.sphere", description="SPHERE file to WAV on stdout"
    )
    parser.add_argument("path")
    parser.add_argument("--channel", type=int, help="one channel, counted from 1 (default: all)")
    options = parser.parse_args(argv)
    with reported():
        sys.stdout.buffer.write(to_wav(options.path, options.channel))


if __name__ == "__main__":
    main()
