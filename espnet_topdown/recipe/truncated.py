"""Audio files that end early: of most formats libsndfile reads what is there, and says nothing.

A file says by its header how much it should hold. What a program has written to a pipe may say that
it does not know.
"""

import io
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple


class Layout(NamedTuple):
    """How a kind of file parts its content into chunks.

    Attributes:
        header: of a chunk, as `struct` reads it: its name and its length.
        samples: names of the chunks that hold samples.
        first: the byte at which the first chunk begins.
        padded: to a multiple of how many bytes each chunk is.
        own: bytes of a chunk's header that its length counts too.
        unknown: from here on a length stands for one that the program did not know.
    """

    header: struct.Struct
    samples: tuple[bytes, ...] = (b"data",)
    first: int = 12
    padded: int = 2
    own: int = 0
    unknown: int = 0x7FFF0000  # sox and ffmpeg write such to pipes


_LITTLE, _BIG = struct.Struct("<4sI"), struct.Struct(">4sI")
# By the first bytes of the file. Sony's W64 has a GUID for a name, which begins with the name.
_LAYOUTS = {
    b"RIFF": Layout(_LITTLE),
    b"RF64": Layout(_LITTLE),
    b"BW64": Layout(_LITTLE),
    b"RIFX": Layout(_BIG, unknown=0x7F000000),
    b"FORM": Layout(_BIG, samples=(b"SSND", b"BODY"), unknown=0x7F000000),
    b"riff": Layout(struct.Struct("<4s12xQ"), first=40, padded=8, own=24, unknown=1 << 62),
}
# MPEG layer III: kbit/s by the index in a frame's header.
_MPEG_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
# MPEG-1, 2 and 2.5 by their number in a frame's header: bytes of a frame at 1 kbit/s, times the
# rate of MPEG-1; kbit/s; samples of a frame.
_VERSIONS = {
    3: (144_000, _MPEG_1, 1152),
    2: (144_000, _MPEG_2, 576),
    0: (288_000, _MPEG_2, 576),
}
# Flags, of which the lowest says that the number of frames follows, and that number.
_TOLD = re.compile(rb"(?:Xing|Info)(.{8})", re.DOTALL)
_RATES = (44100, 48000, 32000)  # Hz, of MPEG-1; half of it MPEG-2, a quarter 2.5


def least_samples(stream: BinaryIO, start: int = 0) -> int:
    """Samples that a whole WAV, RF64, W64, AIFF, AU, Ogg or MP3 file has at least; 0: not known.

    Args:
        stream: the file, or an ark.
        start: the byte where it begins.

    Raises:
        ValueError: it is shorter than its header says.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(start)
    magic = stream.read(16).ljust(16, b"\0")
    layout = _LAYOUTS.get(magic[:4])
    declared = None
    if layout:
        declared = _in_chunks(stream, start + layout.first, size, layout)
    elif magic[:4] == b".snd":
        offset, length = struct.unpack(">II", magic[4:12])
        declared = _known(start + offset, length, 0x7F000000)
    elif magic[:4] == b"OggS":
        _refuse_torn_ogg(stream, size)
    elif magic[:3] == b"ID3" or _mp3_frame(magic[:4]) is not None:
        return _mp3_samples(stream, start, size)
    if declared and sum(declared) > size:
        at, length = declared
        raise ValueError(f"truncated, {max(0, size - at)} of {length} bytes of samples")
    return 0


Data = tuple[int, int]  # where samples begin, and their bytes


def _known(at: int, length: int, unknown: int) -> Data | None:
    """What a header says; None where it says that it does not know the length."""
    return (at, length) if length < unknown else None


def _in_chunks(stream: BinaryIO, start: int, size: int, layout: Layout) -> Data | None:
    """What the chunk with samples says; in RF64 a chunk before it has the 64 bits of its length."""
    long_length = None
    for name, at, length in _chunks(stream, start, size, layout):
        if name == b"ds64" and length >= 16:
            stream.seek(at + 8)
            (long_length,) = struct.unpack("<Q", stream.read(8))
        elif name in layout.samples:
            if long_length is not None:
                return _known(at, long_length, 1 << 62)
            return _known(at, length, layout.unknown)
    return None


def _chunks(
    stream: BinaryIO, at: int, size: int, layout: Layout
) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk, from the byte `at` on."""
    while at + layout.header.size <= size:
        stream.seek(at)
        name, length = layout.header.unpack(stream.read(layout.header.size))
        at += layout.header.size
        length = max(0, length - layout.own)
        yield name, at, length
        at += -(-length // layout.padded) * layout.padded


def _refuse_torn_ogg(stream: BinaryIO, size: int) -> None:
    """The last page is whole (RFC 3533)."""
    stream.seek(max(0, size - 70_000))  # a page has 65,307 bytes at most
    tail = stream.read()
    page = tail[tail.rfind(b"OggS") :]
    # A header of 27 bytes, whose last says how many lengths follow, and what these count.
    segments = page[26:27]
    lengths = page[27 : 27 + sum(segments)]
    if not segments or len(page) < 27 + sum(segments) + sum(lengths):
        raise ValueError("truncated, its last page is torn")


def _mp3_samples(stream: BinaryIO, at: int, size: int) -> int:
    """Samples of an MP3 file, but for those at its ends that its encoder added.

    Where its first frame does not tell how many frames there are, libsndfile estimates that by the
    size of the file and of its first frames, and reads no more.
    """
    stream.seek(at)
    head = stream.read(10)
    if head[:3] == b"ID3":
        high, upper, lower, low = head[6:10]
        at += 10 + (high << 21 | upper << 14 | lower << 7 | low)
    stream.seek(at)
    declared = _told_frames(stream.read(200))
    frames = samples = 0
    while at + 4 <= size:
        stream.seek(at)
        frame = _mp3_frame(stream.read(4))
        if frame is None:
            break  # tags, or what only a decoder understands
        length, in_frame = frame
        at += length
        frames += 1
        samples += in_frame
    if at > size:
        raise ValueError(f"truncated, its last frame lacks {at - size} bytes")
    # The one that tells is not counted.
    if frames - 1 < declared:
        raise ValueError(f"truncated, {frames - 1} of {declared} frames")
    return max(0, samples - 5 * 1152)


def _told_frames(first: bytes) -> int:
    """Frames of an MP3 file by its first one, as LAME and others write it; 0 where it is silent."""
    told = _TOLD.search(first)
    flags, frames = struct.unpack(">II", told[1]) if told else (0, 0)
    return int(frames) if flags & 1 else 0


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples of the layer III frame with this header of 4 bytes; None: it is none."""
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    bitrate, rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    is_layer_3 = bits >> 21 == 0x7FF and version in _VERSIONS and layer == 1
    if not (is_layer_3 and 0 < bitrate < 15 and rate < 3):
        return None
    scale, bitrates, samples = _VERSIONS[version]
    return scale * bitrates[bitrate] // _RATES[rate] + padding, samples
