"""``python3 -m espnet_topdown.lm.train``: ESPnet2's lm_train with AWD-LSTM, stream models and NT-ASGD among its choices."""

import sys
from collections.abc import Sequence

from espnet2.tasks.lm import LMTask
from espnet2.train.trainer import Trainer

from espnet_topdown.errors import TopdownError
from espnet_topdown.lm.task import StreamLMTaskMixin
from espnet_topdown.lm.trainer import StreamTrainerMixin


class StreamTrainer(StreamTrainerMixin, Trainer):
    """ESPnet2's trainer, with averages in validation and saved models."""


class StreamLMTask(StreamLMTaskMixin, LMTask):
    """ESPnet2's LM task with stream models."""

    trainer = StreamTrainer


def main(cmd: Sequence[str] | None = None) -> None:
    """Trains as `espnet2.bin.lm_train` does with the same options; a user's fault is printed without traceback."""
    try:
        StreamLMTask.main(cmd=cmd)
    except TopdownError as e:
        sys.exit(f"error: {e}")


if __name__ == "__main__":
    main()
