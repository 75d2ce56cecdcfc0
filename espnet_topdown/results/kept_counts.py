"""The decoded sets of experiments, each counted once: counts are kept beside its score files.

``counts.bin`` names the hashes of the reference and the hypothesis that it was made of, so that a
set that was decoded again is counted again. It begins with the hash of what follows.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np

from espnet_topdown import files
from espnet_topdown.results import outside, scoring
from espnet_topdown.results.scoring import (
    Key,
    Pair,
    Reference,
    Score,
    find_scores,
    read_pairs,
    read_references,
)

COUNTS = "counts.bin"
DIGEST = 32  # bytes of SHA-256


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
    hashes: dict[Path, str] = field(default_factory=dict)

    def sha256(self, path: Path) -> str:
        """The hash of a score file, taken once."""
        if path not in self.hashes:
            self.hashes[path] = files.sha256(path)
        return self.hashes[path]

    def decoded(self, exp: Path) -> dict[Key, Decoded]:
        """Every scored set of an experiment, in the order of `scoring.find_scores`.

        Raises:
            TopdownError: as `scoring.find_scores` and `scoring.read_pairs`.
        """
        return {key: self._decoded(ref, hyp) for key, (ref, hyp) in find_scores(exp).items()}

    def _decoded(self, ref: Path, hyp: Path) -> Decoded:
        read = partial(read_pairs, ref, hyp, case_sensitive=self.case_sensitive)
        if not (ref.exists() and hyp.exists()):
            # Says which of them is missing.
            return Decoded.of(read())
        said = self.sha256(ref)
        # How another scorer counted, where one did.
        counted = ref.parent / outside.NAME
        others = self.sha256(counted) if counted.exists() else "none"
        made_of = f"{said} {self.sha256(hyp)} {others} {self.case_sensitive} {counted_by()}"
        counts = _read(ref.parent / COUNTS, made_of)
        if counts is None:
            score = scoring.score(read())
            self.references.setdefault(said, score.reference)
            counts = score.counts
            _keep(ref.parent / COUNTS, made_of, counts)
        if said not in self.references:
            transcripts = read_references(ref, case_sensitive=self.case_sensitive)
            self.references[said] = Reference.of(transcripts.values())
        return Decoded(Score(self.references[said], counts), read)


@cache
def counted_by() -> str:
    """Fingerprint of the modules of this folder: what others counted is counted again."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _read(path: Path, made_of: str) -> np.ndarray | None:
    """The counts in `path`; None where they are of other files, or damaged, or not there."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:DIGEST], stored[DIGEST:]
    # What is whole is what was written here, and needs no further doubt.
    if hashlib.sha256(content).digest() != digest:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as kept:
        if str(kept["made_of"]) != made_of:
            return None
        counts: np.ndarray = kept["counts"]
        return counts


def _keep(path: Path, made_of: str, counts: np.ndarray) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, counts=counts, made_of=np.array(made_of))
    content = stream.getvalue()
    try:
        # What a power cut loses is counted again.
        with files.replacing(path, durable=False) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
    except OSError:
        # Whoever may not write here, or has no room, still gets the results.
        return
