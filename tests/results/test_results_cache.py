"""What was counted, compared and drawn once is read again, and only while it is true."""

from pathlib import Path

import numpy as np
import pytest
from made_phases import phase, sentences
from transcripts import INFERENCE, write_scored

from espnet_topdown.results import cache, scoring
from espnet_topdown.results.cache import COUNTS, Reader
from espnet_topdown.table import Page, Table

KEY = (INFERENCE, "test", "wer")


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return phase(tmp_path, "p1", "top_down", wrong=6).directory


def errors(exp: Path, *, case_sensitive: bool = False) -> int:
    return Reader(case_sensitive).decoded(exp)[KEY].score.errors


def test_a_set_is_counted_once(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors(exp) == 6
    monkeypatch.setattr(scoring, "_count", None)
    assert errors(exp) == 6


def test_a_set_that_was_decoded_again_is_counted_again(exp: Path) -> None:
    assert errors(exp) == 6
    write_scored(exp, "test", sentences(), sentences(7))
    assert errors(exp) == 7
    # As many words, another reference.
    other = [(name, speaker, ["FIVE", *words[1:]]) for name, speaker, words in sentences()]
    write_scored(exp, "test", other, sentences(7))
    assert errors(exp) == 24 + 7


def test_another_way_of_counting_counts_again(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert errors(exp) == 6
    lower = [
        (name, speaker, [word.lower() for word in words]) for name, speaker, words in sentences()
    ]
    write_scored(exp, "test", sentences(), lower)
    assert (errors(exp), errors(exp, case_sensitive=True)) == (0, 120)
    monkeypatch.setattr(scoring, "_count", lambda ref, hyp: (1, 0, 0, False, 4))
    monkeypatch.setattr(cache, "counted_by", lambda: "another version")
    assert errors(exp) == 24


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"x" * 100])
def test_damaged_counts_are_counted_again(exp: Path, damage: bytes) -> None:
    assert errors(exp) == 6
    (exp / INFERENCE / "test/score_wer" / COUNTS).write_bytes(damage)
    assert errors(exp) == 6


def test_a_flipped_bit_in_the_counts_is_found(exp: Path) -> None:
    assert errors(exp) == 6
    path = exp / INFERENCE / "test/score_wer" / COUNTS
    good = path.read_bytes()
    for place in range(0, len(good), 7):
        path.write_bytes(good[:place] + bytes([good[place] ^ 16]) + good[place + 1 :])
        assert errors(exp) == 6


def test_a_reference_that_phases_share_is_held_once(tmp_path: Path) -> None:
    reader = Reader()
    scores = []
    for name in ("a", "b", "c"):
        exp = phase(tmp_path, name, "top_down", wrong=3).directory
        scores.append(reader.decoded(exp)[KEY].score)
    assert len({id(score.reference) for score in scores}) == 1
    # 20 bytes an utterance are what each phase adds.
    assert all(score.counts.nbytes == 20 * 24 for score in scores)
    assert all(score.counts.dtype == np.int32 for score in scores)


def test_a_page_is_kept_while_all_that_it_is_made_of_is_the_same(exp: Path, tmp_path: Path) -> None:
    row = phase(tmp_path / "other", "p1", "top_down", wrong=6)

    def made_of(*said: str) -> str:
        return cache.fingerprint([row], Reader(), *said)

    page = Page("t", [Table("h", ["a"], [["1"]], ["note"])], {"x": 1}, ["fact"])
    written = ["RESULTS.md", "images/dev_curves.png"]
    (tmp_path / "images").mkdir()
    for name in written:
        (tmp_path / name).touch()
    cache.keep_page(tmp_path, made_of(), page, written)

    def page_of(*said: str) -> Page | None:
        return cache.read_page(tmp_path, made_of(*said))

    assert page_of() is not None
    assert page_of().terminal() == page.terminal()
    assert page_of().markdown() == page.markdown()
    assert page_of("another plan") is None
    write_scored(row.directory, "test", sentences(), sentences(7))
    assert page_of() is None
    # Another scorer's counts take the place of our own.
    cache.keep_page(tmp_path, made_of(), page, written)
    assert page_of() is not None
    (row.directory / INFERENCE / "test/score_wer/outside.tsv").write_text("other counts")
    assert page_of() is None
    cache.keep_page(tmp_path, made_of(), page, written)
    assert page_of() is not None
    (tmp_path / "images/dev_curves.png").unlink()
    assert page_of() is None
