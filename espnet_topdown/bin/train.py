"""The training tools of `espnet2.bin` with `topdown_conf`.

``python3 -m espnet_topdown.bin.train asr ...`` and so on.
"""

import sys
from collections.abc import Sequence

from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.training.tasks import task_of


def main(cmd: Sequence[str] | None = None) -> None:
    """Train as ``espnet2.bin.TASK_train`` does with the words after TASK.

    A `topdown_conf` makes it one phase.
    """
    words = list(sys.argv[1:] if cmd is None else cmd)
    with reported():
        if not words:
            raise TopdownError("the first argument is the task, such as asr or lm")
        task_of(words[0]).main(cmd=words[1:])


if __name__ == "__main__":
    main()
