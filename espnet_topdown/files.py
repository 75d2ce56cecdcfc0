"""Files that survive a kill: atomic writes, and fingerprints of what a training reads.

A file written here is either the old or the new one, never half of each. Needs neither torch nor
ESPnet.
"""

import contextlib
import glob
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.processes import has_ended, machine_id

DAY_S = 24 * 3600
# Of `hashing_once`; None outside of it.
_hashes: ContextVar[dict[Path, str] | None] = ContextVar("hashes", default=None)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text`: temporary file beside it, fsync, rename, fsync of the directory."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_lines(
    path: Path, lines: Iterable[str], *, encoding: str = "utf-8", errors: str = "strict"
) -> None:
    """Replace `path` by `lines` in one rename; what a power cut loses is to be made anew."""
    with (
        replacing(path, durable=False) as temporary,
        temporary.open("w", encoding=encoding, errors=errors, newline="\n") as stream,
    ):
        stream.writelines(f"{line}\n" for line in lines)


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path whose file replaces `path` when the ``with`` ends well, else is removed.

    Args:
        path: the file to replace.
        durable: whether it must outlast a power cut, not a kill alone; costs a write to disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        with naming(path):
            yield temporary
        if durable:
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
        with _named(path):
            temporary.replace(path)
        if durable:
            sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    _sweep(path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name `path` in the error of a system call that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def sync_directory(directory: Path) -> None:
    """Make renames and links in `directory` outlast a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, data: Any) -> None:
    """`write_text` of `json_text`."""
    write_text(path, json_text(data))


def json_text(data: Any) -> str:
    """Indented JSON, as our files have it."""
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:
    """The JSON in `path`.

    Raises:
        TopdownError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TopdownError(f"{path} is damaged ({error}); move it away and rerun") from None


def read_object(path: Path, **rules: Must) -> dict[str, Any]:
    """The JSON object in `path`, with a valid value under each key of `rules`.

    Raises:
        TopdownError: as `read_json`; or a key is missing or breaks its rule.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise damaged(path, "object")
    lacking = check.lacking(data, rules)
    if lacking:
        raise damaged(path, ", ".join(lacking))
    return data


def read_rows(path: Path, *keys: str) -> list[dict[str, Any]]:
    """The list of JSON objects in `path`, each with `keys`.

    Raises:
        TopdownError: as `read_json`; or it holds something else.
    """
    rows = read_json(path)
    if not check.are_rows(rows) or any(set(keys) - row.keys() for row in rows):
        raise damaged(path, "list of objects")
    found: list[dict[str, Any]] = rows
    return found


def damaged(path: Path, lacks: str) -> TopdownError:
    """The error about a file of ours that lacks what it was written with."""
    return TopdownError(f"{path} is damaged (no valid {lacks}); move it away and rerun")


def link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target` by a rename, so that the link is never missing."""
    temporary = _temporary(path)
    temporary.unlink(missing_ok=True)
    try:
        with _named(path):
            temporary.symlink_to(target)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sweep(path)


def unshare(path: Path) -> None:
    """Give `path` a file of its own where it has another name too, as in a copy by hard links."""
    if path.exists() and path.stat().st_nlink > 1:
        with replacing(path) as temporary:
            temporary.write_bytes(path.read_bytes())


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name `path` where a file cannot be put there, such as for a directory in its place."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _temporary(path: Path) -> Path:
    """A temporary name that no other process, of any machine, has."""
    return path.with_name(f".{path.name}.{machine_id()}-{os.getpid()}.tmp")


def _sweep(path: Path) -> None:
    """Remove temporary files beside `path` that nobody writes any more.

    Those of this machine whose process has ended; of another machine, or from before a reboot,
    those that are a day old.
    """
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        machine, _, pid = temporary.suffixes[-2][1:].partition("-")
        # Another may remove it at the same time.
        with contextlib.suppress(FileNotFoundError):
            is_old = time.time() - temporary.stat().st_mtime > DAY_S
            is_left = machine == machine_id() and has_ended(int(pid))
            if is_old or is_left:
                temporary.unlink()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; of a directory, of its files and their names."""
    known = _hashes.get()
    if known is not None and path in known:
        return known[path]
    if path.is_dir():
        inside = sorted(inner for inner in path.rglob("*") if not inner.is_dir())
        lines = [f"{sha256(inner)} {inner.relative_to(path)}\n" for inner in inside]
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise TopdownError(f"cannot read {path}: {error.strerror}") from None
    if known is not None:
        known[path] = digest
    return digest


@contextlib.contextmanager
def hashing_once() -> Iterator[None]:
    """Within it `sha256` reads a file once: for a step that compares many phases of one base."""
    token = _hashes.set({})
    try:
        yield
    finally:
        _hashes.reset(token)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Lines ``key: old -> new`` for every leaf in which two nested mappings differ."""
    lines = []
    for key in dict.fromkeys([*old, *new]):
        before = old.get(key, "(absent)")
        after = new.get(key, "(absent)")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {_change(before, after)}")
    return lines


def _change(before: Any, after: Any) -> str:
    """Of long lists, such as vocabularies, where they part."""
    is_long = all(isinstance(value, list) and len(value) > 20 for value in (before, after))
    if not is_long:
        return f"{before} -> {after}"
    shorter = min(len(before), len(after))
    parted = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    entries = [value[parted] if parted < len(value) else "(none)" for value in (before, after)]
    sizes = f"{len(before):,} entries -> {len(after):,}"
    return f"{sizes}; entry {parted + 1}: {entries[0]} -> {entries[1]}"
