"""Pruning: what finished phases no longer need goes, what a child or `verify` needs stays."""

from pathlib import Path

import pytest
import tiny
from cascades import copied, fails, hashes, outcomes, run

from espnet_topdown import locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cli import main
from espnet_topdown.experiment.phase_dir import read_record

PLAN = "phases: [{cut: ctc}, {cut: encoder.1}]"


@pytest.fixture(scope="module")
def base(warm_process, data, tmp_path_factory):
    """Four epochs, of which the best three by two criteria are kept and averaged."""
    from espnet_topdown.bin.train import main as train_main

    criteria = [["valid", "loss", "min"], ["train", "loss", "min"]]
    config = tiny.asr_config(
        "rnn", None, max_epoch=4, keep_nbest_models=3, best_model_criterion=criteria
    )
    directory = tmp_path_factory.mktemp("exp") / "asr"
    train_main(tiny.command(data, directory, config))
    return directory


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """A finished cascade with all its files."""
    return run(base, tmp_path_factory.mktemp("whole"), PLAN)


@pytest.fixture
def cascade(whole, base, tmp_path):
    """A copy of it."""
    return copied(whole, base, tmp_path)


def models(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.pth")}


BEST = {"valid.loss.best.pth", "train.loss.best.pth"}
LINKED = BEST | {"latest.pth", "valid.loss.ave.pth", "train.loss.ave.pth"}
AVERAGES = {"valid.loss.ave_3best.pth", "train.loss.ave_3best.pth"}


@pytest.mark.parametrize("keep_epochs", [0, 1, 2, 9])
def test_what_links_and_averages_stand_for_stays(keep_epochs, cascade, base, capsys):
    """By the dev curve of the record and the links' targets, read before."""
    expected = {}
    for name in ("phase1", "phase2"):
        curve = read_record(cascade / name)["dev"]["curve"]
        best = sorted(range(4), key=curve.__getitem__)[:keep_epochs]
        targets = {
            path.resolve().name for path in (cascade / name).glob("*.pth") if path.is_symlink()
        }
        kept = targets | {f"{epoch + 1}epoch.pth" for epoch in best} | LINKED | AVERAGES
        expected[name] = kept & models(cascade / name)
    before = models(base)
    main(["prune", str(cascade), "--keep_epochs", str(keep_epochs)])
    assert {name: models(cascade / name) for name in expected} == expected
    assert models(base) == before
    assert "phase1: removed checkpoint.pth" in capsys.readouterr().out
    main(["verify", str(cascade)])
    assert all(path.exists() for name in expected for path in (cascade / name).glob("*.pth"))
    main(["prune", str(cascade), "--keep_epochs", str(keep_epochs)])
    assert "nothing to remove" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pruned_cascade_goes_on_as_a_whole_one(whole, cascade, base, tmp_path):
    longer = (
        "phases: [{cut: ctc}, {cut: encoder.1}, {cut: encoder.2}, {control: continue, answers:"
        " phase3}]"
    )
    main(["prune", str(cascade), "--keep_epochs", "0"])
    run(base, tmp_path, longer)
    (tmp_path / "unpruned").mkdir()
    other = copied(whole, base, tmp_path / "unpruned")
    run(base, tmp_path / "unpruned", longer)
    assert hashes(cascade) == hashes(other)
    assert outcomes(cascade) == outcomes(other)


def test_run_prunes_what_it_finishes(whole, base, tmp_path):
    cascade = run(base, tmp_path, PLAN, "--keep_epochs", "0")
    assert hashes(cascade) == hashes(whole)
    for name in ("phase1", "phase2"):
        assert models(cascade / name) < models(whole / name)
        assert "checkpoint.pth" not in models(cascade / name)


def test_unfinished_phases_are_left_alone(cascade):
    (cascade / "phase2" / "record.json").unlink()
    before = models(cascade / "phase2")
    main(["prune", str(cascade), "--keep_epochs", "0"])
    assert models(cascade / "phase2") == before
    assert "checkpoint.pth" not in models(cascade / "phase1")


def test_a_pruned_phase_is_a_base_with_all_its_epochs(cascade, tmp_path):
    """Its checkpoint, which told them, is gone."""
    main(["prune", str(cascade), "--keep_epochs", "0"])
    (tmp_path / "plan.yaml").write_text("phases: [{cut: encoder.2}]")
    facts = Cascade.open(cascade / "phase1", tmp_path / "plan.yaml", tmp_path / "next").facts
    curve = read_record(cascade / "phase1")["dev"]["curve"]
    assert [row["valid"]["loss"] for row in facts.epochs] == curve


def test_a_cascade_that_is_being_trained_is_not_pruned(cascade, capsys):
    with locks.locked(cascade / ".lock", "cascade"):
        assert "is in use" in fails(capsys, "prune", str(cascade), "--keep_epochs", "0")
    assert "checkpoint.pth" in models(cascade / "phase1")
