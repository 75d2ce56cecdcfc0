"""The one error that users see, and the nearest valid names for it.

Commands catch `TopdownError`, print its text without a traceback and exit non-zero. Everything else
is a fault of ours and keeps its traceback.
"""

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

PACKAGE = "espnet_topdown"


class TopdownError(Exception):
    """A request that cannot be met; the text says what was asked, what was found and what to do."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """The valid names most like `name`, written for the end of a message.

    Args:
        name: what was asked for.
        valid: every name that would have been accepted, in the order in which to print them.

    Returns:
        ``"did you mean a, b? (valid: a, b, c)"``, without the question where nothing resembles
        `name`.
    """
    names = [str(known) for known in valid]
    listed = f"valid: {', '.join(names) or 'none'}"
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if not close:
        return listed
    return f"did you mean {', '.join(close)}? ({listed})"


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turn a `TopdownError` into its text on standard error and exit status 1."""
    try:
        yield
    except TopdownError as error:
        print(f"{_program()}: error: {error}", file=sys.stderr)
        sys.exit(1)


def _program() -> str:
    """The running program as its user calls it: ``espnet-topdown`` or ``espnet_topdown.recipe``."""
    path = Path(sys.argv[0])
    if path.name != "__main__.py":
        return path.name
    folder = path.parent.name
    return "espnet-topdown" if folder == PACKAGE else f"{PACKAGE}.{folder}"


def reported_in(log: Sequence[str]) -> str | None:
    """The text that `reported` printed among the lines of a log, None where it printed none.

    The lines after its first are known by their indentation, since other output may follow.
    """
    marker = ": error: "
    for number, line in enumerate(log):
        if marker not in line:
            continue
        first = line.split(marker, 1)[1]
        return "\n".join([first, *(more for more in log[number + 1 :] if more.startswith("  "))])
    return None
