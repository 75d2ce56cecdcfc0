"""What can be typed after ``espnet-topdown``: its commands and their options.

What a command does is in `espnet_topdown.cli`, under the same name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from espnet_topdown.errors import COMMAND, Parser, reported
from espnet_topdown.experiment.task import TASKS
from espnet_topdown.plan.reference import reference
from espnet_topdown.plan.shipped import plan_path, shipped_plans
from espnet_topdown.recognise import named

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

STEPS = """\
  espnet-topdown layers exp/asr_train_x
      what can be cut
  espnet-topdown plan exp/asr_train_x --plan conf/topdown/rnn.yaml
      what would be trained; refuses what cannot work
  espnet-topdown run exp/asr_train_x --plan conf/topdown/rnn.yaml
      train; the same command goes on after any kill
  espnet-topdown decode exp/asr_train_x_topdown_rnn
      stages 12 and 13 of the recipe's run.sh, phase by phase
  espnet-topdown results exp/asr_train_x_topdown_rnn
      tables, plots and a report
"""
EPILOG = f"""\
Top-down cascade training (arXiv 2102.04697): a trained experiment is phase 0; each phase keeps and
freezes the layers from its cut upward, draws those below anew under its own seed, and retrains
them. Run it in the recipe directory:

{STEPS}"""
# For who types no command at all.
FIRST_STEPS = f"""\
usage: {COMMAND} COMMAND ...; in the recipe directory of a trained experiment:

{STEPS}
{COMMAND} --help lists all commands, and {COMMAND} COMMAND --help the options of one
"""
# Methods of `espnet_topdown.table.Page`, but for `short`.
DEFAULT_FORM = "terminal"
FORMS = {
    "json": "print JSON instead of tables",
    "latex": "print tables for a paper (booktabs)",
    "csv": "print all tables as one in CSV (RFC 4180), each row with its table's name",
    "short": "print one table in plain words, and where the others were written (cascades)",
}
KEEP_EPOCHS = (
    "epoch files to keep of each phase, the best on dev, besides averages and what links point to"
)


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; `command` of what it reads is the command's name."""
    top = Parser(
        prog=COMMAND,
        description="Top-down cascade training for ESPnet2.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, dest="command", metavar="COMMAND")
    _add_layers(commands)
    _add_plan(commands)
    _add_run(commands)
    _add_status(commands)
    _add_decode(commands)
    _add_results(commands)
    _add_power(commands)
    _add_verify(commands)
    _add_prune(commands)
    _add_phases(commands)
    _add_completion(commands)
    return top


class _PrintKeys(argparse.Action):
    """Prints the reference of a plan's keys and ends, as ``--help`` does."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print and end."""
        with reported():
            print(reference(), end="", flush=True)
        parser.exit()


# -- arguments that several commands have


def _add_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("dir", type=named, metavar="DIR", help="directory of a cascade")


def _add_base(command: argparse.ArgumentParser) -> None:
    base = "directory of the trained experiment that is the base (phase 0)"
    command.add_argument("exp", type=named, metavar="EXP", help=base)
    shipped = ", ".join(shipped_plans())
    plan = f"YAML plan, such as conf/topdown/rnn.yaml, or the name of a shipped one ({shipped})"
    command.add_argument("--plan", type=plan_path, required=True, help=plan)
    directory = "directory of the cascade (default: EXP_topdown_PLAN)"
    command.add_argument("--dir", type=named, help=directory)


def _add_no_cache(command: argparse.ArgumentParser) -> None:
    no_cache = "ask ESPnet anew; else what it answered to the same question is taken from the cache"
    command.add_argument("--no_cache", action="store_true", help=no_cache)


def _add_jobs(command: argparse.ArgumentParser) -> None:
    jobs = "independent phases to train at a time (default 1)"
    command.add_argument("--jobs", type=int, default=1, help=jobs)


def _add_which(command: argparse.ArgumentParser) -> None:
    which = "only the dev-selected phase, or all (default)"
    command.add_argument("--decode", choices=("best", "all"), default="all", help=which)


# -- one function a command


def _add_layers(commands: Commands) -> None:
    layers = commands.add_parser(
        "layers",
        help="the layers of a model, with sizes and what matters for freezing them",
        description=(
            "Builds the model and prints its layers from the output to the input: name (what a cut"
            " is called), parameters, share of the model, normalisation, dropout, recurrence, ties."
        ),
    )
    model = "experiment directory, training config, or a model that ESPnet packed (a zip, say)"
    layers.add_argument("model", type=named, metavar="EXP_OR_CONFIG", help=model)
    layers.add_argument(
        "--plan", type=plan_path, help="plan whose own layer order ('layers:') is used"
    )
    task = "ESPnet's task, where the config does not say it"
    layers.add_argument("--task", choices=TASKS, help=task)
    vocab_size = "tokens, for a config without a token list (default 500)"
    layers.add_argument("--vocab_size", type=int, help=vocab_size)
    _add_no_cache(layers)
    input_size = "feature dimension, for a config without a frontend"
    layers.add_argument("--input_size", type=int, help=input_size)


def _add_plan(commands: Commands) -> None:
    summary = "check a plan against its base and print its phases"
    plan = commands.add_parser("plan", help=summary)
    _add_base(plan)
    _add_jobs(plan)
    _add_no_cache(plan)
    keys = "print all keys of a plan, each with its meaning and an example, and end"
    plan.add_argument("--keys", action=_PrintKeys, help=keys)


def _add_run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="train the phases of a plan; the same command goes on after any kill",
        description=(
            "Trains every phase that is not finished, records it, and links 'best' to the"
            " dev-selected one."
        ),
    )
    _add_base(run)
    _add_no_cache(run)
    phase = "go on with this phase (name or number); those before it must be finished"
    run.add_argument("--phase", help=phase)
    redo = "phases (names or numbers) to set aside and train anew, such as a failed one"
    run.add_argument("--redo", nargs="+", metavar="PHASE", default=[], help=redo)
    dry_run = "print phases, disk and hours; train nothing"
    run.add_argument("--dry_run", action="store_true", help=dry_run)
    _add_jobs(run)
    threads = (
        "torch threads of a training, fixed by the first run (default: OMP_NUM_THREADS, else CPUs /"
        " jobs, 1 with --cmd)"
    )
    run.add_argument("--threads", type=int, help=threads)
    keep = f"prune finished phases (default: keep all): {KEEP_EPOCHS}"
    run.add_argument("--keep_epochs", type=int, metavar="N", help=keep)
    ngpu = "GPUs of one training, 0: on the CPU (default: the base's)"
    run.add_argument("--ngpu", type=int, help=ngpu)
    run.add_argument("--num_nodes", type=int, default=1, help="nodes of one training (default 1)")
    cmd = 'Kaldi-style command prefix such as "$cuda_cmd" (default: none, trains on this machine)'
    run.add_argument("--cmd", help=cmd)
    python = "interpreter used with --cmd (default python3)"
    run.add_argument("--python", default="python3", help=python)


