"""Lists shared out to jobs, and their results put together again."""

from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, jobs


@pytest.mark.parametrize(
    "number, expected", [(1, "abcde"), (2, "abc de"), (4, "ab c d e"), (9, "a b c d e")]
)
def test_pieces_neighbour_and_the_longer_come_first(number: int, expected: str) -> None:
    assert list(jobs.pieces("abcde", number)) == expected.split()


def test_outputs_are_joined_sorted_and_absent_kinds_stay_absent(tmp_path: Path) -> None:
    for job, table in ((1, {"u2": "B"}), (2, {"u1": "A"})):
        datadir.write_table(tmp_path / f"logdir/output.{job}/1best_recog/text", table)
    jobs.join_outputs(tmp_path)
    assert (tmp_path / "text").read_text() == "u1 A\nu2 B\n"
    assert not (tmp_path / "score").exists()
    with pytest.raises(TopdownError, match="run stage 12"):
        jobs.join_outputs(tmp_path / "logdir")


@pytest.mark.parametrize("found", [["u2"], []])
def test_an_utterance_without_a_hypothesis_is_empty(
    found: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ESPnet's search may give none, as where its maximum length is below its minimum."""
    logs = tmp_path / "logdir"
    logs.mkdir()
    (logs / "keys.1.scp").write_text("u1 a.wav\nu2 b.wav\n")
    (logs / "keys.2.scp").write_text("u3 c.wav\n")
    if found:
        datadir.write_table(logs / "output.1/1best_recog/text", dict.fromkeys(found, "B"))
    jobs.join_outputs(tmp_path)
    lines = (tmp_path / "text").read_text().splitlines()
    assert lines == [f"{name} B" if name in found else name for name in ("u1", "u2", "u3")]
    assert f"no hypothesis was found for {3 - len(found)} utterances (u1" in caplog.text
    assert not (tmp_path / "token").exists()


def test_shapes_get_the_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "text_shape").write_text("u1 3\nu2 5\n")
    (tmp_path / "tokens.txt").write_text("a\nb\nc\n")
    jobs.append_vocabulary([tmp_path / "text_shape"], tmp_path / "tokens.txt", "char")
    assert (tmp_path / "text_shape.char").read_text() == "u1 3,3\nu2 5,3\n"


SEPARATED = "u1 a\u2028b\fc\u0085d"


def test_odd_characters_of_a_transcript_part_no_lines(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(f"{SEPARATED}\n\nu2 e\n", encoding="utf-8")
    assert jobs.split_keys(9, {"text": tmp_path / "text"}, tmp_path / "log") == 2
    assert (tmp_path / "log/text.1.scp").read_text(encoding="utf-8") == f"{SEPARATED}\n"
    (tmp_path / "logdir/output.1/1best_recog").mkdir(parents=True)
    (tmp_path / "text").rename(tmp_path / "logdir/output.1/1best_recog/text")
    jobs.join_outputs(tmp_path)
    assert (tmp_path / "text").read_text(encoding="utf-8").count("\n") == 3
    (tmp_path / "tokens.txt").write_text("a\u2028\nb\n", encoding="utf-8")
    (tmp_path / "text_shape").write_text("u1 3\n")
    jobs.append_vocabulary([tmp_path / "text_shape"], tmp_path / "tokens.txt", "char")
    assert (tmp_path / "text_shape.char").read_text() == "u1 3,2\n"
