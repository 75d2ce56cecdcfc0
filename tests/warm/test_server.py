"""The warm process against what callers do to it, and the words when it is not there."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import wait_until

from espnet_topdown import warm
from espnet_topdown.errors import TopdownError
from espnet_topdown.processes import has_ended
from espnet_topdown.warm import client
from espnet_topdown.warm.address import MOST_BYTES, short

REPOSITORY = str(Path(warm.__file__).parents[2])
SERVE = "from espnet_topdown.warm import server; server.serve(Path(sys.argv[1]), preload=())"
START = "import os, socket, sys; from pathlib import Path\n"


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": REPOSITORY}


@pytest.fixture
def own_server(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm process of this one's own, to be started on first use, that imports nothing."""
    (place / "next_server.py").write_text(START + SERVE)
    monkeypatch.setenv("PYTHONPATH", f"{place}:{REPOSITORY}")
    monkeypatch.delenv(warm.SOCKET, raising=False)
    monkeypatch.setattr(client, "_own", [])
    monkeypatch.setattr(client, "SERVER", "next_server")


@pytest.fixture
def server(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A warm process with modules ``hello``, which says so, and ``stays``, which waits."""
    (place / "hello.py").write_text("def main(argv): print('hello')")
    (place / "stays.py").write_text(
        "import signal\ndef main(argv): print('up', flush=True); signal.pause()"
    )
    words = [sys.executable, "-c", START + SERVE, str(place / "s")]
    search = {"PYTHONPATH": f"{place}:{REPOSITORY}"}
    process = subprocess.Popen(words, env=os.environ | search)
    monkeypatch.setenv(warm.SOCKET, str(place / "s"))
    yield place / "s"
    process.terminate()
    process.wait()


def test_threads_that_an_import_started_are_not_told_at_each_fork(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "hello.py").write_text("def main(argv): print('hello')")
    start = "threading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    (place / "has_thread.py").write_text(f"import threading, time\n{start}")
    code = START + SERVE.replace("preload=()", "preload=['has_thread']")
    search = {"PYTHONPATH": f"{place}:{REPOSITORY}", "PYTHONWARNINGS": "always"}
    words = [sys.executable, "-c", code, str(place / "s")]
    with (place / "server.log").open("w") as log:
        process = subprocess.Popen(words, env=os.environ | search, stderr=log)
    monkeypatch.setenv(warm.SOCKET, str(place / "s"))
    assert warm.start(warm.Command("hello", [], place / "a.log")).wait() == 0
    process.terminate()
    process.wait()
    assert "hello\n" in (place / "a.log").read_text()
    assert "fork" not in (place / "server.log").read_text()


def test_its_name_is_there_only_once_it_listens(place: Path) -> None:
    code = f"""{START}
class Socket(socket.socket):
    def listen(self, *args):
        print(Path(sys.argv[1]).exists())
        super().listen(*args)
    def accept(self):
        print(Path(sys.argv[1]).exists(), flush=True)
        os._exit(0)
socket.socket = Socket
{SERVE}"""
    words = [sys.executable, "-c", code, str(place / "s")]
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)
    # As a client does: connect as soon as the name is there.
    while not (place / "s").exists():
        assert process.poll() is None
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(place / "s"))
        out, _ = process.communicate()
    assert out.split() == ["False", "True"]


def test_ctrl_c_which_a_terminal_sends_to_all_ends_it_without_a_word(place: Path) -> None:
    words = [sys.executable, "-c", START + SERVE, str(place / "s")]
    process = subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    while not (place / "s").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    assert not (place / "s").exists()


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT, signal.SIGTERM], [signal.SIGKILL]],
    ids=["by a group's signal and a script's trap", "Ctrl-C and a trap", "killed"],
)
def test_no_child_outlives_it(server: Path, place: Path, signals: list[signal.Signals]) -> None:
    (place / "slow_to_end.py").write_text(
        "import os, signal, time\n"
        "def main(argv):\n"
        "    signal.signal(signal.SIGTERM, lambda *_: time.sleep(0.5) or os._exit(0))\n"
        "    print('up', flush=True)\n"
        "    while True: signal.pause()\n"
    )
    children = [warm.start(warm.Command("slow_to_end", [], place / f"{n}.log")) for n in range(3)]
    for child in children:
        wait_until(lambda log=child.command.log: log.exists() and "up" in log.read_text())
    status = Path(f"/proc/{children[0].pid}/status").read_text()
    parent = int(status.split("PPid:")[1].split()[0])
    for number in signals:
        os.kill(parent, number)
        time.sleep(0.2)  # into the end of the first child
    wait_until(lambda: all(has_ended(child.pid) for child in children))


@pytest.mark.parametrize(
    "request_", [b"", b'{"module": "he', b"nonsense\n", b'{"strange": 1}\n', b"[]\n", b"\xff\n"]
)
def test_a_request_that_is_none_stops_neither_it_nor_the_commands_of_others(
    server: Path, tmp_path: Path, request_: bytes
) -> None:
    other = warm.start(warm.Command("stays", [], tmp_path / "other.log"))
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(server))
            caller.sendall(request_)
    done = warm.start(warm.Command("hello", [], tmp_path / "a.log")).wait()
    assert (done, other.poll()) == (0, None)
    other.terminate()


def test_a_request_that_takes_its_time_keeps_no_one_waiting(server: Path, tmp_path: Path) -> None:
    while not server.exists():
        pass
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(server))
        caller.sendall(b'{"module": ')
        assert warm.start(warm.Command("hello", [], tmp_path / "a.log")).wait() == 0


def test_the_place_of_its_socket_may_be_long(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = place / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    with short(long / "s") as address:
        assert len(str(long / "s")) > MOST_BYTES > len(address)
    (place / "hello.py").write_text("def main(argv): print('hello')")
    search = {"PYTHONPATH": f"{place}:{REPOSITORY}"}
    words = [sys.executable, "-c", START + SERVE, str(long / "s")]
    process = subprocess.Popen(words, env=os.environ | search)
    monkeypatch.setenv(warm.SOCKET, str(long / "s"))
    assert warm.start(warm.Command("hello", [], tmp_path / "a.log")).wait() == 0
    process.terminate()
    process.wait()


@pytest.mark.parametrize("length", [MOST_BYTES - 32, MOST_BYTES - 31])
def test_the_tmpdir_of_a_command_has_room_for_the_sockets_of_those_that_load_its_data(
    length: int, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They died there, and a decoding waited for ever."""
    temporary = place / ("x" * (length - len(f"{place}/")))
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    (place / "listen.py").write_text(
        "from multiprocessing.connection import Listener\n"
        "def main(argv): print(Listener(family='AF_UNIX').address)"
    )
    # As torch, whose import looks for the directory.
    imported = "import tempfile; tempfile.gettempdir(); "
    words = [sys.executable, "-c", START + imported + SERVE, str(place / "s")]
    process = subprocess.Popen(words, env=os.environ | {"PYTHONPATH": f"{place}:{REPOSITORY}"})
    monkeypatch.setenv(warm.SOCKET, str(place / "s"))
    log = tmp_path / "a.log"
    assert warm.start(warm.Command("listen", [], log)).wait() == 0, log.read_text()
    is_kept = length + 32 <= MOST_BYTES
    assert f"\n{temporary if is_kept else '/tmp'}/pymp-" in log.read_text()
    process.terminate()
    process.wait()


# What a process of ours does in place of the server, and what its user is told.
ENDS = {
    "sys.exit(3)": "asked the warm process at .*, but it ended with status 3 .mend what it said",
    "os.kill(os.getpid(), 9)": "at .*, but it was killed by SIGKILL .the kernel does so for want",
    "LISTEN; os.kill(os.getpid(), 9)": (
        "asked the warm process for hello, but it ended while it was importing ESPnet: it was"
        " killed by SIGKILL"
    ),
}
LISTEN = "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); s.accept()"


@pytest.mark.parametrize("does", ENDS)
@pytest.mark.usefixtures("own_server")
def test_one_that_dies_early_is_told_as_that_and_replaced(
    does: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "fake_server.py").write_text(START + does.replace("LISTEN", LISTEN))
    (place / "hello.py").write_text("def main(argv): print('hello')")
    monkeypatch.setattr(client, "SERVER", "fake_server")
    hello = warm.Command("hello", [], tmp_path / "a.log")
    with pytest.raises(TopdownError, match=ENDS[does]):
        warm.start(hello)
    # Run again, as it says.
    monkeypatch.setattr(client, "SERVER", "next_server")
    assert warm.start(hello).wait() == 0
    client._own[0].process.terminate()
    client._own[0].process.wait()


@pytest.mark.usefixtures("own_server")
def test_a_command_can_be_ended_whose_warm_process_has_ended(place: Path, tmp_path: Path) -> None:
    """A terminal, `timeout` and schedulers signal it and its owner alike; the owner ends all."""
    (place / "stays.py").write_text("import signal\ndef main(argv): signal.pause()")
    handle = warm.start(warm.Command("stays", [], tmp_path / "a.log"))
    client._own[0].process.terminate()
    client._own[0].process.wait()
    handle.terminate()
    assert handle.poll() == -signal.SIGTERM
    assert has_ended(handle.pid)


def test_closed_streams_are_no_fault(place: Path, tmp_path: Path) -> None:
    """Daemons close them, and shells by ``>&-``."""
    (place / "hello.py").write_text("def main(argv): print('hello')")
    code = f"""
from pathlib import Path
from espnet_topdown.processes import open_standard_streams
from espnet_topdown.warm import client
open_standard_streams()
client.SERVER = "next_server"
code = client.start(client.Command("hello", [], Path({str(tmp_path / "a.log")!r}))).wait()
Path({str(tmp_path / "code")!r}).write_text(str(code))"""
    (place / "next_server.py").write_text(
        "from espnet_topdown.warm import server\n"
        "server.serve.__defaults__ = (('json',), None)\nserver.main()"
    )
    (place / "asks.py").write_text(code)
    search = {**environment(), "PYTHONPATH": f"{place}:{REPOSITORY}"}
    search.pop(warm.SOCKET, None)
    command = f"'{sys.executable}' -m asks >&- <&- 2>&-"
    subprocess.run(["bash", "-c", command], env=search, cwd=place, check=True, timeout=60)
    assert (tmp_path / "code").read_text() == "0"
    assert "hello" in (tmp_path / "a.log").read_text()


def test_one_that_dies_before_it_was_asked_is_told_as_one_that_dies_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, its = socket.socketpair()
    its.close()
    monkeypatch.setattr(client, "_connect", lambda: ours)
    with pytest.raises(TopdownError, match="asked the warm process for hello, but it ended"):
        warm.start(warm.Command("hello", [], tmp_path / "a.log"))


def test_it_ends_where_the_script_that_started_it_is_gone_already(place: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    code = f"{START}from espnet_topdown.warm import server; server.main()"
    code = code.replace("server.main()", "server.serve.__defaults__ = ((), None); server.main()")
    words = [sys.executable, "-c", code, str(place / "s"), str(gone.pid)]
    assert subprocess.run(words, env=environment(), timeout=60).returncode == 0


def test_a_caller_that_is_gone_at_once_leaves_no_traceback(place: Path) -> None:
    """Its command is ended within the moment that its child takes to set up."""
    code = f"""{START}
import time
from espnet_topdown.warm import child
set_group = os.setpgid
def slowly(*ids):
    if ids == (0, 0):
        Path("set_up").touch()
        time.sleep(0.3)
    set_group(*ids)
os.setpgid = slowly
{SERVE}"""
    words = [sys.executable, "-c", code, str(place / "s")]
    search = environment() | {"PYTHONPATH": f"{place}:{REPOSITORY}"}
    process = subprocess.Popen(words, env=search, stderr=subprocess.PIPE, text=True, cwd=place)
    while not (place / "s").exists():
        assert process.poll() is None
    order = {"module": "none", "argv": [], "log": "log", "threads": 0, "cwd": ".", "env": {}}
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(place / "s"))
        caller.sendall(json.dumps(order).encode() + b"\n")
        while not (place / "set_up").exists():
            assert process.poll() is None
    time.sleep(0.6)
    process.terminate()
    assert process.communicate()[1] == ""
    # Its module was never asked for.
    assert not (place / "log").exists()
