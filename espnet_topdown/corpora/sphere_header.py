"""Headers of NIST SPHERE files, checked against the size of the file."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.errors import TopdownError

_MAGIC = b"NIST_1A\n"
_LEAST = 1024  # bytes of a header, nearly always all of it
_NAMES = b"sample_coding|sample_rate|channel_count|sample_count|sample_n_bytes|sample_checksum"
_FIELD = re.compile(rb"^(" + _NAMES + rb") -\S+ (.*)$", re.MULTILINE)  # name -type value


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


def is_sphere(path: str | Path) -> bool:
    """Whether a file is there that begins as SPHERE files do."""
    try:
        with open(path, "rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def read_header(path: str | Path) -> SphereHeader:
    """The header of `path`.

    Raises:
        TopdownError: the file is missing, is not SPHERE, lacks a field, or is uncompressed and
            shorter than its header says. Whether a compressed file is whole shows only when it is
            decoded.
    """
    try:
        head, size, file_size = _read_head(path)
    except OSError as error:
        raise TopdownError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise TopdownError(f"{path}: damaged SPHERE header (no size in its second line)") from None
    if not size or len(head) < size:
        raise TopdownError(
            f"{path}: not a whole SPHERE header (expected NIST_1A and {size or _LEAST} bytes)"
        )
    header = _parse(path, size, head)
    needed = size + header.samples * header.channels * header.width
    if not header.compression and file_size < needed:
        raise TopdownError(f"{path}: truncated ({file_size} bytes, its header needs {needed})")
    return header


def _read_head(path: str | Path) -> tuple[bytes, int, int]:
    """The header's bytes, the size that it gives itself (0 where it is none), and the file's."""
    # os.open and not open(): a corpus has tens of thousands of files, each read once.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        head = os.read(descriptor, _LEAST)
        size = int(head[8:16]) if head.startswith(_MAGIC) else 0
        if size > _LEAST:
            head += os.read(descriptor, size - _LEAST)
        return head, size, os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _parse(path: str | Path, size: int, head: bytes) -> SphereHeader:
    fields = dict(_FIELD.findall(head, 16, head.find(b"end_head")))
    described = fields.get(b"sample_coding", b"pcm").decode("ascii", "replace")
    coding, _, compression = described.partition(",")
    usual_width = b"2" if coding == "pcm" else b"1"
    checksum = fields.get(b"sample_checksum") if coding == "pcm" else None
    try:
        return SphereHeader(
            size=size,
            rate=int(fields[b"sample_rate"]),
            channels=int(fields[b"channel_count"]),
            samples=int(fields[b"sample_count"]),
            width=int(fields.get(b"sample_n_bytes", usual_width)),
            coding=coding.replace("mu-law", "ulaw"),
            compression=compression,
            checksum=None if checksum is None else int(checksum),
        )
    except (KeyError, ValueError):
        raise TopdownError(
            f"{path}: damaged SPHERE header (sample_rate, channel_count or sample_count)"
        ) from None
