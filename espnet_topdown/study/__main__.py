"""``python3 -m espnet_topdown.study``.

Train, decode and record the seeds of a study, and build its tables.

``run`` is called in a recipe directory and drives its run.sh; ``table`` builds RESULTS.md from the
records alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.errors import reported
from espnet_topdown.study import study


def main(arguments: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.study run MODEL``, ``record MODEL`` or ``table RECORDS...

    [--output FILE]``.
    """
    parser = argparse.ArgumentParser(
        "python3 -m espnet_topdown.study", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    helps = {
        "run": "train, decode and record every seed; goes on after an interruption",
        "record": (
            "record what is finished of each seed, while others or later phases are still to come"
        ),
    }
    for name, text in helps.items():
        command = commands.add_parser(name, help=text)
        add = command.add_argument
        add(
            "model",
            help="conf/train_asr_MODEL.yaml or conf/train_lm_MODEL.yaml, and conf/study/MODEL.yaml",
        )
        add("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the baselines (1 2 3)")
        add("--jobs", type=int, default=2, help="single-threaded trainings at a time (2)")
        add(
            "--model_file",
            help="model to decode (valid.acc.ave.pth; valid.loss.ave.pth of a language model)",
        )
        add("--test_sets", default="test", help='ASR: sets to decode, such as "dev test" (test)')
    table = commands.add_parser("table", help="RESULTS.md from records, without the models")
    table.add_argument(
        "records", type=Path, nargs="+", metavar="RECORDS", help="records, or directories of them"
    )
    table.add_argument(
        "--output", type=Path, help="file to write, with its images/ beside it (default: print)"
    )
    options = parser.parse_args(arguments)
    with reported():
        if options.command == "table":
            from espnet_topdown.study import tables

            tables.show(study.find_records(options.records), options.records, options.output)
            return
        chosen = study.choose(
            options.model, options.seeds, options.jobs, options.model_file, options.test_sets
        )
        if options.command == "run":
            study.run(chosen)
        else:
            for seed in chosen.seeds:
                study.record_seed(chosen, seed)


if __name__ == "__main__":
    main()
