#!/usr/bin/env python3
"""One short run on a GPU: cascades come out right, steps of frozen models, AWD-LSTM's speed.

    python3 benchmarks/gpu.py --out DIR [--wikitext2 DIR] [--only SECTION ...]
    python3 benchmarks/gpu.py --out DIR --device cpu --quick      # tries the script itself

Sections run in turn, each a process with a time limit, under 8 minutes in all. What is done is kept
line by line in DIR/results.jsonl, also when a later section fails; each section's output is in
DIR/SECTION.log. Exit status 1 when a check failed or a section did not end.

Needs torch with CUDA and this package's other dependencies; nothing is installed or downloaded. To
a machine that reaches no package registry carry their wheels: elsewhere, for its version of Python,
``python3 -m pip download --dest wheels .``, without what it has (torch and nvidia's); there
``python3 -m pip install --no-index --no-deps wheels/*.whl``. The package itself is taken from this
checkout. With --wikitext2, {train,valid,test}.txt are trained on; else random words of that size.

Sections: machine; cascades (tiny models, two phases each: proof, `verify`, a repetition, SIGKILL
and resume; a resumed phase must equal the undisturbed one, unless a repetition differs too, as some
CUDA kernels do by PyTorch's notes on reproducibility); steps (unfrozen and frozen in turn, 300 s of
features, peak memory); lstm (AWD-LSTM at full size beside plain nn.LSTM); phase (a base and phase 1
of the full-size AWD-LSTM).
"""

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measure import ROOT, say

# Seconds; on a CPU five times as long. All of them fit in the budget, so that each can be used up.
LIMITS = {"machine": 15, "cascades": 135, "steps": 140, "lstm": 75, "phase": 105}
BUDGET_S = 470
# Module and function of what is not here.
ELSEWHERE = {
    "cascades": ("gpu_cascades", "run"),
    "steps": ("gpu_steps", "steps"),
    "lstm": ("gpu_steps", "lstm_speeds"),
    "phase": ("gpu_cascades", "full_size_phase"),
}


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


def run_here(options: argparse.Namespace) -> None:
    """Run one section in this process."""
    if options.section == "machine":
        machine_facts(options)
        return
    module, function = ELSEWHERE[options.section]
    getattr(importlib.import_module(module), function)(options)


def run_section(name: str, options: argparse.Namespace, left_s: float) -> str | None:
    """Run a section in a process of its own; why it did not end well, None when it did."""
    command = [sys.executable, __file__, "--section", name]
    command += ["--out", str(options.out), "--device", options.device]
    if options.quick:
        command.append("--quick")
    if options.wikitext2:
        command += ["--wikitext2", str(options.wikitext2)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path}
    with (options.out / f"{name}.log").open("w") as log:
        # A session of its own: its trainings end with it.
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, start_new_session=True
        )
        try:
            code = process.wait(min(LIMITS[name] * options.patience, left_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "ran out of time"
    return f"exit status {code}" if code else None


def main(argv: Sequence[str] | None = None) -> None:
    """Run the sections and sum up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="new or empty directory for results and logs")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    add("--quick", action="store_true", help="one cascade and small sizes")
    add("--only", nargs="+", choices=LIMITS, default=list(LIMITS), help="these sections")
    add("--wikitext2", type=Path, help="directory with {train,valid,test}.txt of WikiText-2")
    # A section in this process: how the script calls itself.
    add("--section", choices=LIMITS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    options.out = options.out.resolve()
    if options.section:
        run_here(options)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        parser.error(f"--out {options.out} is not empty; give a new directory")
    options.patience = 5 if options.device == "cpu" else 1
    began = time.monotonic()
    for name in options.only:
        left_s = BUDGET_S * options.patience - (time.monotonic() - began)
        if left_s < 10:
            say(options.out, section=name, ok=False, reason="no time was left")
            continue
        reason = run_section(name, options, left_s)
        if reason is not None:
            end = (options.out / f"{name}.log").read_text(errors="replace")[-500:]
            say(options.out, section=name, ok=False, reason=reason, log=end)
        print(f"# {name}: {reason or 'ended'}, {time.monotonic() - began:.0f} s", flush=True)
    lines = (options.out / "results.jsonl").read_text().splitlines()
    print("\n".join(lines))
    failed = [line for line in lines if json.loads(line).get("ok") is False]
    if failed:
        raise SystemExit(f"FAILED: {len(failed)} of {len(lines)} results")


if __name__ == "__main__":
    main()
