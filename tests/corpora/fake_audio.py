"""Synthetic SPHERE files: a tone for each character, as PCM, mu-law or shorten-compressed PCM."""

from pathlib import Path

import numpy as np


def speak(text: str, rate: int, tone_s: float = 0.06) -> np.ndarray:
    """int16 samples, shape (samples,): every character of `text` is a tone of its own pitch."""
    time = np.arange(int(tone_s * rate)) / rate
    tones = [np.sin(2 * np.pi * (200 + 37 * (ord(c) % 80)) * time) for c in text or " "]
    noise = np.random.default_rng(len(text)).normal(0, 0.01, len(tones) * len(time))
    return ((np.concatenate(tones) * 0.3 + noise) * 32767).astype("<i2")


def write_sphere(
    path: Path, samples: np.ndarray, rate: int, coding: str = "pcm", *, shorten: bool = False
) -> None:
    """Write int16 `samples`, shape (samples,) or (samples, channels), as a SPHERE file."""
    samples = samples.reshape(len(samples), -1)
    body = samples.astype("<i2").tobytes() if coding == "pcm" else to_ulaw(samples).tobytes()
    name = coding
    if shorten:
        body, name = to_shorten(samples[:, 0]), f"{coding},embedded-shorten-v2.00"
    path.parent.mkdir(parents=True, exist_ok=True)
    total = int(samples.sum(dtype=np.int64)) % 65536 if coding == "pcm" else None
    path.write_bytes(header(len(samples), samples.shape[1], rate, name, total) + body)


def as_on_disc(root: Path, version: str) -> None:
    """Rename all below `root` to upper case, files with this version at their end."""
    for path in sorted(root.rglob("*"), reverse=True):
        ending = version if path.is_file() else ""
        path.rename(path.with_name(path.name.upper() + ending))


def header(
    samples: int, channels: int, rate: int, coding: str, checksum: int | None = None
) -> bytes:
    """A SPHERE header of 1024 bytes."""
    width = 2 if coding.startswith("pcm") else 1
    order = "sample_byte_format -s2 01" if width == 2 else "sample_byte_format -s1 1"
    lines = [
        "NIST_1A",
        "   1024",
        f"channel_count -i {channels}",
        f"sample_count -i {samples}",
        f"sample_rate -i {rate}",
        f"sample_n_bytes -i {width}",
        order,
        f"sample_sig_bits -i {8 * width}",
        f"sample_coding -s{len(coding)} {coding}",
    ]
    if checksum is not None:
        lines.append(f"sample_checksum -i {checksum}")
    return "\n".join([*lines, "end_head\n"]).encode().ljust(1024, b" ")


def to_ulaw(samples: np.ndarray) -> np.ndarray:
    """G.711 mu-law bytes of int16 samples."""
    magnitude = np.minimum(np.abs(samples.astype(int)), 32635) + 132
    exponent = np.log2(magnitude).astype(int) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    return (~(np.where(samples < 0, 128, 0) | exponent << 4 | mantissa) & 255).astype(np.uint8)


def to_shorten(samples: np.ndarray, block: int = 256) -> bytes:
    """Shorten version 2 (Robinson 1994, CUED/F-INFENG/TR.156) of one channel.

    First differences, Rice-coded.
    """
    # Little-endian PCM, channels, block, no LPC, no mean, nothing skipped.
    bits = ["".join(map(_ulong, (5, 1, block, 0, 0, 0)))]
    for start in range(0, len(samples), block):
        part = samples[start : start + block].astype(int)
        if len(part) < block:
            bits.append(_uvar(5, 2) + _ulong(len(part)))
        before = int(samples[start - 1]) if start else 0
        residual = np.diff(part, prepend=before)
        zigzag = np.where(residual >= 0, 2 * residual, -2 * residual - 1)
        k = max(1, int(zigzag.mean()).bit_length())
        bits += [_uvar(1, 2), _uvar(k - 1, 3), *(_uvar(int(value), k) for value in zigzag)]
    stream = "".join(bits) + _uvar(4, 2)
    stream += "0" * (-len(stream) % 32)
    return b"ajkg\x02" + int(stream, 2).to_bytes(len(stream) // 8, "big")


def _uvar(value: int, k: int) -> str:
    return "0" * (value >> k) + "1" + (format(value & ((1 << k) - 1), f"0{k}b") if k else "")


def _ulong(value: int) -> str:
    return _uvar(value.bit_length(), 2) + _uvar(value, value.bit_length())
