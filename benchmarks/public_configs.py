#!/usr/bin/env python3
"""What share of ESPnet's public training configs is served here, refused, or not ESPnet's.

    ESPNET_ROOT=/path/to/espnet[:/path/to/another] python3 benchmarks/public_configs.py [--build]

Reads egs2/*/{asr1,asr2,st1,mt1,slu1,s2t1,lm1}/conf of the checkouts, equal configs once, by the
ESPnet that is installed. Prints the counts and every refusal with its configs. A config is served
if nothing but a missing package or checkpoint stands in its way. With --build the models of those
that need neither are also built, without memory (translations with several decoders with it, for
a forward pass), and must have every tensor in a layer. Exit
status 1 where less than 92 % of what this ESPnet can build is served.
"""

import argparse
import contextlib
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.task import task_of_config
from espnet_topdown.training import model_options, obstacles
from espnet_topdown.training.model_layers import order_of
from espnet_topdown.training.tasks import task_of
from espnet_topdown.versions import espnet_version

RECIPES = ("asr1", "asr2", "st1", "mt1", "slu1", "s2t1", "lm1")
# A config with none of these trains nothing: it decodes, or computes features.
TRAINING = ("max_epoch", "optim", "scheduler", "encoder", "lm")
GOAL = 0.92


@dataclass(frozen=True)
class Public:
    """A training config: its file and what it says."""

    path: Path
    config: dict[str, Any]


def configs(roots: Sequence[Path]) -> Iterator[Public]:
    """The training configs of checkouts; one that several files hold, once."""
    seen = set()
    for root in roots:
        for path in sorted(root.glob("egs2/*/*/conf/**/*.y*ml")):
            # A link to a file that this checkout does not have.
            if path.relative_to(root).parts[2] not in RECIPES or not path.exists():
                continue
            config = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(config, dict) or not any(key in config for key in TRAINING):
                continue
            text = json.dumps([_task(path, config), config], sort_keys=True, default=str)
            if text not in seen:
                seen.add(text)
                yield Public(path, config)


def _task(path: Path, config: dict[str, Any]) -> str:
    """The config's task, or the message that it is of none."""
    try:
        return task_of_config(config, path)
    except TopdownError as error:
        return str(error).replace(str(path), "it")


def verdict(public: Public, *, builds: bool) -> tuple[str, str]:
    """``served``, ``refused`` or ``not ESPnet's``, and why."""
    task = task_of(task_of_config(public.config, public.path))
    notes = model_options.notes(task, public.path)
    if notes:
        return "not ESPnet's", notes[0]
    # A missing package is no obstacle of the config's.
    with contextlib.redirect_stderr(io.StringIO()):
        options = model_options.options_of(task, public.path, vocab_size=50, input_size=None)
    try:
        obstacles.check(task, options, public.path, has_packages=True)
    except TopdownError as error:
        reason = str(error).replace(f"{public.path}: ", "")
        return ("not ESPnet's" if " has no " in reason else "refused"), reason
    return _built(task, options, public.path) if builds else ("served", "by the table")


def _built(task: Any, options: argparse.Namespace, path: Path) -> tuple[str, str]:
    """`verdict` by a model without memory; by the table where more than the config is needed."""
    # Values would be drawn, of which there are none.
    options.init = None
    # What it asks of its decoders is seen in a forward pass.
    device = "cpu" if vars(options).get("md_encoder") else "meta"
    try:
        with torch.device(device), contextlib.redirect_stdout(io.StringIO()):
            model = model_options.build(task, options, path)
    except TopdownError as error:
        if _is_about_the_config(error.__cause__):
            return "not ESPnet's", str(error).replace(str(path), "it")
        return "served", "by the table: its model needs a package, a checkpoint or more"
    try:
        order_of(model)
    except TopdownError as error:
        return "refused", str(error)
    faults = obstacles.forward_faults(model) if device == "cpu" else []
    if faults:
        return "not ESPnet's", "; ".join(faults)
    return "served", "built, every tensor in a layer"


def _is_about_the_config(error: BaseException | None) -> bool:
    """Whether ESPnet's classes do not take the config's options."""
    return isinstance(error, TypeError) and "unexpected keyword argument" in str(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", action="store_true", help="build the models too (minutes)")
    args = parser.parse_args()
    roots = [Path(root) for root in os.environ.get("ESPNET_ROOT", "").split(":") if root]
    if not roots:
        sys.exit("ESPNET_ROOT names no checkout of ESPnet")
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    found: dict[str, dict[str, list[Path]]] = {"served": {}, "refused": {}, "not ESPnet's": {}}
    for public in configs(roots):
        try:
            kind, reason = verdict(public, builds=args.build)
        except TopdownError as error:
            kind, reason = "refused", str(error).replace(str(public.path), "it")
        found[kind].setdefault(reason, []).append(public.path)
    sys.exit(report(found))


def report(found: dict[str, dict[str, list[Path]]]) -> int:
    """Print the counts; the exit status."""
    counts = {kind: sum(map(len, reasons.values())) for kind, reasons in found.items()}
    total = sum(counts.values())
    print(f"ESPnet {espnet_version()}, {total} distinct training configs")
    for kind, reasons in found.items():
        print(f"{kind}: {counts[kind]} ({100 * counts[kind] / max(total, 1):.1f} %)")
        for reason, paths in sorted(reasons.items(), key=lambda item: -len(item[1])):
            print(f"  {len(paths)}: {reason}")
            if kind != "served":
                print(*(f"     {path}" for path in paths), sep="\n")
    return int(counts["served"] < GOAL * total)


if __name__ == "__main__":
    main()
