"""The command ``espnet-topdown``.

Layers, plan, run, status, decode, results, verify, prune, phases.

``--help`` and all reading commands load neither torch nor ESPnet; what needs them runs in processes
of its own.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from espnet_topdown.errors import TopdownError, reported

if TYPE_CHECKING:
    from espnet_topdown.cascade.cascade import Cascade

_EPILOG = """\
Top-down cascade training (arXiv 2102.04697): a trained experiment is phase 0; each phase keeps and freezes the layers
from its cut upward, draws those below anew under its own seed, and retrains them. Run it in the recipe directory:

  espnet-topdown layers exp/asr_train_x                           what can be cut
  espnet-topdown plan exp/asr_train_x --plan conf/topdown/rnn.yaml    what would be trained; refuses what cannot work
  espnet-topdown run exp/asr_train_x --plan conf/topdown/rnn.yaml     train; the same command goes on after any kill
  espnet-topdown decode exp/asr_train_x_topdown_rnn               stages 12 and 13 of the recipe's run.sh, phase by phase
  espnet-topdown results exp/asr_train_x_topdown_rnn              tables, plots and a report
"""

_KEEP_EPOCHS = (
    "epoch files to keep of each, the best on dev, besides averages and what links point to"
)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits non-zero with a message on any user fault."""
    parser = _parser()
    args = parser.parse_args(argv)
    with reported(), _signals_end_in_order():
        try:
            args.run(args)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:  # a full disk, a directory that may not be written
            where = error.filename or args.run.__name__[1:]
            raise TopdownError(f"{where}: {error.strerror}; mend that and run again") from error


