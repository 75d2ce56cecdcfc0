"""The command ``espnet-topdown``: what each of its commands does.

``--help`` and all reading commands load neither torch nor ESPnet; what needs them is imported where
it is used, or runs in processes of its own.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from espnet_topdown import gpus, locks
from espnet_topdown.cascade import costs, espnet_answers, text
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.checks.base import base_change
from espnet_topdown.cascade.checks.phase import check_phases
from espnet_topdown.cascade.checks.run import check_begun, check_finished, check_first, named
from espnet_topdown.cascade.decode import decode
from espnet_topdown.cascade.find_facts import find_model_facts
from espnet_topdown.cascade.follow import follow
from espnet_topdown.cascade.judgement import Records
from espnet_topdown.cascade.launch import Launch
from espnet_topdown.cascade.notes import plan_notes
from espnet_topdown.cascade.paths import is_cascade
from espnet_topdown.cascade.prune import prune
from espnet_topdown.cascade.runner import run
from espnet_topdown.cli_parser import DEFAULT_FORM, FIRST_STEPS, parser
from espnet_topdown.completion import bash_completion
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.packed import config_of
from espnet_topdown.experiment.task import task_of_config
from espnet_topdown.plan.plan import BASE
from espnet_topdown.processes import open_standard_streams
from espnet_topdown.results.seal import sealed_facts
from espnet_topdown.table import Page

# Tests, of which many train, do without the seconds that it takes after each phase.
WITH_REPORT = True
LEAST = {"jobs": 1, "threads": 1, "num_nodes": 1, "ngpu": 0, "keep_epochs": 0}  # options of `run`


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script; exits non-zero with a message on any user fault."""
    open_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        # As argparse ends where a command is missing.
        parser().exit(2, FIRST_STEPS)
    args = parser().parse_args(words)
    is_anew = getattr(args, "no_cache", False)
    cache = espnet_answers.without_cache() if is_anew else contextlib.nullcontext()
    with reported(), _signals_end_in_order(), cache:
        try:
            ACTIONS[args.command](args)
        except KeyboardInterrupt:
            # A recipe tells it of itself, and of all that it runs.
            if not os.environ.get("ESPNET_TOPDOWN_SCRIPT"):
                print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)


