"""Lists that parallel jobs share out, and their results put together again: stages 6, 10 and 12."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from espnet_topdown.errors import TopdownError

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


def split_keys(number: int, keys: dict[str, Path], directory: Path) -> int:
    """Writes each file's lines to ``directory/NAME.{1..n}.scp`` and returns n, at most the lines of
    the shortest file.

    Raises:
        TopdownError: a file is missing or empty.
    """
    lines = {}
    for name, path in keys.items():
        lines[name] = (
            path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        )
        if not lines[name]:
            raise TopdownError(
                f"asked to share out {path}, but it is missing or empty; run the earlier stages"
            )
    directory.mkdir(parents=True, exist_ok=True)
    number = min(number, *(len(part) for part in lines.values()))
    for name, part in lines.items():
        for n, piece in enumerate(pieces(part, number), 1):
            (directory / f"{name}.{n}.scp").write_text("".join(piece), encoding="utf-8")
    return number


def append_vocabulary(shapes: Sequence[Path], token_list: Path, suffix: str) -> None:
    """Writes ``SHAPE.suffix`` beside each shape file.

    The same lines with ``,VOCABULARY SIZE`` at the end.
    """
    size = len(token_list.read_text(encoding="utf-8").splitlines())
    for path in shapes:
        lines = (f"{line},{size}\n" for line in path.read_text(encoding="utf-8").splitlines())
        path.with_name(f"{path.name}.{suffix}").write_text("".join(lines), encoding="utf-8")


def join_outputs(directory: Path) -> None:
    """Joins ``logdir/output.*/1best_recog/{text,token,token_int,score}`` of a decoded set, sorted,
    into the set.

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
        lines = sorted(
            line for f in files for line in f.read_text(encoding="utf-8").splitlines(keepends=True)
        )
        if files:
            (directory / name).write_text("".join(lines), encoding="utf-8")
