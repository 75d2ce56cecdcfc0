"""What is kept so that nothing is counted, compared or drawn twice: counts of sets, and pages.

``counts.bin`` beside the score files of a set names the hashes of the reference and the hypothesis
that it was made of, so that a set that was decoded again is counted again; it begins with the hash
of what follows. ``.results_page.json`` beside RESULTS.md names the phases, the score files and the
modules that its page was made of.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from espnet_topdown import archives, files
from espnet_topdown.errors import TopdownError
from espnet_topdown.results import outside, scoring
from espnet_topdown.results.rows import PhaseResult
from espnet_topdown.results.score import Reference, Score
from espnet_topdown.results.scoring import (
    Pair,
    SetKey,
    find_scores,
    read_pairs,
    read_references,
)
from espnet_topdown.table import Page, Table

COUNTS = "counts.bin"
PAGE = ".results_page.json"


@dataclass(frozen=True)
class Decoded:
    """One decoded set: its score, and what reads its texts where they are needed once more."""

    score: Score
    read: Callable[[], Sequence[Pair]]

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "Decoded":
        """A set whose texts are known."""
        return cls(scoring.score(pairs), lambda: pairs)

    def alignments(self) -> dict[str, str]:
        """The alignment that sclite prints of every utterance, by id."""
        return scoring.alignments(self.read())


@dataclass
class Reader:
    """Reads decoded sets, case folded as sclite does unless `case_sensitive`.

    A reference that many experiments share is read once.
    """

    case_sensitive: bool = False
    references: dict[str, Reference] = field(default_factory=dict)

    def decoded(self, exp: Path) -> dict[SetKey, Decoded]:
        """Every scored set of an experiment, in the order of `scoring.find_scores`.

        Raises:
            TopdownError: as `scoring.find_scores` and `scoring.read_pairs`.
        """
        return {key: self._decoded(ref, hyp) for key, (ref, hyp) in find_scores(exp).items()}

    def sources(self, ref: Path, hyp: Path) -> list[str]:
        """Hashes of all that a set's counts are made of."""
        # The last: how another scorer counted, where one did.
        return list(map(_sha256, (ref, hyp, ref.parent / outside.NAME)))

    def _decoded(self, ref: Path, hyp: Path) -> Decoded:
        read = partial(read_pairs, ref, hyp, case_sensitive=self.case_sensitive)
        of_ref = _sha256(ref)
        made_of = f"{self.sources(ref, hyp)} {self.case_sensitive} {counted_by()}"
        # Of a file that is missing there are none, and reading it says which that is.
        counts = _read_counts(ref.parent / COUNTS, made_of)
        if counts is None:
            score = scoring.score(read())
            self.references.setdefault(of_ref, score.reference)
            counts = score.counts
            _keep_counts(ref.parent / COUNTS, made_of, counts)
        if of_ref not in self.references:
            transcripts = read_references(ref, case_sensitive=self.case_sensitive)
            self.references[of_ref] = Reference.of(transcripts.values())
        return Decoded(Score(self.references[of_ref], counts), read)


def _sha256(path: Path) -> str:
    """The hash of a score file; "none" where there is none."""
    return files.sha256(path) if path.exists() else "none"


@cache
def counted_by() -> str:
    """Fingerprint of the modules of this folder: what others counted is counted again."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(map(Path.read_bytes, paths))).hexdigest()


def _read_counts(path: Path, made_of: str) -> np.ndarray | None:
    """The counts in `path`; None where they are of other files, or damaged, or not there."""
    try:
        if not path.exists() or archives.damage(path):
            return None
        with np.load(path, allow_pickle=False) as kept:
            is_of_these = str(kept["made_of"]) == made_of
            counts: np.ndarray = kept["counts"]
            return counts if is_of_these else None
    except (OSError, ValueError, LookupError):
        return None


def _keep_counts(path: Path, made_of: str, counts: np.ndarray) -> None:
    try:
        # What a power cut loses is counted again.
        with files.replacing(path, durable=False) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, counts=counts, made_of=np.array(made_of))
    except OSError:
        # Whoever may not write here, or has no room, still gets the results.
        return


def fingerprint(rows: Sequence[PhaseResult], reader: Reader, *others: Any) -> str:
    """What a page is made of.

    Args:
        rows: its phases.
        reader: that reads their score files.
        others: what else stands on the page.
    """
    scores = []
    for row in rows:
        for key, paths in find_scores(row.directory).items():
            scores.append([row.name, *key, *reader.sources(*paths)])
    made_of = [list(map(vars, rows)), scores, reader.case_sensitive, others, counted_by()]
    return hashlib.sha256(json.dumps(made_of, default=str).encode()).hexdigest()


def read_page(directory: Path | None, made_of: str) -> Page | None:
    """The page of a cascade; None where it is of other numbers, or not there with all it wrote.

    Args:
        directory: of the cascade; None: nothing is kept.
        made_of: what it must be made of.
    """
    if directory is None:
        return None
    try:
        kept = files.read_json(directory / PAGE)
        # A file that somebody removed is to come back.
        is_whole = all((directory / name).exists() for name in kept["written"])
        if kept["made_of"] != made_of or not is_whole:
            return None
        tables = [Table(**table) for table in kept["page"].pop("tables")]
        return Page(**kept["page"], tables=tables)
    except (TopdownError, LookupError, TypeError):
        # Not kept yet, damaged, or of another version.
        return None


def keep_page(directory: Path, made_of: str, page: Page, written: Sequence[str]) -> None:
    """Keep a page for the next call, with the names of the files that were written with it."""
    kept = {"made_of": made_of, "written": written, "page": asdict(page)}
    text = json.dumps(kept, ensure_ascii=False)
    with files.replacing(directory / PAGE, durable=False) as temporary:
        temporary.write_text(text, encoding="utf-8")
