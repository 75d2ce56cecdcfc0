"""The page of a cascade, kept beside its RESULTS.md: nothing is compared and drawn twice.

It is of the phases, the score files and the modules that its fingerprint was made of.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.results.kept_counts import Reader, counted_by
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.scoring import find_scores
from espnet_topdown.table import Page, Table

KEPT = ".results_page.json"


def fingerprint(rows: Sequence[PhaseResult], reader: Reader, *said: Any) -> str:
    """What a page is made of.

    Args:
        rows: its phases.
        reader: that reads their score files.
        said: what else stands on the page.
    """
    scores = []
    for row in rows:
        for key, paths in find_scores(row.directory).items():
            hashes = [reader.sha256(path) if path.exists() else None for path in paths]
            scores.append([row.name, *key, *hashes])
    made_of = [[vars(row) for row in rows], scores, reader.case_sensitive, said, counted_by()]
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()


def read(directory: Path, made_of: str, written: Sequence[str]) -> Page | None:
    """The page of a cascade; None where it is of other numbers, or not there with all it wrote.

    Args:
        directory: of the cascade.
        made_of: what it must be made of.
        written: names of the files that were written with it.
    """
    # A file that somebody removed is to come back.
    if not all((directory / name).exists() for name in written):
        return None
    try:
        kept = files.read_json(directory / KEPT)
        if kept["made_of"] != made_of:
            return None
        tables = [Table(**table) for table in kept["page"].pop("tables")]
        return Page(**kept["page"], tables=tables)
    except (TopdownError, LookupError, TypeError):
        # Not kept yet, damaged, or of another version.
        return None


def keep(directory: Path, made_of: str, page: Page) -> None:
    """Keep a page for the next call."""
    text = json.dumps({"made_of": made_of, "page": asdict(page)}, ensure_ascii=False)
    with files.replacing(directory / KEPT, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
