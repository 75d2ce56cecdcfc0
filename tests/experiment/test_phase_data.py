"""The lists of a phase on other data, by the names and types that its base reads."""

from pathlib import Path

from espnet_topdown.experiment.phase_data import data_options, new_shapes, rows_in

LISTS = {
    "train_data_path_and_name_and_type": [
        ["dump/raw/tr/wav.scp", "speech", "kaldi_ark"],
        ["dump/raw/tr/text.tc.en", "text", "text"],
    ],
    "train_shape_file": ["stats/splits8/speech_shape", "stats/splits8/text_shape.bpe"],
    "multiple_iterator": True,
}
LM = {"train_data_path_and_name_and_type": [["dump/raw/lm_train.txt", "text", "text"]]}


def test_names_and_types_are_the_bases() -> None:
    assert data_options(LISTS, {"train": "dump/raw/noisy"}, None) == {
        "train_data_path_and_name_and_type": [
            ["dump/raw/noisy/wav.scp", "speech", "kaldi_ark"],
            ["dump/raw/noisy/text.tc.en", "text", "text"],
        ],
        # The base's lists are directories of parts, the new ones are not.
        "multiple_iterator": False,
    }


def test_one_list_can_be_a_file_of_any_name(tmp_path: Path) -> None:
    text = tmp_path / "novels.txt"
    text.write_text("u1 a\n")
    assert rows_in(LM, "train", str(text)) == ((str(text), "text", "text"),)
    assert rows_in(LM, "train", str(tmp_path)) == ((f"{tmp_path}/lm_train.txt", "text", "text"),)


def test_a_stream_without_shape_files_needs_none() -> None:
    assert new_shapes(LM, {"train": "data/novels"}, None) == []


def test_without_data_or_tokens_nothing_differs() -> None:
    assert data_options(LISTS, {}, None) == {}
    assert new_shapes(LISTS, {}, None) == []
