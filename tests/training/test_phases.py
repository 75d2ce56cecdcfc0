"""One phase through the real training command.

What is kept, frozen, drawn, averaged, proved and refused.
"""

import json
import multiprocessing
import os
import shutil

import numpy as np
import pytest
import tiny
import torch
import yaml

from espnet_topdown.training import checkpoint
from espnet_topdown.training.checkpoint import load_state

CUT = {"cut": "encoder.1"}
SEVERAL = dict(
    keep_nbest_models=[3, 5],
    best_model_criterion=[["valid", "acc", "max"], ["valid", "loss", "min"]],
    max_epoch=6,
)


@pytest.fixture(scope="module")
def base(espnet, data, tmp_path_factory):
    """A conformer with BatchNorm, averages of 3 and 5 epochs by two criteria."""
    from espnet_topdown.bin.train import main as train_main

    directory = tmp_path_factory.mktemp("conformer") / "base"
    train_main(tiny.command(data, directory, conformer()))
    return directory


def conformer(**changes: object) -> dict[str, object]:
    return tiny.asr_config("conformer", "transformer", **{**SEVERAL, **changes})


def phase(base, **conf: object) -> dict[str, object]:
    seed = conf.pop("seed", 1000)
    return conformer(seed=seed, topdown_conf={"parent": str(base), **CUT, **conf})


def frozen_names(directory) -> set[str]:
    return set(json.loads((directory / "topdown" / "proof.json").read_text())["frozen"])


def test_frozen_tensors_equal_the_parents_in_every_file_and_fresh_ones_do_not(
    base, train, tmp_path
):
    directory = train(tmp_path / "p", phase(base))
    parent = checkpoint.parent_state(
        base, "valid.acc.ave.pth", SEVERAL["best_model_criterion"], [3, 5]
    )
    frozen = frozen_names(directory)
    assert "encoder.encoders.2.conv_module.norm.num_batches_tracked" in frozen
    assert "ctc.ctc_lo.weight" in frozen
    names = [f"{n}epoch.pth" for n in (5, 6)] + ["checkpoint.pth"]
    names += [f"valid.{m}.ave_{n}best.pth" for m in ("acc", "loss") for n in (3, 5)]
    for name in names:
        state = load_state(directory / name)
        assert all(torch.equal(state[tensor], parent[tensor]) for tensor in frozen), name
    fresh = set(parent) - frozen
    assert {name.split(".")[1] for name in fresh} == {"embed", "encoders"}
    assert not any(
        torch.equal(state[name], parent[name]) for name in fresh if "num_batches" not in name
    )


def test_averages_of_the_phase_are_exact_for_both_criteria(base, train, tmp_path):
    directory = train(tmp_path / "p", phase(base))
    reporter = checkpoint.reporter_of(checkpoint.load(directory / "checkpoint.pth"))
    frozen = frozen_names(directory)
    for metric, mode in (("acc", "max"), ("loss", "min")):
        for count in (3, 5):
            epochs = reporter.sort_epochs("valid", metric, mode)[:count]
            states = [load_state(directory / f"{epoch}epoch.pth") for epoch in epochs]
            average = load_state(directory / f"valid.{metric}.ave_{count}best.pth")
            for name in set(average) - frozen:
                if average[name].is_floating_point():
                    expected = np.mean([s[name].double().numpy() for s in states], axis=0)
                    np.testing.assert_allclose(
                        average[name].numpy(), expected, rtol=1e-6, atol=1e-7
                    )


def test_fresh_layers_differ_from_phase_0s_start_and_between_phases(base, train, tmp_path):
    """Trap: the same seed rebuilds the same weights.

    Starts are those of a model built under the phase's own seed.
    """
    starts = {}
    for seed in (1000, 2000):
        directory = train(tmp_path / f"p{seed}", phase(base, seed=seed))
        starts[seed] = json.loads((directory / "topdown" / "start.json").read_text())["start"]
    assert starts[1000] != starts[2000]


def test_equal_seeds_give_equal_runs(base, train, tmp_path):
    one, two = (train(tmp_path / name, phase(base)) for name in ("a", "b"))
    assert proof(one) == proof(two)


def proof(directory) -> dict[str, object]:
    """Fingerprints of all model files but checkpoint.pth's own links."""
    return json.loads((directory / "topdown" / "proof.json").read_text())


