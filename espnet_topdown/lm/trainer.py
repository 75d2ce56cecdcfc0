"""What a stream model needs of ESPnet2's trainer.

Scaled learning rates, averages in validation and model files.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from espnet_topdown.lm.nt_asgd import NTASGD


class StreamTrainerMixin:
    """Put before ESPnet2's `Trainer` (or a subclass of it).

    With other optimisers than NT-ASGD it changes nothing.

    After an epoch of training the averages, once there are any, take the raw weights' place in the
    model: validation and the model files then see them, and checkpoint.pth holds the raw weights as
    optimiser state. The next epoch starts with the raw weights again. Frozen parameters have no
    average and stay as they are. Source: the order of espnet2/train/trainer.py `Trainer.run`
    (202511, 202611): train, validate, schedulers, save.
    """

    @classmethod
    def train_one_epoch(
        cls,
        model: torch.nn.Module,
        iterator: Iterable[Any],
        optimizers: Sequence[torch.optim.Optimizer],
        **kwargs: Any,
    ) -> bool:
        """ESPnet2's training epoch on the raw weights.

        The averages are in the model when it returns.
        """
        ours = [o for o in optimizers if isinstance(o, NTASGD)]
        for optimizer in ours:
            optimizer.use_raw()
        iterator = scaled(iterator, ours) if ours else iterator
        invalid = super().train_one_epoch(
            model=model, iterator=iterator, optimizers=optimizers, **kwargs
        )
        for optimizer in ours:
            optimizer.use_average()
        return invalid


def scaled(iterator: Iterable[Any], optimizers: Sequence[NTASGD]) -> Iterator[Any]:
    """The batches, each with its `lr_scale` handed to the optimisers first.

    The step rescales after clipping.
    """
    for keys, batch in iterator:
        scale = batch.pop("lr_scale", 1.0)
        for optimizer in optimizers:
            optimizer.set_lr_scale(scale)
        yield keys, batch
