"""NIST SPHERE audio: header, completeness, samples.

As a command it writes one file as WAV to stdout.

PCM and mu-law are read by libsndfile (soundfile). Shorten, which the real WSJ discs use, is decoded
by the first of sph2pipe, ffmpeg (both on PATH) and the Python package desphere. Resampling is left
to the recipe.

    python3 -m espnet_topdown.corpora.sphere --channel 2 sw02001.sph > side_b.wav
"""

import argparse
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from espnet_topdown.errors import TopdownError

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"NIST_1A\n"
_NAMES = b"sample_coding|sample_rate|channel_count|sample_count|sample_n_bytes|sample_checksum"
_FIELD = re.compile(rb"^(" + _NAMES + rb") -\S+ (.*)$", re.MULTILINE)  # name -type value


_ENTRY = re.compile(
    r"(?:sph2pipe -f wav(?: -p)?(?: -c (?P<pipe>\d+))?|python3 -m"
    r" espnet_topdown\.corpora\.sphere(?: --channel (?P<own>\d+))?)"
    r" (?P<path>'[^']*'|[^\s'\"|]+) \|"
)


class SphereHeader(NamedTuple):
    """What a SPHERE header says.

    Attributes:
        size: bytes of the header.
        rate: samples per second.
        channels: 1 or 2.
        samples: samples of one channel.
        width: bytes of one sample before compression.
        coding: ``pcm``, ``ulaw`` or ``alaw``.
        compression: ``""``, or its name, e.g. ``embedded-shorten-v2.00``.
        checksum: sum of all samples modulo 65536; None where the header has none, or for other
            codings than PCM.
    """

    size: int
    rate: int
    channels: int
    samples: int
    width: int
    coding: str
    compression: str
    checksum: int | None


