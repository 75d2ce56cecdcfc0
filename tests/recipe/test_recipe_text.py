"""Tokens, token lists and rows to score, as ESPnet has them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir, text


def test_lm_text_gets_the_suffix_of_its_file(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "text", {"u1": "A B", "u2": ""})
    datadir.write_table(tmp_path / "text_more", {"u1": "C"})
    text.join_texts([tmp_path / "text", tmp_path / "text_more"], tmp_path / "lm" / "lm_train.txt")
    assert (tmp_path / "lm" / "lm_train.txt").read_text() == "u1 A B\nu1_more C\n"


def test_an_id_of_two_files_of_one_name_is_refused(tmp_path: Path) -> None:
    # ESPnet stops at it with a traceback.
    first, second = tmp_path / "a" / "text", tmp_path / "b" / "text"
    datadir.write_table(first, {"u1": "A", "u2": ""})
    datadir.write_table(second, {"u1": "C", "u2": "D"})
    with pytest.raises(TopdownError, match="u1 stands in .*a/text and .*b/text; .* text_more"):
        text.join_texts([first, second], tmp_path / "lm_train.txt")
    assert not (tmp_path / "lm_train.txt").exists()


@pytest.mark.parametrize(
    "kind, without_symbols, expected",
    [
        ("char", False, ["A", "<space>", "<N>", "<space>", "<N>x", "B"]),
        ("char", True, ["A", "<space>", "<space>", "B"]),
        ("word", False, ["A", "<N>", "<N>xB"]),
        ("word", True, ["A", "<N>xB"]),
    ],
)
def test_tokens_keep_or_lose_symbols_and_the_longest_counts(
    kind: str, without_symbols: bool, expected: list[str]
) -> None:
    assert (
        text.tokenizer(kind, symbols=["<N>", "<N>x"], without_symbols=without_symbols)(
            "A <N> <N>xB"
        )
        == expected
    )


def test_the_token_list_is_espnets(tmp_path: Path) -> None:
    tokenize = text.tokenizer("char")
    tokens = text.count_tokens(["BAB", "A C"], tokenize)
    text.write_token_list(tmp_path / "x" / "tokens.txt", tokens, ("<blank>", "<unk>", "<sos/eos>"))
    expected = ["<blank>", "<unk>", "B", "A", "<space>", "C", "<sos/eos>"]
    assert (tmp_path / "x" / "tokens.txt").read_text().split() == expected


def test_a_transcripts_word_for_unknown_is_the_lists(tmp_path: Path) -> None:
    # ESPnet stops with a traceback at a list that has a token twice.
    special = ("<blank>", "<unk>", "<sos/eos>")
    tokens = text.count_tokens(["A <unk> B"], text.tokenizer("word"))
    text.write_token_list(tmp_path / "tokens.txt", tokens, special)
    assert (tmp_path / "tokens.txt").read_text() == "<blank>\n<unk>\nA\nB\n<sos/eos>\n"
    with pytest.raises(TopdownError, match="<blank>, <sos/eos> would be in the list twice"):
        text.write_token_list(tmp_path / "other.txt", ["A", "<sos/eos>", "<blank>"], special)
    with pytest.raises(TopdownError, match="<unk> would be in the list twice"):
        text.write_token_list(tmp_path / "other.txt", ["A"], ("<unk>", "<unk>", "<sos/eos>"))
    assert not (tmp_path / "other.txt").exists()


def test_a_cleaner_that_espnet_lacks_is_refused(espnet: None) -> None:
    with pytest.raises(TopdownError, match="the text cleaner 'nope', but it refused: .*--cleaner"):
        text.cleaner("nope")


def test_bpe_gives_the_asked_number_of_pieces_and_refuses_too_many(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("ABAB AB\nBABA\nAAB B\n" * 5)
    places = tmp_path / "train.txt", tmp_path / "bpe"
    pieces = text.train_bpe(*places, vocab_size=8, model_type="unigram")
    # With <unk>, <s> and </s> there are 8.
    assert len(pieces) == 5
    assert "<unk>" not in pieces
    split = text.tokenizer("bpe", bpemodel=tmp_path / "bpe.model")("ABAB")
    assert "".join(split) == "▁ABAB"
    assert set(split) <= set(pieces)
    with pytest.raises(TopdownError, match=r"sentencepiece .*'nonsense'.*see --nbpe"):
        text.train_bpe(*places, vocab_size=8, model_type="nonsense")


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        (500, r"500 pieces \(--nbpe\), but the text can give no more than (\d+); give --nbpe \1"),
        (4, r"4 pieces \(--nbpe\), but the characters of the text alone need (\d+); give --nbpe"),
    ],
)
def test_the_number_of_pieces_that_is_advised_is_taken(
    tmp_path: Path, asked: int, advice: str
) -> None:
    (tmp_path / "train.txt").write_text("ABAB AB\nBABA\nAAB B\n" * 5)
    places = tmp_path / "train.txt", tmp_path / "bpe"
    with pytest.raises(TopdownError, match=advice) as caught:
        text.train_bpe(*places, vocab_size=asked, model_type="unigram")
    found = re.search(advice, str(caught.value))
    assert found
    pieces = text.train_bpe(*places, vocab_size=int(found[1]), model_type="unigram")
    assert len(pieces) == int(found[1]) - 3


def test_only_named_cleaners_need_espnet() -> None:
    code = (
        "import sys\n"
        "from espnet_topdown.recipe import __main__, formats, speed, text\n"
        "text.cleaner('none')\n"
        "assert not {'torch', 'espnet2', 'espnet'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hypotheses_of_other_utterances_are_refused(tmp_path: Path) -> None:
    datadir.write_table(tmp_path / "d" / "utt2spk", {"s-1": "s", "s-2": "s"})
    datadir.write_table(tmp_path / "hyp", {"s-1": "A"})
    with pytest.raises(TopdownError, match="1 in one only, first s-2"):
        text.scored_rows(tmp_path / "d", tmp_path / "hyp", str.split, str)
