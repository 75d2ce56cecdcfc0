"""The tiny base of `run.sh`: data and a trained experiment in the current directory."""

from pathlib import Path

import tiny

from espnet_topdown.bin.train import main

config = tiny.asr_config("transformer", "rnn", max_epoch=30)
main(tiny.command(tiny.write_data(Path("data")), Path("base"), config))
