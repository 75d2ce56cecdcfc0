"""From a plan to its phases: cuts, sides, parents, seeds, and plans that do not fit the model."""

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan import phase_faults
from espnet_topdown.plan.expansion import expand as expand_plan
from espnet_topdown.plan.expansion import short_of_room
from espnet_topdown.plan.plan import reads_of
from espnet_topdown.plan.plan_file import parse_plan
from espnet_topdown.plan.sides import Sides

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


def test_a_cut_that_a_model_lacks_is_told_once_though_every_goes_on_from_it():
    plan = parse_plan("phases: [{cut: decoder}, {every: 1}, {cut: encoder.7}]")
    with pytest.raises(TopdownError) as refused:
        expand_plan(plan, ("encoder.embed", "encoder.0", "ctc"), 7)
    assert str(refused.value).count("unknown cut 'decoder'") == 1
    assert "unknown cut 'encoder.7'" in str(refused.value)


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


def test_a_control_starts_and_drops_out_as_what_it_answers_unless_told():
    text = """
    phases:
    - {cut: decoder, dropout: off, init_param: drop}
    - control: restart
    - control: bottom_up
    - {control: bottom_up, name: other, dropout: keep, init_param: keep}
    """
    _, restart, bottom_up, other = expand(text)
    # Nothing is frozen in a restart.
    assert (restart.dropout, restart.init_param) == ("keep", "drop")
    assert (bottom_up.dropout, bottom_up.init_param) == ("off", "drop")
    assert (other.dropout, other.init_param) == ("keep", "keep")


# The phases of the sweep may be, and the control is not.
ENDED_EARLY = """[{sweep: [output, decoder, encoder.1], kind: unfrozen, stop_early: {full: 2}},
  {control: unfrozen, answers: phase3}]"""


@pytest.mark.parametrize(
    ("plan", "repeated"),
    [
        ("[{cut: decoder}, {kind: restart}, {control: restart}]", ["restart_phase2"]),
        ("[{cut: decoder}, {control: top_down}]", ["top_down_phase1"]),
        (
            "[{cut: decoder, kind: unfrozen, dropout: 'off'}, {control: unfrozen}]",
            ["unfrozen_phase1"],
        ),
        ("[{cut: decoder}, {control: top_down, dropout: 'off'}, {control: slow}]", []),
        (ENDED_EARLY, []),
    ],
)
def test_controls_that_would_train_their_phase_once_more_are_told(plan, repeated):
    assert list(phase_faults.once_more(expand(f"phases: {plan}"))) == repeated


