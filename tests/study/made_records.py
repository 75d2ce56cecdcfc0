"""Made-up records of seeds for the tests of studies, with errors that can be counted by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.plan.kinds import BASE_KIND, CANDIDATE, CONTROL, TOP_DOWN
from espnet_topdown.plan.plan import Entry, Plan
from espnet_topdown.plan.plan_file import plan_text
from espnet_topdown.study.record_files import write_record
from espnet_topdown.study.records import Record, RecordedPhase

SPEAKERS, EACH = 6, 10
NAMES = [f"s{k % SPEAKERS}-s{k % SPEAKERS}-test{k:03d}" for k in range(SPEAKERS * EACH)]
SET = "decode/test"
WORDS = 4 * SPEAKERS * EACH
RIGHT = "one two three four"
WRONG = "one two three NINE"
ACC = Criterion("valid", "acc", "max")
LOSS = Criterion("valid", "loss", "min")
EQUAL = "best phase - best restart, as many runs each"


def phase(
    name: str,
    kind: str,
    dev: float,
    wrong: Sequence[int],
    *,
    cut: str | None = None,
    dropout: str = "keep",
    settings: str = "",
) -> RecordedPhase:
    """A phase that has the last of four words wrong in the utterances `wrong`."""
    return RecordedPhase(
        name=name,
        kind=kind,
        cut=cut,
        frozen_share=0.0,
        dev=dev,
        criterion=ACC,
        accepted=None,
        best=False,
        seed=1,
        epochs=3,
        hours=0.1,
        directory=Path(name),
        curve=(0.1, 0.2, dev),
        settings=settings,
        role=CANDIDATE if kind in (BASE_KIND, TOP_DOWN) else CONTROL,
        dropout=dropout,
        model_sha256="0",
        hypotheses={SET: {NAMES[k]: WRONG for k in wrong}},
    )


def record(seed: int, phases: Sequence[RecordedPhase]) -> Record:
    """A complete record of a study `tiny`."""
    return Record(
        model="tiny",
        seed=seed,
        plan=plan_text(Plan((Entry(cut="decoder"),))),
        dev_name=ACC.name,
        complete=True,
        made={"espnet": "1", "torch": "2", "python": "3", "machine": "2-core CPU"},
        data={
            "sets": {"test": {"strings": len(NAMES), "words": WORDS, "text_sha256": "0"}},
            "options": {"snr_db": "10"},
        },
        references={SET: dict.fromkeys(NAMES, RIGHT)},
        phases=tuple(
            replace(each, seed=seed, model_sha256=f"{each.name} of {seed}") for each in phases
        ),
    )


def usual(seed: int, *more: RecordedPhase) -> Record:
    """Phase 0 has 24 errors, phase1 12, phase2 24 again, restarts 24 and 18, bottom_up 60.

    One in each utterance; `more` phases follow.
    """
    phases = [
        phase("phase0", "base", 0.5, range(24)),
        phase("phase1", "top_down", 0.7, range(12), cut="decoder"),
        phase("phase2", "top_down", 0.6, range(24), cut="encoder.1"),
        phase("restart_phase1", "restart", 0.5, range(24)),
        phase("restart_phase2", "restart", 0.4, range(18)),
        phase("bottom_up_phase1", "bottom_up", 0.3, range(60), cut="decoder"),
    ]
    return record(seed, [*phases, *more])


def lm_record(seed: int, *perplexities: float) -> Record:
    """Phase 0, a top-down phase, its restart and a fine-tuning run: perplexities on test."""
    kinds: Mapping[str, str] = {
        "phase0": "base",
        "phase1": "top_down",
        "restart_phase1": "restart",
        "finetune_phase1": "continue",
    }
    phases = []
    for (name, kind), value in zip(kinds.items(), perplexities, strict=True):
        cut = "output" if kind == "top_down" else None
        made = phase(name, kind, value / 100, (), cut=cut)
        measured = {"test (stream)": value, "valid (stream)": value + 5}
        made = replace(made, criterion=LOSS, hypotheses={}, perplexity=measured)
        phases.append(made)
    return replace(record(seed, phases), references={}, dev_name=LOSS.name)


def write(folder: Path, *records: Record) -> Path:
    """The folder with the records in it."""
    for each in records:
        write_record(folder / f"seed{each.seed}.json", each)
    return folder
