"""Files that are old or new but never half."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from espnet_topdown import files
from espnet_topdown.errors import TopdownError


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert files.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_damaged_and_missing_json_are_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(TopdownError, match="a.json is damaged"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(TopdownError, match="cannot read .*b.json"):
        files.read_json(tmp_path / "b.json")


def test_a_full_disk_is_told_by_the_file_that_had_no_room(tmp_path):
    with pytest.raises(OSError) as raised, files.replacing(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(tmp_path / "a.json")


def test_a_link_that_cannot_be_made_is_told_by_its_own_name(tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(Path, "symlink_to", full)
    with pytest.raises(OSError) as raised:
        files.link(tmp_path / "best", "../base")
    assert raised.value.filename == str(tmp_path / "best")


def test_a_link_is_replaced_without_a_gap(tmp_path):
    files.link(tmp_path / "best", "a")
    files.link(tmp_path / "best", "b")
    assert (tmp_path / "best").readlink().name == "b"


@pytest.mark.parametrize("write", [files.link, files.write_text])
def test_a_directory_in_the_place_of_a_file_is_named_and_nothing_is_left(write, tmp_path):
    place = tmp_path / "best"
    (place / "within").mkdir(parents=True)
    with pytest.raises(OSError) as caught:
        write(place, "phase1")
    assert caught.value.filename == str(place)
    assert list(tmp_path.iterdir()) == [place]


def test_differences_name_every_leaf():
    old, new = {"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 4}, "e": 5}
    assert files.differences(old, new) == ["b.c: 2 -> 4", "b.d: 3 -> (absent)", "e: (absent) -> 5"]


def test_differences_of_vocabularies_name_the_entry_where_they_part():
    words = [f"w{number}" for number in range(33_000)]
    other = [*words[:100], "x", *words[101:]]
    (line,) = files.differences({"token_list": words}, {"token_list": other})
    assert line == "token_list: 33,000 entries -> 33,000; entry 101: w100 -> x"
    (line,) = files.differences({"token_list": words}, {"token_list": words[:50]})
    assert line == "token_list: 33,000 entries -> 50; entry 51: w50 -> (none)"
    assert files.differences({"a": [1]}, {"a": [2]}) == ["a: [1] -> [2]"]
    # Of things that have no order.
    (line,) = files.differences({"a": [*words, {"b": 1}]}, {"a": [*words, 10000.0]})
    assert line == "a: 33,001 entries -> 33,001; entry 33001: {'b': 1} -> 10000.0"


def test_temporary_files_that_nobody_writes_any_more_are_swept(tmp_path, monkeypatch):
    ended = os.fork()
    if ended == 0:
        os._exit(0)
    os.waitpid(ended, 0)
    living = os.getppid()
    with monkeypatch.context() as another_machine:
        another_machine.setattr(files, "machine_id", lambda: "0123abcd")
        foreign = begun(tmp_path, ended), begun(tmp_path, living)
    own = begun(tmp_path, ended), begun(tmp_path, living)
    # From before a reboot, or of a node that is gone.
    os.utime(foreign[1], (0, 0))
    files.write_json(tmp_path / "a.json", {})
    assert set(tmp_path.iterdir()) == {tmp_path / "a.json", foreign[0], own[1]}


def begun(directory: Path, pid: int) -> Path:
    """The temporary file of a process that has begun to write ``a.json``."""
    with mock.patch("os.getpid", lambda: pid):
        path = files._temporary(directory / "a.json")
    path.touch()
    return path


def test_within_a_step_a_file_is_hashed_once(tmp_path):
    path = tmp_path / "text"
    path.write_text("one")
    first = files.sha256(path)
    with files.hashing_once():
        assert files.sha256(path) == first
        path.write_text("two")
        assert files.sha256(path) == first
    assert files.sha256(path) != first
    with files.hashing_once():
        assert files.sha256(path) != first


def test_lines_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write_lines(tmp_path / "t", ["a old"])

    def lines() -> Iterator[str]:
        yield "a new"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        files.write_lines(tmp_path / "t", lines())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"t": "a old\n"}
