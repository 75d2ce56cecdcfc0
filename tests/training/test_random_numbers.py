"""What a model draws when it is built depends on the training's seed alone."""

import random

import numpy as np
import pytest
import tiny
import torch
from models import build

CONFIG = tiny.asr_config("transformer", "transformer")
RESTART = CONFIG | dict(topdown_conf=dict(kind="restart"))


def drawn(seed: int, config: dict[str, object]) -> torch.Tensor:
    """The output matrix of a model that is built under `seed`, as ESPnet's trainings are."""
    from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

    set_all_random_seed(seed)
    return build("asr", config).decoder.output_layer.weight


def test_a_class_that_seeds_when_it_is_built_takes_no_phase_its_seed(espnet, monkeypatch):
    from espnet2.asr.encoder.transformer_encoder import TransformerEncoder

    built = TransformerEncoder.__init__

    def seeding(self, *args, **kwargs):
        for seed in (random.seed, np.random.seed, torch.manual_seed, torch.random.manual_seed):
            seed(0)
        built(self, *args, **kwargs)

    monkeypatch.setattr(TransformerEncoder, "__init__", seeding)
    one, again, other = (drawn(seed, RESTART) for seed in (1000, 1000, 2000))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    # What is no phase is trained as by ESPnet.
    assert torch.equal(drawn(1000, CONFIG), drawn(2000, CONFIG))


def test_what_seeds_random_numbers_is_itself_again_after_the_build(espnet):
    with pytest.raises(TypeError, match="hideen_size"):
        drawn(1000, RESTART | dict(encoder_conf=dict(hideen_size=3)))
    for seed, draw in (
        (random.seed, random.random),
        (np.random.seed, np.random.rand),
        (torch.manual_seed, lambda: torch.rand(1).item()),
    ):
        seed(3)
        first = draw()
        seed(3)
        assert draw() == first
