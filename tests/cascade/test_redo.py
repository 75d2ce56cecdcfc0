"""Phases that were begun with something else: refused, set aside, trained anew."""

import json
from pathlib import Path

import pytest
from cascades import PLAN, copied, fails, hashes, outcomes, run, words
from made_cascade import made, record

from espnet_topdown import locks
from espnet_topdown.cascade import redo
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import DECODING, LOCK, read_record
from espnet_topdown.plan.plan import Phase

SLOWER = "phases: [{cut: decoder}, {cut: encoder.1, train: {optim_conf: {lr: 0.0001}}}]"


@pytest.fixture
def cascade(finished: Path, base: Path, tmp_path: Path) -> Path:
    """A copy of the finished cascade, with its plan beside it."""
    (tmp_path / "plan.yaml").write_text(PLAN)
    return copied(finished, base, tmp_path)


@pytest.fixture
def interrupted(cascade: Path) -> Path:
    """The cascade as a kill leaves it after the last epoch of phase 2."""
    (cascade / "phase2" / "record.json").unlink()
    (cascade / "phase2" / "topdown" / "proof.json").unlink()
    return cascade


def moves(cascade: Path) -> list[tuple[str, str]]:
    """(phase, place) of everything that was set aside, by the ledger."""
    events = Ledger(cascade / "ledger.jsonl").events()
    return [(event["phase"], event["aside"]) for event in events if event["event"] == "redo"]


def attempts_of(cascade: Path, phase: str) -> list[str]:
    """Outcomes of a phase's attempts."""
    return [outcome for name, outcome in outcomes(cascade) if name == phase]


def test_what_a_phase_was_begun_with_is_in_its_record(finished):
    begun = json.loads((finished / "phase2" / "topdown" / "begun.json").read_text())
    assert begun["settings"]["optim_conf"] == {"lr": 0.01}
    assert read_record(finished / "phase2")["key"] == begun
    start = json.loads((finished / "phase2" / "topdown" / "start.json").read_text())
    assert start["options"]["optim_conf"] == {"lr": 0.01}
    assert "num_workers" not in start["options"]


def test_a_phase_that_is_being_decoded_is_not_set_aside(cascade, base, tmp_path, capsys):
    """Its decoding would end up beside the model that is trained anew."""
    with locks.locked(cascade / "phase2" / DECODING, "decode"):
        error = fails(capsys, *words(base, tmp_path), "--redo", "phase2")
    assert "phase2 is still decoded by process" in error
    assert (cascade / "phase2" / "record.json").exists()


def test_changed_settings_of_an_interrupted_phase_are_refused_and_the_advice_works(
    interrupted, base, tmp_path, capsys
):
    (tmp_path / "plan.yaml").write_text(SLOWER)
    before = {path.name: path.read_bytes() for path in (interrupted / "phase2").glob("*.pth")}
    error = fails(capsys, *words(base, tmp_path))
    assert "phase2 was begun with something else" in error
    assert "settings.optim_conf.lr: 0.01 -> 0.0001" in error
    assert "settings.optim_conf.lr: 0.01 -> 0.0001" in fails(
        capsys, *words(base, tmp_path), "--dry_run"
    )
    # The command stands in a line of its own, as it is typed.
    (line,) = [line for line in error.splitlines() if "--redo" in line]
    main(line.strip().removeprefix("espnet-topdown ").rstrip(":").split())
    record = read_record(interrupted / "phase2")
    assert record["key"]["settings"]["optim_conf"] == {"lr": 0.0001}
    aside = interrupted / "aside" / "phase2.1"
    assert {path.name: path.read_bytes() for path in aside.glob("*.pth")} == before
    assert moves(interrupted) == [("phase2", "aside/phase2.1")]
    main(["verify", str(interrupted)])


