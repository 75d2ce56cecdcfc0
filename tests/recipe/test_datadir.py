"""Data directories: written sorted, read back, thinned, and refused where their files disagree."""

from pathlib import Path

import pytest
from recipes import write_set

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir
from espnet_topdown.text_files import read_table


def test_tables_are_sorted_as_bytes_and_read_back(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "t", {"b": "x y", "B": 1, "a": "", "é": "z"})
    assert (tmp_path / "t").read_text() == "B 1\na\nb x y\né z\n"
    assert read_table(tmp_path / "t") == {"B": "1", "a": "", "b": "x y", "é": "z"}


def test_a_set_whose_files_name_other_utterances_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1})
    datadir.write_table(source / "text", {"a1": "A"})
    said = r"text and utt2spk .*: 1 \(b1\) missing in text, none missing in utt2spk; make"
    with pytest.raises(TopdownError, match=said):
        datadir.utterances(source)
    (source / "text").unlink()
    assert list(datadir.utterances(source, needs_text=False)) == ["a1", "b1"]
    with pytest.raises(TopdownError, match=r"asked for .*text, but there is no such file"):
        datadir.utterances(source)


def test_a_directory_with_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    (source / "utt2lang").mkdir()
    with pytest.raises(TopdownError, match="d: utt2lang must be a file, not a directory"):
        datadir.utterances(source)


def test_a_set_that_lost_its_transcripts_loses_them_in_its_copy(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1})
    datadir.copy_set(source, tmp_path / "c")
    assert (tmp_path / "c" / "text").exists()
    (source / "text").unlink()
    datadir.copy_set(source, tmp_path / "c")
    assert not (tmp_path / "c" / "text").exists()


def test_an_utterance_without_one_speaker_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1, "c1": 0.1})
    (source / "utt2spk").write_text("a1 a\nb1\nc1 c d\n")
    with pytest.raises(TopdownError, match=r"without one speaker \(2\)(.|\n)*b1: ''\n  c1: 'c d'"):
        datadir.utterances(source)
