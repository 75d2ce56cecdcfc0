"""The median rule: what plans may ask, where it ends a training, and what it never ends."""

import math

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import Phase
from espnet_topdown.plan.plan_file import parse_plan, plan_text
from espnet_topdown.plan.stopping import Bar, MedianStop, StopEarly
from espnet_topdown.plan.topdown_conf import TopdownConf

NAMES = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2", "decoder.0", "output")
ACC = ("valid", "acc", "max")
SWEEP = "sweep: [decoder, encoder.2, encoder.1, encoder.0]"


def phases(text: str) -> tuple[Phase, ...]:
    return expand(parse_plan(text), NAMES, 7)


def stops(text: str) -> list[MedianStop | None]:
    return [phase.stop for phase in phases(text)]


def refusal(text: str) -> str:
    with pytest.raises(TopdownError) as caught:
        phases(text)
    return str(caught.value)


def test_all_but_the_first_of_a_sweep_are_compared_with_the_first() -> None:
    stop = MedianStop(from_epoch=10, siblings=("phase1", "phase2"))
    assert stops(f"phases: [{{{SWEEP}, stop_early: median}}]") == [None, None, stop, stop]
    text = f"phases: [{{{SWEEP}, stop_early: {{rule: median, from_epoch: 4, full: 3}}}}]"
    stop = MedianStop(from_epoch=4, siblings=("phase1", "phase2", "phase3"))
    assert stops(text) == [None, None, None, stop]


def test_controls_of_one_item_are_siblings_and_others_are_not() -> None:
    text = (
        "phases: [{cut: decoder}, {every: 1}, {control: restart}, {control: continue, stop_early:"
        " median}]"
    )
    stop = MedianStop(from_epoch=10, siblings=("continue_phase1", "continue_phase2"))
    found = {phase.name: phase.stop for phase in phases(text)}
    assert {name for name, own in found.items() if own} == {"continue_phase3", "continue_phase4"}
    assert found["continue_phase4"] == stop


def test_a_plan_without_it_has_the_phases_that_it_had() -> None:
    assert stops(f"phases: [{{{SWEEP}}}, {{control: restart}}]") == [None] * 8


def test_it_is_written_out_and_read_back() -> None:
    plan = parse_plan(f"phases: [{{{SWEEP}, stop_early: median}}]")
    assert plan.entries[0].stop_early == StopEarly("median", 10, 2)
    assert parse_plan(plan_text(plan)) == plan


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("cut: decoder, stop_early: median", "it would end a link of a chain"),
        ("every: 1, stop_early: median", "it would end a link of a chain"),
        (f"{SWEEP}, stop_early: mean", "stop_early must be median or a mapping such as"),
        (f"{SWEEP}, stop_early: [median]", "stop_early must be median or a mapping such as"),
        (f"{SWEEP}, stop_early: {{rule: halving}}", "rule 'halving' is unknown"),
        (f"{SWEEP}, stop_early: {{from_epoch: 0}}", "from_epoch must be a whole number > 0"),
        (f"{SWEEP}, stop_early: {{from: 3}}", "unknown key 'from'; "),
        (f"{SWEEP}, stop_early: {{full: 4}}", "there are 4, so none would ever be ended"),
    ],
)
def test_what_it_cannot_be_is_refused(item: str, words: str) -> None:
    assert words in refusal(f"phases: [{{{item}}}]")


def test_what_is_null_takes_its_default() -> None:
    (entry,) = parse_plan(f"phases: [{{{SWEEP}, stop_early: {{full: null, rule: null}}}}]").entries
    assert entry.stop_early == StopEarly("median", 10, 2)


