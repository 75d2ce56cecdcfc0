"""A cascade on disk: base, plan, directory, and what its records say about each phase.

Reads and judges; training is the runner's. Neither torch nor ESPnet is needed.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade.ledger import Ledger
from espnet_topdown.cascade.model_facts import Facts, find_facts
from espnet_topdown.errors import TopdownError, nearest
from espnet_topdown.experiment.config import Experiment, phase_key
from espnet_topdown.experiment.phase_dir import read_record
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.kinds import KINDS
from espnet_topdown.plan.plan import BASE, Phase, Plan
from espnet_topdown.plan.plan_file import plan_text, read_plan
from espnet_topdown.plan.topdown_conf import TopdownConf

PLAN, HEADER, FACTS = "plan.yaml", "cascade.json", "model.json"


@dataclass(frozen=True)
class Judgement:
    """What the dev criterion decided.

    Args:
        dev: best value of each finished phase and of `phase0`.
        accepted: for each finished top-down phase, whether it was better than the best so far by
            `min_gain`.
        best: the best of `phase0` and the top-down phases.
        skipped: phases that the stopping rule leaves out.
    """

    dev: Mapping[str, float]
    accepted: Mapping[str, bool]
    best: str
    skipped: frozenset[str]


@dataclass(frozen=True)
class Cascade:
    """A base, a plan expanded for its model, and the directory that holds the phases."""

    base: Experiment
    plan: Plan
    plan_source: Path
    directory: Path
    facts: Facts
    phases: tuple[Phase, ...]

    @classmethod
    def open(cls, base: Path, plan: Path, directory: Path | None = None) -> "Cascade":
        """A cascade for a trained experiment and a plan.

        Nothing is written except the cached facts.

        A plan that no training could follow is refused here, before the first.

        Args:
            base: directory of the trained experiment (phase 0).
            plan: YAML plan.
            directory: where the phases go; None: ``<base>_topdown_<plan's name>``.

        Raises:
            TopdownError: the base, the plan, or the plan for this model is faulty.
        """
        cascade = cls._find(base, plan, directory)
        cascade.facts.check_dropouts(cascade.phases)
        return cascade

    @classmethod
    def _find(cls, base: Path, plan: Path, directory: Path | None) -> "Cascade":
        experiment, parsed = Experiment.read(base), read_plan(plan)
        directory = directory or default_directory(base, plan)
        if directory.exists() and not directory.is_dir():
            raise TopdownError(f"{directory} is a file; give a directory")
        if missing := experiment.missing_data():
            raise TopdownError(
                f"{base}/config.yaml names files that are not there, seen from {Path.cwd()}:"
                f" {', '.join(missing[:4])}. Run in the recipe directory, or prepare the data again"
            )
        experiment.dev_criterion(parsed)  # its fault is told before the model is built
        cache = directory / FACTS if directory.exists() else None
        facts = find_facts(
            base / "config.yaml", experiment.task, plan=plan if parsed.layers else None, cache=cache
        )
        return cls(
            experiment, parsed, plan, directory, facts, expand(parsed, facts.names, experiment.seed)
        )

    @classmethod
    def reopen(cls, directory: Path) -> "Cascade":
        """The cascade that was run in `directory`.

        Raises:
            TopdownError: no cascade was run there.
        """
        if not (directory / HEADER).exists():
            raise TopdownError(
                f"{directory} is no cascade (no {HEADER}); give the directory of 'espnet-topdown"
                " run'"
            )
        base = Path(
            os.path.normpath(
                directory / files.read_object(directory / HEADER, base=check.TEXT)["base"]
            )
        )
        return cls._find(base, directory / PLAN, directory)

    # -- places

    def phase(self, name: str) -> Phase:
        """The phase called `name`."""
        return next(p for p in self.phases if p.name == name)

    def phase_dir(self, phase: Phase | str) -> Path:
        """Directory of a phase; that of `phase0` is the base."""
        name = phase if isinstance(phase, str) else phase.name
        return self.base.directory if name == BASE else self.directory / name

    def parent_dir(self, phase: Phase) -> Path:
        """Directory of a phase's parent; `best` is the best of the phases before it."""
        if phase.parent != "best":
            return self.phase_dir(phase.parent)
        record = read_record(self.phase_dir(phase))
        if record:
            return Path(os.path.normpath(self.directory / record["parent"]))
        return self.phase_dir(self.judge(before=phase).best)

    @property
    def parent_model(self) -> str:
        """Model file that parents are taken from, and that decoding uses."""
        return self.base.parent_model(self.plan)

    def parent_file(self, phase: Phase) -> Path | None:
        """The parent's model file, None for a restart, which keeps nothing."""
        if not KINDS[phase.kind].has_parent:
            return None
        return self.parent_dir(phase) / self.parent_model

    @property
    def ledger(self) -> Ledger:
        """Every attempt."""
        return Ledger(self.directory / "ledger.jsonl")

    # -- dev criterion

    @property
    def dev(self) -> tuple[str, str, str]:
        """(phase, metric, mode) that judges the cascade."""
        return self.base.dev_criterion(self.plan)

    @property
    def dev_name(self) -> str:
        """The criterion as a reader writes it, ``valid acc max``."""
        return " ".join(self.dev)

    def curve(self, rows: Sequence[Mapping[str, Any]]) -> list[float | None]:
        """The dev criterion by epoch, from rows of ``epochs.json``."""
        phase, metric, _ = self.dev
        return [row.get(phase, {}).get(metric) for row in rows]

    def best_value(self, curve: Sequence[float | None]) -> float | None:
        """The criterion at its best epoch."""
        values = [v for v in curve if v is not None and math.isfinite(v)]
        return (max if self.dev[2] == "max" else min)(values) if values else None

    def is_done(self, phase: Phase) -> bool:
        """Whether the phase is recorded as finished."""
        return read_record(self.phase_dir(phase)) is not None

    def judge(self, *, before: Phase | None = None) -> Judgement:
        """Apply acceptance and the stopping rule to the finished phases, in the plan's order.

        Args:
            before: count only the phases before this one.

        Raises:
            TopdownError: the base's dev criterion is not known.
        """
        base = self.best_value(self.curve(self.facts.epochs))
        if base is None:
            raise TopdownError(
                f"the dev criterion {self.dev_name} of {self.base.directory} is not known: neither"
                " checkpoint.pth nor train.log has it. Name another as dev_criterion"
            )
        dev, accepted, best, rejections = {BASE: base}, {}, BASE, 0
        skipped: set[str] = set()
        for phase in self.phases[: self.phases.index(before) if before else None]:
            record = read_record(self.phase_dir(phase))
            stopped = self.plan.patience is not None and rejections >= self.plan.patience
            if record is None:
                if (
                    stopped
                    and not phase.in_sweep
                    and not phase.is_control
                    or phase.answers in skipped
                ):
                    skipped.add(phase.name)
                continue
            value = self.best_value(record["dev"]["curve"])
            assert value is not None  # a record is not written without one
            dev[phase.name] = value
            if phase.is_control:
                continue
            accepted[phase.name] = self._gain(value, dev[best]) > self.plan.min_gain
            if not phase.in_sweep:
                rejections = 0 if accepted[phase.name] else rejections + 1
            if accepted[phase.name]:
                best = phase.name
        return Judgement(dev, accepted, best, frozenset(skipped))

    def _gain(self, value: float, reference: float) -> float:
        return value - reference if self.dev[2] == "max" else reference - value

    # -- consistency

    def phase_config(self, phase: Phase, settings: TopdownConf) -> dict[str, Any]:
        """The training config of a phase."""
        return self.base.phase_config(
            phase, settings, self.facts.data["parser_keys"], layers=self.plan.layers
        )

    def settings(self, phase: Phase) -> TopdownConf:
        """The `topdown_conf` of a phase, its parent as a path from the current directory."""
        return TopdownConf(
            parent=os.path.relpath(self.parent_dir(phase)),
            cut=phase.cut,
            kind=phase.kind,
            parent_model=self.parent_model,
            dropout=phase.dropout,
            tied=phase.tied,
        )

    def key(self, phase: Phase) -> dict[str, Any]:
        """What decides the phase's result now (see `phase_key`), as it reads back from JSON."""
        config = self.phase_config(phase, self.settings(phase))
        return json.loads(json.dumps(phase_key(config, self.parent_file(phase))))

    def check_finished(self) -> None:
        """Compare every finished phase with what the plan asks for now.

        Raises:
            TopdownError: keys of finished phases changed (the message shows all differences), or
                the plan lost a phase.
        """
        names = {phase.name for phase in self.phases}
        recorded = [
            p.parent.name
            for p in sorted(self.directory.glob("*/record.json"))
            if not p.parent.is_symlink()
        ]
        if lost := [name for name in recorded if name not in names]:
            raise TopdownError(
                f"{self.directory} has finished phases that the plan no longer has:"
                f" {', '.join(lost)}. Give the plan of that directory (phases may be appended), or"
                " another --dir"
            )
        changed = []
        for phase in self.phases:
            record = read_record(self.phase_dir(phase))
            if record and (lines := files.differences(record["key"], self.key(phase))):
                changed.append(
                    "\n  ".join(
                        [
                            (
                                f"{phase.name} is finished, but what it depends on changed"
                                " (recorded -> now); undo that, or give another --dir:"
                            ),
                            *lines,
                        ]
                    )
                )
        if changed:
            raise TopdownError("\n".join(changed))

    def check_first(self, first: str | None) -> None:
        """Check that the phases before `first` (a name or a number) are finished.

        Raises:
            TopdownError: no such phase, or one before it is not finished.
        """
        if first is None:
            return
        names = [phase.name for phase in self.phases]
        wanted = f"phase{first}" if first.isdigit() else first
        if wanted not in names:
            raise TopdownError(f"no phase '{first}'; {nearest(wanted, names)}")
        missing = [p.name for p in self.phases[: names.index(wanted)] if not self.is_done(p)]
        if missing:
            raise TopdownError(
                f"cannot go on with {wanted}: {', '.join(missing)} must be finished first; leave"
                " out --phase"
            )

    def store(self) -> None:
        """Write the plan and where the base is, relative to the cascade's directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        files.write_text(self.directory / PLAN, plan_text(self.plan))
        header = self._header() | {"base": os.path.relpath(self.base.directory, self.directory)}
        files.write_json(self.directory / HEADER, header)
        if not (self.directory / FACTS).exists():
            files.write_json(self.directory / FACTS, self.facts.data)

    def _header(self) -> dict[str, Any]:
        path = self.directory / HEADER
        header = files.read_object(path, base=check.TEXT) if path.exists() else {}
        return files.read_object(path, threads=check.WHOLE) if "threads" in header else header

    def fixed_threads(self, asked: int | None, default: int) -> int:
        """torch's threads of every training here.

        Those of the first run, since sums differ in the last bit otherwise.

        Raises:
            TopdownError: others are asked for now.
        """
        header = self._header()
        if "threads" not in header:
            files.write_json(self.directory / HEADER, header | {"threads": asked or default})
            return asked or default
        if asked not in (None, header["threads"]):
            raise TopdownError(
                f"--threads {asked}: every training in {self.directory} has {header['threads']},"
                " fixed by its first run, since sums differ in the last bit otherwise; leave the"
                " option out, or give another --dir"
            )
        return header["threads"]

    def link_best(self) -> None:
        """Point ``best`` at the winning phase, an ordinary experiment directory."""
        target = os.path.relpath(self.phase_dir(self.judge().best), self.directory)
        files.link(self.directory / "best", target)


def default_directory(base: Path, plan: Path) -> Path:
    """``exp/asr_x`` and ``conf/topdown/rnn.yaml`` give ``exp/asr_x_topdown_rnn``."""
    return base.with_name(f"{base.name}_topdown_{plan.stem}")
