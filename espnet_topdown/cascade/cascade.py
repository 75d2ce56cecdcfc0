"""A cascade: its base, its plan expanded for the base's model, and the records of its phases.

Judging is `espnet_topdown.cascade.judgement`'s, training the runner's. Neither torch nor ESPnet is
needed.
"""

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.checks import base as base_check
from espnet_topdown.cascade.checks import data as data_check
from espnet_topdown.cascade.find_facts import (
    find_model_facts,
    stored_facts,
    with_known_epochs,
)
from espnet_topdown.cascade.header import read_header
from espnet_topdown.cascade.judgement import Judgement, Records, best_value, judge
from espnet_topdown.cascade.measured import read_measured, values
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.paths import (
    HEADER,
    CascadePaths,
    default_directory,
    is_cascade,
    seen_from,
)
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_data import paths_of, rows_in
from espnet_topdown.experiment.phase_dir import read_begun, read_record
from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.plan import phase_faults
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, Phase, Plan, reads_of
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.recognise import but, kind_of


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

        Nothing is written. A plan that no training could follow is refused here, before the first
        (by `espnet_topdown.cascade.checks.phase` what ESPnet knows).

        Args:
            base: directory of the base (phase 0), a trained experiment.
            plan: YAML plan.
            directory: where the phases go; None: ``<base>_topdown_<plan's name>``.

        Raises:
            TopdownError: the base, the plan, or the plan for this model is faulty.
        """
        experiment = Experiment.read(base)
        read = read_plan(plan)
        paths = CascadePaths(directory or default_directory(base, plan), base)
        if any(map(str.isspace, str(paths.directory))) and not is_cascade(paths.directory):
            raise TopdownError(
                f"the cascade would go to '{paths.directory}', and recipes cannot decode in a"
                " directory whose name has a blank; give --dir another"
            )
        if paths.directory.exists() and not paths.directory.is_dir():
            raise TopdownError(f"{paths.directory} is a file; give a directory")
        kind = kind_of(paths.directory)
        if kind and not is_cascade(paths.directory):
            raise TopdownError(
                f"the cascade would go to {paths.directory}, which is {kind}; give --dir a"
                " directory of its own"
            )
        # Their faults are told before the model is built, which takes seconds.
        if not data_check.reads_other_data(read):
            data_check.check_base(experiment)
        experiment.dev_criterion(read)
        base_check.check_finished(experiment, read)
        base_check.check_as_judged(paths, experiment.directory / experiment.model_name(read))
        facts = find_model_facts(
            base / "config.yaml",
            experiment.task,
            plan=plan if read.layers else None,
            per_token=data_check.has_own_tokens(read),
        )
        facts = with_known_epochs(facts, stored_facts(paths.model_facts))
        base_check.check_ready(experiment, read, facts.epochs)
        held = facts.held_from_above()
        phases = expand(read, facts.names, experiment.seed, held=held)
        repeats = phase_faults.once_more(phases).items()
        # What an earlier version has trained is not refused.
        new = [fault for name, fault in repeats if not paths.phase_dir(name).exists()]
        check.refuse(new, "the plan compares a training with itself")
        data_check.check_phases(experiment, phases)
        if data_check.has_own_tokens(read):
            facts = facts.with_vocabularies(
                sizes=data_check.vocabularies(experiment, phases),
                of_base=data_check.of_base(experiment, phases),
            )
        return cls(experiment, read, paths, facts, phases, plan_file=plan)

    @classmethod
    def reopen(cls, directory: Path) -> "Cascade":
        """The cascade that was run in `directory`, as its last run left it.

        Neither the data nor the recipe directory is needed. What the base was then counts, also
        where it was trained on since; `base_check.base_change` says so.

        Raises:
            TopdownError: no cascade was run there, or what it was made of is gone or damaged.
        """
        if not is_cascade(directory):
            raise TopdownError(
                f"{directory} is no cascade (no {HEADER}){but(directory)}; give the directory of"
                " 'espnet-topdown run'"
            )
        header = read_header(directory / HEADER)
        paths = CascadePaths(directory, seen_from(directory, header["base"]))
        if not paths.base.exists():
            raise TopdownError(
                f"{directory} was made of the base {paths.base}, which is not there; bring it back:"
                " a base and its cascades are moved together"
            )
        experiment = Experiment.read(paths.base).as_seeded(header.get("seed"))
        plan = _copy_of_plan(paths)
        facts = stored_facts(paths.model_facts) or find_model_facts(
            paths.base / "config.yaml",
            experiment.task,
            plan=paths.plan if plan.layers else None,
        )
        phases = expand(plan, facts.names, experiment.seed, held=facts.held_from_above())
        return cls(experiment, plan, paths, facts, phases, plan_file=paths.plan)

    @property
    def criterion(self) -> Criterion:
        """The dev criterion that judges the cascade."""
        return self.base.dev_criterion(self.plan)

    def valid_sets(self) -> set[str]:
        """Names of all data sets that select epochs or phases, the base's and the phases' own."""
        names = self.base.valid_sets()
        for place in {phase.valid_set for phase in self.phases if phase.valid_set}:
            rows = rows_in(self.base.config, "valid", place)
            names |= {Path(path).parent.name for path, *_ in rows}
        return names

    def reads(self, phase: Phase) -> str:
        """What a phase reads instead of the base's, as `reads_of` tells it."""
        lists = [*chain.from_iterable(paths_of(self.base.config, part) for part in DATA_PARTS)]
        folders = [str(Path(path).parent) for path in lists]
        return reads_of(phase, self.phases, [*lists, *folders])

    @property
    def phase_model_name(self) -> str:
        """Name of each phase's model file that parents are taken from, and that decoding uses."""
        return self.base.phase_model_name(self.plan)

    def model_file(self, directory: Path) -> Path:
        """The model file that a phase, or the base, in `directory` is a parent by."""
        if directory == self.base.directory:
            return directory / self.base.model_name(self.plan)
        return directory / self.phase_model_name

    @cached_property
    def by_name(self) -> Mapping[str, Phase]:
        """The phases by their names, in the plan's order."""
        return {phase.name: phase for phase in self.phases}

    def phase(self, name: str) -> Phase:
        """The phase called `name`."""
        return self.by_name[name]

    def vocabulary(self, phase: Phase) -> str | None:
        """The token list of a phase's vocabulary; None: that of the base, which it may name."""
        is_of_base = phase.tokens in self.facts.base_tokens
        return None if is_of_base else phase.tokens

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
        """
        phases = self.phases
        if before is not None:
            phases = phases[: phases.index(before)]
        base = _judged_base(records)
        # A list of the base's own tokens is no other vocabulary.
        phases = tuple(replace(phase, tokens=self.vocabulary(phase)) for phase in phases)
        return judge(
            phases,
            records,
            self.plan,
            base_value=base["dev"] if base else self.base_value,
            mode=self.criterion.mode,
            measured=self.measured(records),
        )

    def judged_base(self, records: Records) -> dict[str, Any]:
        """What the next record says of the base that its phase is judged against.

        Returns:
            ``dev``, the criterion at the base's best epoch (None where it is not known), and
            ``model_sha256`` of its model file.
        """
        base = _judged_base(records)
        if base:
            return dict(base)
        digest = files.sha256(self.model_file(self.base.directory))
        return {"dev": self.base_value, "model_sha256": digest}

    @property
    def base_value(self) -> float | None:
        """The criterion at the base's best epoch, None where its training left none.

        Phase 0 has no record of ours; its epochs come from its checkpoint or its log, that of a
        packed model from a validation pass.
        """
        criterion = self.criterion
        if self.facts.epochs:
            return best_value(criterion.curve(self.facts.epochs), criterion.mode)
        return self.measured({}).get((BASE, ""))

    def measured(self, records: Records) -> dict[tuple[str, str], float]:
        """(phase, validation set) -> the criterion there, as far as validation alone measured it.

        Args:
            records: of the finished phases; one that was redone since was not measured.

        Raises:
            TopdownError: ``measured.json`` is damaged.
        """
        models = {name: record.get("model_sha256", "") for name, record in records.items()}
        return values(read_measured(self.paths.measured), self.criterion, models)

    def parent_dir(self, phase: Phase, records: Records) -> Path:
        """Directory of a phase's parent; ``best`` is the best of the phases before it.

        A control has the parent of the phase that it answers.
        """
        if phase.parent != "best":
            return self.paths.phase_dir(phase.parent)
        for name in filter(None, (phase.name, phase.answers)):
            then = records.get(name, {}).get("parent")
            if then and self.phase(name).parent == "best":
                # What was the best then: phases that were finished later must not change it.
                return self.paths.absolute(then)
        asks = self.phase(phase.best_before or phase.name)
        return self.paths.phase_dir(self.judge(records, before=asks).best)

    def parent_file(self, phase: Phase, records: Records) -> Path | None:
        """The parent's model file; None for a kind that keeps nothing."""
        if not KINDS[phase.kind].has_parent:
            return None
        return self.model_file(self.parent_dir(phase, records))

    def begun_key(self, phase: Phase, records: Records) -> Mapping[str, Any] | None:
        """The key that a phase was finished or begun with; None before that."""
        if phase.name in records:
            key: Mapping[str, Any] = records[phase.name]["key"]
            return key
        return read_begun(self.paths.phase_dir(phase.name))

    def max_epoch(self, phase: Phase) -> int:
        """The epochs that a phase is to be trained, 0 where no config tells."""
        base = self.base.config.get("max_epoch") or 0
        return int(phase.train.get("max_epoch", base))

    def redo_command(self, names: Iterable[str]) -> str:
        """The command that sets phases aside and trains them anew."""
        words = ["espnet-topdown", "run", str(self.base.directory), "--plan", str(self.plan_file)]
        if self.paths.directory != default_directory(self.base.directory, self.plan_file):
            words += ["--dir", str(self.paths.directory)]
        return shlex.join([*words, "--redo", *names])

    def store(self) -> None:
        """Write the plan, the model facts, and of the base its seed and where it is from here."""
        self.paths.directory.mkdir(parents=True, exist_ok=True)
        files.write_text(self.paths.plan, plan_text(self.plan))
        header = read_header(self.paths.header)
        header["base"] = self.paths.relative(self.base.directory)
        # Of a cascade that an earlier version began, today's may not be that of its phases.
        if "seed" in header or not self.paths.recorded():
            header["seed"] = self.base.seed
        files.write_json(self.paths.header, header)
        files.write_json(self.paths.model_facts, self.facts.data)


def _judged_base(records: Records) -> Mapping[str, Any] | None:
    """What the first record says of the base: it may have been trained on since."""
    return next((record["base"] for record in records.values()), None)


def _copy_of_plan(paths: CascadePaths) -> Plan:
    """The plan that the last run copied into the cascade.

    Raises:
        TopdownError: the copy is gone or damaged.
    """
    try:
        return read_plan(paths.plan)
    except TopdownError as error:
        fault = str(error) if paths.plan.is_file() else f"{paths.plan} is gone"
        raise TopdownError(
            f"{fault}\nIt is this cascade's copy of its plan; 'espnet-topdown run' with the same"
            " plan writes it anew, and trains nothing that is finished"
        ) from None
