"""Record what is finished of a seed: all that the tables need of each phase.

Training and decoding are `espnet_topdown.study.running`'s part; what a record holds is said in
`espnet_topdown.study.records`.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.check import mapping_in
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.keys import deciding
from espnet_topdown.experiment.phase_data import paths_of
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.lm.trigger import NONMONO, trigger_epoch
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan import BASE
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.results.rows import PhaseResult, phase_results
from espnet_topdown.results.seal import unseal
from espnet_topdown.study.analysis import read_analysis
from espnet_topdown.study.heard import Spoken, read_heard, read_recordings
from espnet_topdown.study.record_files import read_record, write_record
from espnet_topdown.study.records import Record, RecordedPhase, sealed_state
from espnet_topdown.study.study import Study
from espnet_topdown.table import counted
from espnet_topdown.text_files import read_table
from espnet_topdown.versions import versions

# What a corpus command may leave in data/, or in each set there: the options that made the sets.
OPTIONS = "options.json"
PACKAGE = Path(__file__).parents[1]


def record_seed(study: Study, seed: int) -> None:
    """Write the record of what is finished of a seed; ``run`` does so at its end.

    Raises:
        TopdownError: the plan of analysis has changed since another seed was recorded.
    """
    study.check_analysis()
    record = make_record(study, seed)
    write_record(study.record(seed), record)
    state = "" if record.complete else ", not complete yet"
    print(f"seed {seed}: wrote {study.record(seed)}{state}", flush=True)
    unseal_complete(study)


def unseal_complete(study: Study) -> None:
    """Open the cascades of all seeds, once the last of a plan of analysis is complete."""
    planned = read_analysis(study.analysis) or {"seeds": []}
    paths = [study.record(seed) for seed in planned["seeds"]]
    if not paths or not all(path.exists() for path in paths):
        return
    if not sealed_state([read_record(path) for path in paths]):
        for seed in planned["seeds"]:
            unseal(study.base(seed))


def make_record(study: Study, seed: int) -> Record:
    """All that the tables need of one seed, without a model."""
    cascade = Cascade.reopen(study.cascade(seed))
    spoken = Spoken()
    phases = [_recorded(cascade, row, study.model_file, spoken) for row in phase_results(cascade)]
    plan = read_plan(study.plan)
    planned = {phase.name for phase in expand(plan, cascade.facts.names, cascade.base.seed)}
    expected = {BASE, *planned} - cascade.judge(cascade.read_records()).skipped
    return Record(
        model=study.model,
        seed=seed,
        plan=plan_text(plan),
        dev_name=cascade.criterion.name,
        complete=is_complete(phases, expected, study.datasets),
        made=_made(study.ngpu),
        data=data_of(_sets(cascade, phases)),
        references=spoken.texts,
        phases=tuple(phases),
        recordings=read_recordings(spoken),
        speakers={name: speakers for name, speakers in spoken.speakers.items() if speakers},
        analysis=read_analysis(study.analysis),
        selected_on=tuple(sorted(cascade.valid_sets())),
        training=trained_with(study.config, cascade.base.config),
    )


def trained_with(config: Path, base: Mapping[str, Any]) -> dict[str, Any]:
    """The deciding options of a training config, with the values that a base has in its own."""
    return {key: base[key] for key in deciding(read_config(config)) if key in base}


def is_complete(
    phases: Sequence[RecordedPhase], expected: Collection[str], datasets: Collection[str]
) -> bool:
    """Whether every phase of the plan was decoded on every set.

    Args:
        phases: those that are recorded.
        expected: names of the phases that the plan asks for.
        datasets: sets that the study decodes; a set or text that one phase has is expected of all.
    """
    measured = {phase.name: phase.measured for phase in phases}
    sets = {*datasets}.union(*measured.values())
    # A phase that was decoded on nothing lacks whatever a study may be measured on.
    return all(measured.get(name) == sets and sets for name in expected)


def _recorded(cascade: Cascade, row: PhaseResult, model_file: str, spoken: Spoken) -> RecordedPhase:
    """One phase; what was said in its sets is added to `spoken`."""
    epochs = _epochs(cascade, row.directory, row.name)
    train = [epoch.get("train", {}) for epoch in epochs]
    hypotheses, counted = read_heard(row.directory, spoken)
    return RecordedPhase(
        **vars(row),
        train_loss=tuple(values.get("loss") for values in train),
        lr=tuple(values.get("optim0_lr0") for values in train),
        trigger=_trigger(row.directory, epochs),
        model_sha256=files.sha256(row.directory / model_file),
        hypotheses=hypotheses,
        counted=counted,
    )


def _epochs(cascade: Cascade, directory: Path, name: str) -> Sequence[Mapping[str, Any]]:
    """What the reporter noted of each epoch."""
    if name == BASE:
        return cascade.facts.epochs
    return files.read_rows(directory / EPOCHS)


def _trigger(directory: Path, epochs: Sequence[Mapping[str, Any]]) -> int | None:
    """The epoch after which a training by NT-ASGD averaged, 0 for from the start; None for none."""
    config = read_config(directory / "config.yaml")
    if mapping_in(config, "optim_conf").get("averaging"):
        return 0
    if config.get("scheduler") != "nt_asgd_trigger":
        return None
    nonmono = mapping_in(config, "scheduler_conf").get("nonmono", NONMONO)
    part, metric = config.get("val_scheduler_criterion", ("valid", "loss"))
    return trigger_epoch([epoch.get(part, {}).get(metric) for epoch in epochs], nonmono)


def _made(ngpu: int) -> dict[str, Any]:
    """Versions, commit and machine; `ngpu` is of one training."""
    by = f"{counted(ngpu, 'GPU')} a training" if ngpu else "one thread a training"
    machine = f"{os.cpu_count()}-core CPU, {by}"
    python = sys.version.split()[0]
    return {**versions(), "python": python, "commit": commit_of(PACKAGE), "machine": machine}


def commit_of(folder: Path) -> str:
    """The git commit of what is in `folder`, marked where it has changed since; "none" without."""
    git = ["git", "-C", str(folder)]
    try:
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    except OSError:
        # No git here.
        return "none"
    # A copy without its history, say.
    if commit.returncode:
        return "none"
    changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "."])
    return commit.stdout.strip() + (" (changed since)" if changed.returncode else "")


def _sets(cascade: Cascade, phases: Sequence[RecordedPhase]) -> set[str]:
    """Names of the sets that phases were trained, judged and measured on."""
    config = cascade.base.config
    lists = chain.from_iterable(paths_of(config, part) for part in DATA_PARTS)
    names = {Path(path).parent.name for path in lists}
    names |= {Path(place).name for phase in cascade.phases for place in phase.data.values()}
    # A text is measured as "test (stream)".
    return names | {each.partition(" (")[0] for phase in phases for each in phase.measured}


def data_of(names: Collection[str]) -> dict[str, Any]:
    """Sizes and hashes of the sets `names` in data/, and the options that made them.

    Other sets may stand there too, of another study.
    """
    sets = {}
    options: dict[str, Any] = {}
    for text in sorted(Path("data").glob("*/text")):
        if text.parent.name not in names:
            continue
        lines = read_table(text).values()
        words = sum(len(line.split()) for line in lines)
        sets[text.parent.name] = {
            "strings": len(lines),
            "words": words,
            "text_sha256": files.sha256(text),
        }
        for path in (text.parent / OPTIONS, text.parent.parent / OPTIONS):
            if not options and path.exists():
                options = files.read_json(path)
    return {"sets": sets, "options": options}