@contextlib.contextmanager
def _signals_end_in_order() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as an exception; then the old handlers return."""
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, _terminated)}
    # Under nohup it is ignored, and a closed terminal is to be survived.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, _terminated)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminated(*_: object) -> NoReturn:
    """End the trainings too, and leave a state that the same command resumes."""
    sys.exit(143)


def _layers(args: Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        config = config_of(args.model, Path(scratch))
        facts = find_model_facts(
            config,
            args.task or task_of_config(read_config(config), config),
            plan=args.plan,
            vocab_size=args.vocab_size,
            input_size=args.input_size,
        )
    print(text.layer_table(facts.data["layers"]))
    _print_notes(facts.data["notes"], sys.stdout)


def _print_notes(notes: Iterable[str], stream: TextIO) -> None:
    for note in notes:
        print(f"note: {note}", file=stream)


def _plan(args: Namespace) -> None:
    _check_least(args, "jobs")
    cascade = Cascade.open(args.exp, args.plan, args.dir)
    records = cascade.read_records()
    check_finished(cascade, records)
    check_begun(cascade, records)
    check_phases(cascade, records)
    _print_plan(cascade, records, args.jobs)


def _print_plan(cascade: Cascade, records: Records, jobs: int) -> None:
    print(text.layer_table(cascade.facts.data["layers"]))
    print()
    print(text.plan_table(cascade, records))
    _print_notes(plan_notes(cascade), sys.stdout)
    print()
    print(costs.order(cascade))
    print()
    print(costs.estimate(cascade, records, jobs=jobs))


def _run(args: Namespace) -> None:
    _check_launch(args)
    cascade = Cascade.open(args.exp, args.plan, args.dir)
    records = cascade.read_records()
    if args.phase is not None:
        named(cascade, args.phase)
    redone = {named(cascade, phase) for phase in args.redo}
    ngpu, gpu_note = gpus.choose(
        args.ngpu,
        cascade.base.config,
        is_here=not args.cmd,
        jobs=args.jobs,
        num_nodes=args.num_nodes,
    )
    _print_notes(filter(None, [gpu_note]), sys.stderr)
    # What is set aside need not be as it was: `run` compares the rest.
    if not args.redo:
        check_finished(cascade, records)
        check_begun(cascade, records)
        if args.phase is not None:
            check_first(cascade, records, args.phase)
    check_phases(cascade, records.keys() - redone)
    if args.dry_run:
        _print_plan(cascade, records, args.jobs)
        return
    _print_notes(plan_notes(cascade), sys.stderr)
    print(costs.estimate(cascade, records, jobs=args.jobs), file=sys.stderr)
    launch = Launch(
        ngpu=ngpu,
        num_nodes=args.num_nodes,
        cmd=args.cmd,
        python=args.python,
        jobs=args.jobs,
        threads=args.threads,
    )
    run(
        cascade,
        launch,
        first=args.phase,
        keep_epochs=args.keep_epochs,
        redo=args.redo,
        with_report=WITH_REPORT,
    )


def _check_least(args: Namespace, *options: str) -> None:
    for option in options:
        value = getattr(args, option)
        if value is not None and value < LEAST[option]:
            raise TopdownError(f"--{option} must be at least {LEAST[option]}, not {value}")


def _check_launch(args: Namespace) -> None:
    _check_least(args, *LEAST)
    if args.num_nodes > 1 and not args.cmd:
        raise TopdownError(
            f"--num_nodes {args.num_nodes} needs --cmd, a command that submits to a cluster, such"
            " as slurm.pl"
        )
    if not args.cmd:
        return
    program = "".join(args.cmd.split()[:1])
    if not shutil.which(program):
        raise TopdownError(
            f"--cmd '{args.cmd}': found no such command; give its path (utils/slurm.pl), or source"
            " path.sh"
        )


def _reopen(directory: Path) -> Cascade:
    """The cascade in `directory`; says what changed since it was run."""
    cascade = Cascade.reopen(directory)
    change = base_change(cascade.paths, cascade.model_file(cascade.base.directory))
    if change:
        print(f"note: {change}; what is told of it here is what it was then", file=sys.stderr)
    return cascade


def _status(args: Namespace) -> None:
    cascade = _reopen(args.dir)
    if args.follow:
        follow(cascade)
        return
    print(text.status(cascade, cascade.read_records()))


def _results(args: Namespace) -> None:
    from espnet_topdown.results import pages

    for directory in filter(is_cascade, args.dirs):
        _reopen(directory)
    tables = pages.results_of(args.dirs, case_sensitive=args.case_sensitive, output=args.output)
    if args.form == "short":
        _print_summary(args, tables)
        return
    if not isinstance(tables, str):
        print(getattr(tables, args.form)(), end="")
        if args.form == DEFAULT_FORM:
            _tell_pages(args)
        return
    if args.form != DEFAULT_FORM:
        raise TopdownError(
            f"--{args.form} is for cascades and for two experiments; one experiment has ESPnet's"
            " RESULTS.md alone"
        )
    print(tables, end="")


def _print_summary(args: Namespace, tables: Page | str) -> None:
    from espnet_topdown.results.page_data import summary

    if not all(map(is_cascade, args.dirs)) or isinstance(tables, str):
        raise TopdownError("--short is for cascades; leave it out for experiments")
    print(summary(tables.data).terminal())
    _tell_pages(args)


def _tell_pages(args: Namespace) -> None:
    """Where the pages of a cascade, or of two side by side, were written."""
    written = args.output or args.dirs[0]
    for name, what in (("RESULTS.md", "all tables"), ("report.html", "the same with pictures")):
        if (written / name).exists() and (args.output or len(args.dirs) == 1):
            print(f"{what}: {written / name}")


def _power(args: Namespace) -> None:
    # Tables load scipy.
    from espnet_topdown.study import power
    from espnet_topdown.study.record_files import find_records

    print(power.power_page(find_records(args.records), args.difference).terminal(), end="")


def _verify(args: Namespace) -> None:
    from espnet_topdown.cascade.verify import verify

    cascade = Cascade.reopen(args.dir)
    for line in verify(cascade, cascade.read_records()):
        print(line)


def _prune(args: Namespace) -> None:
    cascade = _reopen(args.dir)
    with locks.locked(cascade.paths.lock, "prune"):
        lines = prune(cascade, cascade.read_records(), args.keep_epochs)
    print("\n".join(lines) or "nothing to remove")


def _phases(args: Namespace) -> None:
    for directory in _finished(_reopen(args.dir), args.decode):
        print(directory)


def _decode(args: Namespace) -> None:
    # argparse.REMAINDER keeps the `--` that may stand before them.
    options = [word for word in args.options if word != "--"]
    for word in options:
        if word.partition("=")[0] in ("--decode", "--again", "--script"):
            raise TopdownError(
                f"{word} stands behind {args.dir}, where options are run.sh's; give it before"
            )
    cascade = _reopen(args.dir)
    # The recipe prints what it scores.
    if sealed := sealed_facts([cascade.paths.base]):
        raise TopdownError(f"{sealed[0]}; 'study run' decodes its phases")
    phases = _finished(cascade, args.decode)
    if not phases:
        print(_nothing_to_decode(cascade))
        return
    decode(cascade, phases, options, again=args.again, script=args.script)


def _nothing_to_decode(cascade: Cascade) -> str:
    """Why no phase was asked for, and what to do."""
    if not cascade.read_records():
        return "nothing to decode: no phase is finished; 'espnet-topdown run' trains them"
    return (
        "nothing to decode: the best on dev is phase 0, the base itself; --decode all takes every"
        " finished phase"
    )


def _finished(cascade: Cascade, which: str) -> list[Path]:
    """Directories of all finished phases, or of the best alone: of none where that is phase 0."""
    judgement = cascade.judge(cascade.read_records())
    names = [judgement.best] if which == "best" else list(judgement.dev)
    return [cascade.paths.phase_dir(name) for name in names if name != BASE]


def _completion(_: Namespace) -> None:
    print(bash_completion())


ACTIONS = {
    "layers": _layers,
    "plan": _plan,
    "run": _run,
    "status": _status,
    "decode": _decode,
    "results": _results,
    "power": _power,
    "verify": _verify,
    "prune": _prune,
    "phases": _phases,
    "completion": _completion,
}


if __name__ == "__main__":
    main()
