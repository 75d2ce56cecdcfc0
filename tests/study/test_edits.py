"""Hypotheses as edits of their references."""

import pytest

from espnet_topdown.study.edits import edited, edits_of

REFERENCE = "zero two four"


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        (REFERENCE, ""),
        ("zero five four", "1:five"),
        ("zero four", "1:"),
        ("nine zero two four", "0+nine"),
        ("zero two four six", "3+six"),
        ("zero one nine two four", "1+one 1+nine"),
        ("", "0: 1: 2:"),
        # sclite takes the later word for the substitution.
        ("zero two 4:00 six", "2+4:00 2:six"),
        ("zero two 1+1", "2:1+1"),
    ],
)
def test_edits_by_hand(text: str, edits: str) -> None:
    assert edits_of(REFERENCE, text) == edits
    if edits:
        assert edited(REFERENCE, edits) == text


@pytest.mark.parametrize(("reference", "text"), [("x;y a", "x;z a"), ("a;b", ""), ("", ";t")])
def test_texts_are_not_read_as_trn_files_a_second_time(reference: str, text: str) -> None:
    assert edited(reference, edits_of(reference, text)) == text


@pytest.mark.parametrize("edits", ["five", "4+five", "-1:five", "1;five", ""])
def test_a_damaged_edit_is_refused(edits: str) -> None:
    with pytest.raises(ValueError, match="is no edit of 'zero two four'"):
        edited(REFERENCE, edits)
