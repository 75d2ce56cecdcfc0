"""The trainer: ESPnet's own without a phase; equal runs, kills, early stops and divergence."""

import json
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from tiny_phases import SHORT, conformer, epochs_of, killed, phase, proof_of, start_of

from espnet_topdown.training import repair
from espnet_topdown.training.checkpoint import load_state


def losses_of(directory: Path) -> list[float]:
    """The loss on dev of each epoch."""
    rows = json.loads((directory / "topdown" / "epochs.json").read_text())
    return [row["valid"]["loss"] for row in rows]


def test_without_topdown_conf_the_weights_are_those_of_espnets_own_command(train, data, tmp_path):
    from espnet2.bin import asr_train

    ours = train(tmp_path / "ours", conformer(max_epoch=2))
    asr_train.main(tiny.arguments(data, tmp_path / "stock", conformer(max_epoch=2)))
    one, two = load_state(ours / "2epoch.pth"), load_state(tmp_path / "stock" / "2epoch.pth")
    assert all(torch.equal(one[name], two[name]) for name in two)
    # The lock, which every training of ours holds, and nothing of a phase.
    assert [path.name for path in (ours / "topdown").iterdir()] == ["lock"]


def test_a_training_that_is_no_phase_is_finished_too_after_a_kill_while_it_saved(train, tmp_path):
    """As stage 11 trains a base: plain ESPnet ends at the torn file, whenever it is run again."""
    begun = train(tmp_path / "begun", conformer(max_epoch=1))
    at_epoch = shutil.copytree(begun, tmp_path / "at_epoch", symlinks=True)
    at_checkpoint = shutil.copytree(begun, tmp_path / "at_checkpoint", symlinks=True)
    whole = train(begun, conformer(max_epoch=2))
    # Saved are checkpoint.pth, then 2epoch.pth, then links.
    shutil.copy(whole / "checkpoint.pth", at_epoch)
    (at_epoch / "2epoch.pth").touch()
    (at_checkpoint / "checkpoint.pth").rename(at_checkpoint / "checkpoint.good.pth")
    (at_checkpoint / "checkpoint.pth").touch()
    for torn in (at_epoch, at_checkpoint):
        train(torn, conformer(max_epoch=2))
        names = sorted(path.name for path in whole.glob("*.pth"))
        assert sorted(path.name for path in torn.glob("*.pth")) == names
        for name in names:
            one, two = load_state(whole / name), load_state(torn / name)
            assert all(torch.equal(one[tensor], two[tensor]) for tensor in one)


@pytest.mark.parametrize("is_phase", [True, False], ids=["phase", "no phase"])
def test_gradients_of_batches_too_few_for_a_step_outlast_a_kill(
    is_phase, base, data, train, tmp_path
):
    """Of four batches three make a step: the next epoch's first has what the fourth left."""
    config = (phase(base) if is_phase else conformer()) | {
        "max_epoch": 2,
        "batch_size": 2,
        "accum_grad": 3,
    }
    whole = train(tmp_path / "whole", dict(config))
    killed(data, tmp_path / "killed", dict(config), epoch=2)
    assert [path.name for path in (tmp_path / "killed").glob("gradients*")] == [
        "gradients.1epoch.pt"
    ]
    ended = train(tmp_path / "killed", dict(config))
    one, other = load_state(whole / "2epoch.pth"), load_state(ended / "2epoch.pth")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not [*whole.glob("gradients*"), *ended.glob("gradients*")]


