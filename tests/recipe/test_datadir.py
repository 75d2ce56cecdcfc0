"""Data directories: written sorted, read back, thinned, and refused where their files disagree."""

from pathlib import Path

import pytest
from recipes import RATE, write_set

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, formats
from espnet_topdown.text_files import read_table


def test_tables_are_sorted_as_bytes_and_read_back(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "t", {"b": "x y", "B": 1, "a": "", "é": "z"})
    assert (tmp_path / "t").read_text() == "B 1\na\nb x y\né z\n"
    assert read_table(tmp_path / "t") == {"B": "1", "a": "", "b": "x y", "é": "z"}


def test_a_set_whose_files_name_other_utterances_is_refused(tmp_path: Path) -> None:
    source = write_set(tmp_path / "d", {"a1": 0.1, "b1": 0.1})
    datadir.write_table(source / "text", {"a1": "A"})
    said = "text and utt2spk name different utterances .1 in one only, first b1"
    with pytest.raises(TopdownError, match=said):
        datadir.utterances(source)


def test_bounds_are_exclusive_and_empty_text_goes(tmp_path: Path) -> None:
    source = write_set(tmp_path / "org", {"a1": 0.1, "a2": 0.2, "b1": 0.3, "b2": 0.4})
    formats.format_set(source, tmp_path / "f", audio_format="wav", rate=RATE, processes=1, parts=1)
    datadir.write_table(tmp_path / "f" / "text", {"a1": "A", "a2": "", "b1": "B", "b2": "C"})
    said = datadir.keep_usable(tmp_path / "f", tmp_path / "k", shortest=800, longest=3200)
    assert said.endswith("4 utterances, 1 too short, 1 too long, 1 without text: 1 kept")
    assert (tmp_path / "k" / "text").read_text() == "b1 B\n"
    assert (tmp_path / "k" / "utt2num_samples").read_text() == "b1 2400\n"
    assert (tmp_path / "k" / "spk2utt").read_text() == "b b1\n"
    with pytest.raises(TopdownError, match="none is left; see --min_wav_duration"):
        datadir.keep_usable(tmp_path / "f", tmp_path / "n", shortest=9000, longest=9001)