def _add_status(commands: Commands) -> None:
    summary = "where a cascade stands: epochs, dev criterion, time left"
    status = commands.add_parser("status", help=summary)
    _add_dir(status)
    follow = "show it until the cascade ends, with what trains now, on which GPU, and what waits"
    status.add_argument("--follow", action="store_true", help=follow)


def _add_decode(commands: Commands) -> None:
    decode = commands.add_parser(
        "decode",
        help="decode and score finished phases through the recipe's run.sh",
        description=(
            "In the recipe directory: ./run.sh --stage 12 --stop_stage 13 --skip_train true"
            " --asr_exp PHASE for each finished phase, so that language model, scoring and"
            " RESULTS.md are the recipe's. Options are those with which the base was decoded or"
            " trained (asr.sh keeps them in EXP/run.sh), then those that follow DIR."
        ),
    )
    _add_which(decode)
    script = "what decodes, by asr.sh's options (default run.sh)"
    decode.add_argument("--script", type=Path, default=Path("run.sh"), help=script)
    again = "decode also what was decoded by the same model and options"
    decode.add_argument("--again", action="store_true", help=again)
    _add_dir(decode)
    options = "what follows DIR is passed to run.sh"
    decode.add_argument("options", nargs=argparse.REMAINDER, metavar="OPTION...", help=options)


def _add_results(commands: Commands) -> None:
    results = commands.add_parser(
        "results",
        help="tables and plots of a cascade, of one experiment, or of two experiments side by side",
        description=(
            "One cascade: prints its table and writes RESULTS.md, results.json, report.html and"
            " images/ (PNG and PDF) there. Several cascades: their phases side by side, and against"
            " one another where they have one base. One experiment: ESPnet's RESULTS.md. Two"
            " experiments: the second against the first."
        ),
    )
    dirs = "cascades or experiments"
    results.add_argument("dirs", type=named, nargs="+", metavar="DIR", help=dirs)
    forms = results.add_mutually_exclusive_group()
    for form, summary in FORMS.items():
        forms.add_argument(
            f"--{form}",
            action="store_const",
            const=form,
            dest="form",
            default=DEFAULT_FORM,
            help=summary,
        )
    output = "directory to write RESULTS.md, results.json and images/ to"
    results.add_argument("--output", type=named, metavar="DIR", help=output)
    case = "do not fold case (sclite's -s)"
    results.add_argument("--case_sensitive", action="store_true", help=case)


def _add_power(commands: Commands) -> None:
    summary = "seeds that a study needs to show a difference, from the records of another"
    power = commands.add_parser("power", help=summary)
    records = "records of a study, or directories of them"
    power.add_argument("records", type=Path, nargs="+", metavar="RECORDS", help=records)
    difference = (
        "least difference that matters, in points of WER, in perplexity and in per cent of it"
    )
    power.add_argument("--difference", type=float, required=True, help=difference)


def _add_verify(commands: Commands) -> None:
    verify = "re-check a finished cascade from its files; finds even one changed weight"
    _add_dir(commands.add_parser("verify", help=verify))


def _add_prune(commands: Commands) -> None:
    summary = "remove epoch files and checkpoints that nothing needs from finished phases"
    prune = commands.add_parser("prune", help=summary)
    _add_dir(prune)
    prune.add_argument("--keep_epochs", type=int, required=True, metavar="N", help=KEEP_EPOCHS)


def _add_phases(commands: Commands) -> None:
    summary = "print the directories of finished phases, one a line, for decoding"
    phases = commands.add_parser("phases", help=summary)
    _add_dir(phases)
    _add_which(phases)


def _add_completion(commands: Commands) -> None:
    commands.add_parser(
        "completion",
        help="what bash needs to complete this command line",
        description=f'In ~/.bashrc, or for this shell alone: eval "$({COMMAND} completion)"',
    )