def test_a_training_that_is_no_phase_puts_its_last_checkpoint_aside(train, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(repair, "put_aside", kept.append)
    train(tmp_path / "exp", conformer(max_epoch=1))
    assert kept == [tmp_path / "exp"]


@pytest.mark.slow
def test_equal_seeds_give_equal_runs(base, train, tmp_path):
    one, two = (train(tmp_path / name, phase(base)) for name in ("a", "b"))
    assert proof_of(one) == proof_of(two)
    # checkpoint.pth holds wall times.
    names = {path.name for path in one.glob("*.pth")} - {"checkpoint.pth"}
    assert "valid.acc.ave_5best.pth" in names
    assert [n for n in names if (one / n).read_bytes() != (two / n).read_bytes()] == []
    assert start_of(one) == start_of(two)


def test_a_training_resumed_with_other_options_or_lists_is_refused(
    base, data, train, tmp_path, capsys
):
    directory = train(tmp_path / "p", phase(base) | SHORT)
    (directory / "topdown" / "proof.json").unlink()
    before = {path.name: path.read_bytes() for path in directory.glob("*.pth")}
    with pytest.raises(SystemExit):
        train(directory, phase(base) | SHORT | {"optim_conf": {"lr": 0.02}})
    error = capsys.readouterr().err
    assert "was begun with something else" in error
    assert "options.optim_conf.lr: 0.01 -> 0.02" in error
    text = data / "train" / "text"
    whole = text.read_text()
    try:
        text.write_text(whole.replace("train00 ", "train00 f"))
        with pytest.raises(SystemExit):
            train(directory, phase(base) | SHORT)
        assert f"files.{text}: " in capsys.readouterr().err
    finally:
        text.write_text(whole)
    assert {path.name: path.read_bytes() for path in directory.glob("*.pth")} == before
    # Undone, it goes on; workers and logging change nothing.
    train(directory, phase(base) | SHORT | {"log_interval": 3})
    assert epochs_of(directory) == 1


def test_more_gradients_to_accumulate_than_batches_is_told_as_that(base, train, tmp_path, capsys):
    """Eight utterances in batches of four."""
    with pytest.raises(SystemExit):
        train(tmp_path / "p", phase(base) | {"accum_grad": 3})
    error = capsys.readouterr().err
    assert "epoch 1 has 2 batches, and accum_grad 3 makes one step of so many" in error
    assert "diverged" not in error


def test_diverged_training_is_an_error_that_says_so(base, train, tmp_path, capsys):
    config = phase(base) | {
        "optim": "sgd",
        "optim_conf": {"lr": 1e38},
        "grad_clip": 1e38,
        "max_epoch": 3,
    }
    with pytest.raises(SystemExit):
        train(tmp_path / "p", config)
    assert "training has diverged" in capsys.readouterr().err


def test_sigkill_in_the_middle_of_an_epoch_and_a_rerun_end_bit_identical(
    base, data, train, tmp_path
):
    config = phase(base) | dict(max_epoch=3)
    whole = train(tmp_path / "whole", config)
    directory = tmp_path / "killed"
    killed(data, directory, dict(config), 2)
    train(directory, config)
    assert proof_of(directory) == proof_of(whole)


# Every loss is worse than these, but no epoch before the fourth asks.
ENDS_AT_4 = {"criterion": ["valid", "loss", "min"], "from_epoch": 4, "medians": [-1.0, -1.0]}


@pytest.mark.slow
def test_the_median_rule_ends_a_phase_which_is_proved_and_the_same_after_kills(
    base, data, train, tmp_path
):
    config = phase(base, stop_early=ENDS_AT_4)
    whole = train(tmp_path / "whole", config)
    assert epochs_of(whole) == 4
    assert (whole / "latest.pth").readlink() == Path("4epoch.pth")
    assert "4epoch.pth" in proof_of(whole)["files"]
    assert {"valid.acc.ave_3best.pth", "valid.loss.ave_3best.pth"} <= set(proof_of(whole)["files"])
    # As far as it goes, the training is that of a phase without the rule.
    full = train(tmp_path / "full", phase(base))
    assert losses_of(whole) == losses_of(full)[:4]
    for epoch in (3, 5):
        directory = tmp_path / f"killed{epoch}"
        killed(data, directory, config, epoch)
        train(directory, config)
        assert proof_of(directory) == proof_of(whole)


@pytest.mark.slow
def test_a_phase_above_the_bar_is_trained_as_without_it(base, train, tmp_path):
    never = ENDS_AT_4 | {"medians": [1e6, 1e6]}
    one = train(tmp_path / "one", phase(base, stop_early=never))
    assert proof_of(one) == proof_of(train(tmp_path / "other", phase(base)))


def test_a_bar_on_a_metric_that_is_not_reported_is_refused(base, train, tmp_path, capsys):
    wrong = ENDS_AT_4 | {"criterion": ["valid", "accuracy", "max"]}
    with pytest.raises(SystemExit):
        train(tmp_path / "p", phase(base, stop_early=wrong))
    assert "stop_early: the training reports no valid accuracy; it reports " in (
        capsys.readouterr().err
    )


def test_early_stopped_phase_is_not_trained_further_when_resumed(base, train, tmp_path):
    """ESPnet <= 202511 trains one epoch more."""
    config = phase(base) | {
        "patience": 1,
        "max_epoch": 30,
        "early_stopping_criterion": ["valid", "acc", "max"],
    }
    directory = train(tmp_path / "p", config)
    before = proof_of(directory)
    epochs = epochs_of(directory)
    assert epochs < 30
    train(directory, config)
    assert epochs_of(directory) == epochs
    assert proof_of(directory) == before
    # As a kill between the last epoch and its proof leaves it.
    (directory / "topdown" / "proof.json").unlink()
    train(directory, config)
    assert epochs_of(directory) == epochs
    assert proof_of(directory) == before
