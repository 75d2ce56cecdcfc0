"""Counts that the previews show."""

import pytest

from espnet_topdown.cascade.model_facts import Facts, _is_whole
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan import Phase

LAYERS = [
    ("embed", 100, {"output": 90}),
    ("rnn", 30, {}),
    ("output", 10, {"embed": 90}),
]  # lowest first, 90 tied


@pytest.mark.parametrize(
    ("kind", "tied", "expected"),
    [
        (
            "top_down",
            None,
            (10 + 90, 140),
        ),  # the tied matrix, which is counted below, is frozen too
        ("top_down", "untie_draw", (10 + 90, 140 + 90)),
        ("bottom_up", None, (100 + 30, 140)),
        ("bottom_up", "untie_copy", (100 + 30, 140 + 90)),
    ],
)
def test_a_tied_matrix_is_frozen_once(
    kind: str, tied: str | None, expected: tuple[int, int]
) -> None:
    facts = Facts({"layers": [{"name": n, "parameters": p, "tied_to": t} for n, p, t in LAYERS]})
    assert (
        facts.frozen_parameters(Phase("phase1", kind, "output", "phase0", 1, tied=tied)) == expected
    )


@pytest.mark.parametrize(
    ("tied", "frozen"), [(None, ("embed", "output")), ("untie_draw", ("output",))]
)
def test_a_layer_that_is_all_tied_matrix_is_frozen_with_it(
    tied: str | None, frozen: tuple[str, ...]
) -> None:
    layers = [("embed", 90, {"output": 90}), *LAYERS[1:]]
    facts = Facts({"layers": [{"name": n, "parameters": p, "tied_to": t} for n, p, t in layers]})
    assert (
        facts.frozen_layers(Phase("phase1", "top_down", "output", "phase0", 1, tied=tied)) == frozen
    )


def test_dropout_that_cannot_be_off_is_refused_before_any_training() -> None:
    layers = [{"name": n, "parameters": p, "tied_to": {}} for n, p, _ in LAYERS]
    facts = Facts(
        {"layers": layers, "dropouts": {"lm.drop.p": ["embed", "rnn"], "out.p": ["output"]}}
    )
    phases = [
        Phase("phase1", "top_down", "output", "phase0", 1, dropout="off"),
        Phase("phase2", "top_down", "rnn", "phase1", 2),
    ]
    facts.check_dropouts(phases)
    with pytest.raises(
        TopdownError,
        match="phase3: dropout: off is not possible with this cut: the one number lm.drop.p serves",
    ):
        facts.check_dropouts(
            [*phases, Phase("phase3", "top_down", "rnn", "phase2", 3, dropout="off")]
        )
    unplaced = Facts(facts.data | {"dropouts": {"x.p": []}})
    with pytest.raises(TopdownError, match="x.p serves layers below and above the cut"):
        unplaced.check_dropouts(phases)


@pytest.mark.parametrize(
    "damage",
    [
        {"layers": []},
        {"layers": [{"name": "a"}]},
        {"epochs": [3]},
        {"notes": None},
        {"dropouts": None},
    ],
)
def test_damaged_facts_are_found_again(damage: dict) -> None:
    layers = [{"name": "a", "parameters": 1, "notes": "", "tied_to": {}}]
    whole = {"layers": layers, "dropouts": {}, "epochs": [], "notes": [], "parser_keys": []}
    assert _is_whole(whole) and not _is_whole(whole | damage)
