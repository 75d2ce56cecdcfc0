"""The tiny base of `run.sh`: data and a trained experiment in the current directory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny  # noqa: E402

from espnet_topdown.bin.train import main  # noqa: E402

config = tiny.asr_config("transformer", "rnn", max_epoch=30)
main(tiny.command(tiny.write_data(Path("data")), Path("base"), config))
