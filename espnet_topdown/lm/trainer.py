"""ESPnet2's trainer for a stream: scaled learning rates, averages in validation and model files."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from espnet2.train.trainer import Trainer

from espnet_topdown.lm.nt_asgd import NTASGD


class StreamTrainer(Trainer):
    """ESPnet2's trainer around an `NTASGD`; with other optimisers it changes nothing.

    After an epoch of training the averages, once there are any, take the raw weights' place in the
    model: validation and the model files then see them, and checkpoint.pth holds the raw weights as
    optimiser state. The next epoch starts with the raw weights again. Frozen parameters have no
    average and stay as they are. Source: the order of espnet2/train/trainer.py `Trainer.run`
    (202511, 202611): train, validate, schedulers, save.
    """

    @classmethod
    def train_one_epoch(cls, **kwargs: Any) -> bool:
        """ESPnet2's epoch on the raw weights; the averages are in the model when it returns.

        Args:
            kwargs: those of `Trainer.train_one_epoch`, which ESPnet2 passes by name.

        Returns:
            Whether every step failed, as ESPnet2's does.
        """
        ours = [optimizer for optimizer in kwargs["optimizers"] if isinstance(optimizer, NTASGD)]
        if not ours:
            return super().train_one_epoch(**kwargs)
        for optimizer in ours:
            optimizer.use_raw()
        kwargs["iterator"] = scaled(kwargs["iterator"], ours)
        all_steps_are_invalid = super().train_one_epoch(**kwargs)
        # Left in: ESPnet2 validates and saves before it comes here again.
        for optimizer in ours:
            optimizer.use_average()
        return all_steps_are_invalid


def scaled(iterator: Iterable[Any], optimizers: Sequence[NTASGD]) -> Iterator[Any]:
    """The batches, after the `lr_scale` of each was handed to the optimisers.

    The optimisers apply it: a loss that is scaled instead would be clipped otherwise.
    """
    for keys, batch in iterator:
        scale = batch.pop("lr_scale", 1.0)
        for optimizer in optimizers:
            optimizer.set_lr_scale(scale)
        yield keys, batch
