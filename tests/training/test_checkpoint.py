"""Model files: torn ones are named, and a fingerprint tells one bit."""

import errno
import fractions
import hashlib
import os
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from espnet_topdown import archives
from espnet_topdown.errors import TopdownError
from espnet_topdown.training import checkpoint


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 torn zip"])
def test_torn_model_file_is_named(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TopdownError, match="a.pth is torn or is not a model file"):
        checkpoint.load_state(tmp_path / "a.pth")


def test_what_torch_says_of_a_file_is_told_without_its_advice_to_trust_it(tmp_path):
    (tmp_path / "a.pth").write_text("not a model")
    with pytest.raises(TopdownError) as text:
        checkpoint.load_state(tmp_path / "a.pth")
    assert "(Unsupported operand " in str(text.value) and "weights_only" not in str(text.value)
    (tmp_path / "b.pth").write_bytes(b"PK\x03\x04 torn zip")
    with pytest.raises(TopdownError) as text:
        checkpoint.load_state(tmp_path / "b.pth")
    assert len(str(text.value).replace(str(tmp_path), "")) < 150


def test_fingerprint_tells_one_bit_and_the_dtype():
    ones = torch.ones(4)
    other = ones.clone()
    other[3] = torch.nextafter(other[3], torch.tensor(2.0))
    assert checkpoint.fingerprint(ones) == checkpoint.fingerprint(torch.ones(8)[::2])
    assert checkpoint.fingerprint(ones) != checkpoint.fingerprint(other)
    assert checkpoint.fingerprint(torch.zeros(2)) != checkpoint.fingerprint(
        torch.zeros(2, dtype=torch.int32)
    )
    assert checkpoint.fingerprint(torch.zeros(2, dtype=torch.bfloat16)) != checkpoint.fingerprint(
        torch.zeros(2)
    )


def test_fingerprints_are_of_the_bytes_as_earlier_versions_took_them():
    """Records hold them: they must not change."""
    written_out = {
        (torch.tensor(1.5), "float32()"): struct.pack("<f", 1.5),
        (torch.tensor([[1, 2]]), "int64(1, 2)"): struct.pack("<qq", 1, 2),
        (torch.tensor([True, False]), "bool(2,)"): b"\x01\x00",
        (torch.zeros(0, 3), "float32(0, 3)"): b"",
    }
    for (tensor, kind), content in written_out.items():
        expected = hashlib.sha256(f"torch.{kind}".encode() + content).hexdigest()
        assert checkpoint.fingerprint(tensor) == expected


def test_a_loaded_file_is_mapped_and_not_copied_and_writing_to_it_leaves_the_file(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(3)}, path)
    state = checkpoint.load(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    state["w"].zero_()
    assert checkpoint.load_state(path)["w"].tolist() == [1.0] * 3


def test_a_state_may_be_written_back_to_its_file(tmp_path):
    """In place: a mapped one would end the process."""
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(100_000)}, path)
    torch.save(checkpoint.load_state(path), path)
    assert checkpoint.load_state(path)["w"].sum() == 100_000


def test_a_file_of_old_torch_is_no_archive_and_loads(tmp_path):
    old = tmp_path / "old.pth"
    torch.save({"w": torch.ones(3)}, old, _use_new_zipfile_serialization=False)
    assert checkpoint.load(old)["w"].tolist() == [1.0] * 3


NAMES = (b"numpy.core.multiarray", b"numpy._core.multiarray")


def rename_in_pickle(path, module):
    """Have a file name NumPy's scalars as the NumPy would under which they are in `module`."""
    with zipfile.ZipFile(path) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            for name in NAMES:
                content = content.replace(b"c" + name + b"\n", b"c" + module + b"\n")
            archive.writestr(info.filename, content)


@pytest.mark.parametrize("module", NAMES)
def test_a_scalar_of_another_numpy_loads(module, tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"x": np.float64(1.5)}, path)
    rename_in_pickle(path, module)
    assert b"c" + module in path.read_bytes()
    assert checkpoint.load(path, mapped=False) == {"x": 1.5}


def test_a_file_loads_where_numpy_has_no_new_name(tmp_path, monkeypatch):
    """NumPy before 1.26.1, which older ESPnets pin."""
    monkeypatch.setitem(sys.modules, "numpy._core.multiarray", None)
    path = tmp_path / "checkpoint.pth"
    torch.save({"w": torch.ones(3)}, path)
    assert checkpoint.load_state(path)["w"].tolist() == [1.0] * 3


