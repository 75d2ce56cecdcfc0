"""Lists that parallel jobs share out, and their results put together again: stages 6, 10 and 12."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.files import write_lines
from espnet_topdown.table import counted
from espnet_topdown.text_files import read_lines, read_tokens

T = TypeVar("T")
RESULTS = ("text", "token", "token_int", "score")


def pieces(items: Sequence[T], number: int) -> Iterator[Sequence[T]]:
    """`items` in at most `number` neighbouring pieces, none empty, the longer ones first."""
    number = max(1, min(number, len(items)))
    size, longer = divmod(len(items), number)
    start = 0
    for n in range(number):
        end = start + size + (n < longer)
        yield items[start:end]
        start = end


def split_keys(number: int, files: Mapping[str, Path], directory: Path) -> int:
    """Share each file's lines out to ``directory/NAME.{1..n}.scp``.

    Args:
        number: jobs wanted.
        files: NAME -> file.
        directory: gets the lists.

    Returns:
        n: `number`, or the lines of the shortest file where that is less.

    Raises:
        TopdownError: a file is missing or empty.
    """
    lists = {name: _filled_lines(path) for name, path in files.items()}
    directory.mkdir(parents=True, exist_ok=True)
    # A job without a line in one of its lists would fail.
    number = min(number, *map(len, lists.values()))
    for name, lines in lists.items():
        for n, piece in enumerate(pieces(lines, number), 1):
            write_lines(directory / f"{name}.{n}.scp", piece)
    return number


def _filled_lines(path: Path) -> list[str]:
    lines = [line for line in read_lines(path) if line.strip()] if path.is_file() else []
    if not lines:
        raise TopdownError(
            f"asked to share out {path}, but it is missing or empty; run the earlier stages"
        )
    return lines


def append_vocabulary(shapes: Sequence[Path], token_list: Path, suffix: str) -> None:
    """Write ``SHAPE.suffix`` beside each shape file: its lines and ``,VOCABULARY SIZE``."""
    size = len(read_tokens(token_list))
    for path in shapes:
        lines = (f"{line},{size}" for line in read_lines(path))
        write_lines(path.with_name(f"{path.name}.{suffix}"), lines)


def join_outputs(directory: Path) -> None:
    """Join the jobs' results of a decoded set, sorted, into text, token, token_int and score.

    An utterance for which ESPnet's search found no hypothesis (espnet/nets/beam_search.py, 202511)
    gets an empty text, so that it counts as missed.

    Args:
        directory: the set, with ``logdir/keys.*.scp``, what the jobs have decoded, and
            ``logdir/output.*/1best_recog``.

    Raises:
        TopdownError: no job has left a result.
    """
    logs = directory / "logdir"
    parts = sorted(logs.glob("output.*/1best_recog"))
    keys = _first_words(sorted(logs.glob("keys.*.scp")))
    if not parts and not keys:
        raise TopdownError(
            f"asked to join {directory}/logdir/output.*, but nothing is there; run stage 12"
        )
    lacking = sorted(keys - _first_words(part / "text" for part in parts))
    if lacking:
        logging.warning(
            f"{directory}/text: no hypothesis was found for {counted(len(lacking), 'utterance')}"
            f" ({some_of(lacking, 3)}); each counts as empty"
        )
    for name in RESULTS:
        files = [part / name for part in parts if (part / name).exists()]
        lines = [*chain.from_iterable(map(read_lines, files)), *(lacking if name == "text" else ())]
        if lines:
            write_lines(directory / name, sorted(lines))


def _first_words(files: Iterable[Path]) -> set[str]:
    """The first words of the lines of those files that are there."""
    lines = chain.from_iterable(map(read_lines, filter(Path.exists, files)))
    return {line.split(maxsplit=1)[0] for line in lines if line.strip()}
