"""Made-up phases with scored sets, for the tests of comparisons, tables, pages and plots."""

from collections.abc import Sequence
from pathlib import Path

from transcripts import Rows, write_scored

from espnet_topdown.experiment.quality import Criterion
from espnet_topdown.results.cache import Reader
from espnet_topdown.results.compare import compare_sets
from espnet_topdown.results.comparison import SetComparison
from espnet_topdown.results.rows import PhaseResult

SPEAKERS = 6
EACH = 4


def sentences(wrong: int = 0) -> Rows:
    """24 sentences of 5 words by 6 speakers; in the first `wrong` of them a word is replaced."""
    rows = []
    for k in range(SPEAKERS * EACH):
        speaker = f"s{k % SPEAKERS}"
        last = "NINE" if k < wrong else "TEN"
        rows.append((f"{speaker}-u{k:02d}", speaker, ["ONE", "TWO", "SIX", "SIX", last]))
    return rows


def phase(
    directory: Path,
    name: str,
    kind: str,
    *,
    wrong: int | None = None,
    cut: str | None = None,
    **more: object,
) -> PhaseResult:
    """A phase with `wrong` errors in 120 words on the set "test"; None: not decoded."""
    (directory / name).mkdir(parents=True)
    if wrong is not None:
        write_scored(directory / name, "test", sentences(), sentences(wrong))
    usual = {
        "accepted": None,
        "best": False,
        "seed": 0,
        "epochs": 3,
        "hours": 0.5,
        "dev": 0.5,
        "curve": (0.3, None, 0.5),
    }
    return PhaseResult(
        name=name,
        kind=kind,
        cut=cut,
        frozen_share=0.25,
        criterion=Criterion("valid", "acc", "max"),
        directory=directory / name,
        **(usual | more),
    )


def compared(
    rows: Sequence[PhaseResult], *, case_sensitive: bool = False, selected_on: Sequence[str] = ()
) -> list[SetComparison]:
    """The comparison of what lies in the directories of `rows`."""
    reader = Reader(case_sensitive)
    decoded = [reader.decoded(row.directory) for row in rows]
    return compare_sets(rows, decoded, selected_on=selected_on)