def test_phases_that_depend_on_one_another_are_refused() -> None:
    stopped = f"phases: [{{{SWEEP}, stop_early: median}}"
    words = "its parent phase4 may be ended by stop_early"
    assert f"phase5: {words}" in refusal(f"{stopped}, {{cut: encoder.0, parent: phase4}}]")
    # `previous`, the default, is the last phase of the sweep.
    assert f"phase5: {words}" in refusal(f"{stopped}, {{cut: encoder.0}}]")
    assert "continue_phase3: its parent phase3" in refusal(
        f"{stopped}, {{control: continue, answers: phase3, parent: phase3}}]"
    )
    # Neither the best nor one that is trained in full is ever ended.
    assert len(phases(f"{stopped}, {{cut: encoder.0, parent: best}}]")) == 5
    assert len(phases(f"{stopped}, {{cut: encoder.0, parent: phase2}}]")) == 5


def test_siblings_of_other_lengths_or_that_may_be_left_out_are_refused() -> None:
    plan = "phases: [{cut: decoder}, {cut: encoder.2, train: {max_epoch: 9}}, {cut: encoder.1}, "
    control = "{control: restart, stop_early: {full: 1}}]"
    assert "the trainings differ in max_epoch" in refusal(plan + control)
    other = plan.replace("train: {max_epoch: 9}", "data: {valid: dump/raw/noisy}")
    assert "dev values, and theirs are on different data" in refusal(other + control)
    patient = f"patience: 1\nphases: [{{cut: decoder}}, {{cut: encoder.2}}, {control}"
    assert "the plan's patience may leave out" in refusal(patient)


def test_the_bar_is_the_median_of_the_best_so_far() -> None:
    curves = [[0.1, 0.5, 0.4, 0.6], [0.3, 0.2, 0.7, 0.7], [0.2, 0.2, 0.3, 0.8]]
    bar = Bar.over(curves, ACC, from_epoch=2, max_epoch=4)
    # Epoch 2: 0.5, 0.3, 0.2. Epoch 3: 0.5, 0.7, 0.3. The last epoch ends nothing.
    assert bar.medians == (0.3, 0.5)
    # One that ended by ESPnet's patience counts with its best.
    short = Bar.over([[0.4, 0.3], [0.1, 0.1, 0.1, 0.6]], ACC, from_epoch=3, max_epoch=5)
    assert short.medians == (0.25, 0.5)


@pytest.mark.parametrize(
    ("curve", "epoch"),
    [
        ([0.1], None),  # before from_epoch
        ([0.1, 0.29], 2),
        ([0.1, 0.3], None),  # equal is not worse
        ([0.4, 0.1], None),  # its best counts, not its last
        ([0.4, 0.1, 0.45], 3),
        ([0.4, 0.1, 0.5, 0.0], None),  # the last epoch
        ([math.nan, None], None),  # diverged: another's to tell
        ([math.nan, 0.2], 2),
    ],
)
def test_a_training_ends_where_its_best_is_worse_than_the_median(
    curve: list[float | None], epoch: int | None
) -> None:
    bar = Bar(ACC, from_epoch=2, medians=(0.3, 0.5))
    assert bar.stops_at(curve) == epoch
    losses = [None if value is None else -value for value in curve]
    worse = Bar(("valid", "loss", "min"), from_epoch=2, medians=(-0.3, -0.5))
    assert worse.stops_at(losses) == epoch


def test_the_reason_has_both_values() -> None:
    bar = Bar(ACC, from_epoch=2, medians=(0.3, 0.5))
    assert bar.told([0.4, 0.1, 0.45], 3) == (
        "stopped at epoch 3 by the median rule: its best valid acc so far, 0.4500, is worse than"
        " 0.5000, the median of those trained in full"
    )


def test_one_phase_is_told_its_bar() -> None:
    bar = Bar(ACC, from_epoch=2, medians=(0.3, 0.5))
    conf = TopdownConf.from_conf({"kind": "restart", "stop_early": bar.to_conf()})
    assert conf.stop_early is not None
    assert Bar.from_conf(conf.stop_early) == bar
    for wrong in ({"medians": [0.3]}, {**bar.to_conf(), "medians": ["x"]}, "median"):
        with pytest.raises(TopdownError, match="stop_early must be a mapping of criterion"):
            TopdownConf.from_conf({"kind": "restart", "stop_early": wrong})
