"""What a process that has imported ESPnet was asked, and its answers, kept in the user's cache.

An import of ESPnet takes many seconds. An answer counts as long as nothing that it depends on has
changed: the question, the files that it is about, this package, ESPnet, and what is installed. A
cache that is damaged, or that cannot be written, is as good as none.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import espnet_topdown
from espnet_topdown import files, warm
from espnet_topdown.errors import TopdownError, reported_in
from espnet_topdown.text_files import log_lines

SLOW_S = 2.0  # after which it is told what is waited for
KEPT = 200  # answers, the newest
# Suffixes of what a model is built from, in a directory that a config names.
_WEIGHTS = frozenset([".bin", ".json", ".model", ".pt", ".pth", ".safetensors"])
# Of `without_cache`.
_is_anew: ContextVar[bool] = ContextVar("anew", default=False)


@dataclass(frozen=True)
class Question:
    """What a module of ours, which imports ESPnet, is asked.

    Args:
        module: run with `argv` and ``--output FILE``, to which it writes its answer as JSON.
        argv: its options; a file among them counts by its content.
        inputs: option -> what is written as JSON to the file that it names.
        reads: other files that the answer depends on, there or not; they count by size and time.
        waits_for: what is told on standard error while it takes long.
        failure: the message where the process ends without a message of its own.
    """

    module: str
    argv: Sequence[str]
    waits_for: str
    failure: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    reads: Sequence[Path] = ()


def answer(question: Question, keeps: Callable[[Any], object] = lambda _: True) -> Any:
    """The answer as JSON, from the cache where it holds.

    Args:
        question: what is asked.
        keeps: whether an answer is kept. One that names faults better is not: a full disk or a
            network that is down passes.

    Raises:
        TopdownError: what the process said against it.
    """
    path = _place(question)
    kept = None if _is_anew.get() else _read(path)
    if kept is not None:
        return kept
    found = _ask(question)
    if keeps(found):
        _keep(path, found)
    return found


@contextlib.contextmanager
def without_cache() -> Iterator[None]:
    """Within it every question is asked anew, and its answer kept for later."""
    token = _is_anew.set(True)
    try:
        yield
    finally:
        _is_anew.reset(token)


def files_named(config: Any) -> Iterator[Path]:
    """Every path in a config that names something; a list of tokens names none."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            # Tokens themselves are thousands of words, each of which would be looked for.
            if not str(key).endswith("token_list") or isinstance(value, str):
                yield from files_named(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from files_named(value)
    elif isinstance(config, str):
        # Of init_param the file stands before the first colon.
        for name in dict.fromkeys([config, config.partition(":")[0]]):
            # Names too long for a path, or with a zero byte, raise.
            with contextlib.suppress(OSError, ValueError):
                if name and Path(name).exists():
                    yield Path(name)


def _ask(question: Question) -> Any:
    with tempfile.TemporaryDirectory() as scratch, _told_when_slow(question.waits_for):
        output, log = Path(scratch) / "answer", Path(scratch) / "log"
        argv = [*question.argv, "--output", str(output)]
        for number, (option, data) in enumerate(question.inputs.items()):
            path = Path(scratch) / f"input{number}"
            files.write_json(path, data)
            argv += [option, str(path)]
        status = warm.start(warm.Command(question.module, argv, log)).wait()
        if status == 0:
            return files.read_json(output)
        lines = log_lines(log)
    end = "\n".join(lines[-15:])
    raise TopdownError(reported_in(lines) or f"{question.failure}:\n{end}")


@contextlib.contextmanager
def _told_when_slow(text: str) -> Iterator[None]:
    """Say `text` on standard error when what is inside has taken `SLOW_S`."""
    timer = threading.Timer(SLOW_S, lambda: print(text, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# -- the cache


def cache_directory() -> Path:
    """Where answers are kept, by the XDG base directory specification."""
    # An empty or a relative one is to be ignored, says the specification.
    home = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if not home.is_absolute():
        try:
            home = Path.home() / ".cache"
        except RuntimeError:
            # A user without a home, as in some containers: nothing is read there, nor written.
            home = Path(os.devnull)
    return home / "espnet_topdown"


def _place(question: Question) -> Path:
    """The file of an answer, named by all that the answer depends on."""
    contents = [files.sha256(path) for path in map(Path, question.argv) if path.is_file()]
    reads = list(map(_stamp, question.reads))
    asked = [
        question.module,
        question.argv,
        question.inputs,
        contents,
        reads,
        str(Path.cwd()),
    ]
    text = json.dumps([asked, _installed()], default=str)
    return cache_directory() / f"{hashlib.sha256(text.encode()).hexdigest()}.json"


def _stamp(path: Path) -> tuple[str, int, int]:
    try:
        if not path.is_dir():
            found = path.stat()
            return str(path), found.st_size, found.st_mtime_ns
        # An experiment is read by its config; beside its models stand its decodings.
        is_experiment = (path / "config.yaml").exists()
        entries = [] if is_experiment else [one for one in path.iterdir() if one.suffix in _WEIGHTS]
        inside = [entry.stat() for entry in entries if entry.exists()]
    except OSError:
        return str(path), 0, 0
    # The weights of a pre-trained model, say.
    sizes = sum(entry.st_size for entry in inside)
    return str(path), sizes, max((entry.st_mtime_ns for entry in inside), default=1)


@cache
def _installed() -> list[Any]:
    """This Python, this package and ESPnet file by file, and the version of all else."""
    ours = Path(espnet_topdown.__file__).parent
    sources = [(str(path), files.sha256(path)) for path in sorted(ours.rglob("*.py"))]
    # A checkout of ESPnet that somebody works on keeps its version.
    espnet: list[tuple[str, int, int]] = []
    for folder in _folders_of_espnet():
        espnet += map(_stamp, sorted(folder.rglob("*.py")))
    packages: list[str] = []
    for place in map(Path, sys.path):
        packages += sorted(path.name for path in place.glob("*.dist-info"))
    return [sys.version, sources, espnet, packages]


def _folders_of_espnet() -> Iterable[Path]:
    for name in ("espnet", "espnet2"):
        spec = importlib.util.find_spec(name)
        # None, too, of a module that is no package: nothing in it could change.
        if spec is not None and spec.submodule_search_locations is not None:
            yield from map(Path, spec.submodule_search_locations)


def _read(path: Path) -> Any:
    """What is kept in `path`; None where nothing is, or where it is damaged."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["sha256"] == _digest(kept["answer"]):
            return kept["answer"]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return None


def _keep(path: Path, found: Any) -> None:
    """Keep an answer, where that can be done."""
    text = json.dumps({"sha256": _digest(found), "answer": found})
    # A full disk, a directory of somebody else, or none at all.
    with contextlib.suppress(OSError):
        with files.replacing(path, durable=False) as temporary:
            temporary.write_text(text, encoding="utf-8")
        kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime_ns)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)


def _digest(found: Any) -> str:
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
