"""Random numbers of Python, NumPy and torch while a model is built."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

_SEEDING = (
    (random, "seed"),
    (np.random, "seed"),
    (torch, "manual_seed"),
    (torch.random, "manual_seed"),
)


@contextlib.contextmanager
def never_seeded() -> Iterator[None]:
    """What runs in the block draws on under the seed that was set before it.

    S3PRL seeds with 0 whenever it builds an upstream (s3prl/util/pseudo_data.py, get_pseudo_wavs,
    0.4.18): all that ESPnet draws after it would be the same under every seed.
    """
    with contextlib.ExitStack() as undone:
        for module, name in _SEEDING:
            undone.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, _ignored)
        yield


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Random numbers go on after the block as if it were not there."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def _ignored(*_: Any, **__: Any) -> torch.Generator:
    """In the place of what seeds; torch's gives its generator."""
    return torch.default_generator