def test_restart_draws_everything_and_continue_keeps_everything(base, train, tmp_path):
    directory = train(
        tmp_path / "r", conformer(seed=1000, topdown_conf={"parent": str(base), "kind": "restart"})
    )
    assert frozen_names(directory) == set()
    conf = {"parent": str(base), "kind": "continue"}
    directory = train(
        tmp_path / "c",
        conformer(seed=1000, max_epoch=1, optim_conf={"lr": 1e-6}, topdown_conf=conf),
    )
    final = load_state(directory / "1epoch.pth")
    parent = checkpoint.parent_state(
        base, "valid.acc.ave.pth", SEVERAL["best_model_criterion"], [3, 5]
    )
    far = {
        name
        for name in parent
        if name.endswith("weight") and (final[name] - parent[name]).abs().max() > 1e-4
    }
    assert far == set()


def test_bottom_up_freezes_below_the_cut_and_draws_ctc_anew(base, train, tmp_path):
    directory = train(tmp_path / "b", phase(base, kind="bottom_up", cut="decoder"))
    frozen = frozen_names(directory)
    assert {name.split(".")[0] for name in frozen} == {"encoder"}
    parent = load_state(base / "valid.acc.ave.pth")
    assert not torch.equal(
        load_state(directory / "6epoch.pth")["ctc.ctc_lo.weight"], parent["ctc.ctc_lo.weight"]
    )


def test_unfrozen_starts_from_the_parents_upper_part_and_trains_it(base, train, tmp_path):
    directory = train(tmp_path / "u", phase(base, kind="unfrozen"))
    assert frozen_names(directory) == set()
    parent = load_state(base / "valid.acc.ave.pth")
    final = load_state(directory / "6epoch.pth")
    assert not torch.equal(
        final["decoder.output_layer.weight"], parent["decoder.output_layer.weight"]
    )


def test_log_says_once_what_is_frozen(base, train, tmp_path, caplog):
    with caplog.at_level("INFO"):
        train(tmp_path / "p", phase(base))
    (line,) = [
        r.getMessage() for r in caplog.records if r.getMessage().startswith("top-down: top_down")
    ]
    for part in (
        "cut encoder.1",
        "seed 1000",
        f"parent {base}/valid.acc.ave.pth sha256 ",
        "fresh: encoder.embed, encoder.0;",
    ):
        assert part in line
    assert (
        "frozen: encoder.1, encoder.2, decoder.0, decoder.1, output (12,244 of 18,788 parameters)"
        in line
    )


# -- language models
# ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lm_base(espnet, data, tmp_path_factory):
    """A language model with tied embedding and softmax."""
    from espnet_topdown.bin.train import main as train_main

    directory = tmp_path_factory.mktemp("lm") / "base"
    train_main(tiny.command(data, directory, tiny.lm_config()))
    return directory


def lm_phase(lm_base, **conf: object) -> dict[str, object]:
    return tiny.lm_config(seed=1000, topdown_conf={"parent": str(lm_base), "cut": "rnn.1", **conf})


def test_tied_matrix_is_frozen_at_both_ends(lm_base, train, tmp_path):
    directory = train(tmp_path / "p", lm_phase(lm_base))
    assert {"lm.encoder.weight", "lm.decoder.weight"} <= frozen_names(directory)
    start = json.loads((directory / "topdown" / "start.json").read_text())
    assert start["fresh"] == ["rnn.0"]
    parent, final = load_state(lm_base / "valid.loss.ave.pth"), load_state(directory / "2epoch.pth")
    assert torch.equal(final["lm.encoder.weight"], parent["lm.encoder.weight"])


@pytest.mark.parametrize("policy", ["untie_draw", "untie_copy"])
def test_untied_embedding_has_a_matrix_of_its_own_and_the_saved_config_says_so(
    policy, lm_base, train, tmp_path
):
    directory = train(tmp_path / "p", lm_phase(lm_base, tied=policy))
    assert (
        yaml.safe_load((directory / "config.yaml").read_text())["lm_conf"]["tie_weights"] is False
    )
    parent, final = load_state(lm_base / "valid.loss.ave.pth"), load_state(directory / "2epoch.pth")
    assert torch.equal(final["lm.decoder.weight"], parent["lm.decoder.weight"])
    distance = (final["lm.encoder.weight"] - parent["lm.encoder.weight"]).abs().max()
    assert distance > 0
    assert (distance < 0.1) == (policy == "untie_copy")  # two epochs at lr 0.01 go no further