def test_undoing_the_change_is_the_other_way_out(interrupted, finished, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(SLOWER)
    fails(capsys, *words(base, tmp_path))
    run(base, tmp_path, PLAN)
    assert hashes(interrupted) == hashes(finished)


def test_a_text_that_changes_while_a_phase_trains_is_refused_until_that_is_undone(
    base, data, tmp_path, capsys, monkeypatch
):
    from espnet_topdown.cascade import attempt

    text = data / "train" / "text"
    before = text.read_text()
    start_training = attempt.start_training

    def edited(*args, **kwargs):
        handle = start_training(*args, **kwargs)
        handle.wait()
        text.write_text(before.replace("train00 ", "train00 f"))
        return handle

    monkeypatch.setattr(attempt, "start_training", edited)
    (tmp_path / "plan.yaml").write_text("phases: [{cut: decoder}]")
    try:
        assert f"files.{text}: " in fails(capsys, *words(base, tmp_path))
        monkeypatch.undo()
        error = fails(capsys, *words(base, tmp_path))
        assert "phase1 was begun with something else" in error and f"files.{text}: " in error
    finally:
        text.write_text(before)
    assert not (tmp_path / "cascade" / "phase1" / "record.json").exists()
    main(words(base, tmp_path))
    assert read_record(tmp_path / "cascade" / "phase1") is not None


def test_a_phase_of_a_later_run_computes_as_those_of_the_first(base, tmp_path, monkeypatch):
    from espnet_topdown.cascade import attempt

    given = []
    start_training = attempt.start_training

    def noted(*args, variables, **kwargs):
        given.append(variables["ESPNET_TOPDOWN_LSTM"])
        return start_training(*args, variables=variables, **kwargs)

    monkeypatch.setattr(attempt, "start_training", noted)
    monkeypatch.setenv("ESPNET_TOPDOWN_LSTM", "onednn")
    run(base, tmp_path, "phases: [{cut: decoder}]")
    monkeypatch.delenv("ESPNET_TOPDOWN_LSTM")
    run(base, tmp_path, PLAN)
    assert given == ["onednn", "onednn"]


def test_settings_may_change_where_no_epoch_was_trained(interrupted, base, tmp_path):
    for path in (interrupted / "phase2").glob("*.pth"):
        path.unlink()
    run(base, tmp_path, SLOWER)
    assert read_record(interrupted / "phase2")["key"]["settings"]["optim_conf"] == {"lr": 0.0001}


def test_a_phase_is_not_redone_without_those_that_were_trained_from_it(
    cascade, finished, base, tmp_path, capsys
):
    error = fails(capsys, *words(base, tmp_path), "--redo", "1")
    assert (
        "finished phases were trained from what --redo names, or stopped against it: phase2"
        in error
    )
    assert "--redo phase1 phase2" in error
    assert not (cascade / "aside").exists()
    main([*words(base, tmp_path), "--redo", "phase1", "phase2"])
    assert hashes(cascade) == hashes(finished)
    assert moves(cascade) == [("phase1", "aside/phase1.1"), ("phase2", "aside/phase2.1")]
    hours = Ledger(cascade / "ledger.jsonl").hours("phase1")
    ends = [e for e in Ledger(cascade / "ledger.jsonl").events() if e["event"] == "end"]
    assert hours * 3600 == pytest.approx([e["wall_s"] for e in ends if e["phase"] == "phase1"][-1])
    # As after a kill: the same command goes on, and nothing is trained a third time.
    main([*words(base, tmp_path), "--redo", "phase1", "phase2"])
    assert "phase1 was redone already" in capsys.readouterr().err
    assert attempts_of(cascade, "phase1") == ["done", "done"]


def test_a_kill_between_the_move_and_the_ledger_is_made_good(cascade, base, tmp_path):
    (cascade / "aside").mkdir()
    (cascade / "phase2").rename(cascade / "aside" / "phase2.1")
    main([*words(base, tmp_path), "--redo", "phase2"])
    assert moves(cascade) == [("phase2", "aside/phase2.1")]
    assert attempts_of(cascade, "phase2") == ["done", "done"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("phase9", "no phase 'phase9'; did you mean phase"), ("phase3", "was not begun yet")],
)
def test_what_cannot_be_redone_is_named(name, message, cascade, base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(
        "phases: [{cut: decoder}, {cut: encoder.1}, {cut: encoder.0}]"
    )
    assert message in fails(capsys, *words(base, tmp_path), "--redo", name)


def test_a_diverged_phase_is_redone_under_a_lower_rate(base, tmp_path, capsys):
    """Its first step is finite, so that there is a checkpoint to resume from."""
    diverging = "train: {{optim: sgd, optim_conf: {{lr: {lr}}}, grad_clip: 1.0e+38}}"
    plan = "phases: [{{cut: encoder.1, " + diverging + "}}]"
    (tmp_path / "plan.yaml").write_text(plan.format(lr="1.0e+30"))
    error = fails(capsys, *words(base, tmp_path))
    cascade = tmp_path / "cascade"
    command = Cascade.open(base, tmp_path / "plan.yaml", cascade).redo_command(["phase1"])
    assert f"train it anew: {command}" in error
    (tmp_path / "plan.yaml").write_text(plan.format(lr="0.001"))
    main(command.split()[1:])
    assert read_record(cascade / "phase1")["key"]["settings"]["optim_conf"] == {"lr": 0.001}
    assert attempts_of(cascade, "phase1") == ["failed", "done"]
    assert (cascade / "aside" / "phase1.1" / "train.log").exists()


def test_a_base_that_is_called_as_a_phase_is_not_taken_for_it():
    phase = Phase("phase2", "top_down", "encoder.1", "best", 1)
    of_base = {"phase2": {"parent": "../first_topdown/phase1"}}
    assert "phase1" not in redo._made_from(phase, of_base)
    assert "phase1" in redo._made_from(phase, {"phase2": {"parent": "phase1"}})


@pytest.fixture
def chain(tmp_path: Path) -> Cascade:
    """Phase 2 is made from phase 1, which the plan calls the best; both are finished."""
    chain = made(tmp_path, "phases: [{cut: decoder}, {cut: encoder.1, parent: best}]")
    record(chain, "phase1", 0.8)
    record(chain, "phase2", 0.9, parent="phase1")
    return chain


def names_aside(cascade: Cascade) -> list[str]:
    return sorted(path.name for path in cascade.paths.aside.iterdir())


def test_a_phase_is_not_redone_without_the_one_that_took_it_for_the_best(chain):
    with pytest.raises(TopdownError, match="phase2. Redo them"):
        redo.set_aside(chain, chain.read_records(), ["phase1"])


def test_a_phase_that_is_still_trained_is_not_set_aside(chain):
    trained = locks.locked(chain.paths.phase_dir("phase2") / LOCK, "training")
    with trained, pytest.raises(TopdownError, match="still trained by"):
        redo.set_aside(chain, chain.read_records(), ["phase2"])


def test_best_is_phase_0_once_the_best_is_set_aside(chain):
    chain.paths.link_best("phase2")
    redo.set_aside(chain, chain.read_records(), ["phase1", "phase2"])
    assert (chain.paths.directory / "best").resolve() == chain.paths.base.resolve()
    assert names_aside(chain) == ["phase1.1", "phase2.1"]


def test_each_copy_that_is_set_aside_has_a_number_of_its_own(chain):
    for _ in range(3):
        redo._move(chain, "phase2")
        record(chain, "phase2", 0.9, parent="phase1")
    assert names_aside(chain) == ["phase2.1", "phase2.2", "phase2.3"]
