"""From a plan to its phases: cuts, sides, parents, seeds, and plans that do not fit the model."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.expansion import expand as expand_plan
from espnet_topdown.plan.expansion import short_of_room
from espnet_topdown.plan.plan import Sides
from espnet_topdown.plan.plan_file import parse_plan

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


@pytest.mark.parametrize(
    ("encoder_layers", "cuts"),
    [(0, None), (1, ["decoder", "encoder.0"]), (2, ["decoder", "encoder.0"])],
)
def test_every_cuts_once_where_a_model_is_too_shallow_for_it(encoder_layers, cuts):
    encoder = [f"encoder.{k}" for k in range(encoder_layers)]
    names = ("encoder.embed", *encoder, "decoder.0", "output")
    plan = parse_plan("phases: [{cut: decoder}, {every: 3}]")
    if cuts is None:
        with pytest.raises(TopdownError, match="every: 3 gives no cut"):
            expand_plan(plan, names, 7)
        return
    assert [phase.cut for phase in expand_plan(plan, names, 7)] == cuts
    (note,) = short_of_room(plan, names, 7)
    assert note.startswith("every: 3 does not fit between the cut above and encoder.0; cut there")


def test_every_has_no_note_where_it_fits():
    plan = parse_plan("phases: [{cut: decoder}, {every: 3, stop: encoder.0}]")
    assert [phase.cut for phase in expand_plan(plan, NAMES, 7)] == ["decoder", "encoder.1"]
    assert short_of_room(plan, NAMES, 7) == []


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


def test_a_control_may_go_on_with_a_control_or_with_the_base():
    text = "phases: [{cut: decoder}, {control: unfrozen}, {control: continue, parent: %s}]"
    assert expand(text % "unfrozen_phase1")[2].parent == "unfrozen_phase1"
    assert expand(text % "base")[2].parent == "phase0"


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


MISFITS = {
    "unknown cut": ("phases: [{cut: encoder.9}]", "unknown cut 'encoder.9'; did you mean"),
    "keeps everything": (
        "phases: [{cut: encoder.embed}]",
        "phase1: a cut at 'encoder.embed' keeps every layer",
    ),
    "unknown parent": ("phases: [{cut: decoder, parent: phase8}]", "unknown parent 'phase8'"),
    "base's seed": ("phases: [{cut: decoder, seed: 7}]", "seed 7 is that of its ancestor phase0"),
    "an ancestor's seed": (
        "phases: [{cut: decoder, seed: 3}, {cut: encoder.3, seed: 3}]",
        "seed 3 is that of its ancestor phase1",
    ),
    "two of one name": (
        "phases: [{cut: decoder, name: a}, {cut: encoder.3, name: a}]",
        "two phases are named 'a'",
    ),
    "a child of two of one name": (
        "phases: [{cut: decoder, name: a}, {cut: encoder.3, name: a}, {cut: encoder.2}]",
        "two phases are named 'a'",
    ),
    "unknown parent of a control": (
        "phases: [{cut: decoder}, {control: continue, parent: phase8}]",
        "continue_phase1: unknown parent 'phase8'",
    ),
    "control of nothing": (
        "phases: [{cut: decoder}, {control: restart, answers: x}]",
        "control restart answers 'x'",
    ),
    "control before any phase": (
        "phases: [{control: restart}, {cut: decoder}]",
        "control restart stands before every phase, so it answers none",
    ),
    "controls alone": ("phases: [{control: restart}]", "control restart stands before every phase"),
    "every without room": ("phases: [{cut: encoder.0}, {every: 3}]", "every: 3 gives no cut"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_plan_that_does_not_fit_the_model_is_refused(name):
    text, fragment = MISFITS[name]
    with pytest.raises(TopdownError) as caught:
        expand(text)
    assert fragment.replace("; did", ": did") in str(caught.value)


def test_all_misfits_are_reported_together():
    with pytest.raises(TopdownError) as caught:
        expand("phases: [{cut: encoder.9}, {cut: encoder.embed}]")
    assert "encoder.9" in str(caught.value)
    assert "encoder.embed" in str(caught.value)
