"""Shared by the tests of corpora: commands that are to refuse."""

from collections.abc import Callable

import pytest

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """``refused(command, *arguments)``: the message of a command that must end with status 1."""

    def run(command: Callable[..., None], *arguments: object) -> str:
        with pytest.raises(SystemExit) as stopped:
            command(*arguments)
        assert stopped.value.code == 1
        return capsys.readouterr().err

    return run
