"""The median rule replayed: by hand, on what stands for variants, and on the committed records."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_records import phase, record, usual, write

from espnet_topdown.cascade.costs import EXPERIENCE
from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.plan.stopping import StopEarly
from espnet_topdown.study.__main__ import main
from espnet_topdown.study.record_files import find_records
from espnet_topdown.study.records import Record
from espnet_topdown.study.replay import CANDIDATES, Replay, Variants, groups, replay, replay_table

FSDD = Path(__file__).parents[2] / "egs2" / "fsdd" / "asr1" / "records"
ACC = Criterion("valid", "acc", "max")


def test_by_hand() -> None:
    """The bar is 0.3 in epoch 1, 0.45 in epoch 2; the third ends after 1, the fourth after 2."""
    curves = ((0.2, 0.5, 0.6), (0.4, 0.4, 0.5), (0.1, 0.9, 0.9), (0.35, 0.4, 0.7, 0.7))
    seed = Variants(ACC, curves)
    rule = StopEarly(from_epoch=1, full=2)
    assert seed.ends(rule) == [3, 3, 1, 2]
    # In full the third is the best, with 0.9; under the rule the first, with 0.6.
    assert replay([seed], rule) == Replay(
        epochs=13, trained=9, compared=7, compared_trained=3, same=0, regret=pytest.approx(0.3)
    )
    assert replay([seed], rule).share == pytest.approx(3 / 7)
    assert replay([seed], StopEarly(from_epoch=3, full=2)).same == 1


def test_lower_is_better_where_dev_says_so() -> None:
    losses = ((2.0, 1.0), (2.0, 1.5), (3.0, 0.5))
    seed = Variants(Criterion("valid", "loss", "min"), losses)
    found = replay([seed], StopEarly(from_epoch=1, full=2))
    assert (found.trained, found.same, found.regret) == (5, 0, 0.5)


def with_curves(*curves: tuple[float, ...]) -> Record:
    phases = [phase("phase0", "base", 0.5, ())]
    for number, curve in enumerate(curves, 1):
        top = phase(f"phase{number}", "top_down", max(curve), (), cut="decoder")
        phases.append(replace(top, curve=curve))
    return record(1, phases)


def test_curves_on_different_dev_sets_are_not_compared() -> None:
    """Dev values in noise are worse, whatever was trained."""
    quiet = with_curves((0.8, 0.9), (0.7, 0.9), (0.7, 0.8), (0.1, 0.2), (0.2, 0.3), (0.1, 0.1))
    phases = [
        replace(one, dev_set="dev_noisy") if number > 3 else one
        for number, one in enumerate(quiet.phases)
    ]
    found = dict(groups([replace(quiet, phases=tuple(phases))], 2))
    assert list(found) == [CANDIDATES, f"{CANDIDATES} on dev_noisy"]
    (noisy,) = found[f"{CANDIDATES} on dev_noisy"]
    assert noisy.curves == ((0.1, 0.2), (0.2, 0.3), (0.1, 0.1))


def test_candidates_and_controls_of_one_kind_stand_for_variants() -> None:
    third = replace(phase("phase3", "top_down", 0.5, (), cut="encoder.0"), curve=(0.5,))
    names = dict(groups([usual(1, third)], 2))
    assert list(names) == [CANDIDATES]
    assert [len(curve) for curve in names[CANDIDATES][0].curves] == [3, 3, 1]
    assert [name for name, _ in groups([usual(1)], 1)] == [CANDIDATES, "restart"]
    # Where the rule was at work, no curve tells what it would have been.
    assert not list(groups([usual(1, replace(third, stop_from=2))], 2))


def test_the_table_says_what_is_saved_and_lost() -> None:
    curves = [(0.2, 0.5, 0.6), (0.4, 0.4, 0.5), (0.1, 0.2, 0.6), (0.35, 0.4, 0.7)]
    table = replay_table([with_curves(*curves)], from_epochs=(1, 2))
    assert table is not None
    assert table.rows == [
        ("candidates", "1", "12", "9", "25 %", "0 of 1", "0.1000"),
        ("candidates", "2", "12", "10", "17 %", "0 of 1", "0.1000"),
    ]
    assert replay_table([with_curves(*curves[:2])]) is None


def test_the_command_prints_it_or_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "tiny", with_curves((0.5,), (0.5,), (0.4, 0.6)))
    main(["replay", str(folder), "--from_epoch", "1"])
    assert "Stopping early, replayed: tiny" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["replay", str(folder), "--full", "3"])
    assert "no seed has more than 3 candidates" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["replay", str(folder), "--from_epoch", "0"])
    assert "must be a whole number > 0, not '0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "epochs", "trained", "same", "regret"),
    [("rnn", 455, 296, 2, 0.0053), ("transformer", 1254, 570, 2, 0.0076)],
)
def test_on_the_committed_studies_and_as_plan_tells_it(
    model: str, epochs: int, trained: int, same: int, regret: float
) -> None:
    seeds = dict(groups(find_records([FSDD / model])[model], 2))[CANDIDATES]
    found = replay(seeds, StopEarly())
    assert (found.epochs, found.trained, found.same) == (epochs, trained, same)
    assert found.regret == pytest.approx(regret, abs=5e-5)
    assert round(found.share, 2) == EXPERIENCE[model == "rnn"]