@contextlib.contextmanager
def _signals_end_in_order() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as an exception; the handlers before come back."""
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _terminated)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _terminated)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminated(*_: object) -> NoReturn:
    """SIGTERM, or a closed terminal, ends trainings and leaves a state that the same command
    resumes.
    """
    sys.exit(143)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="espnet-topdown",
        description="Top-down cascade training for ESPnet2.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_layers(commands)
    _add_plan(commands)
    _add_run(commands)
    status = commands.add_parser(
        "status", help="where a cascade stands: epochs, dev criterion, time left"
    )
    status.add_argument("dir", type=Path, metavar="DIR", help="directory of a cascade")
    status.set_defaults(run=_status)
    _add_decode(commands)
    _add_results(commands)
    verify = commands.add_parser(
        "verify", help="re-check a finished cascade from its files; finds one changed weight"
    )
    verify.add_argument("dir", type=Path, metavar="DIR", help="directory of a cascade")
    verify.set_defaults(run=_verify)
    prune = commands.add_parser(
        "prune", help="remove epoch files and checkpoints that nothing needs from finished phases"
    )
    prune.add_argument("dir", type=Path, metavar="DIR", help="directory of a cascade")
    prune.add_argument("--keep_epochs", type=int, required=True, metavar="N", help=_KEEP_EPOCHS)
    prune.set_defaults(run=_prune)
    phases = commands.add_parser(
        "phases", help="print the directories of finished phases, one a line, for decoding"
    )
    phases.add_argument("dir", type=Path, metavar="DIR", help="directory of a cascade")
    phases.add_argument(
        "--decode",
        choices=("best", "all"),
        default="all",
        help="only the dev-selected phase, or all",
    )
    phases.set_defaults(run=_phases)
    return parser


def _add_layers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    layers = commands.add_parser(
        "layers",
        help="the layers of a model, with sizes and what freezing meets there",
        description=(
            "Builds the model and prints its layers from the output to the input: name (what a cut"
            " is called), parameters, share of the model, normalisation, dropout, recurrence, ties."
        ),
    )
    layers.add_argument(
        "model", type=Path, metavar="EXP_OR_CONFIG", help="experiment directory or training config"
    )
    layers.add_argument("--plan", type=Path, help="plan whose own layer order ('layers:') is used")
    layers.add_argument(
        "--vocab_size", type=int, help="tokens, for a config without a token list (default 500)"
    )
    layers.add_argument(
        "--input_size", type=int, help="feature dimension, for a config without a frontend"
    )
    layers.set_defaults(run=_layers)


def _add_plan(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    plan = commands.add_parser(
        "plan", help="check a plan against a trained experiment and print its phases"
    )
    _add_base(plan)
    plan.set_defaults(run=_plan)


def _add_base(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "exp", type=Path, metavar="EXP", help="directory of the trained experiment (phase 0)"
    )
    parser.add_argument(
        "--plan", type=Path, required=True, help="YAML plan, such as conf/topdown/rnn.yaml"
    )
    parser.add_argument(
        "--dir", type=Path, help="directory of the cascade (default: EXP_topdown_PLAN)"
    )


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    run = commands.add_parser(
        "run",
        help="train the phases of a plan; the same command goes on after any kill",
        description=(
            "Trains every phase that is not finished, records it, and links 'best' to the"
            " dev-selected one."
        ),
    )
    _add_base(run)
    run.add_argument(
        "--phase", help="go on with this phase (name or number); those before it must be finished"
    )
    run.add_argument(
        "--dry_run", action="store_true", help="print phases, disk and hours; train nothing"
    )
    run.add_argument(
        "--jobs",
        type=int,
        default=1,
        help="independent phases (controls, sweeps) at a time (default 1)",
    )
    threads = (
        "torch threads of a training, fixed by the first run (default: OMP_NUM_THREADS, else CPUs /"
        " jobs, 1 with --cmd)"
    )
    run.add_argument("--threads", type=int, help=threads)
    keep = f"prune finished phases (default: keep all): {_KEEP_EPOCHS}"
    run.add_argument("--keep_epochs", type=int, metavar="N", help=keep)
    run.add_argument("--ngpu", type=int, default=0, help="GPUs of one training (default 0)")
    run.add_argument("--num_nodes", type=int, default=1, help="nodes of one training (default 1)")
    run.add_argument(
        "--cmd", help='Kaldi-style command prefix such as "$cuda_cmd"; default: on this machine'
    )
    run.add_argument(
        "--python", default="python3", help="interpreter used with --cmd (default python3)"
    )
    run.set_defaults(run=_run)


def _add_decode(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    decode = commands.add_parser(
        "decode",
        help="decode and score finished phases through the recipe's run.sh",
        description=(
            "In the recipe directory: ./run.sh --stage 12 --stop_stage 13 --skip_train true"
            " --asr_exp PHASE for each finished phase, so that language model, scoring and"
            " RESULTS.md are the recipe's."
        ),
    )
    decode.add_argument(
        "--decode",
        choices=("best", "all"),
        default="all",
        help="only the dev-selected phase, or all",
    )
    decode.add_argument("dir", type=Path, metavar="DIR", help="directory of a cascade")
    decode.add_argument(
        "options",
        nargs=argparse.REMAINDER,
        metavar="OPTION...",
        help="what follows DIR is passed to run.sh",
    )
    decode.set_defaults(run=_decode)


def _add_results(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    results = commands.add_parser(
        "results",
        help="tables and plots of a cascade, of one experiment, or of two experiments side by side",
        description=(
            "One cascade: prints its table and writes RESULTS.md, results.json, images/ and"
            " report.html there. Several cascades: one table over their seeds. One experiment:"
            " ESPnet's RESULTS.md. Two experiments: the second against the first."
        ),
    )
    results.add_argument(
        "dirs", type=Path, nargs="+", metavar="DIR", help="cascades or experiments"
    )
    results.add_argument("--json", action="store_true", help="print JSON instead of tables")
    results.add_argument(
        "--case_sensitive", action="store_true", help="do not fold case (sclite's -s)"
    )
    results.set_defaults(run=_results)


def _layers(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.model_facts import find_facts
    from espnet_topdown.cascade.text import layer_table
    from espnet_topdown.experiment.config import read_config, task_of_config

    config = args.model / "config.yaml" if args.model.is_dir() else args.model
    task = task_of_config(read_config(config), config)
    facts = find_facts(
        config, task, plan=args.plan, vocab_size=args.vocab_size, input_size=args.input_size
    )
    print(layer_table(facts.data["layers"]))
    for note in facts.data["notes"]:
        print(f"note: {note}")


def _plan(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.cascade import Cascade

    _print_plan(Cascade.open(args.exp, args.plan, args.dir))


def _print_plan(cascade: "Cascade") -> None:
    from espnet_topdown.cascade import text

    print(text.layer_table(cascade.facts.data["layers"]))
    print()
    print(text.plan_table(cascade))
    for note in text.notes(cascade):
        print(f"note: {note}")
    print(text.estimate(cascade))


def _run(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade import text
    from espnet_topdown.cascade.cascade import Cascade

    _check_launch(args)
    cascade = Cascade.open(args.exp, args.plan, args.dir)
    if args.dry_run:
        cascade.check_finished()
        _print_plan(cascade)
        return
    from espnet_topdown.cascade.runner import Launch, run

    for note in text.notes(cascade):
        print(f"note: {note}", file=sys.stderr)
    print(text.estimate(cascade), file=sys.stderr)
    launch = Launch(args.ngpu, args.num_nodes, args.cmd, args.python, args.jobs, args.threads)
    run(cascade, launch, first=args.phase, keep_epochs=args.keep_epochs)


def _check_launch(args: argparse.Namespace) -> None:
    for option, least in (
        ("jobs", 1),
        ("threads", 1),
        ("num_nodes", 1),
        ("ngpu", 0),
        ("keep_epochs", 0),
    ):
        if (value := getattr(args, option)) is not None and value < least:
            raise TopdownError(f"--{option} must be at least {least}, not {value}")
    if args.num_nodes > 1 and not args.cmd:
        raise TopdownError(
            f"--num_nodes {args.num_nodes} needs --cmd, a command that submits to a cluster, such"
            " as slurm.pl"
        )
    if args.cmd and not shutil.which("".join(args.cmd.split()[:1])):
        raise TopdownError(
            f"--cmd '{args.cmd}': found no such command; give its path (utils/slurm.pl), or source"
            " path.sh"
        )


def _status(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.cascade import Cascade
    from espnet_topdown.cascade.text import status

    print(status(Cascade.reopen(args.dir)))


def _results(args: argparse.Namespace) -> None:
    from espnet_topdown.results import pages

    tables = pages.results_of(args.dirs, case_sensitive=args.case_sensitive)
    if isinstance(tables, str):
        if args.json:
            raise TopdownError(
                "--json is for cascades and for two experiments; one experiment has ESPnet's"
                " RESULTS.md alone"
            )
        print(tables, end="")
    else:
        print(tables.json() if args.json else tables.terminal(), end="")


def _verify(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.cascade import Cascade
    from espnet_topdown.cascade.verify import verify

    for line in verify(Cascade.reopen(args.dir)):
        print(line)


def _prune(args: argparse.Namespace) -> None:
    from espnet_topdown import files
    from espnet_topdown.cascade.cascade import Cascade
    from espnet_topdown.cascade.prune import prune

    cascade = Cascade.reopen(args.dir)
    with files.locked(cascade.directory / ".lock", "prune"):
        print("\n".join(prune(cascade, args.keep_epochs)) or "nothing to remove")


def _phases(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.cascade import Cascade

    for directory in _finished(Cascade.reopen(args.dir), args.decode):
        print(directory)


def _decode(args: argparse.Namespace) -> None:
    from espnet_topdown.cascade.cascade import Cascade
    from espnet_topdown.cascade.decode import decode

    cascade = Cascade.reopen(args.dir)
    decode(
        cascade, _finished(cascade, args.decode), [word for word in args.options if word != "--"]
    )


def _finished(cascade: "Cascade", which: str) -> list[Path]:
    """Directories of the finished phases, or of the best alone, which may be phase 0 and so none of
    them.
    """
    from espnet_topdown.plan.plan import BASE

    judgement = cascade.judge()
    return [
        cascade.phase_dir(n)
        for n in judgement.dev
        if n != BASE and (which == "all" or n == judgement.best)
    ]


if __name__ == "__main__":
    main()
