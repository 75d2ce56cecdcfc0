"""Answers of ESPnet: asked once, again when anything changed, and no cache ever in the way."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown import warm
from espnet_topdown.cascade import espnet_answers
from espnet_topdown.errors import TopdownError


class Espnet:
    """Stands for the warm process: writes its answer to --output and counts."""

    def __init__(self) -> None:
        self.answer: object = {"layers": 3}
        self.count = 0
        self.seconds = 0.0
        self.log = ""

    def start(self, command: warm.Command) -> SimpleNamespace:
        self.count += 1
        time.sleep(self.seconds)
        if self.log:
            command.log.write_text(self.log)
            return SimpleNamespace(wait=lambda: 1)
        output = command.argv[command.argv.index("--output") + 1]
        Path(output).write_text(json.dumps(self.answer))
        return SimpleNamespace(wait=lambda: 0)


@pytest.fixture
def espnet_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Espnet:
    stand_in = Espnet()
    monkeypatch.setattr(warm, "start", stand_in.start)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config.yaml").write_text("encoder: rnn")
    monkeypatch.chdir(tmp_path)
    return stand_in


def question(**changes: object) -> espnet_answers.Question:
    values = {"module": "finder", "argv": ["--config", "config.yaml"], "inputs": {"--phases": [1]}}
    texts = {"waits_for": "building ...", "failure": "cannot be built"}
    return espnet_answers.Question(**(values | texts | changes))


def test_the_same_question_is_asked_once(espnet_asked: Espnet) -> None:
    for _ in range(2):
        assert espnet_answers.answer(question()) == {"layers": 3}
    assert espnet_asked.count == 1
    with espnet_answers.without_cache():
        espnet_asked.answer = {"layers": 4}
        assert espnet_answers.answer(question()) == {"layers": 4}
    # What was asked anew is kept.
    assert espnet_answers.answer(question()) == {"layers": 4}
    assert espnet_asked.count == 2


def write_later(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, ns=(1, 1))


CHANGES = {
    "the config's content": lambda patch: Path("config.yaml").write_text("encoder: vgg"),
    "a file that it names": lambda patch: write_later(Path("tokens"), "a\nb\n"),
    "the directory": lambda patch: (Path("x").mkdir(), patch.chdir("x")),
    "what is installed": lambda patch: patch.setattr(
        espnet_answers, "_installed", lambda: ["torch 3"]
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_asked_about(
    what: str, espnet_asked: Espnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("tokens").write_text("a\n")
    reads = [Path("tokens").absolute(), Path("gone")]
    espnet_answers.answer(question(reads=reads))
    CHANGES[what](monkeypatch)
    espnet_answers.answer(question(reads=reads))
    assert espnet_asked.count == 2


def test_what_is_put_into_a_directory_that_a_config_names_changes_no_answer(
    espnet_asked: Espnet,
) -> None:
    """A base's own config names its directory, to which decodings are added."""
    exp = Path("exp")
    exp.mkdir()
    (exp / "config.yaml").touch()
    # As in a base whose epochs were removed.
    (exp / "latest.pth").symlink_to("9epoch.pth")
    for name in ("decode_test", "decode_dev"):
        espnet_answers.answer(question(reads=[exp]))
        (exp / name).mkdir()
    (exp / "perplexity.json").touch()
    os.utime(exp, ns=(1, 1))
    espnet_answers.answer(question(reads=[exp]))
    assert espnet_asked.count == 1


def test_a_pretrained_model_in_a_directory_that_a_config_names_is_seen_to_change(
    espnet_asked: Espnet,
) -> None:
    bert = Path("bert")
    bert.mkdir()
    (bert / "gone.bin").symlink_to("nowhere")
    for text in ("weights", "other weights", "other weights"):
        (bert / "model.safetensors").write_text(text)
        os.utime(bert / "model.safetensors", ns=(1, 1))
        espnet_answers.answer(question(reads=[bert]))
    assert espnet_asked.count == 2


@pytest.mark.parametrize("other", [{"argv": ["--task", "lm"]}, {"inputs": {"--phases": [2]}}])
def test_another_question_has_its_own_answer(other: dict, espnet_asked: Espnet) -> None:
    espnet_answers.answer(question())
    espnet_answers.answer(question(**other))
    assert espnet_asked.count == 2


def flip(path: Path) -> None:
    path.write_text(path.read_text().replace("3", "4"))


HARM = {
    "torn": lambda path: path.write_text(path.read_text()[:20]),
    "empty": lambda path: path.write_text(""),
    "of something else": lambda path: path.write_text("[]"),
    "another number": flip,
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a directory": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", HARM)
def test_a_damaged_answer_is_asked_for_again(how: str, espnet_asked: Espnet) -> None:
    espnet_answers.answer(question())
    (kept,) = espnet_answers.cache_directory().iterdir()
    HARM[how](kept)
    assert espnet_answers.answer(question()) == {"layers": 3}
    assert espnet_asked.count == 2


def test_a_cache_that_cannot_be_written_does_not_matter(
    espnet_asked: Espnet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A file in its place; nobody, root included, can make a directory there.
    (tmp_path / "cache").write_text("")
    for _ in range(2):
        assert espnet_answers.answer(question()) == {"layers": 3}
    assert espnet_asked.count == 2


def test_the_oldest_answers_go(espnet_asked: Espnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espnet_answers, "KEPT", 3)
    for number in range(5):
        espnet_answers.answer(question(inputs={"--phases": [number]}))
    assert len(list(espnet_answers.cache_directory().iterdir())) == 3


@pytest.mark.parametrize("variable", ["", "relative/cache"])
def test_the_cache_is_in_the_home_directory_else(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/ann")
    assert espnet_answers.cache_directory() == Path("/home/ann/.cache/espnet_topdown")


def test_a_user_without_a_home_has_no_cache(
    espnet_asked: Espnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert espnet_answers.answer(question()) == {"layers": 3}
    assert espnet_answers.answer(question()) == {"layers": 3}
    assert espnet_asked.count == 2


def test_what_is_waited_for_is_told_where_it_takes_long(
    espnet_asked: Espnet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    espnet_answers.answer(question())
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(espnet_answers, "SLOW_S", 0.01)
    espnet_asked.seconds = 0.2
    espnet_answers.answer(question(argv=[]))
    assert capsys.readouterr().err == "building ...\n"


def test_what_espnet_says_against_it_is_told_and_not_kept(espnet_asked: Espnet) -> None:
    espnet_asked.log = "# started\nfinder.py: error: no such encoder\n# Ended\n"
    for _ in range(2):
        with pytest.raises(TopdownError, match="^no such encoder$"):
            espnet_answers.answer(question())
    espnet_asked.log = "Traceback\nKilled"
    with pytest.raises(TopdownError, match="cannot be built:\nTraceback\nKilled"):
        espnet_answers.answer(question())
    assert espnet_asked.count == 3


def test_files_named_in_a_config_are_found_and_tokens_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("stats.npz", "a", "tokens.txt", "bpe", "pre.pth"):
        Path(name).touch()
    config = {
        "token_list": ["a", "b"],
        "normalize_conf": {"stats_file": "stats.npz"},
        "init_param": ["bpe", "gone", "x" * 5000, "\0", "pre.pth:encoder:encoder"],
    }
    found = [Path("stats.npz"), Path("bpe"), Path("pre.pth")]
    assert [*espnet_answers.files_named(config)] == found
    assert [*espnet_answers.files_named({"token_list": "tokens.txt"})] == [Path("tokens.txt")]
