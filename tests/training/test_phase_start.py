"""One phase before its first epoch: what is kept, frozen, drawn, untied and refused."""

import models
import pytest
import tiny
import torch
import yaml
from tiny_phases import SHORT, conformer, frozen_in, lm_phase, phase, start_of

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.ties import untie
from espnet_topdown.plan.topdown_conf import TopdownConf
from espnet_topdown.training import model_layers
from espnet_topdown.training.checkpoint import load_state
from espnet_topdown.training.kept import kept_of


def test_fresh_layers_differ_from_phase_0s_start_and_between_phases(base, train, tmp_path):
    """Trap: the same seed rebuilds the same weights.

    Starts are those of a model built under the phase's own seed.
    """
    starts = {}
    for seed in (1000, 2000):
        directory = train(tmp_path / f"p{seed}", phase(base, seed=seed) | SHORT)
        starts[seed] = start_of(directory)["start"]
    assert starts[1000] != starts[2000]


def test_restart_draws_everything(base, train, tmp_path):
    conf = {"parent": str(base), "kind": "restart"}
    directory = train(tmp_path / "r", conformer(seed=1000, topdown_conf=conf) | SHORT)
    assert frozen_in(directory) == set()
    assert start_of(directory)["kept"] == []


def test_continue_keeps_everything(base, base_state, train, tmp_path):
    conf = {"parent": str(base), "kind": "continue"}
    slowly = conformer(seed=1000, max_epoch=1, optim_conf={"lr": 1e-6}, topdown_conf=conf)
    final = load_state(train(tmp_path / "c", slowly) / "1epoch.pth")
    weights = [name for name in base_state if name.endswith("weight")]
    far = {name for name in weights if (final[name] - base_state[name]).abs().max() > 1e-4}
    assert far == set()


def test_bottom_up_freezes_below_the_cut_and_draws_ctc_anew(base, base_state, train, tmp_path):
    directory = train(tmp_path / "b", phase(base, kind="bottom_up", cut="decoder") | SHORT)
    frozen = frozen_in(directory)
    assert {name.split(".")[0] for name in frozen} == {"encoder"}
    output = "ctc.ctc_lo.weight"
    assert not torch.equal(load_state(directory / "1epoch.pth")[output], base_state[output])


def test_unfrozen_starts_from_the_parents_upper_part_and_trains_it(
    base, base_state, train, tmp_path
):
    directory = train(tmp_path / "u", phase(base, kind="unfrozen") | SHORT)
    assert frozen_in(directory) == set()
    output = "decoder.output_layer.weight"
    assert not torch.equal(load_state(directory / "1epoch.pth")[output], base_state[output])


def test_log_says_once_what_is_frozen(base, train, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(tmp_path / "p", phase(base) | SHORT)
    messages = [record.getMessage() for record in caplog.records]
    (line,) = [message for message in messages if message.startswith("top-down: top_down")]
    frozen = "encoder.1, encoder.2, decoder.0, decoder.1, output (12,244 of 18,788 parameters)"
    assert "cut encoder.1" in line
    assert "seed 1000" in line
    assert f"parent {base}/valid.acc.ave.pth sha256 " in line
    assert f"frozen: {frozen};" in line
    assert "fresh: encoder.embed, encoder.0;" in line


def test_tied_matrix_is_frozen_at_both_ends(lm_base, train, tmp_path):
    directory = train(tmp_path / "p", lm_phase(lm_base))
    assert {"lm.encoder.weight", "lm.decoder.weight"} <= frozen_in(directory)
    assert start_of(directory)["fresh"] == ["rnn.0"]
    parent = load_state(lm_base / "valid.loss.ave.pth")
    final = load_state(directory / "2epoch.pth")
    assert torch.equal(final["lm.encoder.weight"], parent["lm.encoder.weight"])


@pytest.mark.parametrize("policy", ["untie_draw", "untie_copy"])
def test_untied_embedding_has_a_matrix_of_its_own_and_the_saved_config_says_so(
    policy, lm_base, train, tmp_path
):
    directory = train(tmp_path / "p", lm_phase(lm_base, tied=policy))
    config = yaml.safe_load((directory / "config.yaml").read_text())
    assert config["lm_conf"]["tie_weights"] is False
    parent = load_state(lm_base / "valid.loss.ave.pth")
    final = load_state(directory / "2epoch.pth")
    assert torch.equal(final["lm.decoder.weight"], parent["lm.decoder.weight"])
    distance = (final["lm.encoder.weight"] - parent["lm.encoder.weight"]).abs().max()
    assert distance > 0
    # Two epochs at lr 0.01 go no further.
    assert (distance < 0.1) == (policy == "untie_copy")


# changes of {"parent": base, "cut": "decoder"} -> message
REFUSALS = {
    "unknown cut": ({"cut": "encoder.7"}, "unknown cut 'encoder.7'"),
    "trains nothing": ({"cut": "encoder.embed"}, "nothing would be trained"),
    "no cut": ({"cut": None}, "kind top_down needs a cut"),
    "no parent": ({"parent": None}, "needs a parent"),
    "unknown key": ({"drop": 1}, "unknown key 'drop'; did you mean dropout"),
    "unknown kind": ({"kind": "topdown"}, "kind 'topdown' is unknown"),
    "untying what is not tied": (
        {"tied": "untie_draw"},
        "that no option which a phase can switch off ties",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_phase_that_cannot_work_is_refused_and_writes_no_model(name, base, train, tmp_path, capsys):
    changes, message = REFUSALS[name]
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "p", phase(base, **{"cut": "decoder", **changes}))
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "p").glob("*.pth"))


@pytest.mark.parametrize(
    ("keep", "refused"), [({"keep": ["output"]}, False), ({"cut": "decoder"}, True)]
)
def test_of_three_matrices_in_one_the_output_alone_can_be_untied(keep, refused):
    """A translation model may share the source's embedding with the decoder, its output too."""
    shared = ("share_encoder_decoder_input_embed", "share_decoder_input_output_embed")
    layers = {"linear_units": 8, "attention_heads": 2, "num_blocks": 1}
    config = {
        "src_token_list": tiny.TOKENS,
        "src_token_type": "char",
        "frontend": "embed",
        "frontend_conf": {"embed_dim": 8, "positional_dropout_rate": 0.1},
        "encoder": "transformer",
        "encoder_conf": layers | {"output_size": 8, "input_layer": "linear"},
        "decoder": "transformer",
        "decoder_conf": layers,
        "model_conf": dict.fromkeys(shared, True),
    }
    untie(config)
    model = models.build("mt", config)
    order = model_layers.order_of(model, None)
    conf = TopdownConf.from_conf({"parent": "exp/x", "tied": "untie_copy"} | keep)
    if refused:
        with pytest.raises(TopdownError, match="'tied: untie_copy' leaves weights tied across"):
            kept_of(model, order, conf)
    else:
        kept = {"decoder.output_layer.weight", "decoder.output_layer.bias"}
        assert {*kept_of(model, order, conf).tensors} == kept


def test_directory_of_another_training_is_refused(base, train, tmp_path, capsys):
    directory = train(tmp_path / "p", conformer(seed=1000) | SHORT)
    with pytest.raises(SystemExit):
        train(directory, phase(base))
    assert "holds a training that is not this phase" in capsys.readouterr().err