def test_a_control_thaws_as_far_as_the_thaw_that_it_answers():
    phases = expand("phases: [{every: 2, thaw: true}, {control: thaw}]")
    thaws, controls = phases[: len(phases) // 2], phases[len(phases) // 2 :]
    assert thaws[0].cut
    assert [phase.cut for phase in controls] == [phase.cut for phase in thaws]
    (_, whole) = expand("phases: [{cut: decoder}, {control: thaw}]")
    assert whole.cut is None


def test_the_best_is_that_before_a_sweep_or_before_what_a_control_answers():
    text = """
    parent: best
    phases:
    - cut: decoder
    - {sweep: [encoder.3, encoder.2], parent: best}
    - {control: continue, name: more}
    """
    assert {p.name: p.best_before for p in expand(text)} == {
        "phase1": None,
        "phase2": "phase2",
        "phase3": "phase2",
        "more_phase1": "phase1",
        "more_phase2": "phase2",
        "more_phase3": "phase2",
    }


def factors(phase) -> list[float]:
    """Of the layers of `NAMES`, 1 for fresh ones."""
    sides = phase.sides(NAMES)
    return [sides.factor(name) for name in NAMES]


@pytest.mark.parametrize(
    ("item", "kind", "kept", "rates"),
    [
        ("cut: decoder, kind: slow", "slow", 2, [1, 1, 1, 1, 1, 0.1, 0.1]),
        ("cut: decoder, kept_lr: 0.3", "slow", 2, [1, 1, 1, 1, 1, 0.3, 0.3]),
        ("cut: decoder, kept_lr: 0", "top_down", 2, [1, 1, 1, 1, 1, 0, 0]),
        ("cut: decoder, kind: unfrozen", "unfrozen", 2, [1] * 7),
        ("cut: encoder.3, kept_lr: {output: 0, encoder: 1}", "slow", 3, [1, 1, 1, 1, 1, 0.1, 0]),
        # A layer's own name goes before its stack's, in whatever order they stand.
        (
            "kind: thaw, kept_lr: {encoder.2: 0.5, encoder: 0.2}",
            "thaw",
            7,
            [0.2, 0.2, 0.2, 0.5, 0.2, 1, 1],
        ),
        ("kind: thaw", "thaw", 7, [1] * 7),
        ("kind: thaw, cut: decoder", "thaw", 7, [0, 0, 0, 0, 0, 1, 1]),
        ("cut: decoder, thaw: true", "thaw", 7, [0, 0, 0, 0, 0, 1, 1]),
        (
            "kind: thaw, cut: encoder.3, kept_lr: {decay: 0.5}",
            "thaw",
            7,
            [0, 0, 0, 0, 0.25, 0.5, 1],
        ),
        ("kind: bottom_up, cut: encoder.1", "bottom_up", 2, [0, 0, 1, 1, 1, 1, 1]),
        ("kind: bottom_up, cut: encoder.1, kept_lr: 0.2", "bottom_up", 2, [0.2, 0.2, *[1] * 5]),
        ("kind: restart", "restart", 0, [1] * 7),
        ("keep: [output, encoder.1]", "named", 2, [1, 1, 0, 1, 1, 1, 0]),
        ("draw: encoder", "named", 2, [1, 1, 1, 1, 1, 0, 0]),
        ("draw: [output], kept_lr: 1", "named", 6, [1] * 7),
        (
            "draw: [output], kept_lr: {decay: 0.5}",
            "named",
            6,
            [1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1],
        ),
    ],
)
def test_a_candidate_keeps_what_it_says_at_the_factor_that_it_says(item, kind, kept, rates):
    (phase,) = expand(f"phases: [{{{item}}}]")
    assert (phase.kind, len(phase.sides(NAMES).kept)) == (kind, kept)
    assert factors(phase) == pytest.approx(rates)
    assert not phase.is_control


def test_phases_of_any_kind_follow_one_another():
    phases = expand("phases: [{cut: decoder}, {kind: thaw}, {cut: encoder.3}, {kind: restart}]")
    assert [(p.name, p.kind, p.parent, p.seed) for p in phases] == [
        ("phase1", "top_down", "phase0", 1007),
        ("phase2", "thaw", "phase1", 2007),
        ("phase3", "top_down", "phase2", 3007),
        ("phase4", "restart", "phase0", 4007),
    ]


def test_every_goes_on_below_the_last_cut_whatever_was_thawed_between():
    cuts = [p.cut for p in expand("phases: [{cut: decoder}, {kind: thaw}, {every: 2}]")]
    assert cuts == ["decoder", None, "encoder.2", "encoder.0"]


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        # From the top layer downward; the last frees everything.
        ("[{every: 1, thaw: true}]", NAMES[::-1]),
        ("[{every: 4, kind: thaw}]", ("encoder.2", "encoder.embed")),
        ("[{every: 9, kind: thaw}]", ("encoder.embed",)),
        ("[{every: 2, thaw: true, start: decoder, stop: encoder.2}]", ("decoder.0", "encoder.2")),
        # Below what the phase before has trained of the top.
        ("[{draw: [output]}, {every: 3, thaw: true}]", (None, "encoder.2", "encoder.embed")),
        ("[{cut: decoder}, {every: 4, thaw: true}]", ("decoder", "encoder.2", "encoder.embed")),
    ],
)
def test_a_gradual_thaw_frees_layers_from_the_top_downward(text, cuts):
    phases = expand(f"phases: {text}")
    assert [p.cut for p in phases] == list(cuts)
    last = phases[-1]
    assert last.sides(NAMES).frozen == NAMES[: NAMES.index(last.cut)]
    assert last.sides(NAMES).fresh == ()


