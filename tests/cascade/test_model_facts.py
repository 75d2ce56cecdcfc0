"""Facts about a model: what a phase freezes, which are whole, and which outlast damage."""

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from espnet_topdown import check
from espnet_topdown.cascade import find_facts
from espnet_topdown.cascade.checks import freeze
from espnet_topdown.cascade.find_facts import _FACTS, find_model_facts, with_known_epochs
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.notes import _tie_notes, _undrawn_notes
from espnet_topdown.cli import main
from espnet_topdown.plan.plan import Phase

# Name, parameters and what is tied to which layer; lowest first, 90 tied.
EMBED = ("embed", 100, {"output": 90})
RNN = ("rnn", 30, {})
OUTPUT = ("output", 10, {"embed": 90})


def faults(model: ModelFacts, config: dict[str, object], *phases: Phase) -> list[str]:
    return [
        f"{phase.name}: {fault}"
        for phase in phases
        for fault in freeze.faults(model, phase, config)
    ]


def facts(*layers: tuple[str, int, dict[str, int]], **data: object) -> ModelFacts:
    rows = [{"name": name, "parameters": count, "tied_to": tied} for name, count, tied in layers]
    return ModelFacts({"layers": rows, **data})


@pytest.mark.parametrize(
    ("kind", "tied", "expected"),
    [
        # The tied matrix, which is counted below, is frozen too.
        ("top_down", None, (10 + 90, 140)),
        ("top_down", "untie_draw", (10 + 90, 140 + 90)),
        ("bottom_up", None, (100 + 30, 140)),
        ("bottom_up", "untie_copy", (100 + 30, 140 + 90)),
        # Untied where nothing is frozen, and where both ends are kept.
        ("slow", "untie_copy", (0, 140 + 90)),
        ("restart", "untie_draw", (0, 140 + 90)),
        ("continue", "untie_copy", (0, 140 + 90)),
        ("thaw", "untie_copy", (100 + 30, 140 + 90)),
    ],
)
def test_a_tied_matrix_is_frozen_once(
    kind: str, tied: str | None, expected: tuple[int, int]
) -> None:
    phase = Phase("phase1", kind, "output", "phase0", 1, tied=tied)
    assert facts(EMBED, RNN, OUTPUT).frozen_parameters(phase) == expected


def test_plan_tells_of_a_matrix_that_is_not_drawn_since_a_kept_layer_shares_it() -> None:
    drawn = Phase("phase1", "named", None, "phase0", 1, draw=("output",), kept_lr=1)
    untied = Phase("phase2", "named", None, "phase0", 1, draw=("output",), tied="untie_draw")
    upper = Phase("phase3", "top_down", "output", "phase0", 1)
    (note,) = _undrawn_notes(facts(EMBED, RNN, OUTPUT), [drawn, untied, upper])
    assert note == (
        "the matrix that output shares with embed is kept with it, not drawn, in phase1;"
        " 'tied: untie_draw' draws one for output"
    )


def test_plan_tells_what_becomes_of_a_shared_matrix_in_each_phase() -> None:
    phases = [
        Phase("phase1", "top_down", "output", "phase0", 1),
        Phase("phase2", "slow", "output", "phase0", 1, kept_lr=0.1),
        Phase("phase3", "thaw", None, "phase0", 1),
        Phase("phase4", "top_down", "output", "phase0", 1, tied="untie_draw"),
        Phase("phase5", "bottom_up", "output", "phase0", 1, tied="freeze"),
        Phase("restart_phase1", "restart", None, "phase0", 1),
    ]
    (note,) = _tie_notes(facts(EMBED, RNN, OUTPUT), phases)
    assert note == (
        "embed and output share a matrix: frozen in phase1, phase5; trained at 0.1 of the learning"
        " rate in phase2; trained in phase3; one for each (untie_draw) in phase4; drawn in"
        " restart_phase1"
    )


