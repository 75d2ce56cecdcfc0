"""Epoch files and a checkpoint as ESPnet leaves them, with weights that can be told by hand."""

from pathlib import Path
from typing import Any

import torch

CRITERIA = [["valid", "acc", "max"], ["valid", "loss", "min"]]


def write_epochs(directory: Path, epochs: int = 10) -> Any:
    """Epoch files whose one weight is the epoch's number; accuracy rises with it and loss falls."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    for epoch in range(1, epochs + 1):
        reporter.set_epoch(epoch)
        with reporter.observe("valid") as sub:
            sub.register({"acc": epoch / epochs, "loss": float(epochs - epoch)})
            sub.next()
        state = {
            "w": torch.full((3,), float(epoch)),
            "frozen": torch.full((3,), 0.1),
            "count": torch.tensor(7),
        }
        torch.save(state, directory / f"{epoch}epoch.pth")
    torch.save({"model": state, "reporter": reporter.state_dict()}, directory / "checkpoint.pth")
    return reporter
