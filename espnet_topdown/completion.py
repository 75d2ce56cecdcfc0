"""What bash completes behind ``espnet-topdown``: commands, options, files and shipped plans.

`shtab` writes it of the parser itself, so that a press of the key starts no Python.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet_topdown.cli_parser import parser
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.shipped import plan_path, shipped_plans
from espnet_topdown.recognise import named

# Names with "_file" have shtab quote what they give as file names.
_FUNCTIONS = """\
_espnet_topdown_files() {{
  compgen -f -- "$1"
}}
_espnet_topdown_plan_files() {{
  compgen -f -- "$1"
  compgen -W "{plans}" -- "$1"
}}
"""


def bash_completion() -> str:
    """A script for bash: ``eval "$(espnet-topdown completion)"``.

    Raises:
        TopdownError: shtab is not installed.
    """
    try:
        import shtab
    except ModuleNotFoundError:
        raise TopdownError("completion needs the package shtab: pip install shtab") from None
    top = parser()
    for action in _actions(top):
        if action.type in (Path, named):
            _complete(action, "_espnet_topdown_files")
        elif action.type is plan_path:
            _complete(action, "_espnet_topdown_plan_files")
    functions = _FUNCTIONS.format(plans=" ".join(shipped_plans()))
    return str(shtab.complete(top, shell="bash", preamble={"bash": functions}))


def _complete(action: Any, function: str) -> None:
    """Let `function` of the script complete the words of an argument."""
    action.complete = {"bash": function}


def _actions(top: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every argument of a parser and of its commands."""
    for action in top._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