def test_a_config_an_experiment_and_a_pack_have_one_table_of_layers(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from espnet2.bin.pack import main as pack

    # ESPnet packs under paths from here.
    monkeypatch.chdir(base.parent)
    archive, model = tmp_path / "model.zip", f"{base.name}/valid.acc.ave.pth"
    files = ["--asr_train_config", f"{base.name}/config.yaml", "--asr_model_file", model]
    pack(["asr", "--outpath", str(archive), *files])
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    capsys.readouterr()
    words = [str(base.with_suffix(".yaml")), "--vocab_size", str(len(tiny.TOKENS))]
    tables = []
    for model in (words, [str(base)], [str(archive)], [str(tmp_path / "unpacked")]):
        main(["layers", *model])
        tables.append(capsys.readouterr().out)
    assert "decoder.1" in tables[0] and len(set(tables)) == 1


@pytest.mark.parametrize(
    ("tied", "frozen"), [(None, ("embed", "output")), ("untie_draw", ("output",))]
)
def test_a_layer_that_is_all_tied_matrix_is_frozen_with_it(
    tied: str | None, frozen: tuple[str, ...]
) -> None:
    phase = Phase("phase1", "top_down", "output", "phase0", 1, tied=tied)
    all_tied = ("embed", 90, {"output": 90})
    assert facts(all_tied, RNN, OUTPUT).frozen_layers(phase) == frozen


@pytest.mark.parametrize(
    ("tied", "factors"), [(None, {"embed": 0.1, "output": 0.1}), ("untie_draw", {"output": 0.1})]
)
def test_a_layer_that_is_all_tied_matrix_learns_with_it(
    tied: str | None, factors: dict[str, float]
) -> None:
    phase = Phase("phase1", "slow", "output", "phase0", 1, tied=tied, kept_lr=0.1)
    all_tied = ("embed", 90, {"output": 90})
    assert facts(all_tied, RNN, OUTPUT).factors(phase) == factors


def with_freeze_param() -> ModelFacts:
    """A base of which 70 of the 100 parameters of `embed` and all of `rnn` are frozen.

    20 of `embed` by its class, whatever freeze_param is.
    """
    model = facts(EMBED, RNN, ("output", 10, {}))
    embed, rnn, _ = model.data["layers"]
    embed |= {"tied_to": {}, "frozen_by_base": 70, "left_random": 0, "random_if_dropped": 2}
    embed["frozen_by_class"] = 20
    rnn |= {"frozen_by_base": 30, "left_random": 0, "random_if_dropped": 4}
    return model


def test_what_the_bases_freeze_param_freezes_is_counted_once() -> None:
    model = with_freeze_param()
    upper = Phase("phase1", "top_down", "rnn", "phase0", 1)
    assert model.base_frozen == 100
    assert model.frozen_parameters(upper) == (70 + 30 + 10, 140)
    output = Phase("phase2", "top_down", "output", "phase0", 1)
    assert model.frozen_parameters(output) == (70 + 30 + 10, 140)
    assert model.frozen_layers(output) == ("rnn", "output")
    trained = Phase("phase3", "top_down", "output", "phase0", 1, train={"freeze_param": []})
    assert model.frozen_parameters(trained) == (20 + 10, 140)
    assert model.frozen_layers(trained) == ("output",)


def test_fresh_layers_that_freeze_param_leaves_random_are_refused_unless_trained() -> None:
    model = with_freeze_param()
    base = {"freeze_param": ["encoder.embed", "encoder.rnn"]}
    kept = Phase("phase1", "top_down", "output", "phase0", 1)
    dropped = Phase("phase2", "top_down", "output", "phase0", 1, init_param="drop")
    upper = Phase("phase3", "top_down", "rnn", "phase0", 1, init_param="drop")
    trained = Phase(
        "phase4", "top_down", "rnn", "phase0", 1, init_param="drop", train={"freeze_param": []}
    )
    first, second = faults(model, base, kept, dropped, upper, trained)
    assert first.startswith("phase2: embed, rnn: drawn anew, but freeze_param (encoder.embed,")
    assert second.startswith("phase3: embed: drawn anew")
    assert "'train: {freeze_param: []}'" in first


def test_fresh_layers_that_a_class_leaves_random_are_refused_whatever_freeze_param_is() -> None:
    model = with_freeze_param()
    model.data["layers"][1] |= {"left_random_by_class": 0, "random_if_dropped_by_class": 4}
    base = {"freeze_param": ["encoder.embed", "encoder.rnn"]}
    kept = Phase("phase1", "top_down", "output", "phase0", 1, train={"freeze_param": []})
    dropped = replace(kept, name="phase2", init_param="drop")
    (said,) = faults(model, base, kept, dropped)
    assert said.startswith("phase2: rnn: drawn anew, but ESPnet's class never trains all of it")


def test_fresh_layers_that_start_from_a_checkpoint_are_told_from_drawn_ones() -> None:
    model = facts(EMBED, RNN, OUTPUT)
    model.data["layers"][0]["loaded"] = 60
    model.data["layers"][1]["loaded"] = 20
    upper = Phase("phase1", "top_down", "output", "phase0", 1)
    assert model.loaded_layers(upper) == ("embed", "rnn")
    assert model.loaded_parameters(model.loaded_layers(upper)) == 80
    # Of kept layers nothing is loaded again.
    lower = Phase("phase2", "top_down", "rnn", "phase0", 1)
    assert model.loaded_layers(lower) == ("embed",)
    assert model.loaded_layers(Phase("phase3", "continue", None, "phase0", 1)) == ()
    assert model.loaded_layers(Phase("restart", "restart", None, "phase0", 1)) == ("embed", "rnn")


def test_phases_that_would_freeze_what_moves_are_refused_before_any_training() -> None:
    model = facts(EMBED, RNN, OUTPUT)
    model.data["layers"][1]["moving"] = ["rnn.global_step"]
    upper = Phase("phase1", "top_down", "output", "phase0", 1)
    (said,) = faults(model, {}, upper, Phase("phase2", "top_down", "rnn", "phase0", 1))
    assert said.startswith("phase2: rnn.global_step: state of a frozen layer")


def test_phases_in_which_nothing_is_left_to_train_are_refused_before_any_training() -> None:
    model = facts(EMBED, RNN, ("output", 10, {}))
    embed, rnn, _ = model.data["layers"]
    embed |= {"tied_to": {}, "frozen_by_base": 100, "frozen_by_class": 100}
    rnn |= {"frozen_by_base": 20}
    some = Phase("phase1", "top_down", "output", "phase0", 1)
    none = Phase("phase2", "top_down", "rnn", "phase0", 1)
    message = "phase2: nothing is left to train: what is not kept (embed) is frozen by the base's"
    (said,) = faults(model, {}, some, none)
    assert said.startswith(message)
    assert "train what freeze_param names ('train: {freeze_param: []}')" in said
    # The way out that it names.
    embed["frozen_by_class"] = 0
    assert not faults(model, {}, replace(none, train={"freeze_param": []}))
    # Tied to a frozen layer, of which untying gives it a matrix of its own.
    tied = facts(("embed", 90, {"output": 90}), RNN, OUTPUT)
    untied = replace(none, name="phase3", tied="untie_draw")
    (said,) = faults(tied, {}, none, untied)
    assert said.startswith(message)


def test_dropout_that_cannot_be_off_is_refused_before_any_training() -> None:
    dropouts = {"lm.drop.p": ["embed", "rnn"], "out.p": ["output"]}
    model = facts(EMBED, RNN, OUTPUT, dropouts=dropouts)
    off = Phase("phase1", "top_down", "output", "phase0", 1, dropout="off")
    kept = Phase("phase2", "top_down", "rnn", "phase1", 2)
    inside = Phase("phase3", "top_down", "rnn", "phase2", 3, dropout="off")
    (said,) = faults(model, {}, off, kept, inside)
    assert said.startswith(
        "phase3: dropout: off is not possible with this cut: the one number lm.drop.p serves"
    )
    unplaced = facts(EMBED, RNN, OUTPUT, dropouts={"x.p": []})
    (said,) = faults(unplaced, {}, off, kept)
    assert "x.p serves layers below and above the cut" in said


@pytest.mark.parametrize(
    ("times", "expected"),
    [([], None), ([0.0], None), ([3.0], 6.0), ([3.0, 1.0, 2.0], 4.0), ([1.0, 2.0], 4.0)],
)
def test_an_epoch_takes_the_median_of_training_and_validation(
    times: list[float], expected: float | None
) -> None:
    rows = [{"train": {"time": time}, "valid": {"time": time}} for time in times]
    assert facts(RNN, epochs=rows).seconds_per_epoch() == expected


@pytest.mark.parametrize(
    "damage",
    [
        {"layers": []},
        {"layers": [{"name": "a"}]},
        {"layers": [3]},
        {"epochs": [3]},
        {"notes": None},
        {"dropouts": None},
    ],
)
def test_damaged_facts_are_found_again(damage: dict) -> None:
    layers = [{"name": "a", "parameters": 1, "notes": "", "tied_to": {}}]
    whole = {"layers": layers, "dropouts": {}, "epochs": [], "notes": [], "parser_keys": []}
    assert not check.lacking(whole, _FACTS)
    assert check.lacking(whole | damage, _FACTS)


def test_epochs_that_were_known_outlast_a_damaged_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a log, too; but not another config, whose epochs they are not."""
    config = tmp_path / "config.yaml"
    layers = [{"name": "a", "parameters": 1, "notes": "", "tied_to": {}}]
    found = {"layers": layers, "dropouts": {}, "notes": [], "parser_keys": []}
    epochs = [{"valid": {"acc": 0.5}}]
    rows = iter([epochs, [], []])
    monkeypatch.setattr(find_facts, "_find", lambda *_: {**found, "epochs": next(rows)})
    told = []
    stored = None
    for text in ("seed: 1\n", "seed: 1\n", "seed: 2\n"):
        config.write_text(text)
        stored = with_known_epochs(find_model_facts(config, "asr"), stored)
        told.append(stored.epochs)
    assert told == [epochs, epochs, []]
