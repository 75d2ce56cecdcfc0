"""The record of a seed, as a value: all that a study's tables need of it, without a model.

Its files are those of `espnet_topdown.study.record_files`; how it comes about is left to
`espnet_topdown.study.recording`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from espnet_topdown.results.rows import PhaseResult

Texts = Mapping[str, str]  # utterance -> its tokens, parted by single blanks


@dataclass(frozen=True)
class RecordedPhase(PhaseResult):
    """One phase with what it heard.

    Args:
        dropout: ``keep`` or ``off``, in its frozen layers.
        model_sha256: of the model file that was decoded.
        hypotheses: set -> texts of the utterances that differ from their reference; a set that was
            not decoded is not there.
    """

    dropout: str = "keep"
    model_sha256: str = ""
    hypotheses: Mapping[str, Texts] = field(default_factory=dict)

    def perplexity_on(self, text: str) -> float | None:
        """Its perplexity on a text; None where that was not measured."""
        return (self.perplexity or {}).get(text)


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

    def named(self, name: str) -> RecordedPhase | None:
        """The phase of that name; None where there is none."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def best(self, phases: Sequence[RecordedPhase]) -> RecordedPhase | None:
        """The one of `phases` that is best by the dev criterion, the first of equals; None of none.

        A phase without a value on dev is worse than any other.
        """
        if not phases:
            return None
        sign = 1 if self.dev_name.endswith("max") else -1
        devs = [float("-inf") if phase.dev is None else sign * phase.dev for phase in phases]
        return phases[devs.index(max(devs))]


def phases_of(records: Iterable[Record]) -> list[RecordedPhase]:
    """The phases of all records."""
    return [phase for record in records for phase in record.phases]


def of_kind(kind: str, phases: Iterable[RecordedPhase]) -> list[RecordedPhase]:
    """Those of `phases` that are of `kind`."""
    return [phase for phase in phases if phase.kind == kind]
