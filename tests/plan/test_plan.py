"""Plans: YAML both ways, expansion, and faults that are all reported at once."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand as expand_plan
from espnet_topdown.plan.plan import Sides
from espnet_topdown.plan.plan_file import parse_plan, plan_text

NAMES = ("encoder.embed", "encoder.0", "encoder.1", "encoder.2", "encoder.3", "decoder.0", "output")


def expand(text: str):
    return expand_plan(parse_plan(text), NAMES, 7)


def test_a_cut_freezes_it_and_everything_above_and_draws_the_rest():
    (phase,) = expand("phases: [{cut: encoder.2}]")
    assert phase.sides(NAMES) == Sides(
        kept=("encoder.2", "encoder.3", "decoder.0", "output"),
        fresh=("encoder.embed", "encoder.0", "encoder.1"),
        frozen=("encoder.2", "encoder.3", "decoder.0", "output"),
    )
    assert (phase.name, phase.parent, phase.seed) == ("phase1", "phase0", 1007)


@pytest.mark.parametrize(
    ("kind", "kept", "fresh", "frozen"),
    [
        ("unfrozen", NAMES[5:], NAMES[:5], ()),
        ("bottom_up", NAMES[:5], NAMES[5:], NAMES[:5]),
        ("restart", (), NAMES, ()),
        ("continue", NAMES, (), ()),
    ],
)
def test_controls_keep_and_freeze_what_their_kind_says(kind, kept, fresh, frozen):
    phase, control = expand(f"phases: [{{cut: decoder}}, {{control: {kind}}}]")
    assert control.sides(NAMES) == Sides(tuple(kept), tuple(fresh), tuple(frozen))
    assert control.name == f"{kind}_phase1"
    assert control.seed == phase.seed
    assert control.is_control


def test_every_walks_down_from_the_last_cut():
    cuts = [p.cut for p in expand("phases: [{cut: decoder}, {every: 2}]")]
    assert cuts == ["decoder", "encoder.2", "encoder.0"]
    cuts = [p.cut for p in expand("phases: [{every: 1, start: encoder.3, stop: encoder.2}]")]
    assert cuts == ["encoder.3", "encoder.2"]


def test_parents_follow_one_another_unless_the_plan_says_otherwise():
    text = (
        "phases: [{cut: decoder}, {cut: encoder.3}, {cut: encoder.2, parent: phase1}, {cut:"
        " encoder.1, parent: best}]"
    )
    assert [p.parent for p in expand(text)] == ["phase0", "phase1", "phase1", "best"]
    assert [
        p.parent for p in expand("{parent: base, phases: [{cut: decoder}, {cut: encoder.3}]}")
    ] == ["phase0", "phase0"]


def test_a_sweep_trains_its_cuts_from_the_base():
    phases = expand("phases: [{cut: decoder}, {sweep: [encoder.3, encoder.1]}]")
    assert [(p.name, p.cut, p.parent, p.in_sweep) for p in phases[1:]] == [
        ("phase2", "encoder.3", "phase0", True),
        ("phase3", "encoder.1", "phase0", True),
    ]


def test_controls_answer_the_phases_named_with_their_settings():
    text = """
    train: {max_epoch: 9}
    phases:
    - {cut: decoder, seed: 5, train: {optim_conf: {lr: 0.1}}}
    - {cut: encoder.3}
    - {control: bottom_up, answers: phase1}
    """
    control = expand(text)[2]
    assert (control.answers, control.cut, control.seed) == ("phase1", "decoder", 5)
    assert control.train == {"max_epoch": 9, "optim_conf": {"lr": 0.1}}


def test_a_plan_round_trips_through_yaml():
    text = """
    parent: best
    dev_criterion: [valid, loss, min]
    min_gain: 0.001
    patience: 2
    dropout: off
    train: {max_epoch: 5, scheduler_conf: {warmup_steps: 100}}
    phases:
    - {cut: decoder, seed: 77, tied: untie_copy}
    - {every: 2, stop: encoder.0}
    - {sweep: [encoder.3, encoder.1], init_param: drop}
    - {control: restart, answers: [phase1]}
    """
    plan = parse_plan(text)
    assert plan.dropout == "off"
    assert parse_plan(plan_text(plan)) == plan


FAULTS = {
    "not a mapping": ("[1, 2]", "a plan is a mapping with 'phases'"),
    "not YAML": ("{a: [", "is not YAML"),
    "no phases": ("parent: best", "'phases' must be a list with at least one item"),
    "empty phases": ("phases: []", "'phases' must be a list with at least one item"),
    "unknown key": ("{phase: 1, phases: [{cut: a}]}", "unknown key 'phase'; did you mean phases"),
    "unknown item key": ("phases: [{cut: a, sed: 3}]", "unknown key 'sed'; did you mean seed"),
    "item is text": ("phases: [decoder]", "must be a mapping such as 'cut: decoder'"),
    "item without a choice": (
        "phases: [{seed: 3}]",
        "exactly one of cut, every, sweep, control; it has none",
    ),
    "item with two choices": ("phases: [{cut: a, every: 2}]", "it has cut, every"),
    "cut is a number": ("phases: [{cut: 3}]", "cut must be a name, not 3"),
    "every zero": ("phases: [{every: 0}]", "every must be a whole number > 0"),
    "every is text": ("phases: [{every: two}]", "every must be a whole number > 0"),
    "sweep is empty": ("phases: [{sweep: []}]", "sweep must be a list of names"),
    "unknown control": (
        "phases: [{control: resart}]",
        "control 'resart' is unknown; did you mean restart",
    ),
    "negative seed": ("phases: [{cut: a, seed: -1}]", "seed must be a whole number >= 0"),
    "seed is a truth value": ("phases: [{cut: a, seed: true}]", "seed must be a whole number >= 0"),
    "name with a slash": (
        "phases: [{cut: a, name: ../x}]",
        "name must be a plain directory name, not '../x'",
    ),
    "name that is taken": ("phases: [{cut: a, name: best}]", "the name 'best' is taken"),
    "unknown dropout": (
        "{dropout: of, phases: [{cut: a}]}",
        "dropout 'of' is unknown; did you mean off",
    ),
    "unknown tie policy": (
        "phases: [{cut: a, tied: untie}]",
        "tied 'untie' is unknown; did you mean untie_",
    ),
    "unknown init_param": ("{init_param: no, phases: [{cut: a}]}", "init_param False is unknown"),
    "train is a list": ("phases: [{cut: a, train: [1]}]", "train must be a mapping"),
    "train changes the model": (
        "phases: [{cut: a, train: {encoder: conformer}}]",
        "train.encoder cannot differ",
    ),
    "train changes the seed": (
        "{train: {seed: 1}, phases: [{cut: a}]}",
        "train.seed cannot differ",
    ),
    "train changes the data": (
        "phases: [{cut: a, train: {token_list: x}}]",
        "train.token_list cannot differ",
    ),
    "dev criterion on train": (
        "{dev_criterion: [train, acc, max], phases: [{cut: a}]}",
        "must be [valid, METRIC, min|max]",
    ),
    "dev criterion is text": (
        "{dev_criterion: acc, phases: [{cut: a}]}",
        "must be [valid, METRIC, min|max]",
    ),
    "negative gain": ("{min_gain: -1, phases: [{cut: a}]}", "min_gain must be a number >= 0"),
    "patience zero": ("{patience: 0, phases: [{cut: a}]}", "patience must be a whole number > 0"),
    "layers is a list": ("{layers: [a], phases: [{cut: a}]}", "layers must be a mapping"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_plan_is_refused_with_a_message_that_helps(name):
    text, fragment = FAULTS[name]
    with pytest.raises(TopdownError) as caught:
        parse_plan(text)
    assert fragment in str(caught.value)


MISFITS = {
    "unknown cut": ("phases: [{cut: encoder.9}]", "unknown cut 'encoder.9'; did you mean"),
    "keeps everything": (
        "phases: [{cut: encoder.embed}]",
        "phase1: a cut at 'encoder.embed' keeps every layer",
    ),
    "unknown parent": ("phases: [{cut: decoder, parent: phase8}]", "unknown parent 'phase8'"),
    "base's seed": ("phases: [{cut: decoder, seed: 7}]", "seed 7 is its ancestor phase0's"),
    "an ancestor's seed": (
        "phases: [{cut: decoder, seed: 3}, {cut: encoder.3, seed: 3}]",
        "seed 3 is its ancestor phase1's",
    ),
    "two of one name": (
        "phases: [{cut: decoder, name: a}, {cut: encoder.3, name: a}]",
        "two phases are named 'a'",
    ),
    "control of nothing": (
        "phases: [{cut: decoder}, {control: restart, answers: x}]",
        "control restart answers 'x'",
    ),
    "every without room": ("phases: [{cut: encoder.0}, {every: 3}]", "every: 3 gives no cut"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_plan_that_does_not_fit_the_model_is_refused(name):
    text, fragment = MISFITS[name]
    with pytest.raises(TopdownError) as caught:
        expand(text)
    assert fragment.replace("; did", ": did") in str(caught.value)


def test_all_faults_are_reported_together():
    with pytest.raises(TopdownError, match="4 fault"):
        parse_plan("{a: 1, min_gain: x, phases: [{cut: 1}, {every: no}]}")
    with pytest.raises(TopdownError) as caught:
        expand("phases: [{cut: encoder.9}, {cut: encoder.embed}]")
    assert "encoder.9" in str(caught.value)
    assert "encoder.embed" in str(caught.value)
