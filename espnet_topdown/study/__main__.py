"""``python3 -m espnet_topdown.study``: train, decode and record the seeds of a study, and show it.

``run`` and ``record`` are called in a recipe directory, whose run.sh they drive; ``table`` builds
RESULTS.md from the records alone, ``power`` says how many seeds a study like theirs needs, and
``replay`` what the rule that ends variants early would have made of theirs.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import Parser, reported
from espnet_topdown.plan.stopping import StopEarly
from espnet_topdown.study import recording, running, study
from espnet_topdown.study.record_files import find_records
from espnet_topdown.study.replay import FROM_EPOCHS, replay_page

HELP = {
    "run": "train, decode and record every seed; goes on after an interruption",
    "record": "record what is finished of each seed, while others or later phases are to come",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``run MODEL``, ``record MODEL``, or one that reads: ``table``, ``power``, ``replay``."""
    options = _parser().parse_args(argv)
    with reported():
        if options.command in ("table", "power", "replay"):
            _show(options)
            return
        chosen = study.choose(
            options.model,
            options.seeds,
            options.jobs,
            options.model_file,
            options.test_sets,
            options.ngpu,
        )
        if options.command == "run":
            running.run(chosen)
            return
        for seed in chosen.seeds:
            recording.record_seed(chosen, seed)


def _show(options: argparse.Namespace) -> None:
    # Tables load scipy, which run and record do without.
    from espnet_topdown.study import pages, power

    studies = find_records(options.records)
    if options.command == "power":
        print(power.power_page(studies, options.difference).terminal(), end="")
        return
    if options.command == "replay":
        page = replay_page(studies, options.from_epoch, options.full)
        print(page.terminal(), end="")
        return
    pages.show(studies, options.records, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "python3 -m espnet_topdown.study",
        description="Train, decode and record the seeds of a study, and build its tables.",
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, text in HELP.items():
        add = commands.add_parser(name, help=text).add_argument
        add(
            "model",
            help="conf/train_asr_MODEL.yaml or conf/train_lm_MODEL.yaml, and conf/study/MODEL.yaml",
        )
        add(
            "--seeds",
            type=int,
            nargs="+",
            help="of the bases (those of conf/analysis/MODEL.yaml, or 1 2 3)",
        )
        add("--jobs", type=int, default=2, help="single-threaded trainings at a time (2)")
        add("--ngpu", type=int, default=0, help="GPUs of each training (0)")
        add(
            "--model_file",
            help="model to decode (that of the plan's dev criterion, such as valid.acc.ave.pth)",
        )
        add(
            "--test_sets",
            help='ASR: sets to decode, such as "dev test" (those of the analysis, or test)',
        )
    add = _reading(commands, "power", "seeds that a study needs, from the records of another")
    add(
        "--difference",
        type=float,
        required=True,
        help="least difference that matters, in points of WER, in perplexity and in per cent of it",
    )
    add = _reading(
        commands, "replay", "epochs that 'stop_early: median' would have saved, and lost"
    )
    epochs = f"first epochs that can end a phase ({' '.join(map(str, FROM_EPOCHS))})"
    add("--from_epoch", type=_count, nargs="+", metavar="N", default=FROM_EPOCHS, help=epochs)
    full = f"phases that are trained in full ({StopEarly.full})"
    add("--full", type=_count, metavar="N", default=StopEarly.full, help=full)
    add = _reading(commands, "table", "RESULTS.md from records, without the models")
    add("--output", type=Path, help="file to write, with its images/ beside it (default: print)")
    return parser


def _count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number > 0, not '{text}'")
    return int(text)


def _reading(commands: Any, name: str, text: str) -> Callable[..., Any]:
    """A command that reads records; what adds more options to it."""
    add: Callable[..., Any] = commands.add_parser(name, help=text).add_argument
    places = "records, or directories of them"
    add("records", type=Path, nargs="+", metavar="RECORDS", help=places)
    return add


if __name__ == "__main__":
    main()
