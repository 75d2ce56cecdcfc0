"""Kept layers that learn at a factor: real trainings, their ratios, proof, log and resumption."""

import json
from pathlib import Path

import pytest
import torch
from tiny_phases import frozen_in, killed, lm_phase, phase, proof_of, start_of

from espnet_topdown.training.checkpoint import State, load_state

SHORT = {"max_epoch": 2, "keep_nbest_models": 1}
# As rates are small, weights move by about rate times gradient and factors are seen in them.
SGD = {"optim": "sgd", "optim_conf": {"lr": 1e-2}, "grad_clip": 1e9}
OUTPUT = "decoder.output_layer.weight"
LAYER = "decoder.decoders.1.feed_forward.w_2.weight"
ENCODER = "encoder.encoders.{}.feed_forward.w_2.weight"


def slow(base: Path, **conf: object) -> dict[str, object]:
    """The config of a short phase whose kept layers learn."""
    return phase(base, **conf) | SHORT


def moved(state: State, parent: State, name: str) -> float:
    return (state[name] - parent[name]).norm().item()


def test_slow_layers_move_by_their_factor(base, base_state, train, tmp_path):
    """Against the same phase at the whole rate, from the same start, after one epoch."""
    one = {"max_epoch": 1} | SGD
    whole = train(tmp_path / "whole", slow(base, kind="unfrozen") | one)
    tenth = train(tmp_path / "tenth", slow(base, kind="slow") | one)
    given = train(tmp_path / "given", slow(base, kept_lr={"output": 0.5, "decoder": 0.2}) | one)
    states = {
        name: load_state(tmp_path / name / "1epoch.pth") for name in ("whole", "tenth", "given")
    }
    for tensor, factor in ((OUTPUT, 0.5), (LAYER, 0.2), (ENCODER.format(1), 0.1)):
        full = moved(states["whole"], base_state, tensor)
        # Gradients of the second step differ a little.
        assert moved(states["tenth"], base_state, tensor) == pytest.approx(0.1 * full, rel=0.02)
        assert moved(states["given"], base_state, tensor) == pytest.approx(factor * full, rel=0.02)
    # Fresh layers learn at the whole rate in all of them.
    fresh = ENCODER.format(0)
    distance = moved(states["tenth"], states["whole"], fresh)
    assert distance < 0.1 * moved(states["whole"], base_state, fresh)
    assert all(frozen_in(directory) == set() for directory in (whole, tenth, given))


def test_a_factor_of_0_freezes_a_layer_with_all_that_frozen_means(
    base, base_state, train, tmp_path
):
    factors = {"output": 0, "decoder": 0.1, "encoder": 0}
    directory = train(tmp_path / "p", slow(base, kept_lr=factors, dropout="off"))
    final = load_state(directory / "2epoch.pth")
    start = start_of(directory)
    assert start["settings"]["kind"] == "slow"
    assert start["frozen"] == ["encoder.1", "encoder.2", "output"]
    assert start["kept_lr"] == {"decoder.0": 0.1, "decoder.1": 0.1}
    frozen = frozen_in(directory)
    # BatchNorm's statistics too.
    assert "encoder.encoders.2.conv_module.norm.running_mean" in frozen
    for tensor in frozen:
        assert torch.equal(final[tensor], base_state[tensor])
    learning = [name for name in final if name.startswith("decoder.decoders.")]
    still = [name for name in learning if torch.equal(final[name], base_state[name])]
    assert set(still) <= set(proof_of(directory)["unmoved"])
    assert LAYER not in still


def test_layers_by_name_are_kept_and_the_others_drawn(base, base_state, train, tmp_path):
    directory = train(tmp_path / "p", slow(base, cut=None, keep=["output", "decoder.0"]))
    start = start_of(directory)
    assert (start["settings"]["kind"], start["settings"]["keep"]) == (
        "named",
        ["output", "decoder.0"],
    )
    assert start["frozen"] == start["kept"] == ["decoder.0", "output"]
    assert "decoder.1" in start["fresh"]
    final = load_state(directory / "2epoch.pth")
    assert torch.equal(final[OUTPUT], base_state[OUTPUT])


def test_the_output_is_drawn_anew_and_all_else_learns(base, base_state, train, tmp_path):
    """As RIFLE does it."""
    config = slow(base, cut=None, draw="output", kept_lr=1) | {"max_epoch": 1} | SGD
    directory = train(tmp_path / "p", config)
    assert start_of(directory)["fresh"] == ["output"]
    final = load_state(directory / "1epoch.pth")
    assert frozen_in(directory) == set()
    assert moved(final, base_state, LAYER) > 0
    assert moved(final, base_state, OUTPUT) > 1


