"""A phase's parent: it must fit this training, and no ancestor's seed may be drawn again."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import yaml
from tiny_phases import SHORT, conformer, lm_phase, phase, start_of

from espnet_topdown.training.checkpoint import load_state


def tear(parent: Path) -> None:
    for path in parent.glob("[0-9]*epoch.pth"):
        path.write_bytes(b"PK\x03\x04")


def change_a_token(parent: Path) -> None:
    config = yaml.safe_load((parent / "config.yaml").read_text())
    config["token_list"][2] = "z"
    (parent / "config.yaml").write_text(yaml.safe_dump(config))


def change_a_shape(parent: Path) -> None:
    for path in parent.glob("[0-9]*epoch.pth"):
        state = load_state(path)
        state["encoder.encoders.0.feed_forward.w_1.weight"] = torch.zeros(3, 3)
        torch.save(state, path)


def select_by_length(parent: Path) -> None:
    for path in parent.glob("valid.*.ave.pth"):
        path.unlink()
    config = yaml.safe_load((parent / "config.yaml").read_text())
    config["best_model_criterion"] = [["valid", "total_count", "max"]]
    (parent / "config.yaml").write_text(yaml.safe_dump(config))


def double_the_precision(parent: Path) -> None:
    for path in parent.glob("[0-9]*epoch.pth"):
        state = load_state(path)
        torch.save({name: double(tensor) for name, tensor in state.items()}, path)


def double(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.double() if tensor.is_floating_point() else tensor


def drop_the_subsampling(parent: Path) -> None:
    """As ESPnet saves a base of which it was told to save the trained parameters alone."""
    for path in parent.glob("[0-9]*epoch.pth"):
        kept = {k: v for k, v in load_state(path).items() if not k.startswith("encoder.embed.")}
        torch.save(kept, path)


MISFITS = {
    "no experiment": (shutil.rmtree, "is no trained experiment"),
    "no model": (lambda parent: (parent / "valid.acc.ave.pth").unlink(), "no model file"),
    "torn": (tear, "is torn or is not a model file"),
    "other tokens": (change_a_token, "another token list"),
    "other architecture": (change_a_shape, "does not fit this model"),
    # Kept tensors would be rounded, and proved to be the parent's all the same.
    "other precision": (
        double_the_precision,
        "has weights of torch.float64, and this training of torch.float32; give the parent's",
    ),
    "a part is not saved": (
        drop_the_subsampling,
        (
            "has no tensors of encoder.embed; give a model file of the whole model (a training with"
            " 'save_strategy: all'"
        ),
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_parent_that_does_not_fit_is_refused(name, base, train, tmp_path, capsys):
    spoil, message = MISFITS[name]
    parent = shutil.copytree(base, tmp_path / "parent", symlinks=True)
    spoil(parent)
    with pytest.raises(SystemExit) as exit_:
        train(tmp_path / "p", phase(parent, parent_model="valid.acc.ave.pth"))
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "p").glob("*.pth"))


def test_a_parent_that_was_selected_by_no_quality_is_told_with_its_model_files(
    base, train, tmp_path, capsys
):
    parent = shutil.copytree(base, tmp_path / "parent", symlinks=True)
    select_by_length(parent)
    with pytest.raises(SystemExit):
        train(tmp_path / "p", phase(parent))
    said = capsys.readouterr().err
    assert "selected its models by nothing that measures quality" in said
    assert "or topdown_conf 'parent_model: FILE' (there: valid.acc.ave_3best.pth" in said


def test_a_parent_of_less_precision_is_taken_as_it_is(base, train, tmp_path):
    """As published checkpoints are stored: nothing of it is rounded."""
    parent = shutil.copytree(base, tmp_path / "parent", symlinks=True)
    file = sorted(parent.glob("[0-9]*epoch.pth"))[0]
    state = load_state(file)
    halves = {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()}
    torch.save(halves, file)
    trained = train(tmp_path / "p", phase(parent, parent_model=file.name) | SHORT)
    name = "decoder.output_layer.weight"
    assert torch.equal(load_state(trained / "1epoch.pth")[name], halves[name].float())


def test_an_ancestors_seed_is_refused(base, train, tmp_path, capsys):
    parent = train(tmp_path / "p", phase(base) | SHORT)
    for seed in (0, 1000):
        with pytest.raises(SystemExit):
            train(tmp_path / f"q{seed}", phase(parent, seed=seed, cut="encoder.0"))
        assert f"seed {seed} is that of " in capsys.readouterr().err


def test_a_parent_without_an_average_by_accuracy_or_loss_is_taken_as_a_cascade_takes_it(
    train, tmp_path
):
    """As one under CTC alone, which ESPnet's recipes select by its character errors."""
    by_errors = {"best_model_criterion": [["valid", "cer_ctc", "min"]]}
    parent = train(tmp_path / "p", conformer(**by_errors) | SHORT)
    start = start_of(train(tmp_path / "q", phase(parent) | by_errors | SHORT))
    assert start["parent"]["file"] == "valid.cer_ctc.ave.pth"


def test_statistics_changed_by_a_thousandth_stop_the_phase(train, tmp_path, capsys):
    normal = dict(normalize="global_mvn", max_epoch=1)
    stats = tmp_path / "stats.npz"
    sums = dict(count=10, sum_square=np.full(tiny.DIM, 10.0))
    np.savez(stats, sum=np.ones(tiny.DIM), **sums)
    config = tiny.asr_config("rnn", normalize_conf={"stats_file": str(stats)}, **normal)
    parent = train(tmp_path / "base", config)
    np.savez(stats, sum=np.full(tiny.DIM, 1.001), **sums)
    conf = {"parent": str(parent), "cut": "decoder"}
    with pytest.raises(SystemExit):
        train(tmp_path / "p", config | {"seed": 1000, "topdown_conf": conf})
    assert "normalize.mean differs from" in capsys.readouterr().err


def test_child_of_an_untied_parent_must_be_untied(lm_base, train, tmp_path, capsys):
    parent = train(tmp_path / "p", lm_phase(lm_base, tied="untie_draw"))
    with pytest.raises(SystemExit):
        train(tmp_path / "q", lm_phase(parent, seed=2000))
    message = "has separate matrices for lm.encoder.weight and lm.decoder.weight"
    assert message in capsys.readouterr().err


def test_a_line_of_ancestors_that_runs_in_a_circle_ends(tmp_path):
    from espnet_topdown.training.parent import _ancestors_seeds

    for name, seed, above in (("one", 1, "two"), ("two", 2, "one"), ("own", 3, "own")):
        (tmp_path / name).mkdir()
        config = {"seed": seed, "topdown_conf": {"parent": str(tmp_path / above)}}
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
    seeds = {}
    for name in ("one", "own"):
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        seeds[name] = list(_ancestors_seeds(config, tmp_path / name))
    assert seeds == {"one": [1, 2], "own": [3]}