def test_child_of_an_untied_parent_must_be_untied(lm_base, train, tmp_path, capsys):
    parent = train(tmp_path / "p", lm_phase(lm_base, tied="untie_draw"))
    with pytest.raises(SystemExit):
        train(tmp_path / "q", lm_phase(parent) | {"seed": 2000})
    assert (
        "has separate matrices for lm.encoder.weight and lm.decoder.weight"
        in capsys.readouterr().err
    )


# -- refusals
# -------------------------------------------------------------------------------------------------------


def _torn(base, tmp_path):
    copy = tmp_path / "torn"
    shutil.copytree(base, copy, symlinks=True)
    for name in (
        "1epoch.pth",
        "2epoch.pth",
        "3epoch.pth",
        "4epoch.pth",
        "5epoch.pth",
        "6epoch.pth",
    ):
        (copy / name).write_bytes(b"PK\x03\x04")
    return copy


def _other_tokens(base, tmp_path):
    copy = tmp_path / "tokens"
    shutil.copytree(base, copy, symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["token_list"][2] = "z"
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    return copy


def _other_architecture(base, tmp_path):
    copy = tmp_path / "arch"
    shutil.copytree(base, copy, symlinks=True)
    for path in copy.glob("[0-9]*epoch.pth"):
        state = load_state(path)
        state["encoder.encoders.0.feed_forward.w_1.weight"] = torch.zeros(3, 3)
        torch.save(state, path)
    return copy


REFUSALS = {
    "unknown cut": (lambda b, t: {"parent": str(b), "cut": "encoder.7"}, "unknown cut 'encoder.7'"),
    "trains nothing": (
        lambda b, t: {"parent": str(b), "cut": "encoder.embed"},
        "nothing would be trained",
    ),
    "no cut": (lambda b, t: {"parent": str(b)}, "kind top_down needs a cut"),
    "no parent": (lambda b, t: {"cut": "decoder"}, "needs a parent"),
    "unknown key": (
        lambda b, t: {"parent": str(b), "cut": "decoder", "drop": 1},
        "unknown key 'drop'; did you mean dropout",
    ),
    "unknown kind": (
        lambda b, t: {"parent": str(b), "cut": "decoder", "kind": "topdown"},
        "kind 'topdown' is unknown",
    ),
    "no such parent": (
        lambda b, t: {"parent": str(t / "none"), "cut": "decoder"},
        "is no trained experiment",
    ),
    "no such model": (
        lambda b, t: {"parent": str(b), "cut": "decoder", "parent_model": "x.pth"},
        "no model file",
    ),
    "torn parent": (
        lambda b, t: {"parent": str(_torn(b, t)), "cut": "decoder"},
        "is torn or is not a model file",
    ),
    "other tokens": (
        lambda b, t: {"parent": str(_other_tokens(b, t)), "cut": "decoder"},
        "another token list",
    ),
    "other architecture": (
        lambda b, t: {"parent": str(_other_architecture(b, t)), "cut": "decoder"},
        "does not fit this model",
    ),
    "untying what is not tied": (
        lambda b, t: {"parent": str(b), "cut": "decoder", "tied": "untie_draw"},
        "does not tie by an option",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_phase_that_cannot_work_is_refused_and_writes_no_model(name, base, train, tmp_path, capsys):
    make, fragment = REFUSALS[name]
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "p", conformer(seed=1000, topdown_conf=make(base, tmp_path)))
    assert exit_.value.code == 1
    assert fragment in capsys.readouterr().err
    assert not list((tmp_path / "p").glob("*.pth"))


@pytest.mark.parametrize("seed", [0, 1000])
def test_an_ancestors_seed_is_refused(seed, base, train, tmp_path, capsys):
    parent = train(tmp_path / "p", phase(base))
    with pytest.raises(SystemExit):
        train(tmp_path / "q", phase(parent, seed=seed, cut="encoder.0"))
    assert f"seed {seed} is that of " in capsys.readouterr().err


def test_changed_statistics_stop_the_phase(train, data, tmp_path, capsys):
    normal = dict(normalize="global_mvn", max_epoch=1)
    stats = tmp_path / "stats.npz"
    shutil.copy(data / "stats.npz", stats)
    config = tiny.asr_config("rnn", normalize_conf={"stats_file": str(stats)}, **normal)
    parent = train(tmp_path / "base", config)
    np.savez(stats, count=10, sum=np.ones(tiny.DIM), sum_square=np.full(tiny.DIM, 10.0))
    with pytest.raises(SystemExit):
        train(
            tmp_path / "p",
            config | {"seed": 1000, "topdown_conf": {"parent": str(parent), "cut": "decoder"}},
        )
    assert "normalize.mean differs from" in capsys.readouterr().err


def test_directory_of_another_training_is_refused(base, train, tmp_path, capsys):
    directory = train(tmp_path / "p", conformer(seed=1000))
    with pytest.raises(SystemExit):
        train(directory, phase(base))
    assert "holds a training that is not this phase" in capsys.readouterr().err


def test_base_freeze_param_stays_frozen_and_is_no_fault_of_the_proof(base, train, tmp_path):
    config = phase(base) | {"freeze_param": ["encoder.embed"]}
    directory = train(tmp_path / "p", config)
    assert not any(name.startswith("encoder.embed") for name in frozen_names(directory))


def test_diverged_training_is_an_error_that_says_so(base, train, tmp_path, capsys):
    config = phase(base) | {
        "optim": "sgd",
        "optim_conf": {"lr": 1e38},
        "grad_clip": 1e38,
        "max_epoch": 3,
    }
    with pytest.raises(SystemExit):
        train(tmp_path / "p", config)
    assert "training has diverged" in capsys.readouterr().err


# -- kills
# ----------------------------------------------------------------------------------------------------------


def test_without_topdown_conf_the_weights_are_those_of_espnets_own_command(train, data, tmp_path):
    from espnet2.bin import asr_train

    ours = train(tmp_path / "ours", conformer(max_epoch=2))
    asr_train.main(tiny.arguments(data, tmp_path / "stock", conformer(max_epoch=2)))
    one, two = load_state(ours / "2epoch.pth"), load_state(tmp_path / "stock" / "2epoch.pth")
    assert all(torch.equal(one[name], two[name]) for name in two)
    assert not (ours / "topdown").exists()


def test_sigkill_in_the_middle_of_an_epoch_and_a_rerun_end_bit_identical(
    base, data, train, tmp_path
):
    whole = train(tmp_path / "whole", phase(base))
    directory = tmp_path / "killed"

    def victim() -> None:
        from espnet_topdown.bin.train import main as train_main
        from espnet_topdown.training.trainer import TopdownTrainer

        original = TopdownTrainer.train_one_epoch.__func__

        def dies(cls, **kwargs):
            if kwargs["reporter"].get_epoch() == 4:
                iterator = iter(kwargs["iterator"])

                def one_step():
                    yield next(iterator)
                    os.kill(os.getpid(), 9)

                kwargs["iterator"] = one_step()
            return original(cls, **kwargs)

        TopdownTrainer.train_one_epoch = classmethod(dies)
        train_main(tiny.command(data, directory, phase(base)))

    process = multiprocessing.get_context("fork").Process(target=victim)
    process.start()
    process.join()
    assert process.exitcode == -9
    assert not (directory / "topdown" / "proof.json").exists()
    train(directory, phase(base))
    assert proof(directory) == proof(whole)


def test_early_stopped_phase_is_not_trained_further_when_resumed(base, train, tmp_path):
    """ESPnet <= 202511 trains one epoch more."""
    config = phase(base) | {
        "patience": 1,
        "max_epoch": 30,
        "early_stopping_criterion": ["valid", "acc", "max"],
    }
    directory = train(tmp_path / "p", config)
    before = proof(directory)
    epochs = len(json.loads((directory / "topdown" / "epochs.json").read_text()))
    assert epochs < 30
    train(directory, config)
    assert len(json.loads((directory / "topdown" / "epochs.json").read_text())) == epochs
    assert proof(directory) == before


# -- inference
# ------------------------------------------------------------------------------------------------------


def test_model_of_a_phase_decodes_where_this_package_cannot_be_imported(base, train, tmp_path):
    directory = train(tmp_path / "p", phase(base))

    def decode(queue) -> None:
        import sys

        for name in [n for n in sys.modules if n.startswith("espnet_topdown")]:
            del sys.modules[name]
        sys.modules["espnet_topdown"] = None  # type: ignore[assignment]  # an import of it now fails
        from espnet2.bin.asr_inference import Speech2Text

        speech2text = Speech2Text(
            str(directory / "config.yaml"), str(directory / "valid.acc.ave.pth"), beam_size=2
        )
        queue.put(len(speech2text(torch.randn(60, tiny.DIM).numpy())))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=decode, args=(queue,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get(timeout=5) == 1
