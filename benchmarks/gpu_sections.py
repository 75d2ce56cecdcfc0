#!/usr/bin/env python3
"""One section of `gpu.py`, which calls it: ``gpu_sections.py SECTION --out DIR ...``."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from measure import say


def machine_facts(options: argparse.Namespace) -> None:
    """GPU and versions; and weights of an nn.LSTM on it, which are in one storage, are not ties."""
    import torch

    from espnet_topdown.training.model_layers import tied_groups

    facts = {
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "cuda": torch.version.cuda,
    }
    if options.device == "cuda":
        facts |= {"gpu": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version()}
    say(options.out, section="machine", **facts)
    lstm = torch.nn.LSTM(16, 16, 2, bidirectional=True).to(options.device)
    storages = {weight.untyped_storage().data_ptr() for weight in lstm.parameters()}
    groups = tied_groups(lstm)
    say(
        options.out,
        section="machine",
        lstm_weights=len(list(lstm.parameters())),
        storages=len(storages),
        ties=len(groups),
        ok=not groups,
    )


def cascades(options: argparse.Namespace) -> None:
    """See `gpu_cascades`."""
    import gpu_cascades

    gpu_cascades.run(options)


def steps(options: argparse.Namespace) -> None:
    """See `gpu_steps`."""
    import gpu_steps

    gpu_steps.steps(options)


def lstm(options: argparse.Namespace) -> None:
    """See `gpu_steps`."""
    import gpu_steps

    gpu_steps.lstm_speeds(options)


def phase(options: argparse.Namespace) -> None:
    """See `gpu_cascades`."""
    import gpu_cascades

    gpu_cascades.full_size_phase(options)


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "machine": machine_facts,
    "cascades": cascades,
    "steps": steps,
    "lstm": lstm,
    "phase": phase,
}


def main() -> None:
    """Run one section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--wikitext2", type=Path)
    options = parser.parse_args()
    SECTIONS[options.section](options)


if __name__ == "__main__":
    main()
