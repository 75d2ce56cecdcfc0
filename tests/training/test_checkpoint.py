"""Model files.

Exact averages where ESPnet's are wrong, fingerprints, and repair of torn checkpoints.
"""

import shutil

import pytest
import tiny
import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.training import checkpoint

CRITERIA = [["valid", "acc", "max"], ["valid", "loss", "min"]]


def write_epochs(directory, epochs: int = 10):
    """Epoch files whose one weight is the epoch's number; accuracy rises with it and loss falls."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    for epoch in range(1, epochs + 1):
        reporter.set_epoch(epoch)
        with reporter.observe("valid") as sub:
            sub.register({"acc": epoch / epochs, "loss": float(epochs - epoch)})
            sub.next()
        state = {
            "w": torch.full((3,), float(epoch)),
            "frozen": torch.full((3,), 0.1),
            "count": torch.tensor(7),
        }
        torch.save(state, directory / f"{epoch}epoch.pth")
    torch.save({"model": state, "reporter": reporter.state_dict()}, directory / "checkpoint.pth")
    return reporter


@pytest.mark.parametrize("nbest", [[3], [3, 5], [3, 5, 10]])
def test_parents_average_is_exact_where_espnets_is_wrong(nbest, espnet, tmp_path):
    """By hand: the mean of epochs 10, 9, ...

    Is 9 for n = 3, 8 for n = 5 and 5.5 for n = 10, for both criteria.

    ESPnet <= 202511 averages from a dict that it has overwritten, so all but its first (criterion,
    n) are wrong.
    """
    from importlib.metadata import version

    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA, nbest=nbest
    )
    expected = {3: 9.0, 5: 8.0, 10: 5.5}
    for criterion in CRITERIA:
        for count in nbest:
            name = checkpoint.averaged_file(criterion[0], criterion[1], count)
            ours = checkpoint.parent_state(tmp_path, name, CRITERIA, nbest)
            assert torch.equal(ours["w"], torch.full((3,), expected[count]))
    stock = checkpoint.load_state(tmp_path / checkpoint.averaged_file("valid", "loss", max(nbest)))
    assert torch.equal(stock["w"], torch.full((3,), expected[max(nbest)])) == (
        version("espnet") >= "202611"
    )


def test_averages_equal_those_of_espnet_202611_bit_for_bit(espnet, tmp_path):
    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    torch.manual_seed(0)
    for epoch in range(1, 11):
        torch.save({"w": torch.randn(1000)}, tmp_path / f"{epoch}epoch.pth")
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA[:1], nbest=[10]
    )
    first = checkpoint.load_state(
        tmp_path / "valid.acc.ave_10best.pth"
    )  # right in every version: the first average
    assert torch.equal(
        checkpoint.parent_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [10])["w"], first["w"]
    )


def test_average_whose_epochs_are_gone_is_refused_where_it_may_be_wrong(espnet, tmp_path):
    from espnet2.main_funcs.average_nbest_models import average_nbest_models

    reporter = write_epochs(tmp_path)
    average_nbest_models(
        output_dir=tmp_path, reporter=reporter, best_model_criterion=CRITERIA, nbest=[3]
    )
    (tmp_path / "9epoch.pth").unlink()
    with pytest.raises(TopdownError, match="may have got wrong .*valid.acc.best.pth"):
        checkpoint.parent_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [3])
    alone = checkpoint.parent_state(
        tmp_path, "valid.acc.ave.pth", CRITERIA[:1], [3]
    )  # one criterion cannot be wrong
    assert torch.equal(alone["w"], torch.full((3,), 9.0))


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 torn zip"])
def test_torn_model_file_is_named(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TopdownError, match="a.pth is torn or is not a model file"):
        checkpoint.load_state(tmp_path / "a.pth")


def test_missing_model_file_lists_those_there(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "5epoch.pth")
    with pytest.raises(
        TopdownError, match="no model file .*valid.acc.ave.pth; the directory has: 5epoch.pth"
    ):
        checkpoint.parent_state(tmp_path, "valid.acc.ave.pth", CRITERIA, [1])


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


def snapshot(directory) -> dict[str, object]:
    """Links, and fingerprints of the model files of a training directory."""
    found: dict[str, object] = {}
    for path in sorted(directory.glob("*.pth")):
        state = checkpoint.load_state(path)
        prints = {name: checkpoint.fingerprint(tensor) for name, tensor in state.items()}
        found[path.name] = (
            path.is_symlink() and str(path.readlink()),
            checkpoint.state_fingerprint(prints),
        )
    return found


DAMAGE = {
    "torn checkpoint": lambda d: (d / "checkpoint.pth").write_bytes(b"PK\x03\x04"),
    "torn epoch file": lambda d: (d / "3epoch.pth").write_bytes(b""),
    "missing epoch file": lambda d: (d / "3epoch.pth").unlink(),
    "missing link": lambda d: (d / "latest.pth").unlink(),
    "missing best link": lambda d: (d / "valid.acc.best.pth").unlink(),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_repair_rebuilds_the_last_complete_epoch(name, espnet, tmp_path):
    from espnet2.train.reporter import Reporter  # noqa: F401

    whole = tmp_path / "whole"
    whole.mkdir()
    write_epochs(whole, 3)
    checkpoint.repair(whole, CRITERIA, 10)
    checkpoint.keep_safe_copy(whole)
    broken = tmp_path / "broken"
    shutil.copytree(whole, broken, symlinks=True)
    DAMAGE[name](broken)
    reporter = checkpoint.repair(broken, CRITERIA, 10)
    assert reporter.get_epoch() == 3
    assert snapshot(broken) == snapshot(whole)


def test_repair_of_a_torn_first_checkpoint_starts_from_the_beginning(espnet, tmp_path):
    (tmp_path / "checkpoint.pth").write_bytes(b"torn")
    assert checkpoint.repair(tmp_path, CRITERIA, 1) is None
    assert not (tmp_path / "checkpoint.pth").exists()


def test_repair_of_an_empty_directory_does_nothing(tmp_path):
    assert checkpoint.repair(tmp_path, CRITERIA, 1) is None


def test_a_real_checkpoint_loads_with_weights_only(train, tmp_path):
    directory = train(tmp_path / "base", tiny.asr_config("rnn"))
    reporter = checkpoint.reporter_of(checkpoint.load(directory / "checkpoint.pth"))
    assert reporter.get_epoch() == 2
    assert reporter.has("valid", "acc")
