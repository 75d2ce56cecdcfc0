"""Many phases: the scheduling of a run, and `results` of a cascade, at first and once more.

    python3 benchmarks/many_phases.py [--phases 200] [--sets 3] [--utterances 1000]

Nothing is trained: records and scored sets are made up. Scheduling is what a run does between its
trainings: which phases can start, and the judgement after each that ends. `results` runs as the
command does, in a process of its own, whose largest memory is told.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from measure import ROOT, machine

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.order import ready, waits_of

LAYERS = ("encoder.0", "encoder.1", "decoder.0", "output")
EPOCHS = 50
SPEAKERS = 20
WORDS = ("one", "two", "three", "four", "five", "six")


def make(place: Path, phases: int, sets: int, utterances: int) -> Path:
    """A cascade in which every phase is finished, decoded and scored; its directory."""
    draw = random.Random(0)
    base, cascade = place / "asr_base", place / "cascade"
    data = [["dump/raw/train/text", "text", "text"]]
    config = {
        "task": "asr",
        "seed": 0,
        "max_epoch": EPOCHS,
        "encoder": "transformer",
        "token_list": ["<blank>"],
        "best_model_criterion": [["valid", "acc", "max"]],
        "train_data_path_and_name_and_type": data,
        "valid_data_path_and_name_and_type": data,
    }
    base.mkdir(parents=True)
    (base / "config.yaml").write_text(yaml.safe_dump(config))
    cascade.mkdir()
    (cascade / "cascade.json").write_text(json.dumps({"base": "../asr_base", "threads": 1}))
    plan = {"phases": [{"sweep": ["decoder"] * phases}]}
    (cascade / "plan.yaml").write_text(yaml.safe_dump(plan))
    layers = [dict(name=name, parameters=10, notes="", tied_to={}) for name in LAYERS]
    curve = [draw.random() for _ in range(EPOCHS)]
    epochs = [{"epoch": n, "valid": {"acc": acc}} for n, acc in enumerate(curve, 1)]
    facts = dict(layers=layers, dropouts={}, notes=[], parser_keys=[], epochs=epochs)
    (cascade / "model.json").write_text(json.dumps(facts))
    directories = [base, *(cascade / f"phase{number}" for number in range(1, phases + 1))]
    for number, directory in enumerate(directories):
        directory.mkdir(exist_ok=True)
        for dataset in range(sets):
            score(directory / "inference" / f"test{dataset}", draw, utterances)
        if number:
            record(directory, draw)
    return cascade


def score(directory: Path, draw: random.Random, utterances: int) -> None:
    """References and hypotheses, one word in ten wrong."""
    lines: dict[str, list[str]] = {"ref": [], "hyp": []}
    for number in range(utterances):
        said = [WORDS[(number + place) % len(WORDS)] for place in range(10)]
        heard = [word if draw.random() < 0.9 else "nine" for word in said]
        speaker = f"s{number % SPEAKERS}"
        for name, words in (("ref", said), ("hyp", heard)):
            lines[name].append(f"{' '.join(words)}\t({speaker}-{speaker}-u{number:05d})")
    (directory / "score_wer").mkdir(parents=True)
    for name, rows in lines.items():
        (directory / "score_wer" / f"{name}.trn").write_text("\n".join(rows) + "\n")


def record(directory: Path, draw: random.Random) -> None:
    """The record of a finished phase, as far as reading commands need it."""
    curve = [draw.random() for _ in range(EPOCHS)]
    said = {
        "phase": directory.name,
        "kind": "top_down",
        "cut": "decoder",
        "seed": 1,
        "parent": "../asr_base",
        "key": {"settings": {}, "files": {}},
        "dev": {"criterion": ["valid", "acc", "max"], "curve": curve},
        "base": {"dev": 0.5, "model_sha256": None},
        "epochs": EPOCHS,
        "hours": 1.0,
        "files": {},
        "bytes": {},
        "links": {},
        "model_sha256": "0",
    }
    (directory / "record.json").write_text(json.dumps(said))


def schedule(cascade: Cascade) -> float:
    """Seconds of CPU that a run over all phases would spend between its trainings."""
    records = cascade.read_records()
    began = time.process_time()
    finished: dict[str, dict[str, object]] = {}
    waits = waits_of(cascade.phases, cascade.plan)
    while len(finished) < len(records):
        can_start = ready(
            cascade.phases,
            waits,
            finished=finished,
            failed=(),
            running=(),
            skipped=cascade.judge(finished).skipped,
        )
        # One training ends; what its end makes of the others is judged anew.
        finished[can_start[0].name] = records[can_start[0].name]
        cascade.judge(finished)
    return time.process_time() - began


def results(cascade: Path) -> str:
    """Time and memory of ``espnet-topdown results``."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "espnet_topdown", "results", str(cascade)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"results ended with {process.returncode}")
    wall_s, cpu_s = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
    return f"{wall_s:.2f} s ({cpu_s:.2f} s of CPU), {usage.ru_maxrss / 1024:.0f} MB"


def main() -> None:
    """Measure and print one line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--phases", type=int, default=200)
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--utterances", type=int, default=1000, help="of each set, 10 words each")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        directory = make(Path(scratch), options.phases, options.sets, options.utterances)
        seconds = schedule(Cascade.reopen(directory))
        print(
            f"scheduling of {options.phases} independent phases: {seconds:.2f} s of CPU", flush=True
        )
        for call in ("first", "second"):
            print(f"results, {call} call: {results(directory)}", flush=True)


if __name__ == "__main__":
    main()
