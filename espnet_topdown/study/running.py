"""Run a study: train, decode and record its seeds, one after another.

Which commands these are is `espnet_topdown.study.study`'s part, what is recorded of a seed
`espnet_topdown.study.recording`'s.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from espnet_topdown import check
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.keys import deciding
from espnet_topdown.experiment.schedule import unequal
from espnet_topdown.plan.plan import BASE
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.results.rows import dev_set_of, phase_results
from espnet_topdown.results.seal import seal
from espnet_topdown.study.analysis import (
    LEAST_DISTANCE,
    SETS,
    are_apart,
    asked_sets,
    lacking,
    question_faults,
    read_analysis,
    unselectable,
)
from espnet_topdown.study.recording import record_seed
from espnet_topdown.study.study import Study
from espnet_topdown.table import counted
from espnet_topdown.warm.groups import Group, side_by_side, told

# In an experiment: what its decoding printed.
DECODING_LOG = "study_decoding.log"


def run(study: Study) -> None:
    """Train, decode and record every seed that has no record; go on after an interruption.

    Raises:
        TopdownError: a command failed; its output stands above, and the same call goes on from
            there.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    study.check_analysis()
    print(f"note: {analysis_note(study)}", file=sys.stderr)
    for note in filter(None, (seeds_note(study), schedule_note(study))):
        print(f"note: {note}", file=sys.stderr)
    to_record = [seed for seed in study.seeds if not study.is_recorded(seed)]
    for seed in sorted(set(study.seeds) - set(to_record)):
        print(f"seed {seed}: recorded in {study.record(seed)}")
    # One seed after another: what is finished when a machine ends is whole seeds.
    whole: list[float] = []
    for place, seed in enumerate(to_record):
        began = time.monotonic()
        is_begun = study.base(seed).exists()
        if changed := config_note(study, seed):
            print(f"note: {changed}", file=sys.stderr)
        if not has_base(study, seed):
            # A base has nobody to train beside it but other bases; with GPUs they take turns.
            together = 1 if study.ngpu else study.jobs
            next_ones = to_record[place : place + together]
            new = [each for each in next_ones if not has_base(study, each)]
            run_all(list(map(study.train_command, new)), together)
        run_cascade(study, seed)
        hours = (time.monotonic() - began) / 3600
        # What is left of a seed that an earlier call began says nothing of the next.
        if not is_begun:
            whole.append(hours)
        print(progress(seed, hours, len(to_record) - place - 1, whole), flush=True)


def seeds_note(study: Study) -> str | None:
    """What keeps the seeds of a study from being independent; None where nothing does."""
    if are_apart(study.seeds):
        return None
    return (
        f"seeds less than {LEAST_DISTANCE} apart share random numbers, as ESPnet seeds epoch n with"
        " seed + n; give --seeds 100000 200000 300000 and so on"
    )


def analysis_note(study: Study) -> str:
    """Whether the study has a plan of analysis, so that a misnamed file is seen at once."""
    if study.analysis.exists():
        return f"{study.analysis} says what is asked, and when results are shown"
    return f"found no {study.analysis}, so every question is asked, and results show as they come"


def check_asked(study: Study, seed: int) -> None:
    """Refuse, before phases are trained, a plan of analysis that asks about what no seed will have.

    Raises:
        TopdownError: its questions have no answer (`analysis.question_faults`); a phase that it
            names is not in the plan; a set is not decoded, or has selected epochs and phases; dev
            cannot select among phases that it names; or the primary question would be asked on
            several sets.
    """
    planned = read_analysis(study.analysis)
    # Known once a seed is recorded; a pilot answers nothing.
    if planned is None or seed not in planned["seeds"] or study.records():
        return
    check.refuse(question_faults(planned), f"{study.analysis} is no plan of analysis")
    cascade = Cascade.open(study.base(seed), study.plan, study.cascade(seed))
    names = [BASE, *(phase.name for phase in cascade.phases)]
    missing = lacking(planned, dict.fromkeys(names, study.datasets or None))
    if missing:
        raise TopdownError(
            f"{study.analysis} asks about {listed(missing)}, which no seed would have: phases of"
            f" {study.plan} are {listed(names)}; mend one of the two, or the --test_sets"
        )
    dev_sets = {BASE: "", **{phase.name: dev_set_of(cascade, phase) for phase in cascade.phases}}
    mixed = unselectable(planned, dev_sets)
    if mixed:
        raise TopdownError(
            f"{study.analysis}: {listed(mixed)}: dev values of different data or tokens select no"
            " phase; ask about phases whose dev values are of one set"
        )
    (primary,) = planned["primary"].values()
    if SETS not in primary and len(study.datasets) > 1:
        raise TopdownError(
            f"{study.analysis}: primary would be asked on each of {listed(study.datasets)}, and"
            f" none is corrected for the others; give it one set (`{SETS}`)"
        )
    selecting = sorted(cascade.valid_sets() & {*asked_sets(planned)})
    if selecting:
        raise TopdownError(
            f"{study.analysis} asks about {listed(selecting)}, which selects epochs and phases, so"
            " that no difference there would be a finding; ask about other sets"
        )


