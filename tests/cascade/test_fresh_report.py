"""The report of a cascade is renewed after each phase, by one process, and stops nothing."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from cascades import PLAN, run

from espnet_topdown import cli, warm
from espnet_topdown.cascade.fresh_report import FreshReport


class Writer:
    """Stands for the process that writes pages; it ends when a test says so."""

    def __init__(self, command: warm.Command) -> None:
        self.command = command
        self.status: int | None = None
        self.was_terminated = False

    def poll(self) -> int | None:
        return self.status

    def wait(self) -> int:
        self.status = 0 if self.status is None else self.status
        return self.status

    def terminate(self) -> None:
        self.was_terminated = True


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A report in `tmp_path`/c, the processes that it started, and what it said."""
    writers: list[Writer] = []
    said: list[str] = []

    def start(command: warm.Command) -> Writer:
        writers.append(Writer(command))
        return writers[-1]

    monkeypatch.setattr(warm, "start", start)
    return SimpleNamespace(
        report=FreshReport(tmp_path / "c", said.append), writers=writers, said=said
    )


def test_phases_that_end_while_it_is_written_are_in_the_next_one(made: SimpleNamespace) -> None:
    with made.report:
        for _ in range(3):
            made.report.renew()
        assert len(made.writers) == 1
        made.writers[0].status = 0
        made.report.look()
        made.report.look()
        assert len(made.writers) == 2
    assert [writer.status for writer in made.writers] == [0, 0]
    directory = made.report.directory
    assert made.said == [f"report, renewed after each phase: file://{directory}/report.html"]
    assert made.writers[0].command.argv[1:] == ["-m", "espnet_topdown", "results", str(directory)]


def test_what_stands_in_its_way_is_told(made: SimpleNamespace) -> None:
    with made.report:
        made.report.renew()
        made.writers[0].command.log.write_text("x\nespnet-topdown: error: no room\n")
        made.writers[0].status = 1
    assert made.said == ["note: the report was not written: no room"]


def test_an_exception_leaves_it_as_it_is(made: SimpleNamespace) -> None:
    with pytest.raises(KeyboardInterrupt), made.report:
        made.report.renew()
        raise KeyboardInterrupt
    assert [writer.was_terminated for writer in made.writers] == [True]


def test_nothing_is_written_where_it_is_not_wanted(made: SimpleNamespace) -> None:
    made.report.is_wanted = False
    with made.report:
        made.report.renew()
    assert (made.writers, made.said) == ([], [])


def test_a_run_ends_with_a_report_of_all_phases(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "WITH_REPORT", True)
    cascade = run(base, tmp_path, PLAN)
    results = json.loads((cascade / "results.json").read_text())
    assert [row["name"] for row in results["phases"]] == ["phase0", "phase1", "phase2"]
    link = f"report, renewed after each phase: file://{cascade}/report.html"
    assert capsys.readouterr().err.splitlines().count(link) == 1
