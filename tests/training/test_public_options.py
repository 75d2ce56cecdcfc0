"""Training options of ESPnet's public configs: a base and a phase of each train, and are proved."""

import pytest
import tiny
import torch
from tiny_phases import frozen_in, killed

from espnet_topdown.training.checkpoint import load_state

BASE = tiny.asr_config("transformer", "transformer", max_epoch=2)
STACK = tiny.ENCODERS["transformer"]
INTERCTC = dict(
    encoder_conf=STACK | dict(interctc_layer_idx=[1, 2]),
    model_conf=dict(ctc_weight=0.5, interctc_weight=0.3),
)
CONDITIONED = INTERCTC | dict(
    encoder_conf=STACK | dict(interctc_layer_idx=[1, 2], interctc_use_conditioning=True)
)
STREAMING = dict(block_size=8, hop_size=4, look_ahead=2)
TRISTAGE = dict(
    scheduler="tristagelr",
    scheduler_conf=dict(max_steps=10, warmup_ratio=0.1, hold_ratio=0.4, decay_ratio=0.5),
)
CASES = {
    "contextual blocks": dict(
        encoder="contextual_block_conformer",
        encoder_conf=tiny.ENCODERS["contextual_block_conformer"] | STREAMING,
    ),
    "interctc": INTERCTC,
    "interctc, conditioned": CONDITIONED,
    "numel batches, accum_grad, noamlr": dict(
        batch_type="numel",
        batch_bins=6000,
        accum_grad=2,
        scheduler="noamlr",
        scheduler_conf=dict(model_size=16, warmup_steps=10),
    ),
    "sorted batches, tristagelr, several GPUs": TRISTAGE | dict(batch_type="sorted", ngpu=4),
    "folded batches, several criteria, averages of 1 and 10": dict(
        batch_type="folded",
        fold_length=[90, 20],
        keep_nbest_models=[1, 10],
        best_model_criterion=[["valid", "acc", "max"], ["train", "loss", "min"]],
    ),
    # Without a GPU ESPnet trains in float32 (espnet2/train/trainer.py, autocast).
    "mixed precision": dict(use_amp=True),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_phase_with_options_of_public_configs(case, train, tmp_path):
    config = BASE | CASES[case]
    base = train(tmp_path / "base", dict(config))
    conf = dict(parent=str(base), cut="encoder.2")
    phase = train(tmp_path / "phase", config | dict(seed=1000, topdown_conf=conf))
    frozen = frozen_in(phase)
    names = {name for name in frozen if name.startswith("encoder.encoders.")}
    assert names and all(name.startswith("encoder.encoders.2.") for name in names)
    parent, final = load_state(base / "valid.acc.ave.pth"), load_state(phase / "2epoch.pth")
    assert all(torch.equal(parent[name], final[name]) for name in frozen)
    moved = [name for name in final.keys() - frozen if not torch.equal(parent[name], final[name])]
    assert any(name.startswith("encoder.encoders.0.") for name in moved)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore::UserWarning:torch")
def test_a_phase_with_options_of_public_configs_goes_on_after_a_kill(case, data, train, tmp_path):
    config = BASE | CASES[case]
    base = train(tmp_path / "base", dict(config))
    config |= dict(seed=1000, topdown_conf=dict(parent=str(base), cut="encoder.2"))
    whole = train(tmp_path / "whole", dict(config))
    killed(data, tmp_path / "killed", dict(config), epoch=2)
    train(tmp_path / "killed", dict(config))
    for name in ("2epoch.pth", "valid.acc.ave.pth"):
        one, other = load_state(whole / name), load_state(tmp_path / "killed" / name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[tensor], other[tensor]) for tensor in one)
    assert frozen_in(tmp_path / "killed") == frozen_in(whole)


def test_an_adapter_is_refused_before_espnet_builds_it(train, tmp_path, capsys):
    conf = dict(parent=str(tmp_path / "base"), cut="encoder.1")
    with pytest.raises(SystemExit):
        train(tmp_path / "p", BASE | dict(seed=1000, use_adapter=True, topdown_conf=conf))
    error = capsys.readouterr().err
    assert "use_adapter exclude one another: an adapter renames the layers" in error
