"""Phases with a vocabulary of their own in a cascade: what is refused, told, judged and decoded."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import yaml
from cascades import fails, hashes, run, words

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.decode import _token_options
from espnet_topdown.cli import main
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_data import new_shapes, shape_options, token_options
from espnet_topdown.plan.plan import Phase


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """The base's characters and one more."""
    path = tmp_path / "token_list" / "char" / "tokens.txt"
    path.parent.mkdir(parents=True)
    tokens = [*tiny.TOKENS[:-1], "g", tiny.TOKENS[-1]]
    path.write_text("".join(f"{token}\n" for token in tokens))
    return path


def test_a_classifier_is_not_kept_over_other_tokens(base, letters, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(f"{{tokens: {letters}, phases: [{{cut: decoder}}]}}")
    for command in (words(base, tmp_path), ["plan", *words(base, tmp_path)[1:-2]]):
        error = fails(capsys, *command)
        assert "phase1: of another vocabulary than the parent's, no kept tensor may depend" in error
        assert "ctc.ctc_lo.weight" in error
        assert "such as 'keep: [encoder]'" in error
    assert not (tmp_path / "cascade").exists()


def test_a_token_list_that_is_gone_is_told(base, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text("{tokens: gone/tokens.txt, phases: [{cut: decoder}]}")
    error = fails(capsys, *words(base, tmp_path))
    assert "gone/tokens.txt is not there. Make the list by" in error


@pytest.mark.parametrize(
    ("base_type", "path", "has_model", "expected"),
    [
        ("char", "token_list/bpe_unigram30/tokens.txt", True, "bpe"),
        ("char", "token_list/char/tokens.txt", False, "char"),
        ("bpe", "en_token_list/word/tokens.txt", False, "word"),
        ("char", "mine/tokens.txt", False, "char"),
        ("bpe", "mine/tokens.txt", False, None),
        ("whisper_multilingual", "mine/tokens.txt", False, None),
    ],
)
def test_where_a_token_list_is_tells_its_type(tmp_path, base_type, path, has_model, expected):
    tokens = tmp_path / path
    tokens.parent.mkdir(parents=True)
    if has_model:
        (tokens.parent / "bpe.model").write_bytes(b"model")
    if expected is None:
        with pytest.raises(TopdownError, match="the type of its tokens is not known"):
            token_options({"token_type": base_type}, str(tokens))
        return
    options = token_options({"token_type": base_type}, str(tokens))
    model = str(tokens.parent / "bpe.model") if has_model else None
    assert options == {"token_list": str(tokens), "token_type": expected, "bpemodel": model}


CONFIG = {
    "train_data_path_and_name_and_type": [
        ["dump/raw/tr/wav.scp", "speech", "sound"],
        ["dump/raw/tr/text", "text", "text"],
    ],
    "train_shape_file": ["stats/train/speech_shape", "stats/train/text_shape.char"],
}


def test_of_another_vocabulary_the_texts_alone_are_counted_anew():
    (new,) = new_shapes(CONFIG, {}, "bpe/tokens.txt")
    assert new.rows == (("dump/raw/tr/text", "text", "text"),)
    options = shape_options(CONFIG, [new], Path("shapes"))
    made = f"shapes/{new.directory}/text_shape.char"
    assert options == {"train_shape_file": ["stats/train/speech_shape", made]}


def test_of_other_lists_and_tokens_everything_is():
    (new,) = new_shapes(CONFIG, {"train": "dump/raw/noisy"}, "bpe/tokens.txt")
    assert new.files == {"speech": "speech_shape", "text": "text_shape.char"}
    (same,) = new_shapes(CONFIG, {"train": "dump/raw/noisy"}, "char/tokens.txt")
    assert new.directory != same.directory


def test_shape_files_of_other_names_are_refused():
    config = {**CONFIG, "train_shape_file": ["stats/a", "stats/b"]}
    with pytest.raises(TopdownError, match="stats/a is named for none of its data"):
        new_shapes(config, {"train": "dump/raw/noisy"}, None)


@pytest.mark.parametrize(
    ("tokens", "options"),
    [
        (None, {}),
        (
            "data/en_token_list/bpe_unigram500/tokens.txt",
            {"token_type": "bpe", "bpemode": "unigram", "nbpe": "500"},
        ),
        ("data/token_list/char/tokens.txt", {"token_type": "char"}),
        ("mine/tokens.txt", {}),
    ],
)
def test_decoding_names_the_token_list(tokens, options):
    phase = Phase("phase1", "bottom_up", "decoder", "phase0", 1, tokens=tokens)
    cascade = SimpleNamespace(phase={"phase1": phase}.get)
    directory = Path("exp/x_topdown/phase1")
    assert _token_options(cascade, directory, {}) == options
    assert "token_type" not in _token_options(cascade, directory, {"token_type": "word"})


def test_an_encoder_is_kept_over_other_tokens_and_its_cascade_goes_on(base, letters, tmp_path):
    """Bottom-up over one letter more, thawed with the parent's tokens, and from scratch beside."""
    plan = f"""
    phases:
    - {{cut: decoder, kind: bottom_up, tokens: {letters}}}
    - {{kind: thaw, train: {{max_epoch: 3}}}}
    - {{control: restart, answers: [phase1]}}
    """
    directory = run(base, tmp_path, plan)
    assert sorted(hashes(directory)) == ["phase1", "phase2", "restart_phase1"]
    tokens = letters.read_text().splitlines()
    for name in hashes(directory):
        config = yaml.safe_load((directory / name / "config.yaml").read_text())
        assert config["token_list"] == tokens
        shapes = Path(config["train_shape_file"][1]).read_text().splitlines()
        assert {line.rpartition(",")[2] for line in shapes} == {"11"}
    cascade = Cascade.reopen(directory)
    judgement = cascade.judge(cascade.read_records())
    assert judgement.accepted["phase1"]
    assert judgement.best == ("phase2" if judgement.accepted["phase2"] else "phase1")
    # One token more of an embedding of 8, of outputs of 8 and 16 numbers, and two biases.
    added = 8 + 8 + 1 + 16 + 1
    frozen, total = cascade.facts.frozen_parameters(cascade.phase("phase1"))
    assert total == cascade.facts.total + added
    assert frozen == sum(
        count for name, count in cascade.facts.parameters.items() if name.startswith("encoder")
    )


def test_the_bases_own_tokens_are_no_other_vocabulary(base, tmp_path, capsys):
    """A copy of the list may be named: layers of it are kept, and phase 0 judges the phase."""
    own = tmp_path / "token_list" / "char" / "tokens.txt"
    own.parent.mkdir(parents=True)
    own.write_text("".join(f"{token}\n" for token in tiny.TOKENS))
    plan = f"{{min_gain: 1, tokens: {own}, phases: [{{cut: decoder}}]}}"
    directory = run(base, tmp_path, plan)
    told = capsys.readouterr().err
    assert f"tokens {own} lists the base's own tokens: no other vocabulary" in told
    assert "are judged among themselves" not in told
    cascade = Cascade.reopen(directory)
    # It gains less than the whole of the accuracy; of another vocabulary, it would be the first.
    assert not cascade.judge(cascade.read_records()).accepted["phase1"]
    main(["results", str(directory)])
    assert "are compared with no value" not in (directory / "RESULTS.md").read_text()


def test_an_edited_token_list_is_refused(base, letters, tmp_path, capsys):
    plan = f"phases: [{{cut: decoder, kind: bottom_up, tokens: {letters}}}]"
    run(base, tmp_path, plan)
    main(["plan", *words(base, tmp_path)[1:-2]])
    told = capsys.readouterr().out
    assert "tokens char" in told
    assert "are judged among themselves" in told
    letters.write_text(letters.read_text().replace("g\n", "h\n"))
    error = fails(capsys, *words(base, tmp_path))
    assert "phase1 is finished, but what it depends on changed" in error
    assert f"files.{letters}: " in error