def test_a_sweep_of_a_kind_takes_of_the_factors_what_each_cut_keeps():
    text = "phases: [{sweep: [decoder, encoder.2], kept_lr: {encoder: 0.5, output: 0}}]"
    phases = expand(text)
    assert [(p.kind, p.in_sweep) for p in phases] == [("slow", True), ("slow", True)]
    assert [factors(p)[3:] for p in phases] == [[1, 1, 0.1, 0], [0.5, 0.5, 0.1, 0]]


def test_a_gradual_thaw_takes_of_the_factors_what_each_cut_frees():
    phases = expand("phases: [{every: 3, thaw: true, kept_lr: {encoder: 0.5, output: 0.2}}]")
    assert [p.cut for p in phases] == ["encoder.3", "encoder.0", "encoder.embed"]
    assert [factors(p) for p in phases] == [
        [0, 0, 0, 0, 0.5, 1, 0.2],
        [0, 0.5, 0.5, 0.5, 0.5, 1, 0.2],
        [0.5, 0.5, 0.5, 0.5, 0.5, 1, 0.2],
    ]


def test_controls_of_named_layers_keep_the_same_layers_and_bottom_up_the_others():
    text = "phases: [{keep: [output, encoder.1]}, {control: unfrozen}, {control: bottom_up}]"
    _, unfrozen, bottom_up = expand(text)
    assert unfrozen.sides(NAMES) == Sides(
        kept=("encoder.1", "output"),
        fresh=("encoder.embed", "encoder.0", "encoder.2", "encoder.3", "decoder.0"),
        frozen=(),
    )
    assert bottom_up.sides(NAMES).fresh == ("encoder.1", "output")
    assert bottom_up.parting == "draw output encoder.1"


def test_a_control_can_have_factors():
    text = "phases: [{cut: decoder}, {control: continue, kept_lr: 0.1}, {control: slow}]"
    _, on, slow = expand(text)
    assert set(factors(on)) == {0.1}
    assert factors(slow) == [1, 1, 1, 1, 1, 0.1, 0.1]
    assert on.is_control
    assert slow.is_control


