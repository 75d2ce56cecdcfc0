"""Plans as files: YAML both ways, and faults that are all reported at once."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan_file import parse_plan, plan_text


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
    - {keep: [output, decoder.0], kept_lr: {output: 0, decoder: 0.1}}
    - {draw: encoder.embed, kept_lr: {decay: 0.8}}
    - {cut: decoder, kind: slow, kept_lr: 0.5}
    - {every: 1, thaw: true}
    - {control: continue, kept_lr: 0.1}
    """
    plan = parse_plan(text)
    assert plan.dropout == "off"
    assert parse_plan(plan_text(plan)) == plan


FAULTS = {
    "a factor above 1": ("phases: [{cut: a, kept_lr: 1.5}]", "kept_lr must be a number from 0"),
    "a factor below 0": ("phases: [{cut: a, kept_lr: -0.1}]", "kept_lr must be a number from 0"),
    "a factor that is text": ("phases: [{cut: a, kept_lr: slow}]", "kept_lr must be a number from"),
    "a factor that is true": ("phases: [{cut: a, kept_lr: true}]", "kept_lr must be a number from"),
    "a factor that is no number": ("phases: [{cut: a, kept_lr: .nan}]", "kept_lr must be a number"),
    "a layer's factor above 1": ("phases: [{cut: a, kept_lr: {a: 2}}]", "kept_lr must be a number"),
    "a decay of 0": ("phases: [{cut: a, kept_lr: {decay: 0}}]", "kept_lr must be a number"),
    "a decay and more": ("phases: [{cut: a, kept_lr: {decay: 0.5, a: 1}}]", "or {decay: NUMBER}"),
    "no factors": ("phases: [{cut: a, kept_lr: {}}]", "kept_lr must be a number"),
    "factors of a kind that says them": (
        "phases: [{cut: a, kind: top_down, kept_lr: 0.1}]",
        "kind top_down means kept_lr 0, so no other can be given",
    ),
    "factors of a control that says them": (
        "phases: [{cut: a}, {control: unfrozen, kept_lr: 0.1}]",
        "kind unfrozen means kept_lr 1",
    ),
    "factors of nothing": ("phases: [{kind: restart, kept_lr: 1}]", "kind restart keeps nothing"),
    "unknown kind": ("phases: [{cut: a, kind: slo}]", "kind 'slo' is unknown; did you mean slow"),
    "kind a list": ("phases: [{cut: a, kind: [slow]}]", "kind ['slow'] is unknown"),
    "kind and control": ("phases: [{control: slow, kind: slow}]", "give control or kind, not both"),
    "thaw of another kind": (
        "phases: [{cut: a, kind: slow, thaw: true}]",
        "thaw: true is kind thaw, not slow",
    ),
    "thaw a number": ("phases: [{cut: a, thaw: 2}]", "thaw must be true or false, not 2"),
    "a kind that needs a cut": ("phases: [{kind: slow}]", "exactly one of cut, every, sweep"),
    "a cut of a kind without": ("phases: [{kind: continue, cut: a}]", "kind continue has no cut"),
    "names of a kind without": ("phases: [{kind: thaw, keep: [a]}]", "kind thaw has no keep"),
    "a cut beside names": ("phases: [{cut: a, keep: [b]}]", "it has cut, keep"),
    "both names": ("phases: [{keep: [a], draw: [b]}]", "it has keep, draw"),
    "a cut of named layers": (
        "phases: [{cut: a, kind: named}]",
        "kind named has no cut: give keep or draw",
    ),
    "a control with two partings": ("phases: [{control: slow, cut: a, draw: b}]", "cut, draw"),
    "a control of every": ("phases: [{control: slow, every: 1}]", "it has control, every"),
    "a sweep of named layers": (
        "phases: [{sweep: [a], kind: named}]",
        "kind named has no cuts for sweep: give keep or draw",
    ),
    "cuts of a kind without": (
        "phases: [{every: 1, kind: restart}]",
        "restart has no cuts for every",
    ),
    "names a number": ("phases: [{keep: 3}]", "keep must be a list of names, not 3"),
    "not a mapping": ("[1, 2]", "found a list, above which 'phases:' is missing"),
    "not YAML": ("{a: [", "is not YAML"),
    "no phases": ("parent: best", "'phases' must be a list with at least one item"),
    "empty phases": ("phases: []", "'phases' must be a list with at least one item"),
    "unknown key": ("{phase: 1, phases: [{cut: a}]}", "unknown key 'phase'; did you mean phases"),
    "unknown item key": ("phases: [{cut: a, sed: 3}]", "unknown key 'sed'; did you mean seed"),
    "item is text": ("phases: [decoder]", "must be a mapping such as 'cut: decoder'"),
    "item without a choice": (
        "phases: [{seed: 3}]",
        "exactly one of cut, every, sweep, control, keep, draw; it has none",
    ),
    "item with two choices": ("phases: [{cut: a, every: 2}]", "it has cut, every"),
    "start without every": (
        "phases: [{kind: thaw, start: encoder.0}]",
        "start does nothing without every: give every, or leave start out",
    ),
    "stop beside a cut": ("phases: [{cut: a, stop: b}]", "stop does nothing without every"),
    "answers without control": (
        "phases: [{cut: a}, {cut: b, answers: phase1}]",
        "phase item 2: answers does nothing without control",
    ),
    "cut is empty": ("phases: [{cut: ''}]", "phase item 1: cut must be a name, not ''"),
    "a cut of a sweep is empty": ("phases: [{sweep: [a, '']}]", "sweep must be a list of names"),
    "kept layers are empty": ("phases: [{keep: ''}]", "keep must be a list of names, not ''"),
    "the plan's parent is empty": (
        "{parent: '', phases: [{cut: a}]}",
        "parent must be a name without a directory, not ''",
    ),
    "cut is a number": ("phases: [{cut: 3}]", "cut must be a name, not 3"),
    "every zero": ("phases: [{every: 0}]", "every must be a whole number > 0"),
    "every is text": ("phases: [{every: two}]", "every must be a whole number > 0"),
    "sweep is empty": ("phases: [{sweep: []}]", "sweep must be a list of names"),
    "unknown control": (
        "phases: [{control: resart}]",
        "control 'resart' is unknown; did you mean restart",
    ),
    "a control with a tie of its own": (
        "phases: [{cut: a}, {control: slow, tied: untie_copy}]",
        "a control has the tied of the phase that it answers; leave tied out",
    ),
    "negative seed": ("phases: [{cut: a, seed: -1}]", "seed must be a whole number >= 0"),
    "seed is a truth value": ("phases: [{cut: a, seed: true}]", "seed must be a whole number >= 0"),
    "name with a slash": (
        "phases: [{cut: a, name: ../x}]",
        "name must be a plain directory name, not '../x'",
    ),
    "name like an option": (
        "phases: [{cut: a, name: -x}]",
        "name must be a plain directory name, not '-x'",
    ),
    "name that is taken": ("phases: [{cut: a, name: best}]", "the name 'best' is taken"),
    **{
        f"name of the cascade's own {name}": (
            f"phases: [{{cut: a, name: {name}}}]",
            f"the name '{name}' is taken; give another",
        )
        for name in ("RESULTS.md", "results.MD", "plan.yaml", "images", "aside", "Best")
    },
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
    "epochs that are null": (
        "phases: [{cut: a, train: {max_epoch: null}}]",
        "train.max_epoch must be a whole number > 0, not None",
    ),
    "no batch a step": (
        "phases: [{cut: a, train: {accum_grad: 0}}]",
        "train.accum_grad must be a whole number > 0, not 0",
    ),
    "nothing for freeze_param": (
        "{train: {freeze_param: null}, phases: [{cut: a}]}",
        "train.freeze_param must be [], which trains what the base's freeze_param froze, not None",
    ),
    "a conf that is null": (
        "phases: [{cut: a, train: {optim_conf: null}}]",
        "train.optim_conf must be a mapping, not None",
    ),
    "a conf that is a number": (
        "phases: [{cut: a, train: {scheduler_conf: 3}}]",
        "train.scheduler_conf must be a mapping, not 3",
    ),
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


def test_a_conf_of_what_is_off_may_be_null() -> None:
    train = (
        parse_plan("phases: [{cut: a, train: {specaug: null, specaug_conf: null}}]")
        .entries[0]
        .train
    )
    assert train == {"specaug": None, "specaug_conf": None}


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "+1e-3", "0.1e-2", ".1e-2", "1.e-3", "0.001"])
def test_a_number_with_an_exponent_is_one_wherever_it_stands(number):
    text = f"{{min_gain: {number}, phases: [{{cut: a, train: {{optim_conf: {{lr: {number}}}}}}}]}}"
    plan = parse_plan(text)
    assert plan.min_gain == 0.001
    assert plan.entries[0].train == {"optim_conf": {"lr": 0.001}}
    assert parse_plan(plan_text(plan)) == plan


@pytest.mark.parametrize("word", ["'1e-3'", "e-3", "1e", "1e-3x"])
def test_a_word_that_looks_like_a_number_stays_one(word):
    plan = parse_plan(f"phases: [{{cut: {word}}}]")
    assert plan.entries[0].cut == word.strip("'")


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_plan_is_refused_with_a_message_that_helps(name):
    text, fragment = FAULTS[name]
    with pytest.raises(TopdownError) as caught:
        parse_plan(text)
    assert fragment in str(caught.value)


def test_all_faults_are_reported_together():
    with pytest.raises(TopdownError, match="4 fault"):
        parse_plan("{a: 1, min_gain: x, phases: [{cut: 1}, {every: no}]}")


def test_mixed_precision_may_differ_in_a_phase():
    plan = parse_plan("phases: [{cut: decoder, train: {use_amp: true}}]")
    assert plan.entries[0].train == {"use_amp": True}
    with pytest.raises(TopdownError, match="train.use_amp must be true or false, not 'bf16'"):
        parse_plan("phases: [{cut: decoder, train: {use_amp: bf16}}]")
