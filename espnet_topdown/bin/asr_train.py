"""`espnet2.bin.asr_train` with `topdown_conf`."""

from collections.abc import Sequence

from espnet_topdown.errors import reported
from espnet_topdown.tasks import TopdownASRTask


def main(cmd: Sequence[str] | None = None) -> None:
    """Train as `espnet2.bin.asr_train` does; a `topdown_conf` makes it one phase of a cascade."""
    with reported():
        TopdownASRTask.main(cmd=cmd)


if __name__ == "__main__":
    main()
