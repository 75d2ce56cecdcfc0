"""The warm process: logs, statuses, threads, and children that end with whoever asked for them."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_until

from espnet_topdown import gpus, warm
from espnet_topdown.errors import TopdownError
from espnet_topdown.warm import client, groups, line

FAKE = """
import logging, os, subprocess, sys, time
def main(argv):
    logging.basicConfig(level="INFO")
    logging.info("argv %s in %s with %s", argv, os.getcwd(), os.environ.get("COLOUR"))
    if argv[0] == "sleep":
        print("pid", os.getpid(), flush=True)
        time.sleep(60)
    if argv[0] == "die":
        print("left", subprocess.Popen(["sleep", "600"]).pid, flush=True)
        os.kill(os.getpid(), 9)
    sys.exit(int(argv[0]))
"""
SERVE = (
    "import sys, pathlib as p; from espnet_topdown.warm import server;"
    " server.serve(p.Path(sys.argv[1]), preload=())"
)
REPOSITORY = str(Path(warm.__file__).parents[2])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A warm process that has imported nothing, and a module `fake` for it to run."""
    root = tmp_path_factory.mktemp("w")
    (root / "fake.py").write_text(FAKE)
    environment = os.environ | {"PYTHONPATH": f"{root}:{REPOSITORY}"}
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(root / "socket")], env=environment)
    yield root / "socket"
    process.terminate()
    process.wait()
    assert not (root / "socket").exists()


