"""Whether a cascade's test results are shown: those of a planned study are not before its end.

A file in the base says so. `espnet_topdown.study` writes it before phases are trained, and takes it
away with the last seed; meanwhile a cascade's pages show dev alone.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from espnet_topdown.files import write_text
from espnet_topdown.results.rows import PhaseResult

NAME = "sealed"  # in the base's directory


def seal(base: Path, study: str) -> None:
    """Keep the test results of a base and its cascades from pages, until `unseal`."""
    write_text(base / NAME, f"Test results of the study {study} are shown after its last seed.\n")


def unseal(base: Path) -> None:
    """Show them."""
    (base / NAME).unlink(missing_ok=True)


def sealed_facts(bases: Iterable[Path]) -> list[str]:
    """What a page says of bases that are sealed; nothing of others."""
    return [
        f"{base.name} is a seed of a study that is not complete: its test results are not shown"
        f" while {base / NAME} is there"
        for base in dict.fromkeys(bases)
        if (base / NAME).exists()
    ]


def on_dev(row: PhaseResult) -> PhaseResult:
    """A phase without what was measured after its training."""
    return replace(row, perplexity={}, small_texts=())