def read_header(path: str | Path) -> SphereHeader:
    """The header of `path`, checked against the size of the file.

    Raises:
        TopdownError: the file is missing, is not SPHERE, lacks a field, or is uncompressed and
            shorter than its header says. Whether a compressed file is whole shows only when it is
            decoded.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            head = os.read(descriptor, 1024)
            size = int(head[8:16]) if head.startswith(_MAGIC) else 0
            if size > 1024:
                head += os.read(descriptor, size - 1024)
            file_size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TopdownError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise TopdownError(f"{path}: damaged SPHERE header (no size in its second line)") from None
    if not size or len(head) < size:
        raise TopdownError(
            f"{path}: not a whole SPHERE header (expected NIST_1A and {size or 1024} bytes)"
        )
    header = _parse(path, size, head)
    needed = size + header.samples * header.channels * header.width
    if not header.compression and file_size < needed:
        raise TopdownError(f"{path}: truncated ({file_size} bytes, its header needs {needed})")
    return header


def _parse(path: str | Path, size: int, head: bytes) -> SphereHeader:
    fields = dict(_FIELD.findall(head, 16, head.find(b"end_head")))
    coding, _, compression = (
        fields.get(b"sample_coding", b"pcm").decode("ascii", "replace").partition(",")
    )
    try:
        rate, channels, samples = (
            int(fields[k]) for k in (b"sample_rate", b"channel_count", b"sample_count")
        )
        width = int(fields.get(b"sample_n_bytes", b"2" if coding == "pcm" else b"1"))
        checksum = (
            int(fields[b"sample_checksum"])
            if coding == "pcm" and b"sample_checksum" in fields
            else None
        )
    except (KeyError, ValueError):
        raise TopdownError(
            f"{path}: damaged SPHERE header (sample_rate, channel_count or sample_count)"
        ) from None
    return SphereHeader(
        size,
        rate,
        channels,
        samples,
        width,
        coding.replace("mu-law", "ulaw"),
        compression,
        checksum,
    )


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
    if sph2pipe:
        return f"sph2pipe -f wav {f'-p -c {channel} ' if channel else ''}{shlex.quote(str(path))} |"
    if channel is None and compression == "":
        return str(path)
    option = f"--channel {channel} " if channel else ""
    return f"python3 -m espnet_topdown.corpora.sphere {option}{shlex.quote(str(path))} |"


def decode(path: str | Path) -> tuple["np.ndarray", int]:
    """All samples of `path`.

    Returns:
        int16 samples of shape (samples, channels), and samples per second.

    Raises:
        TopdownError: the file is damaged, holds fewer samples than its header says, its samples do
            not have the header's checksum, or no decoder is installed.
    """
    header = read_header(path)
    if header.compression:
        samples = _decompress(path, header)
    else:
        samples = _read_plain(path)
    if len(samples) < header.samples:
        raise TopdownError(
            f"{path}: truncated or corrupt ({len(samples)} samples, header says {header.samples})"
        )
    samples = samples[: header.samples]
    if header.checksum not in (None, found := int(samples.sum(dtype="int64")) % 65536):
        raise TopdownError(
            f"{path}: corrupt (its samples sum up to {found}, its header's sample_checksum is"
            f" {header.checksum})"
        )
    return samples, header.rate


def _read_plain(path: str | Path) -> "np.ndarray":
    import soundfile  # here, because headers are read without it

    try:
        return soundfile.read(str(path), dtype="int16", always_2d=True)[0]
    except (RuntimeError, soundfile.SoundFileError) as error:
        raise TopdownError(f"{path}: cannot be decoded ({error})") from None


def find_decoder(path: str | Path, header: SphereHeader) -> str:
    """The program or package that decodes the compressed file `path`.

    ``sph2pipe``, ``ffmpeg`` or ``desphere``.

    Raises:
        TopdownError: none that can is installed.
    """
    if has_sph2pipe():
        return "sph2pipe"
    if (
        shutil.which("ffmpeg") and header.coding == "pcm"
    ):  # it finds no decoder for mu-law inside shorten
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
    if decoder == "sph2pipe":
        raw = _run(path, ["sph2pipe", "-p", "-f", "wav", str(path)])
    elif decoder == "ffmpeg":
        raw = _run(
            path,
            [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                "-i",
                str(path),
                "-f",
                "wav",
                "-c:a",
                "pcm_s16le",
                "-",
            ],
        )
    else:
        raw = _run_desphere(path)
    data = raw[
        raw.find(b"data", 12) + 8 :
    ]  # a WAV on a pipe does not know its length: take all that came
    whole = len(data) // (2 * header.channels) * 2 * header.channels
    return np.frombuffer(data[:whole], dtype="<i2").reshape(-1, header.channels)


def _run(path: str | Path, command: list[str]) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        detail = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise TopdownError(f"{path}: {command[0]} cannot decode it ({detail[-1]})")
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
    """What an entry of ``wav.scp`` that is `wav_entry`'s stands for, decoded in this process and
    checked whole.

    Args:
        entry: a path, or a command of sph2pipe or of this module.

    Returns:
        as `decode`, of the channel that the command names; None where `entry` is no SPHERE file and
        no such command.

    Raises:
        TopdownError: as `decode`; or there is no such channel.
    """
    if command := _ENTRY.fullmatch(entry):
        path = shlex.split(command["path"])[0]
        return _decode_channel(path, int(command["pipe"] or command["own"] or 0) or None)
    return decode(entry) if not entry.endswith("|") and is_sphere(entry) else None


def is_sphere(path: str | Path) -> bool:
    """Whether a file is there that begins as SPHERE files do."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _decode_channel(path: str | Path, channel: int | None) -> tuple["np.ndarray", int]:
    samples, rate = decode(path)
    if channel is not None:
        if not 1 <= channel <= samples.shape[1]:
            raise TopdownError(f"{path}: has no channel {channel}, it has {samples.shape[1]}")
        samples = samples[:, channel - 1 : channel]
    return samples, rate


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


def main(arguments: list[str] | None = None) -> int:
    """Write a SPHERE file as WAV to stdout; nothing at all where it is damaged."""
    parser = argparse.ArgumentParser(description="SPHERE file to WAV on stdout")
    parser.add_argument("path")
    parser.add_argument("--channel", type=int, help="one channel, counted from 1 (default: all)")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.buffer.write(to_wav(options.path, options.channel))
    except TopdownError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
