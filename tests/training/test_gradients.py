"""What an epoch leaves is given back as it was: to what learns, at the scale of now."""

from types import SimpleNamespace

import torch

from espnet_topdown.experiment.phase_dir import holds_training
from espnet_topdown.training import gradients


def scaler(scale: float) -> SimpleNamespace:
    return SimpleNamespace(get_scale=lambda: scale)


def trained() -> torch.nn.Linear:
    model = torch.nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    return model


def test_gradients_follow_the_scale_of_mixed_precision(tmp_path):
    gradients.keep(trained(), tmp_path, 1, scaler(65536.0))
    model = torch.nn.Linear(2, 1)
    model.bias.requires_grad_(False)
    gradients.restore(model, tmp_path, 2, None)
    assert torch.equal(model.weight.grad, torch.ones(1, 2) / 65536)
    assert model.bias.grad is None
    gradients.restore(other := torch.nn.Linear(2, 1), tmp_path, 2, scaler(32768.0))
    assert torch.equal(other.weight.grad, torch.full((1, 2), 0.5))


def test_only_those_of_the_epoch_before_are_used_and_of_two_epochs_kept(tmp_path):
    for epoch in (1, 2, 3):
        gradients.keep(trained(), tmp_path, epoch, None)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["gradients.2epoch.pt", "gradients.3epoch.pt"]
    model = torch.nn.Linear(2, 1)
    gradients.restore(model, tmp_path, 6, None)
    assert model.weight.grad is None
    # They are no training that could be gone on with.
    assert not holds_training(tmp_path)
    # An epoch whose batches made whole steps leaves nothing.
    gradients.keep(torch.nn.Linear(2, 1), tmp_path, 3, None)
    gradients.clear(tmp_path)
    assert not list(tmp_path.iterdir())
