"""A cascade: its base, its plan expanded for the base's model, and the records of its phases.

Judging is `espnet_topdown.cascade.judgement`'s, training the runner's. Neither torch nor ESPnet is
needed.
"""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.judgement import Criterion, Judgement, Records, best_value, judge
from espnet_topdown.cascade.model_facts import ModelFacts, find_model_facts
from espnet_topdown.cascade.paths import HEADER, CascadePaths, default_directory, is_cascade
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_dir import read_record
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import Phase, Plan
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.plan.topdown_conf import TopdownConf


@dataclass(frozen=True)
class Cascade:
    """A base, a plan expanded for its model, and where its phases are.

    Nothing that changes during a run is in it: what is known of finished phases are the records,
    which a command reads once and hands on.
    """

    base: Experiment
    plan: Plan
    paths: CascadePaths
    facts: ModelFacts
    phases: tuple[Phase, ...]
    plan_file: Path

    @classmethod
    def open(cls, base: Path, plan: Path, directory: Path | None = None) -> "Cascade":
        """A cascade for a base and a plan.

        Nothing is written except the cached model facts. A plan that no training could follow is
        refused here, before the first.

        Args:
            base: directory of the base (phase 0), a trained experiment.
            plan: YAML plan.
            directory: where the phases go; None: ``<base>_topdown_<plan's name>``.

        Raises:
            TopdownError: the base, the plan, or the plan for this model is faulty.
        """
        cascade = cls._find(base, plan, directory or default_directory(base, plan))
        cascade.facts.check_dropouts(cascade.phases)
        cascade.facts.check_moving(cascade.phases)
        cascade.facts.check_freeze_param(cascade.phases, cascade.base.config)
        return cascade

    @classmethod
    def reopen(cls, directory: Path) -> "Cascade":
        """The cascade that was run in `directory`.

        Raises:
            TopdownError: no cascade was run there, or what it was made of is gone or damaged.
        """
        if not is_cascade(directory):
            raise TopdownError(
                f"{directory} is no cascade (no {HEADER}); give the directory of 'espnet-topdown"
                " run'"
            )
        header = files.read_object(directory / HEADER, base=check.TEXT)
        base = Path(os.path.normpath(directory / header["base"]))
        return cls._find(base, CascadePaths(directory, base).plan, directory)

    @classmethod
    def _find(cls, base: Path, plan_path: Path, directory: Path) -> "Cascade":
        experiment = Experiment.read(base)
        plan = read_plan(plan_path)
        if directory.exists() and not directory.is_dir():
            raise TopdownError(f"{directory} is a file; give a directory")
        _check_data(experiment)
        # Its fault is told before the model is built, which takes seconds.
        experiment.dev_criterion(plan)
        paths = CascadePaths(directory, base)
        facts = find_model_facts(
            base / "config.yaml",
            experiment.task,
            plan=plan_path if plan.layers else None,
            cache=paths.model_facts if directory.exists() else None,
        )
        phases = expand(plan, facts.names, experiment.seed)
        return cls(
            base=experiment,
            plan=plan,
            paths=paths,
            facts=facts,
            phases=phases,
            plan_file=plan_path,
        )

    @property
    def criterion(self) -> Criterion:
        """The dev criterion that judges the cascade."""
        return Criterion(*self.base.dev_criterion(self.plan))

    @property
    def parent_model(self) -> str:
        """Name of the model file that parents are taken from, and that decoding uses."""
        return self.base.parent_model(self.plan)

    def phase(self, name: str) -> Phase:
        """The phase called `name`."""
        return next(phase for phase in self.phases if phase.name == name)

    def read_records(self) -> dict[str, dict[str, Any]]:
        """The records of the finished phases, by name and in the plan's order.

        Raises:
            TopdownError: a record is damaged, or of another phase.
        """
        records = {}
        for phase in self.phases:
            record = read_record(self.paths.phase_dir(phase.name))
            if record is not None:
                records[phase.name] = record
        return records

    def judge(self, records: Records, *, before: Phase | None = None) -> Judgement:
        """What the dev criterion decided about the finished phases.

        Args:
            records: of the finished phases.
            before: count only the phases before this one.

        Raises:
            TopdownError: the base's dev criterion is not known.
        """
        criterion = self.criterion
        # Phase 0 has no record of ours; its epochs come from its checkpoint or its log.
        base_value = best_value(criterion.curve(self.facts.epochs), criterion.mode)
        if base_value is None:
            raise TopdownError(
                f"the dev criterion {criterion.name} of {self.base.directory} is not known: neither"
                " checkpoint.pth nor train.log has it. Name another as dev_criterion"
            )
        phases = self.phases
        if before is not None:
            phases = phases[: phases.index(before)]
        return judge(phases, records, self.plan, base_value=base_value, mode=criterion.mode)

    def parent_dir(self, phase: Phase, records: Records) -> Path:
        """Directory of a phase's parent; ``best`` is the best of the phases before it."""
        if phase.parent != "best":
            return self.paths.phase_dir(phase.parent)
        if phase.name in records:
            # What was the best then: phases that were finished later must not change it.
            return self.paths.absolute(records[phase.name]["parent"])
        return self.paths.phase_dir(self.judge(records, before=phase).best)

    def parent_file(self, phase: Phase, records: Records) -> Path | None:
        """The parent's model file; None for a kind that keeps nothing."""
        if not KINDS[phase.kind].has_parent:
            return None
        return self.parent_dir(phase, records) / self.parent_model

    def phase_config(self, phase: Phase, records: Records) -> dict[str, Any]:
        """The training config of a phase; its parent is a path from the current directory."""
        conf = TopdownConf(
            parent=os.path.relpath(self.parent_dir(phase, records)),
            cut=phase.cut,
            kind=phase.kind,
            parent_model=self.parent_model,
            dropout=phase.dropout,
            tied=phase.tied,
        )
        parser_keys = self.facts.data["parser_keys"]
        return self.base.phase_config(phase, conf, parser_keys, layers=self.plan.layers)

    def redo_command(self, names: Iterable[str]) -> str:
        """The command that sets phases aside and trains them anew."""
        words = ["espnet-topdown", "run", str(self.base.directory), "--plan", str(self.plan_file)]
        if self.paths.directory != default_directory(self.base.directory, self.plan_file):
            words += ["--dir", str(self.paths.directory)]
        return shlex.join([*words, "--redo", *names])

    def store(self) -> None:
        """Write the plan, the model facts, and where the base is, seen from the cascade."""
        self.paths.directory.mkdir(parents=True, exist_ok=True)
        files.write_text(self.paths.plan, plan_text(self.plan))
        header = read_header(self.paths) | {"base": self.paths.relative(self.base.directory)}
        files.write_json(self.paths.header, header)
        # `open` keeps them only in a directory that was there before.
        if not self.paths.model_facts.exists():
            files.write_json(self.paths.model_facts, self.facts.data)


def read_header(paths: CascadePaths) -> dict[str, Any]:
    """`base` and, once anything was trained, `threads` of a cascade; empty before its first run.

    Raises:
        TopdownError: the header is damaged.
    """
    if not paths.header.exists():
        return {}
    header = files.read_object(paths.header, base=check.TEXT)
    if faults := check.faults(header, {"threads": check.whole(1)}):
        raise TopdownError(
            f"{paths.header} is damaged ({'; '.join(faults)}); move it away and rerun"
        )
    return header


def _check_data(base: Experiment) -> None:
    """Refuse a base whose lists are gone, as seen from where its trainings would run."""
    missing = base.missing_data()
    if missing:
        raise TopdownError(
            f"{base.directory}/config.yaml names files that are not there, seen from {Path.cwd()}:"
            f" {', '.join(missing[:4])}. Run in the recipe directory, or prepare the data again"
        )