MISFITS = {
    "unknown layer to keep": (
        "phases: [{keep: [output, decoder.1, encodr]}]",
        "unknown layer 'decoder.1', 'encodr' in keep: did you mean encoder.1",
    ),
    "a layer to keep that is named twice": (
        "phases: [{keep: [output, decoder.0, output]}]",
        "output stands more than once in keep; name it once",
    ),
    "unknown layer with a factor": (
        "phases: [{cut: decoder, kept_lr: {decodr: 0.5}}]",
        "phase1: unknown layer 'decodr' in kept_lr",
    ),
    "a factor of a fresh layer": (
        "phases: [{cut: decoder, kept_lr: {encoder: 0.5}}]",
        "phase1: kept_lr names encoder, of which nothing is kept (kept: decoder.0, output)",
    ),
    "a factor that no cut of a sweep needs": (
        "phases: [{sweep: [decoder, encoder.3], kept_lr: {encoder.0: 0.5, output: 1}}]",
        "kept_lr names encoder.0, of which none of the phases keeps anything",
    ),
    "a factor of what a thaw freezes": (
        "phases: [{kind: thaw, cut: decoder, kept_lr: {encoder: 0.5, output: 0.1}}]",
        "phase1: kept_lr names encoder, of which all is below the cut",
    ),
    "a factor that no cut of a gradual thaw frees": (
        "phases: [{every: 1, thaw: true, stop: decoder, kept_lr: {encoder: 0.5}}]",
        "kept_lr names encoder, of which none of the phases keeps anything that can learn",
    ),
    "a control of named layers, of a phase with a cut": (
        "phases: [{cut: decoder}, {control: named}]",
        "named_phase1: the phase that it answers, phase1, has no keep or draw",
    ),
    "names of all layers": (
        "phases: [{keep: [encoder, decoder, output]}]",
        "phase1: 'keep encoder decoder output' keeps every layer",
    ),
    "all drawn": (
        "phases: [{draw: [encoder, decoder, output]}]",
        "'draw encoder decoder output' keeps nothing; use kind restart",
    ),
    "all frozen": (
        "phases: [{kind: continue, kept_lr: 0}]",
        "phase1: kind continue with kept_lr 0 keeps and freezes every layer",
    ),
    "a control that needs a cut, of a phase without one": (
        "phases: [{kind: thaw}, {control: unfrozen}]",
        "unfrozen_phase1: the phase that it answers, phase1, has no cut",
    ),
    "a fault beside that of another item": (
        "phases: [{cut: decoder, kept_lr: {encoder: 0.5}}, {keep: [x]}]",
        "phase2: unknown layer 'x' in keep",
    ),
    "a decay that reaches no layer below": (
        "phases: [{kind: thaw, kept_lr: {decay: 0.05}}]",
        "phase1: kept_lr is below 1e-06 for encoder.embed, encoder.0, which would move no weight",
    ),
    "a thaw without room": (
        "phases: [{every: 1, thaw: true, start: encoder.1, stop: decoder}]",
        "every: 1 gives no cut between encoder.1 and decoder.0",
    ),
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
    "a seed that NumPy does not take": (
        "phases: [{cut: decoder, seed: 4294967296}]",
        "phase1: seed 4294967296 is more than NumPy takes; give one of at most 4000000000",
    ),
    "a name that no file can have": (
        f"phases: [{{cut: decoder}}, {{cut: encoder.3, name: {'a' * 250}}}]",
        f"the name '{'a' * 20}...' is longer than 200 bytes",
    ),
    "a name with a job's number": (
        "phases: [{cut: decoder, name: JOB2}]",
        "the name 'JOB2' holds JOB, which stands for a job's number",
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
    with pytest.raises(TopdownError) as caught:
        expand("phases: [{sweep: [nope, neither]}]")
    assert "unknown cut 'nope'" in str(caught.value)
    assert "unknown cut 'neither'" in str(caught.value)


def test_data_of_the_same_last_name_is_told_apart():
    phases = expand("""
    data: {train: quiet/raw/train}
    phases:
    - cut: decoder
    - {cut: encoder.2, data: {train: noisy/raw/train, valid: raw/dev}, tokens: de/char/tokens.txt}
    - {cut: encoder.1, tokens: en/char/tokens.txt}
    - {cut: encoder.1, tokens: en/char/others.txt}
    """)
    assert [reads_of(phase, phases) for phase in phases] == [
        "train quiet/raw/train",
        "train noisy/raw/train, valid dev, tokens de/char",
        "train quiet/raw/train, tokens en/char/tokens.txt",
        "train quiet/raw/train, tokens others.txt",
    ]
    # A file in the place of the base's of the same name.
    (phase,) = expand("phases: [{cut: decoder, data: {train: news/text}}]")
    assert reads_of(phase, [phase]) == "train text"
    assert reads_of(phase, [phase], ["books/text"]) == "train news/text"


def test_options_of_an_item_go_before_those_of_the_plan():
    item = "{cut: decoder, train: {max_epoch: 3}}, {control: continue, train: {max_epoch: 5}}"
    phases = expand(f"{{train: {{max_epoch: 9, accum_grad: 2}}, phases: [{item}]}}")
    assert [phase.train for phase in phases] == [
        {"max_epoch": 3, "accum_grad": 2},
        {"max_epoch": 5, "accum_grad": 2},
    ]


def test_layer_one_by_name_is_not_layer_ten():
    names = ("encoder.embed", *(f"encoder.{k}" for k in range(12)), "decoder.0", "output")
    text = "phases: [{draw: [encoder.1]}, {cut: encoder.0, kept_lr: {encoder.1: 0.5}}]"
    drawn, slow = expand_plan(parse_plan(text), names, 7)
    assert drawn.sides(names).fresh == ("encoder.1",)
    rates = slow.sides(names).slow
    assert (rates["encoder.1"], rates["encoder.10"]) == (0.5, 0.1)


def test_every_goes_down_from_the_lowest_cut_and_no_thaw_counts():
    phases = expand("phases: [{cut: encoder.2}, {kind: thaw, cut: decoder}, {every: 1}]")
    assert [phase.cut for phase in phases] == ["encoder.2", "decoder", "encoder.1", "encoder.0"]


def test_a_seed_of_the_parents_parent_is_refused():
    with pytest.raises(TopdownError, match="seed 3 is that of its ancestor phase1"):
        expand("phases: [{cut: decoder, seed: 3}, {cut: encoder.1}, {cut: encoder.0, seed: 3}]")
