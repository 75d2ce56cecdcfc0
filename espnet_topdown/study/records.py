"""The record of a seed, as a value: all that a study's tables need of it, without a model.

Its files are those of `espnet_topdown.study.record_files`; how it comes about is left to
`espnet_topdown.study.recording`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.grouping import grouped
from espnet_topdown.plan.plan import BASE
from espnet_topdown.results.outside import Outside
from espnet_topdown.results.questions import Runs
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.study.analysis import Analysis, lacking

Texts = Mapping[str, str]  # utterance -> its tokens, parted by single blanks
# Of a phase, beside its settings: what is the same in every seed.
ALIKE = ("kind", "role", "cut", "dropout", "parameters")


@dataclass(frozen=True)
class RecordedPhase(PhaseResult):
    """One phase with what it heard.

    Args:
        model_sha256: of the model file that was decoded.
        hypotheses: set -> texts of the utterances that differ from their reference; a set that was
            not decoded is not there.
        counted: set -> counts of the utterances that the set's own scorer, or alternatives in its
            references, count otherwise than the texts alone would be; a set with none is not there.
        train_loss: mean loss of each epoch's training; None where it was not logged.
        lr: learning rate of each epoch.
        trigger: epoch after which weights were averaged (NT-ASGD); None where they were not.
    """

    model_sha256: str = ""
    hypotheses: Mapping[str, Texts] = field(default_factory=dict)
    counted: Mapping[str, Mapping[str, Outside]] = field(default_factory=dict)
    train_loss: tuple[float | None, ...] = ()
    lr: tuple[float | None, ...] = ()
    trigger: int | None = None

    @property
    def measured(self) -> set[str]:
        """Names of the sets and texts that it was decoded on."""
        return {name.rpartition("/")[2] for name in self.hypotheses} | self.perplexity.keys()


@dataclass(frozen=True)
class Record:
    """One seed of a study.

    Args:
        model: name of the study, as in ``conf/study/MODEL.yaml``.
        seed: of its base.
        plan: text of the plan that it was trained by.
        dev_name: name and direction of the dev criterion, such as "valid acc max".
        complete: whether every phase of the plan is trained and decoded.
        made: versions and machine.
        data: sizes and hashes of the sets, and the options that made them.
        references: set -> texts of all its utterances; a set is named ``inference/dataset``.
        phases: phase 0 first, then in the plan's order.
        recordings: data set -> utterance -> the recording of each of its words, of corpora whose
            utterances share recordings.
        speakers: set -> utterance -> who speaks, where the utterance's name does not tell; a set
            where all do is not there.
        analysis: the study's plan of analysis, as it stood when the seed was recorded; None where
            the study has none.
        selected_on: the sets that selected epochs and phases; empty in records of earlier versions.
        training: the options of the study's training config, as its base was trained with them;
            empty in records of earlier versions.
    """

    model: str
    seed: int
    plan: str
    dev_name: str
    complete: bool
    made: Mapping[str, Any]
    data: Mapping[str, Any]
    references: Mapping[str, Texts]
    phases: tuple[RecordedPhase, ...]
    recordings: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    speakers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    analysis: Analysis | None = None
    selected_on: Sequence[str] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def criterion(self) -> Criterion:
        """The dev criterion."""
        return Criterion.parse(self.dev_name)

    @property
    def runs(self) -> Runs:
        """Its phases, as questions are asked of them."""
        return Runs(self.seed, self.criterion, self.phases)


def phases_of(records: Iterable[Record]) -> list[RecordedPhase]:
    """The phases of all records."""
    return [*chain.from_iterable(record.phases for record in records)]


def by_key(records: Iterable[Record]) -> dict[tuple[int, str], RecordedPhase]:
    """(seed, name) -> the phase, of all records."""
    phases: dict[tuple[int, str], RecordedPhase] = {}
    for record in records:
        phases |= {(record.seed, phase.name): phase for phase in record.phases}
    return phases


def by_name(records: Sequence[Record]) -> dict[str, list[RecordedPhase]]:
    """Name -> the phases of that name, which are of one kind and cut in every seed."""
    return grouped(phases_of(records), lambda phase: phase.name)


def sealed_state(records: Sequence[Record]) -> str:
    """Why nothing that was measured may be shown yet; "" where it may.

    Only a plan of analysis seals: all its seeds must have all phases that it asks about, measured
    on the sets that it names.
    """
    analysis = records[0].analysis
    if analysis is None:
        return ""
    by_seed = {record.seed: record for record in records}
    to_come = []
    for seed in analysis["seeds"]:
        record = by_seed.get(seed)
        if record is None:
            to_come.append(str(seed))
            continue
        # A record can be complete and lack what is asked: its plan was shorter than the analysis,
        # or it was decoded on fewer sets.
        missing = lacking(analysis, {phase.name: phase.measured for phase in record.phases})
        if missing:
            to_come.append(f"{seed} (lacks {', '.join(missing)})")
        elif not record.complete:
            to_come.append(str(seed))
    if not to_come:
        return ""
    planned = len(analysis["seeds"])
    return (
        f"sealed: {planned - len(to_come)} of the {planned} seeds of the plan of analysis"
        f" are complete; to come: {', '.join(to_come)}. Nothing measured on test is shown before"
        " the last of them"
    )


def check_one_study(model: str, records: Sequence[Record]) -> None:
    """Refuse records that are not of one study.

    Raises:
        TopdownError: they differ in references, dev criterion, data or plan of analysis, or a seed
            is none of that plan; phases of one name are not the same experiment, or one model
            stands for two seeds.
    """
    # Seeds may differ in their phases: a study is read while it grows.
    first = records[0]
    for record in records:
        for key in ("references", "dev_name", "data", "analysis"):
            if getattr(record, key) != getattr(first, key):
                raise TopdownError(
                    f"{model}: seeds {first.seed} and {record.seed} differ in '{key}', so they are"
                    " not one study; give the records of one, or run the older seed again"
                )
        if first.analysis is not None and record.seed not in first.analysis["seeds"]:
            raise TopdownError(
                f"{model}: seed {record.seed} is none of the plan of analysis (a pilot?); leave its"
                " record out"
            )
    _check_sets_once(model, first)
    _check_phases_alike(model, records)
    _check_models_once(model, records)


def _check_sets_once(model: str, record: Record) -> None:
    """Refuse two decodings of a set, on each of which the primary question would be asked."""
    if record.analysis is None:
        return
    (primary,) = record.analysis["primary"].values()
    by_set = grouped(record.references, lambda dataset: dataset.rpartition("/")[2])
    for name, decodings in by_set.items():
        if len(decodings) > 1 and name in primary.get("sets", [name]):
            raise TopdownError(
                f"{model}: {name} was decoded in several ways ({', '.join(decodings)}), and the"
                " primary question is asked once; leave one, and run 'study record' again"
            )


def _check_phases_alike(model: str, records: Sequence[Record]) -> None:
    """Refuse phases of one name that are not one experiment: their mean would be of nothing."""
    known: dict[str, tuple[int, dict[str, Any]]] = {}
    for record in records:
        for phase in record.phases:
            mine = _experiment(phase)
            if phase.name == BASE:
                mine |= record.training
            seed, theirs = known.setdefault(phase.name, (record.seed, mine))
            # Earlier versions recorded less.
            both = mine.keys() & theirs.keys()
            differing = sorted(key for key in both if mine[key] != theirs[key])
            if differing:
                key = differing[0]
                raise TopdownError(
                    f"{model}: {phase.name} of seeds {seed} and {record.seed} differ in '{key}'"
                    f" ({theirs[key]} and {mine[key]}), so they are not one study; give the records"
                    " of one plan and one model"
                )


def _experiment(phase: RecordedPhase) -> dict[str, Any]:
    """What makes a phase the same experiment under another seed."""
    fields = {key: getattr(phase, key) for key in ALIKE}
    if phase.parameters is None:
        del fields["parameters"]
    settings: dict[str, Any] = json.loads(phase.settings or "{}")
    return settings | fields


def _check_models_once(model: str, records: Sequence[Record]) -> None:
    """Refuse one run that stands for several seeds: t over seeds would count it as many."""
    owners: dict[str, int] = {}
    for record in records:
        if record.runs.base.seed != record.seed:
            raise TopdownError(
                f"{model}: phase 0 of seed {record.seed} was trained with seed"
                f" {record.runs.base.seed}; give the records as 'study run' wrote them"
            )
        for phase in record.phases:
            owner = owners.setdefault(phase.model_sha256, record.seed)
            if owner != record.seed:
                raise TopdownError(
                    f"{model}: {phase.name} of seed {record.seed} is a model of seed {owner} (their"
                    " model_sha256 are equal); give each run once"
                )
