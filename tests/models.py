"""Tiny models, built but not trained, and an order of one's own for their layers."""

import argparse
from pathlib import Path
from typing import Any

import tiny

CUSTOM = {
    "bottom": ["encoder.embed"],
    "blocks": ["encoder.encoders", "encoder.after_norm"],
    "top": ["decoder", "ctc"],
}


def build(task_name: str, config: dict[str, object], data: Path) -> Any:
    """A tiny model as ESPnet's own task builds it."""
    from espnet_topdown.training.tasks import task_of

    task = task_of(task_name)
    defaults = vars(task.get_parser().parse_args([])) | {"token_list": tiny.TOKENS}
    return task.build_model(argparse.Namespace(**defaults | config))
