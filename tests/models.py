"""Tiny models as ESPnet's own tasks build them, for tests of what is done with their layers."""

import argparse
from typing import Any

import tiny

# A layer order of one's own for tiny encoder-decoders and CTC.
CUSTOM = {
    "bottom": ["encoder.embed"],
    "middle": ["encoder.encoders", "encoder.after_norm"],
    "top": ["decoder", "ctc"],
}


def build(task_name: str, config: dict[str, object]) -> Any:
    """The model of a tiny training config."""
    from espnet_topdown.training.tasks import task_of

    task = task_of(task_name)
    defaults = vars(task.get_parser().parse_args([])) | {"token_list": tiny.TOKENS}
    return task.build_model(argparse.Namespace(**defaults | config))
