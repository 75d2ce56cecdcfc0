"""The rows of tables and plots: each trained phase as its cascade's records have it.

And how soon it is as good on dev as its phase 0 became: epochs, and the time that they took.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.experiment.phase_dir import stopped_at
from espnet_topdown.experiment.quality import Criterion, sign
from espnet_topdown.plan.kinds import BASE_KIND, CANDIDATE, CONTROL, KINDS, Role
from espnet_topdown.plan.plan import BASE, Phase

PERPLEXITY = "perplexity.json"  # what `espnet_topdown.bin.perplexity` leaves in an experiment
# Tokens of a text, below which a difference of perplexities says nothing.
FEWEST_TARGETS = 100


@dataclass(frozen=True)
class PhaseResult:
    """One trained phase, as the runner recorded it.

    Args:
        name: its name in the cascade.
        kind: one of `KINDS`, or `BASE_KIND`.
        cut: lowest layer of the upper part, or the layers that are named instead; None where the
            kind has none.
        frozen_share: frozen part of the parameters, 0 to 1.
        dev: dev criterion at its best epoch; None where training gave none.
        criterion: that criterion.
        accepted: whether it beat the best before it; None where that was not asked (phase 0,
            controls).
        best: whether dev selected it.
        seed: its training seed.
        epochs: epochs trained.
        hours: wall time of its training; None where it was not recorded.
        directory: its experiment directory.
        curve: dev criterion of each epoch.
        perplexity: test perplexity by text (language models).
        frozen: names of its frozen layers.
        loaded: names of the fresh layers that started from a pre-trained checkpoint.
        settings: what else makes phases of one kind and cut the same experiment under another seed
            (parent, dropout, tied weights, training options).
        parameters: of the whole model; None where that was not recorded.
        role: candidate (phase 0 among them) or control.
        dropout: ``keep`` or ``off``, in its frozen layers.
        small_texts: texts of `perplexity` with too few tokens for differences.
        reads: what it reads instead of the base's lists and tokens; "" for nothing.
        dev_set: what its dev value is of; values are compared where it is equal. "" for the base's
            own validation set and tokens.
        base_dev: phase 0's dev value on `dev_set`; None where that is "", and over other tokens.
        stop_from: the first epoch after which the median rule could end it; None: it could not.
        stopped: the epoch after which it did.
        kept_lr: the factors on the learning rate of its kept layers as tables have them; empty
            where that was not recorded, and of phase 0.
        factors: kept layer -> its factor, of those that learn.
    """

    name: str
    kind: str
    cut: str | None
    frozen_share: float
    dev: float | None
    criterion: Criterion
    accepted: bool | None
    best: bool
    seed: int
    epochs: int
    hours: float | None
    directory: Path
    curve: tuple[float | None, ...] = ()
    perplexity: Mapping[str, float] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()
    settings: str = ""
    parameters: int | None = None
    role: Role = CANDIDATE
    dropout: str = "keep"
    small_texts: tuple[str, ...] = ()
    reads: str = ""
    dev_set: str = ""
    base_dev: float | None = None
    stop_from: int | None = None
    stopped: int | None = None
    kept_lr: str = ""
    factors: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_base(self) -> bool:
        """Whether it is phase 0."""
        return self.kind == BASE_KIND

    @property
    def is_tried(self) -> bool:
        """Whether it is a candidate, and not phase 0."""
        return self.role == CANDIDATE and not self.is_base

    @property
    def is_control(self) -> bool:
        """Whether it is compared with a candidate, and never accepted or best."""
        return self.role == CONTROL

    @property
    def has_own_rates(self) -> bool:
        """Whether kept layers learn at other factors than its kind says."""
        kind = KINDS.get(self.kind)
        if kind is None:
            return False  # phase 0
        rates = set(self.factors.values())
        # Without fresh layers, what is frozen and has no factor above 0 has the factor 0.
        if kind.keeps == "all" and not self.factors.keys() >= set(self.frozen):
            rates.add(0.0)
        return bool(rates - {kind.kept_lr})


def bases(rows: Iterable[PhaseResult]) -> list[PhaseResult | None]:
    """For each row its phase 0, the last one up to it; None for rows before any."""
    found: list[PhaseResult | None] = []
    last = None
    for row in rows:
        if row.is_base:
            last = row
        found.append(last)
    return found


@dataclass(frozen=True)
class Effort:
    """What it took to get there.

    Args:
        epochs: the first epoch that is good enough.
        hours: that share of the training's wall time; None where that was not recorded.
    """

    epochs: int
    hours: float | None


def epochs_to(phase: PhaseResult, best: float | None, share: float = 1.0) -> int | None:
    """The first epoch with at least `share` of `best` on dev; None where there is none."""
    if best is None:
        return None
    way = sign(phase.criterion.mode)
    # More of a loss than the best is worse: of that, a share is a larger value.
    enough = best * share if way > 0 else best / share
    for epoch, value in enumerate(phase.curve, 1):
        if value is not None and way * value >= way * enough:
            return epoch
    return None


def effort_to(phase: PhaseResult, phase0: PhaseResult | None) -> Effort | None:
    """What a phase needed to be as good as its phase 0 became; None where it never was.

    None, too, where the best value of phase 0 is not known.
    """
    if phase0 is None:
        return None
    # A phase on another validation set is measured against phase 0 there.
    best = phase.base_dev if phase.dev_set else phase0.dev
    epochs = epochs_to(phase, best)
    if epochs is None:
        return None
    hours = None if phase.hours is None else phase.hours * epochs / len(phase.curve)
    return Effort(epochs=epochs, hours=hours)


def texts_of(rows: Iterable[PhaseResult]) -> list[str]:
    """The texts that any row has a perplexity on, in the order in which they come."""
    return list(dict.fromkeys(chain.from_iterable(row.perplexity for row in rows)))


def phase_results(cascade: Cascade) -> list[PhaseResult]:
    """Phase 0 and every finished phase, in the plan's order."""
    records = cascade.read_records()
    judgement = cascade.judge(records)
    rows = [_base_result(cascade, dev=judgement.dev.get(BASE), best=judgement.best == BASE)]
    for phase in cascade.phases:
        record = records.get(phase.name)
        if record is None:
            # Not finished.
            continue
        directory = cascade.paths.phase_dir(phase.name)
        frozen, total = cascade.facts.frozen_parameters(phase)
        sides = phase.sides(cascade.facts.names)
        row = PhaseResult(
            name=phase.name,
            kind=phase.kind,
            cut=phase.parting,
            frozen_share=frozen / total,
            dev=judgement.dev[phase.name],
            criterion=cascade.criterion,
            accepted=judgement.accepted.get(phase.name),
            best=judgement.best == phase.name,
            seed=phase.seed,
            epochs=record["epochs"],
            hours=record["hours"],
            directory=directory,
            curve=tuple(record["dev"]["curve"]),
            **perplexities_of(directory),
            frozen=cascade.facts.frozen_layers(phase),
            loaded=cascade.facts.loaded_layers(phase),
            settings=_settings(phase),
            parameters=total,
            role=phase.role,
            dropout=phase.dropout,
            reads=cascade.reads(phase),
            dev_set=dev_set_of(cascade, phase),
            base_dev=cascade.measured(records).get((BASE, dev_set_of(cascade, phase))),
            stop_from=phase.stop.from_epoch if phase.stop else None,
            stopped=stopped_at(record),
            kept_lr=sides.rates_text,
            factors=cascade.facts.factors(phase),
        )
        rows.append(row)
    return rows


