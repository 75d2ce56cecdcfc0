"""Dev values that no training left, measured by ESPnet's validation alone and kept.

Of a base that was packed; and of phase 0, or of the best phase so far, on the validation set of a
phase that has its own, so that two models are judged on one set. A measured value is that of the
best of the epochs that are kept, as a training's is; where none are, of the model that phases keep
layers of.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.judgement import Judgement, Records
from espnet_topdown.cascade.launch import Launch, run_tool
from espnet_topdown.cascade.measured import read_measured
from espnet_topdown.cascade.phase_config import config_under
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_data import DATA, SHAPES
from espnet_topdown.plan.plan import BASE, Phase

VALIDATOR = "espnet_topdown.bin.validation"


def measure_base(cascade: Cascade, launch: Launch, *, slot: int) -> None:
    """Measure phase 0 on every validation set that phases are judged on and its training was not.

    Args:
        cascade: whose phases these are.
        launch: how trainings are started.
        slot: which of the `launch.jobs` places is free for it, from 0.

    Raises:
        TopdownError: it cannot be validated.
    """
    if not cascade.facts.epochs and cascade.base.has_valid_data:
        _measure(cascade, launch, BASE, None, slot)
    for phase in cascade.phases:
        if phase.valid_set and cascade.vocabulary(phase) is None:
            _measure(cascade, launch, BASE, phase, slot)


def judge_all(cascade: Cascade, records: Records, launch: Launch, *, slot: int) -> Judgement:
    """The judgement of the finished phases, after measuring what it lacks.

    Args:
        cascade: whose phases these are.
        records: of the finished phases.
        launch: how trainings are started.
        slot: which of the `launch.jobs` places is free for it, from 0.

    Raises:
        TopdownError: a model cannot be validated, or its value is not finite.
    """
    tried = set()
    while True:
        judgement = cascade.judge(records)
        if not judgement.lacking:
            return judgement
        name, valid_set = sorted(judgement.lacking)[0]
        if (name, valid_set) in tried:
            raise TopdownError(
                f"validation of {name}{_on(valid_set)} gave no finite {cascade.criterion.name}, so"
                " that no phase can be judged against it there; give that phase the validation set"
                f" of {name}, or another dev_criterion (see {cascade.paths.measured})"
            )
        tried.add((name, valid_set))
        _measure(cascade, launch, name, _phase_on(cascade, name, valid_set), slot)


def _on(valid_set: str) -> str:
    return f" on {valid_set}" if valid_set else ""


def _phase_on(cascade: Cascade, name: str, valid_set: str) -> Phase:
    """A phase that is judged on a set, of the vocabulary of the phase `name`."""
    tokens = None if name == BASE else cascade.vocabulary(cascade.phase(name))
    # One of them is, or nothing would be lacking.
    return next(
        phase
        for phase in cascade.phases
        if (phase.valid_set or "", cascade.vocabulary(phase)) == (valid_set, tokens)
    )


def _measure(
    cascade: Cascade,
    launch: Launch,
    name: str,
    phase: Phase | None,
    slot: int,
) -> None:
    """Measure the model of `name` on the validation set of `phase`, None: its own; once."""
    directory = cascade.paths.phase_dir(name)
    model = cascade.model_file(directory)
    config = _config(cascade, directory, phase)
    # A value holds as long as the lists and the model are these.
    lists = config["valid_data_path_and_name_and_type"]
    made_of = {str(path): files.sha256(Path(path)) for path, *_ in lists}
    made_of["model"] = files.sha256(model)
    valid_set = (phase.valid_set if phase else None) or ""
    kept = read_measured(cascade.paths.measured)
    if kept.get(name, {}).get(valid_set, {}).get("made_of") == made_of:
        return
    epochs = sorted(path.name for path in directory.glob("[0-9]*epoch.pth"))
    asked = {
        "task": cascade.base.task,
        "config": config,
        "directory": str(directory),
        "models": epochs or [model.name],
    }
    log = cascade.paths.directory / f"measured.{name}.log"
    print(
        f"{name}: measuring its dev value{_on(valid_set)} by validation alone; log {log}",
        flush=True,
    )
    rows = _validate(launch, asked, log, slot)
    own = {**kept.get(name, {}), valid_set: {"made_of": made_of, "rows": rows}}
    files.write_json(cascade.paths.measured, {**kept, name: own})


def _config(cascade: Cascade, directory: Path, phase: Phase | None) -> dict[str, Any]:
    """The options of an experiment's training with the validation set of `phase`."""
    experiment = Experiment.read(directory)
    config = experiment.passed_on(cascade.facts.data["parser_keys"])
    if phase is not None:
        of_phase = config_under(cascade, phase, cascade.base.directory)
        for key in (DATA, SHAPES):
            name = key.format(part="valid")
            config[name] = of_phase[name]
    return config


def _validate(
    launch: Launch, asked: Mapping[str, Any], log: Path, slot: int
) -> Sequence[Mapping[str, Any]]:
    # In the cascade, where a machine of a cluster sees it, too.
    scratch = log.parent / ".measuring"
    shutil.rmtree(scratch, ignore_errors=True)
    files.write_json(scratch / "asked.json", asked)
    output = scratch / "rows.json"
    ngpu = min(1, launch.ngpu)
    argv = ["--asked", str(scratch / "asked.json"), "--output", str(output), "--ngpu", str(ngpu)]
    run_tool(launch, VALIDATOR, argv, log, ngpu=ngpu, slot=slot)
    rows = files.read_json(output)
    shutil.rmtree(scratch)
    return rows
