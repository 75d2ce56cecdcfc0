"""Lists that parallel jobs share out, and their results put together again: stages 6, 10 and 12."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text

T = TypeVar("T")
RESULTS = ("text", "token", "token_int", "score")


def pieces(items: Sequence[T], number: int) -> Iterator[Sequence[T]]:
    """`items` in at most `number` neighbouring pieces, none empty, the longer ones first."""
    number = max(1, min(number, len(items)))
    size, longer = divmod(len(items), number)
    start = 0
    for n in range(number):
        end = start + size
        if n < longer:
            end += 1
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
    lists = {name: _read_lines(path) for name, path in files.items()}
    directory.mkdir(parents=True, exist_ok=True)
    # A job without a line in one of its lists would fail.
    number = min(number, *map(len, lists.values()))
    for name, lines in lists.items():
        for n, piece in enumerate(pieces(lines, number), 1):
            write_text(directory / f"{name}.{n}.scp", "".join(piece))
    return number


def _read_lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not text:
        raise TopdownError(
            f"asked to share out {path}, but it is missing or empty; run the earlier stages"
        )
    return text.splitlines(keepends=True)


def append_vocabulary(shapes: Sequence[Path], token_list: Path, suffix: str) -> None:
    """Write ``SHAPE.suffix`` beside each shape file: its lines and ``,VOCABULARY SIZE``."""
    size = len(token_list.read_text(encoding="utf-8").splitlines())
    for path in shapes:
        lines = (f"{line},{size}\n" for line in path.read_text(encoding="utf-8").splitlines())
        write_text(path.with_name(f"{path.name}.{suffix}"), "".join(lines))


def join_outputs(directory: Path) -> None:
    """Join the jobs' results of a decoded set, sorted, into text, token, token_int and score.

    Args:
        directory: the set, with ``logdir/output.*/1best_recog``.

    Raises:
        TopdownError: no job has left a result.
    """
    parts = sorted((directory / "logdir").glob("output.*/1best_recog"))
    if not parts:
        raise TopdownError(
            f"asked to join {directory}/logdir/output.*, but nothing is there; run stage 12"
        )
    for name in RESULTS:
        files = [part / name for part in parts if (part / name).exists()]
        if not files:
            continue
        lines: list[str] = []
        for file in files:
            lines += file.read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(directory / name, "".join(sorted(lines)))
