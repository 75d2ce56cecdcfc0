"""The record of a seed, as a value: all that a study's tables need of it, without a model.

Its files are those of `espnet_topdown.study.record_files`; how it comes about is left to
`espnet_topdown.study.recording`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espnet_topdown.results.questions import Runs
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.study.analysis import Analysis, phases_asked

Texts = Mapping[str, str]  # utterance -> its tokens, parted by single blanks


@dataclass(frozen=True)
class RecordedPhase(PhaseResult):
    """One phase with what it heard.

    Args:
        model_sha256: of the model file that was decoded.
        hypotheses: set -> texts of the utterances that differ from their reference; a set that was
            not decoded is not there.
        train_loss: mean loss of each epoch's training; None where it was not logged.
        lr: learning rate of each epoch.
        trigger: epoch after which weights were averaged (NT-ASGD); None where they were not.
    """

    model_sha256: str = ""
    hypotheses: Mapping[str, Texts] = field(default_factory=dict)
    train_loss: tuple[float | None, ...] = ()
    lr: tuple[float | None, ...] = ()
    trigger: int | None = None


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
        analysis: the study's plan of analysis, as it stood when the seed was recorded; None where
            the study has none.
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
    analysis: Analysis | None = None

    @property
    def runs(self) -> Runs:
        """Its phases, as questions are asked of them."""
        return Runs(self.seed, self.dev_name, self.phases)


def phases_of(records: Iterable[Record]) -> list[RecordedPhase]:
    """The phases of all records."""
    return [phase for record in records for phase in record.phases]


def seeds_to_come(records: Sequence[Record]) -> dict[int, list[str]]:
    """Seeds that the study's plan of analysis still awaits -> phases that it asks about and lacks.

    None where there is no such plan.
    """
    analysis = records[0].analysis
    if analysis is None:
        return {}
    by_seed = {record.seed: record for record in records}
    awaited = {}
    for seed in analysis["seeds"]:
        record = by_seed.get(seed)
        phases = [] if record is None else [phase.name for phase in record.phases]
        lacking = [name for name in phases_asked(analysis) if name not in phases]
        if record is None or not record.complete or lacking:
            awaited[seed] = lacking
    return awaited