@pytest.fixture
def served(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(warm.SOCKET, str(server))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.usefixtures("served")
def test_each_command_has_its_own_log_directory_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLOUR", "blue")
    commands = [
        warm.Command("fake", ["0", str(n)], tmp_path / "log" / f"{n}.log") for n in range(3)
    ]
    assert warm.run_all(commands, jobs=2) == [0, 0, 0]
    for n in range(3):
        log = (tmp_path / "log" / f"{n}.log").read_text()
        assert f"argv ['0', '{n}'] in {tmp_path} with blue" in log
        assert log.startswith(f"# python3 -m fake 0 {n}\n# Started at ")
        assert "# Ended (code 0) at " in log


SHOW_GPU = ["sh", "-c", "echo gpus $CUDA_VISIBLE_DEVICES; sleep 0.3; echo end"]


@pytest.mark.parametrize(
    ("variable", "jobs", "expected", "together"),
    [
        ("0,1", None, {"0": 2, "1": 2}, 2),
        ("1", None, {"1": 4}, 1),
        ("0,0", None, {"0": 4}, 2),
        # As many as were asked for, one GPU's share each.
        ("0,1", 4, {"0": 2, "1": 2}, 4),
    ],
)
def test_commands_side_by_side_have_a_gpu_each(
    variable: str,
    jobs: int | None,
    expected: dict[str, int],
    together: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ESPnet takes the first that it sees: decoding jobs would all have one GPU."""
    monkeypatch.setenv(gpus.VARIABLE, variable)
    monkeypatch.setattr(gpus, "devices", lambda: 2)
    running: list[int] = []
    most: list[int] = []

    def start(command: warm.Command, **options: Any) -> warm.Handle | warm.Group:
        running[:] = [n for n in running if handles[n].poll() is None]
        handles.append(started(command, **options))
        running.append(len(handles) - 1)
        most.append(len(running))
        return handles[-1]

    handles: list[warm.Handle | warm.Group] = []
    started = client.start
    monkeypatch.setattr(client, "start", start)
    commands = [warm.Command(None, SHOW_GPU, tmp_path / f"{n}.log", gpus=1) for n in range(4)]
    assert client.run_all(commands, jobs=jobs) == [0, 0, 0, 0]
    said = Counter((tmp_path / f"{n}.log").read_text().split()[1] for n in range(4))
    assert said == expected
    assert max(most) == together


@pytest.mark.usefixtures("served")
def test_a_failure_is_shown_with_its_log_and_stops_what_waits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [
        warm.Command("fake", [code], tmp_path / f"{n}.log") for n, code in enumerate(["3", "0"])
    ]
    assert warm.run_all(commands, jobs=1) == [3, 1]
    shown = capsys.readouterr().err
    assert "argv ['3']" in shown
    assert f"{tmp_path}/0.log: the command above ended with status 3" in shown
    assert not (tmp_path / "1.log").exists()


@pytest.mark.usefixtures("served")
def test_a_traceback_goes_to_the_log(tmp_path: Path) -> None:
    assert warm.start(warm.Command("fake", ["no number"], tmp_path / "a.log")).wait() == 1
    assert "ValueError" in (tmp_path / "a.log").read_text()


@pytest.mark.usefixtures("served")
def test_poll_terminate_and_pid_are_those_of_the_child(tmp_path: Path) -> None:
    handle = warm.start(warm.Command("fake", ["sleep"], tmp_path / "a.log"))
    log = tmp_path / "a.log"
    wait_until(lambda: log.exists() and f"pid {handle.pid}\n" in log.read_text())
    assert handle.poll() is None
    handle.terminate()
    assert handle.poll() == -signal.SIGTERM and gone(handle.pid)


@pytest.mark.usefixtures("served")
def test_what_a_killed_child_leaves_is_gone_once_its_end_is_told(tmp_path: Path) -> None:
    handle = warm.start(warm.Command("fake", ["die"], tmp_path / "a.log"))
    assert handle.wait() == -signal.SIGKILL
    left = int((tmp_path / "a.log").read_text().split("left ")[1])
    wait_until(lambda: gone(left))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_children_end_with_the_process_that_asked(
    server: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    code = "import sys; from pathlib import Path; from espnet_topdown import warm\n"
    code += "warm.run_all([warm.Command('fake', ['sleep'], Path(sys.argv[1]))], jobs=1)"
    environment = os.environ | {"PYTHONPATH": REPOSITORY, warm.SOCKET: str(server)}
    log = tmp_path / "a.log"
    asker = subprocess.Popen(
        [sys.executable, "-c", code, log], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: log.exists() and "pid " in log.read_text())
    pid = int(log.read_text().split("pid ")[1].split()[0])
    asker.send_signal(sent)
    asker.wait()
    wait_until(lambda: gone(pid))


def test_the_warm_process_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = "import subprocess, sys, time\n"
    code += "subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])\n"
    code += "time.sleep(60)"
    environment = os.environ | {"PYTHONPATH": REPOSITORY}
    starter = subprocess.Popen(
        [sys.executable, "-c", code, SERVE, str(tmp_path / "s")], env=environment
    )
    wait_until((tmp_path / "s").exists)
    starter.kill()
    starter.wait()
    wait_until(lambda: not (tmp_path / "s").exists())


@pytest.mark.usefixtures("served")
def test_threads_reach_a_command_that_is_run_as_it_stands(tmp_path: Path) -> None:
    words = ["sh", "-c", "echo $OMP_NUM_THREADS"]
    assert warm.run_all([warm.Command(None, words, tmp_path / "a.log")], jobs=1, threads=3) == [0]
    assert (tmp_path / "a.log").read_text() == "3\n"


# slurm.pl passes over a SIGTERM that comes before its job has a number.
@pytest.mark.parametrize(
    ("heeded", "grace_s"), [(1, 120), pytest.param(2, 5, marks=pytest.mark.slow)]
)
def test_ending_a_command_lets_what_it_started_cancel_its_job(
    heeded: int, grace_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GRACE_S", grace_s)
    log = tmp_path / "a.log"
    submit = (
        f"n=0; trap '((++n < {heeded})) || {{ echo cancelled; exit 2; }}' TERM; echo ready; while"
        " :; do sleep 0.05; done"
    )
    handle = warm.start(
        warm.Command(None, ["bash", "-c", 'bash -c "$1" & wait', "launch", submit], log)
    )
    wait_until(lambda: log.read_text() == "ready\n")
    handle.terminate()
    assert "cancelled" in log.read_text().split() and gone(handle.pid)


def test_what_heeds_no_signal_is_killed_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "GRACE_S", 0.2)
    log = tmp_path / "a.log"
    handle = warm.start(
        warm.Command(
            None, ["bash", "-c", "trap '' TERM; echo ready; sleep 60 & wait; sleep 60"], log
        )
    )
    wait_until(lambda: log.read_text() == "ready\n")
    handle.terminate()
    assert handle.poll() == -signal.SIGKILL


def test_a_line_is_in_the_grammar_of_run_pl() -> None:
    words = ["JOB=2:3", "l/s.JOB.log", "python3", "-m", "espnet2.bin.x", "--key", "k.JOB.scp"]
    expected = [
        warm.Command("espnet2.bin.x", ["--key", f"k.{n}.scp"], Path(f"l/s.{n}.log")) for n in (2, 3)
    ]
    assert line.parse_line(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["python3", "-m", "espnet_topdown", "-m", "espnet2.bin.x"],
        ["python3", "-X", "dev", "-m", "espnet2.bin.x"],
    ],
)
def test_wrapped_pythons_are_run_cold(words: list[str]) -> None:
    assert line.parse_line(["a.log", *words]) == [warm.Command(None, words, Path("a.log"))]


def test_a_command_that_uses_gpus_is_run_warm_and_says_how_many() -> None:
    commands = line.parse_line(["a.log", "python3", "-m", "espnet2.bin.x"], gpus=1)
    assert commands == [warm.Command("espnet2.bin.x", [], Path("a.log"), gpus=1)]


def test_a_line_without_a_command_is_refused() -> None:
    with pytest.raises(TopdownError, match="LOG COMMAND"):
        line.parse_line(["JOB=1:2", "a.log"])


def test_one_job_of_an_array_is_run_alone() -> None:
    commands = line.parse_line(["JOB=3", "log.JOB", "echo", "JOB"])
    assert commands == [warm.Command(None, ["echo", "3"], Path("log.3"))]


@pytest.mark.parametrize("array", ["JOB=1:", "JOB=one", "JOB=1:N", "=1:2"])
def test_jobs_that_are_no_numbers_are_refused(array: str) -> None:
    with pytest.raises(TopdownError, match=f"'{array}' is no array of jobs; give JOB=1:N"):
        line.parse_line([array, "a.log", "echo"])


def test_earlier_logs_move_up_as_under_launch(tmp_path: Path) -> None:
    for n in range(4):
        warm.rotate(tmp_path / "train.log", keep=2)
        (tmp_path / "train.log").write_text(str(n))
    logs = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert logs == {"train.log": "3", "train.1.log": "2", "train.2.log": "1"}


def test_no_log_is_lost_of_a_training_of_many_attempts(tmp_path: Path) -> None:
    """Where no checkpoint is left, only they tell of the epochs."""
    for n in range(30):
        (tmp_path / "train.log").write_text(str(n))
        warm.rotate(tmp_path / "train.log")
    assert {path.read_text() for path in tmp_path.iterdir()} == {str(n) for n in range(30)}


@pytest.mark.usefixtures("served")
def test_a_list_is_run_and_a_failure_gives_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").write_text(
        f"JOB=1:2 {tmp_path}/J.JOB.log sh -c 'echo \"a b\" JOB'\n{tmp_path}/f.log false\n"
    )
    with pytest.raises(SystemExit) as exit_:
        line.main(["--jobs", "1", "--list", str(tmp_path / "list")])
    assert exit_.value.code == 1
    assert (tmp_path / "J.2.log").read_text() == "a b 2\n"
    assert "f.log: the command above ended with status 1" in capsys.readouterr().err


def test_commands_that_all_end_well_give_no_status(tmp_path: Path) -> None:
    line.main([str(tmp_path / "a.log"), "true"])
    assert (tmp_path / "a.log").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--list", "none"], "none: No such file or directory"),
        (["a.log"], "a line must be [JOB=1:N] LOG COMMAND..., got 'a.log'"),
    ],
)
def test_a_faulty_command_line_gives_a_message_and_status_one(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        line.main(words)
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err


def test_a_socket_without_a_process_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s").touch()
    monkeypatch.setenv(warm.SOCKET, str(tmp_path / "s"))
    with pytest.raises(
        TopdownError, match="none listens there any more: mend .* unset ESPNET_TOPDOWN_WARM"
    ):
        warm.start(warm.Command("fake", [], tmp_path / "a.log"))
