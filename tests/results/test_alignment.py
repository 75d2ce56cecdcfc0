"""Alignments are sclite's, by hand and against the program itself."""

import re
from pathlib import Path

import pytest
import transcripts

from espnet_topdown.results.alignment import align
from espnet_topdown.results.scoring import alignments


@pytest.mark.parametrize(
    ("ref", "hyp", "steps"),
    [
        # Printed by sclite 2.4.10.
        ("bcacbb", "bcba", "CDDCCS"),
        ("", "a", "I"),
        ("a", "", "D"),
        ("", "", ""),
    ],
)
def test_align_prefers_as_sclite_does(ref: str, hyp: str, steps: str) -> None:
    assert align(list(ref), list(hyp)) == steps


@pytest.mark.parametrize("texts", transcripts.RANDOM_TEXTS)
def test_every_alignment_equals_sclites(tmp_path: Path, texts: str) -> None:
    ours = alignments(transcripts.pairs_of(tmp_path, *transcripts.random_texts(texts)))
    transcripts.sclite(tmp_path, ("hyp.trn",), "sgml")
    theirs = {}
    for path in (tmp_path / "hyp.trn.sgml").read_text().split("<PATH ")[1:]:
        name = re.match(r'id="\((.*?)\)"', path)[1]
        steps = path.splitlines()[1].split(":")
        theirs[name] = "".join(step[:1] for step in steps)
    assert ours == theirs
