"""The one error that users see, and the nearest valid names for it.

Commands catch `TopdownError`, print its text without a traceback and exit non-zero. Everything else
is a fault of ours and keeps its traceback.
"""

import argparse
import contextlib
import difflib
import os
import re
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

PACKAGE = "espnet_topdown"
COMMAND = "espnet-topdown"
LOG_FORMAT = "%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"  # ESPnet's
# What `reported` and the parsers of our programs print, and no "srun: error:" of a cluster. The
# tools of ESPnet that we run keep their names; a parser calls a module that is run by its file's.
_REPORTED = re.compile(
    rf"(?:python3 -m )?(?:{COMMAND}|{PACKAGE}[\w.]*|espnet2[\w.]*|\w+\.py)(?: \w+)?: error: (.*)"
)


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
    known = f"valid: {listed(names)}"
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    if not close:
        return known
    return f"did you mean {', '.join(close)}? ({known})"


def listed(names: Iterable[str], nothing: str = "none") -> str:
    """Names for a message, or the word for their absence."""
    return ", ".join(names) or nothing


def some_of(names: Sequence[str], most: int) -> str:
    """The first names of a list, for a message, with dots where there are more than `most`."""
    dots = ", ..." if len(names) > most else ""
    return f"{', '.join(names[:most])}{dots}"


def first_lines(lines: Sequence[str], most: int) -> list[str]:
    """The first lines of a list, and last how many more there are, if any."""
    rest = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return [*lines[:most], *rest]


class Parser(argparse.ArgumentParser):
    """argparse's, which also tells the nearest of what is misspelt: a command, an option, a value.

    Its sub-parsers do likewise.
    """

    _given: Sequence[str] = ()
    # The choice among its commands, where it has such.
    _commands: argparse.Action | None = None

    def add_subparsers(self, **options: Any) -> Any:
        """As argparse's; keeps them, for `parse_args`."""
        self._commands = super().add_subparsers(**options)
        return self._commands

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; a word that no option takes ends with status 2 and the nearest options."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            parser = self._of_command(found)
            faults = parser._misspelt(rest)
            parser.error("; ".join(faults) or f"found {' '.join(rest)}, which no argument takes")
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; keeps the words, for `error`."""
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """As argparse's; a required option that is missing may be there, misspelt."""
        if "arguments are required" in message:
            message = "; ".join([message, *self._misspelt(self._given)])
        super().error(message)

    def _misspelt(self, words: Sequence[str]) -> list[str]:
        """What to say of each option among the words that is none of this parser's."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        options = [word.partition("=")[0] for word in words if word.startswith("-")]
        # What begins one of ours is its abbreviation.
        unknown = [word for word in options if not any(o.startswith(word) for o in known)]
        return [f"unknown option {option}; {nearest(option, known)}" for option in unknown]

    def _of_command(self, found: argparse.Namespace) -> "Parser":
        """The parser of the command that was given, this one where there are none."""
        if self._commands is None:
            return self
        parsers: Any = self._commands.choices
        chosen: Parser = parsers[getattr(found, self._commands.dest)]
        return chosen

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"{value!r} is unknown; {nearest(value, action.choices)}"
            )


@contextlib.contextmanager
def reported(*, system_faults: bool = True) -> Iterator[None]:
    """Turn a `TopdownError` into its text on standard error and exit status 1.

    Args:
        system_faults: the same for files that cannot be read or written; and a reader such as
            `head` that has gone ends the command quietly, with SIGPIPE's status. A training leaves
            both to their traceback, which its log keeps.
    """
    try:
        with _system_faults_told() if system_faults else contextlib.nullcontext():
            yield
    except TopdownError as error:
        first, *more = str(error).splitlines() or [""]
        # Indented, as `reported_in` knows them by.
        lines = [first, *(line if line.startswith("  ") else f"  {line}" for line in more)]
        print(f"{program()}: error: " + "\n".join(lines), file=sys.stderr)
        sys.exit(1)


@contextlib.contextmanager
def _system_faults_told() -> Iterator[None]:
    """Turn what a system call failed with into a `TopdownError`."""
    try:
        yield
    except BrokenPipeError:
        # Nothing is at fault, but not all was done; nor must Python's own flush at exit fail.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except UnicodeEncodeError as error:
        # Python reads such bytes of a file's name as surrogates.
        near = error.object[max(0, error.start - 40) : error.end]
        told = near.encode("utf-8", "backslashreplace").decode()
        raise TopdownError(f"a name is no UTF-8: {told}; rename it and run again") from error
    except OSError as error:  # a full disk, a file where a directory is needed
        # What is no system call's has no number: a fault of ours, or of a library.
        if error.strerror is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        raise TopdownError(f"{where}{error.strerror}; mend that and run again") from error


def program() -> str:
    """The running program as messages name it: ``espnet-topdown``, or one of our modules."""
    path = Path(sys.argv[0])
    parts = path.with_suffix("").parts
    if path.suffix != ".py" or PACKAGE not in parts:
        return path.name
    place = len(parts) - parts[::-1].index(PACKAGE)
    inner = [part for part in parts[place:] if part != "__main__"]
    if not inner or inner == ["cli"]:
        return COMMAND
    return ".".join([PACKAGE, *inner])


def reported_in(log: Sequence[str]) -> str | None:
    """The text that `reported` printed among the lines of a log, None where it printed none.

    The lines after its first are known by their indentation, since other output may follow.
    """
    for number, line in enumerate(log):
        ours = _REPORTED.match(line)
        if ours is None:
            continue
        more = [after for after in log[number + 1 :] if after.startswith("  ")]
        return "\n".join([ours[1], *more])
    return None
