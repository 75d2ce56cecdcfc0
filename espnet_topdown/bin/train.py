"""The training tools of `espnet2.bin` with `topdown_conf`: the task, then that tool's arguments.

``python3 -m espnet_topdown.bin.train asr ...`` is ``python3 -m espnet2.bin.asr_train ...``.
"""

import sys
from collections.abc import Sequence

from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.task import TASKS
from espnet_topdown.training.tasks import task_of


def main(argv: Sequence[str] | None = None) -> None:
    """Train as ``espnet2.bin.TASK_train`` does; a `topdown_conf` makes it one phase."""
    words = list(sys.argv[1:] if argv is None else argv)
    with reported(system_faults=False):
        if not words:
            raise TopdownError(f"the first argument is the task, one of {', '.join(TASKS)}")
        task_of(words[0]).main(cmd=words[1:])


if __name__ == "__main__":
    main()