def test_a_whole_file_with_more_than_tensors_is_not_called_torn(tmp_path):
    torch.save({"x": fractions.Fraction(1, 2)}, tmp_path / "checkpoint.pth")
    with pytest.raises(TopdownError) as told:
        checkpoint.load(tmp_path / "checkpoint.pth")
    assert not isinstance(told.value, checkpoint.DamagedError)
    assert "checkpoint.pth cannot be loaded as tensors" in str(told.value)
    assert "GLOBAL fractions.Fraction" in str(told.value) and "torn" not in str(told.value)


def test_a_disk_that_fails_is_no_damage(tmp_path, monkeypatch):
    torch.save({"w": torch.ones(3)}, tmp_path / "checkpoint.pth")

    def fails(archive):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "testzip", fails)
    with pytest.raises(OSError, match="Input/output error"):
        checkpoint.load(tmp_path / "checkpoint.pth")


@pytest.fixture
def no_checksums():
    torch.serialization.set_crc32_options(False)
    yield
    torch.serialization.set_crc32_options(True)


def test_a_file_that_torch_wrote_without_checksums_loads(no_checksums, tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.arange(3.0)}, path)
    assert archives.damage(path) is None
    assert checkpoint.load(path)["w"].tolist() == [0.0, 1.0, 2.0]
    assert checkpoint.load(path, tensors=False)["w"].tolist() == [0.0, 1.0, 2.0]
    # A cut one is still found.
    path.write_bytes(path.read_bytes()[:-30])
    assert str(archives.damage(path)).startswith("torn: ")
    with pytest.raises(checkpoint.DamagedError):
        checkpoint.load(path)


def test_a_real_checkpoint_loads_with_weights_only(train, tmp_path):
    directory = train(tmp_path / "base", tiny.asr_config("rnn"))
    reporter = checkpoint.reporter_of(checkpoint.load(directory / "checkpoint.pth"))
    assert reporter.get_epoch() == 2
    assert reporter.has("valid", "acc")


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_of_a_weight_is_found(seed, tmp_path):
    """torch.load itself takes it for another weight."""
    path = tmp_path / "3epoch.pth"
    weights = torch.arange(5000, dtype=torch.float32)
    torch.save({"w": weights}, path)
    data = bytearray(path.read_bytes())
    place = data.index(weights.numpy().tobytes()) + 4997 * seed
    data[place] ^= 1
    path.write_bytes(data)
    assert not torch.equal(torch.load(path)["w"], weights)
    with pytest.raises(TopdownError, match="3epoch.pth has changed since it was written"):
        checkpoint.load(path)


@pytest.fixture
def sums(monkeypatch):
    """The archives whose checksums were read, in turn."""
    read = []
    testzip = zipfile.ZipFile.testzip

    def recorded(archive):
        read.append(Path(archive.filename).name)
        return testzip(archive)

    monkeypatch.setattr(zipfile.ZipFile, "testzip", recorded)
    return read


def test_the_checksums_of_a_file_are_read_once_and_again_when_it_changed(
    tmp_path, sums, monkeypatch
):
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(3)}, path)
    checkpoint.load(path)
    # It could be written again in the same tick.
    checkpoint.load(path)
    assert sums == ["a.pth"] * 2
    monkeypatch.setattr(checkpoint, "_TICK_NS", 0)
    for _ in range(3):
        checkpoint.load(path)
        checkpoint.load_state(path)
    assert sums == ["a.pth"] * 3
    os.utime(path)
    checkpoint.load(path)
    # Another file in its place, of the same size and with the same time.
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    torch.save({"w": torch.zeros(3)}, tmp_path / "b.pth")
    os.utime(tmp_path / "b.pth", ns=times)
    (tmp_path / "b.pth").rename(path)
    assert checkpoint.load_state(path)["w"].tolist() == [0.0] * 3
    assert sums == ["a.pth"] * 5


def test_the_epochs_of_a_checkpoint_are_read_without_its_weights(train, tmp_path, sums):
    path = train(tmp_path / "base", tiny.asr_config("rnn")) / "checkpoint.pth"
    sums.clear()
    assert checkpoint.read_reporter(path).get_epoch() == 2
    assert sums == []
    whole = path.read_bytes()
    # The pickle, in which the epochs stand, is checked all the same.
    place = whole.index(b"reporter")
    path.write_bytes(whole[:place] + b"R" + whole[place + 1 :])
    with pytest.raises(TopdownError, match="has changed since it was written"):
        checkpoint.read_reporter(path)
    torch.save({"w": torch.ones(1)}, path)
    with pytest.raises(TopdownError, match="holds no epochs of a training"):
        checkpoint.read_reporter(path)


def test_equal_data_are_saved_as_equal_bytes(tmp_path):
    data = {"w": torch.arange(3.0)}
    for name in ("a.pth", "other.pth"):
        checkpoint.save(data, tmp_path / name)
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "other.pth").read_bytes()
    assert torch.equal(checkpoint.load(tmp_path / "a.pth")["w"], data["w"])
