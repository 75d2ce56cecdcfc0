"""Archives are unpacked as data, whatever Python's tarfile knows of filters."""

import io
import tarfile
from pathlib import Path

import pytest

from espnet_topdown.archives import unpack


def archive(path: Path, member: tarfile.TarInfo, text: bytes = b"") -> Path:
    with tarfile.open(path, "w") as tar:
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return path


@pytest.fixture(params=["with filters", "without"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python's tarfile, and the one of Python 3.11.0 to 3.11.3."""
    if request.param == "without" and hasattr(tarfile, "data_filter"):
        plain = tarfile.TarFile.extractall
        monkeypatch.delattr(tarfile, "data_filter")
        monkeypatch.setattr(tarfile.TarFile, "extractall", lambda self, path: plain(self, path))


@pytest.mark.usefixtures("python")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_is_unpacked(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.tar", tarfile.TarInfo("in/side"), b"text")
    with tarfile.open(made) as tar:
        unpack(tar, tmp_path / "out")
    assert (tmp_path / "out/in/side").read_text() == "text"


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("name", ["../outside", "link"])
def test_what_is_no_data_is_refused(tmp_path: Path, name: str) -> None:
    member = tarfile.TarInfo(name)
    if name == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    made = archive(tmp_path / "a.tar", member)
    with tarfile.open(made) as tar, pytest.raises(tarfile.TarError):
        unpack(tar, tmp_path / "out")
    assert not (tmp_path / "outside").exists()
    assert not (tmp_path / "out/link").exists()