def schedule_note(study: Study) -> str | None:
    """What keeps the trainings of a study from having one schedule; None where nothing does."""
    plan = read_plan(study.plan)
    # Phases have names only once the model is known.
    phases = {
        entry.name or f"item {number} of the plan": {**plan.train, **entry.train}
        for number, entry in enumerate(plan.entries, 1)
    }
    return unequal(read_config(study.config), phases)


def config_note(study: Study, seed: int) -> str | None:
    """What the training config says now and a base was not trained with; None for nothing."""
    path = study.base(seed) / "config.yaml"
    if not (has_base(study, seed) and path.exists()):
        return None
    wanted, trained = deciding(read_config(study.config)), read_config(path)
    other = [
        f"{key} {trained[key]}, not {value}"
        for key, value in wanted.items()
        if key in trained and not _is_as_wanted(value, trained[key])
    ]
    if not other:
        return None
    return (
        f"{study.base(seed)} was trained with {listed(other)} as {study.config} says now, and stays"
        " so; move it and its cascade away to train it by the config"
    )


def _is_as_wanted(wanted: Any, trained: Any) -> bool:
    if isinstance(wanted, Mapping) and isinstance(trained, Mapping):
        # asr.sh adds to some, such as fs to frontend_conf.
        return all(
            key in trained and _is_as_wanted(value, trained[key]) for key, value in wanted.items()
        )
    # ESPnet writes names in lower case, and numbers that stood in quotes as numbers.
    return str(wanted).lower() == str(trained).lower()


def has_base(study: Study, seed: int) -> bool:
    """Whether the base of a seed is trained."""
    # The averaged model is the last file that a training writes.
    return (study.base(seed) / study.model_file).exists()


def run_cascade(study: Study, seed: int) -> None:
    """Train the phases of one seed, decode and record it.

    Raises:
        TopdownError: a command failed.
    """
    if not has_base(study, seed):
        there = listed(sorted(path.name for path in study.base(seed).glob("*.ave.pth")))
        raise TopdownError(
            f"{study.base(seed)} is trained and has no {study.model_file}; give --model_file the"
            f" model to decode ({there})"
        )
    check_asked(study, seed)
    planned = read_analysis(study.analysis)
    if planned is not None and seed in planned["seeds"]:
        # Its report is made anew after each phase, decoded ones among them.
        seal(study.base(seed), study.model)
    run_all([study.cascade_command(seed)], 1)
    rows = phase_results(Cascade.reopen(study.cascade(seed)))
    experiments = [row.directory for row in rows if not study.is_decoded(row.directory)]
    # Not to the terminal: nobody is to see a test value before the last seed.
    logs = [experiment / DECODING_LOG for experiment in experiments]
    run_all(list(map(study.decode_command, experiments)), study.jobs, logs)
    record_seed(study, seed)


def progress(seed: int, hours: float, to_come: int, whole: Sequence[float]) -> str:
    """What is said after a seed of `hours`.

    Args:
        seed: of the study.
        hours: what it took in this call.
        to_come: seeds that are still to be trained.
        whole: hours of those that this call trained from their beginning.
    """
    took = f"seed {seed}: took {_duration(hours)}"
    if not to_come:
        return f"{took}; it was the last"
    took += f"; {counted(to_come, 'seed')} to come"
    if not whole:
        return took
    return f"{took}, about {_duration(statistics.mean(whole) * to_come)}"


def _duration(hours: float) -> str:
    whole, minutes = divmod(round(60 * hours), 60)
    return f"{whole} h {minutes:02d} min" if whole else f"{minutes} min"


def run_all(commands: Sequence[Sequence[str]], jobs: int, logs: Sequence[Path] = ()) -> None:
    """Run every command, `jobs` at a time; after a failure none is started.

    When this process ends, SIGKILL included, so do the commands and what they started.

    Args:
        commands: as lists of words.
        jobs: commands at a time.
        logs: file of each command's output; none: the terminal.

    Raises:
        TopdownError: a command failed.
    """
    failed: list[str] = []
    places: Sequence[Path | None] = logs or [None] * len(commands)

    def begin(command: Sequence[str], log: Path | None) -> Group:
        print(f"{time.strftime('%H:%M:%S')} {' '.join(command)}", flush=True)
        if log is None:
            return Group(command, stdin=subprocess.DEVNULL)
        with log.open("w") as output:
            return Group(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

    def note(number: int, status: int) -> None:
        where = places[number] or "its output stands above"
        failed.append(f"({where}): {' '.join(commands[number])} {told(status)}")

    starts = [partial(begin, *each) for each in zip(commands, places, strict=True)]
    side_by_side(starts, jobs, note)
    if failed:
        raise TopdownError(f"a command of the study failed {failed[0]}\nRun again to go on")
