"""Audio files that end early: of most formats libsndfile reads what is there, and says nothing.

A file says by its header how much it should hold. What a program has written to a pipe may say that
it does not know.
"""

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO

# Lengths of 32 bits from here on stand for an unknown one: sox and ffmpeg write such to pipes.
_UNKNOWN = {"<": 0x7FFF0000, ">": 0x7F000000}
_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
# MPEG-1 and MPEG-2 layer III: kbit/s by the index in a frame's header.
_BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
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
    magic = stream.read(16)
    declared = None
    if magic[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX"):
        declared = _in_riff(stream, start, size, ">" if magic[:4] == b"RIFX" else "<")
    elif magic[:4] == b"FORM":
        declared = _in_chunks(stream, start + 12, size, ">", (b"SSND", b"BODY"))
    elif magic[:4] == b".snd" and len(magic) >= 12:
        offset, length = struct.unpack(">II", magic[4:12])
        declared = (start + offset, _known(length, ">"))
    elif magic == _W64_RIFF:
        declared = _in_w64(stream, start + 40, size)
    elif magic[:4] == b"OggS":
        _refuse_torn_ogg(stream, size)
    elif magic[:3] == b"ID3" or _mp3_frame(magic[:4]) is not None:
        return _mp3_samples(stream, start, size)
    at, length = declared or (size, None)
    if length is not None and at + length > size:
        raise ValueError(f"truncated, {max(0, size - at)} of {length} bytes of samples")
    return 0


Data = tuple[int, int | None]  # where samples begin, and their bytes; None where unknown


def _in_riff(stream: BinaryIO, start: int, size: int, order: str) -> Data | None:
    """The data chunk; in RF64 a chunk before it has the 64 bits of its length."""
    for name, at, length in _chunks(stream, start + 12, size, order):
        if name == b"ds64" and length >= 16:
            stream.seek(at + 8)
            (long_length,) = struct.unpack("<Q", stream.read(8))
            data = _in_chunks(stream, at + length, size, order, (b"data",))
            if data is None or long_length >= 1 << 62:
                return None
            return data[0], long_length
        if name == b"data":
            return at, _known(length, order)
    return None


def _in_chunks(
    stream: BinaryIO, start: int, size: int, order: str, wanted: tuple[bytes, ...]
) -> Data | None:
    for name, at, length in _chunks(stream, start, size, order):
        if name in wanted:
            return at, _known(length, order)
    return None


def _known(length: int, order: str) -> int | None:
    """A length that a header says; None where it says that it does not know."""
    return length if length < _UNKNOWN[order] else None


def _chunks(stream: BinaryIO, at: int, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk, from the byte `at` on."""
    while at + 8 <= size:
        stream.seek(at)
        name, length = struct.unpack(f"{order}4sI", stream.read(8))
        at += 8
        yield name, at, length
        # Each is padded to an even length.
        at += length + length % 2


def _in_w64(stream: BinaryIO, at: int, size: int) -> Data | None:
    """The data chunk of Sony's W64: a GUID that begins with its name, and 64 bits of length."""
    while at + 24 <= size:
        stream.seek(at)
        name, length = struct.unpack("<16sQ", stream.read(24))
        if name.startswith(b"data"):
            return at + 24, length - 24
        if length < 24:
            break
        # The length has the header in it, and is padded to 8 bytes.
        at += -(-length // 8) * 8
    return None


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
    for name in (b"Xing", b"Info"):
        place = first.find(name)
        if place < 0 or len(first) < place + 12:
            continue
        flags, frames = struct.unpack(">II", first[place + 4 : place + 12])
        return int(frames) if flags & 1 else 0
    return 0


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples of the layer III frame with this header of 4 bytes; None: it is none."""
    if len(header) < 4:
        return None
    bits = int.from_bytes(header, "big")
    version, layer = bits >> 19 & 3, bits >> 17 & 3
    bitrate, rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    is_frame = bits >> 21 == 0x7FF and version != 1 and layer == 1
    if not is_frame or bitrate in (0, 15) or rate == 3:
        return None
    if version == 3:
        return 144_000 * _BITRATES[1][bitrate] // _RATES[rate] + padding, 1152
    slower = 2 if version == 2 else 4
    return 72_000 * _BITRATES[2][bitrate] * slower // _RATES[rate] + padding, 576
