"""The one error that users see, and the nearest valid names for it.

Commands catch `TopdownError`, print its text without a traceback and exit non-zero. Everything else
is a fault of ours and keeps its traceback.
"""

import contextlib
import difflib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


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
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(1)