def test_a_thaw_keeps_all_and_frees_what_is_above_its_cut(base, base_state, train, tmp_path):
    directory = train(tmp_path / "p", slow(base, kind="thaw", cut="decoder.1"))
    start = start_of(directory)
    assert (start["fresh"], start["kept"][-2:]) == ([], ["decoder.1", "output"])
    assert start["frozen"] == ["encoder.embed", "encoder.0", "encoder.1", "encoder.2", "decoder.0"]
    final = load_state(directory / "2epoch.pth")
    assert torch.equal(final[ENCODER.format(0)], base_state[ENCODER.format(0)])
    assert moved(final, base_state, LAYER) > 0
    everything = train(tmp_path / "all", slow(base, kind="thaw", cut=None))
    assert start_of(everything)["frozen"] == []


def test_the_rates_of_a_decay_are_in_the_log_and_in_the_epochs(base, train, tmp_path, caplog):
    with caplog.at_level("INFO"):
        directory = train(tmp_path / "p", slow(base, kind="thaw", cut=None, kept_lr={"decay": 0.5}))
    messages = [record.getMessage() for record in caplog.records]
    (line,) = [message for message in messages if message.startswith("top-down: thaw")]
    assert "at a factor of the learning rate: encoder.embed 0.015625, " in line
    assert "decoder.1 0.5, output 1;" in line
    first = json.loads((directory / "topdown" / "epochs.json").read_text())[0]["train"]
    rates = [first[f"optim0_lr{group}"] for group in range(7)]
    assert rates == pytest.approx([0.01 * 0.5**above for above in range(7)])


@pytest.mark.parametrize(
    ("scheduler", "conf"),
    [
        ("warmuplr", {"warmup_steps": 3}),
        pytest.param("onecyclelr", {"max_lr": 0.01, "total_steps": 12}, marks=pytest.mark.slow),
        pytest.param(
            "reducelronplateau",
            {"patience": 0, "factor": 0.1, "threshold": 10.0, "min_lr": 0.002},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_phase_with_factors_ends_bit_identical(
    scheduler, conf, base, data, train, tmp_path
):
    config = slow(base, kept_lr=0.1) | {"scheduler": scheduler, "scheduler_conf": conf}
    config |= {"max_epoch": 4}
    whole = train(tmp_path / "whole", config)
    directory = tmp_path / "killed"
    killed(data, directory, config, 3)
    train(directory, config)
    assert proof_of(directory) == proof_of(whole)
    rows = json.loads((directory / "topdown" / "epochs.json").read_text())
    rates = [(row["train"]["optim0_lr0"], row["train"]["optim0_lr1"]) for row in rows]
    assert all(low == pytest.approx(0.1 * high) for high, low in rates)
    assert len({high for high, _ in rates}) > 1


def test_a_phase_resumed_with_another_factor_is_refused(base, train, tmp_path, capsys):
    directory = train(tmp_path / "p", slow(base, kept_lr=0.1))
    (directory / "topdown" / "proof.json").unlink()
    with pytest.raises(SystemExit):
        train(directory, slow(base, kept_lr=0.2))
    assert "settings.kept_lr: 0.1 -> 0.2" in capsys.readouterr().err


def test_a_tied_matrix_learns_with_the_kept_end(lm_base, train, tmp_path):
    directory = train(tmp_path / "p", lm_phase(lm_base, kind="slow"))
    start = start_of(directory)
    assert start["kept_lr"] == {"embed": 0.1, "rnn.1": 0.1, "rnn.2": 0.1, "output": 0.1}
    assert start["fresh"] == ["rnn.0"]
    rows = json.loads((directory / "topdown" / "epochs.json").read_text())
    assert rows[0]["train"]["optim0_lr1"] == pytest.approx(0.001)


def test_a_tie_across_different_factors_is_refused_by_name(lm_base, train, tmp_path, capsys):
    conf = {"kind": "thaw", "cut": None, "kept_lr": {"embed": 0.1, "output": 0.5}}
    with pytest.raises(SystemExit):
        train(tmp_path / "p", lm_phase(lm_base, **conf))
    error = capsys.readouterr().err
    assert "lm.encoder.weight 0.1, lm.decoder.weight 0.5 are tied" in error
    # With a matrix each it can.
    directory = train(tmp_path / "untied", lm_phase(lm_base, tied="untie_copy", **conf))
    assert start_of(directory)["kept_lr"] == {"embed": 0.1, "output": 0.5}