def _base_result(cascade: Cascade, *, dev: float | None, best: bool) -> PhaseResult:
    base = cascade.base
    return PhaseResult(
        name=BASE,
        kind=BASE_KIND,
        cut=None,
        frozen_share=cascade.facts.base_frozen / cascade.facts.total,
        dev=dev,
        criterion=cascade.criterion,
        accepted=None,
        best=best,
        seed=base.seed,
        epochs=len(cascade.facts.epochs),
        hours=cascade.facts.hours,
        directory=base.directory,
        curve=tuple(cascade.criterion.curve(cascade.facts.epochs)),
        **perplexities_of(base.directory),
        loaded=cascade.facts.loaded_by_base,
        parameters=cascade.facts.total,
    )


def dev_set_of(cascade: Cascade, phase: Phase) -> str:
    """What the dev value of a phase is of; "" for the base's own validation set and tokens."""
    return " ".join(filter(None, [phase.valid_set, cascade.vocabulary(phase)]))


def _settings(phase: Phase) -> str:
    """What makes two phases of one kind and cut the same experiment, their seeds apart."""
    names = ["dropout", "tied", "init_param", "train"]
    if KINDS[phase.kind].has_parent:
        names.append("parent")
    # What records of older versions could not have is named where it is not left out.
    names += [name for name in ("data", "tokens") if getattr(phase, name)]
    if phase.kept_lr is not None:
        names.append("kept_lr")
    settings = {name: getattr(phase, name) for name in names}
    return json.dumps(settings, sort_keys=True, default=str)


def perplexities_of(directory: Path) -> dict[str, Any]:
    """What a row tells of perplexities, by text and way of counting; nothing where none are."""
    path = directory / PERPLEXITY
    if not path.exists():
        return {}
    perplexities, small = {}, []
    for row in files.read_rows(path, "text", "kind", "perplexity", "targets"):
        text = Path(row["text"]).parent.name
        name = f"{text} ({row['kind']})"
        perplexities[name] = row["perplexity"]
        if row["targets"] < FEWEST_TARGETS:
            small.append(name)
    return {"perplexity": perplexities, "small_texts": tuple(small)}
