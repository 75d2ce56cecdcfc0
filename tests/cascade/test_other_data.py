"""Phases on other data than their base's: lists, shape files, and what is refused."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import yaml
from cascades import copied, fails, hashes, run, words
from test_runner import wait_for

from espnet_topdown.cascade import other_data
from espnet_topdown.cli import main


def plan_on(noisy: Path, phases: str = "[{cut: decoder}]", parts: str = "train valid") -> str:
    data = ", ".join(f"{part}: {noisy}/{part}" for part in parts.split())
    return f"{{data: {{{data}}}, phases: {phases}}}"


@pytest.fixture(scope="session")
def retrained(base: Path, noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished cascade of a phase on other data, with controls."""
    phases = "[{cut: decoder}, {control: restart}, {control: continue}, {control: unfrozen}]"
    return run(base, tmp_path_factory.mktemp("retrained"), plan_on(noisy, phases))


def test_a_phase_and_its_controls_read_the_lists_of_the_plan(retrained, base, noisy):
    trained = ["continue_phase1", "phase1", "restart_phase1", "unfrozen_phase1"]
    assert sorted(hashes(retrained)) == trained
    theirs = yaml.safe_load((base / "config.yaml").read_text())
    for name in trained:
        config = yaml.safe_load((retrained / name / "config.yaml").read_text())
        assert config["token_list"] == theirs["token_list"]
        for part in ("train", "valid"):
            scp, text = config[f"{part}_data_path_and_name_and_type"]
            assert scp == [f"{noisy}/{part}/feats.scp", "speech", "npy"]
            assert text == [f"{noisy}/{part}/text", "text", "text"]


def test_shape_files_are_as_espnet_would_write_them(retrained, noisy):
    config = yaml.safe_load((retrained / "phase1" / "config.yaml").read_text())
    for part in ("train", "valid"):
        speech, text = (Path(path) for path in config[f"{part}_shape_file"])
        assert [speech.name, text.name] == ["speech_shape", "text_shape"]
        lines = []
        for row in (noisy / part / "feats.scp").read_text().splitlines():
            utterance, path = row.split()
            lines.append(f"{utterance} {len(np.load(path))},20")
        assert speech.read_text().splitlines() == lines
        # The size of the vocabulary, which the base's have, is there too.
        lines = []
        for row in (noisy / part / "text").read_text().splitlines():
            utterance, letters = row.split()
            lines.append(f"{utterance} {len(letters)},10")
        assert text.read_text().splitlines() == lines


def test_plan_status_and_results_say_which_data(retrained, base, noisy, capsys):
    plan = str(retrained.parent / "plan.yaml")
    main(["plan", str(base), "--plan", plan, "--dir", str(retrained)])
    told = capsys.readouterr().out
    # The base's lists are in directories of the same names.
    reads = f"train {noisy.name}/train, valid {noisy.name}/valid"
    assert reads in told
    assert f"phases with the validation set {noisy}/valid are judged on it; there phase0's" in told
    main(["status", str(retrained)])
    assert reads in capsys.readouterr().out
    main(["results", str(retrained)])
    page = (retrained / "RESULTS.md").read_text()
    assert f"|phase1|top_down|decoder|{reads}|" in page
    assert f"unfrozen_phase1 are on {noisy}/valid (phase 0 has 0." in page
    assert "phase1 (cut decoder) - its restart, one run each" in page
    main(["verify", str(retrained)])


def test_a_finished_phase_needs_its_shape_files_no_more(retrained, base, noisy, tmp_path, capsys):
    copy = copied(retrained, base, tmp_path)
    shutil.rmtree(copy / "shapes")
    main(["verify", str(copy)])
    shutil.copy(retrained.parent / "plan.yaml", tmp_path)
    main(words(base, tmp_path))
    assert "nothing to do: all phases" in capsys.readouterr().out


def test_an_edited_list_is_refused(base, noisy, tmp_path, capsys):
    own = shutil.copytree(noisy, tmp_path / "own")
    cascade = run(base, tmp_path, plan_on(own, parts="train"))
    lines = (own / "train" / "text").read_text().splitlines()
    (own / "train" / "text").write_text("\n".join([f"{lines[0]}a", *lines[1:]]) + "\n")
    error = fails(capsys, *words(base, tmp_path))
    assert "phase1 is finished, but what it depends on changed" in error
    assert f"files.{own}/train/text: " in error
    assert f"files.{own}/train/text: " in fails(capsys, "verify", str(cascade))


def test_another_valid_set_alone_leaves_training_as_it_was(base, finished, noisy, tmp_path):
    """Phase 1 of the plan of `finished`, on the same training data, has the same last epoch."""
    plan = plan_on(noisy, "[{cut: decoder}]", parts="valid")
    cascade = run(base, tmp_path, plan)
    assert hashes(cascade)["phase1"]["2epoch.pth"] == hashes(finished)["phase1"]["2epoch.pth"]


def test_sigkill_while_shape_files_are_made_and_a_rerun_end_bit_identical(
    retrained, base, noisy, tmp_path
):
    (tmp_path / "plan.yaml").write_text(plan_on(noisy))
    command = [sys.executable, "-m", "espnet_topdown", *words(base, tmp_path)]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "cascade" / "shapes")
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    cascade = run(base, tmp_path, plan_on(noisy))
    assert hashes(cascade)["phase1"] == hashes(retrained)["phase1"]
    assert not [*(cascade / "shapes").glob(".*")]


def emptied(own: Path) -> None:
    (own / "train" / "text").write_text("")


def lacking_text(own: Path) -> None:
    (own / "valid" / "text").unlink()


def lacking_line(own: Path) -> None:
    lines = (own / "train" / "text").read_text().splitlines(keepends=True)
    (own / "train" / "text").write_text("".join(lines[1:]))


def too_short(own: Path) -> None:
    for path in (own / "train" / "npy").glob("*.npy"):
        np.save(path, np.zeros((4, tiny.DIM), np.float32))


def two_too_short(own: Path) -> None:
    for number in (2, 5):
        np.save(own / "train" / "npy" / f"train{number:02d}.npy", np.zeros((3, 20), np.float32))


def torn(own: Path) -> None:
    (own / "train" / "npy" / "train03.npy").write_bytes(b"torn")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (emptied, "phase1: {own}/train/text has no lines; run the stage that writes it"),
        (lacking_text, "phase1 reads what is not there"),
        (
            lacking_line,
            (
                "{own}/train/feats.scp and {own}/train/text are not of the same utterances (1 are"
                " in one alone: train00)"
            ),
        ),
        (too_short, "{own}/train: every utterance too short for the model's subsampling"),
        (
            two_too_short,
            "{own}/train: 2 of 6 too short for the model's subsampling (train02, train0",
        ),
        (torn, "train03 cannot be read ("),
    ],
)
def test_lists_that_cannot_be_trained_on_are_refused_before_any_phase(
    spoil: Callable[[Path], None], said: str, base, noisy, tmp_path, capsys
):
    own = tmp_path / "own"
    shutil.copytree(noisy, own)
    for scp in own.glob("*/feats.scp"):
        scp.write_text(scp.read_text().replace(str(noisy), str(own)))
    spoil(own)
    (tmp_path / "plan.yaml").write_text(plan_on(own))
    assert said.format(own=own) in fails(capsys, *words(base, tmp_path))
    assert not (tmp_path / "cascade" / "phase1").exists()


def test_data_without_the_parents_statistics_are_refused(base, noisy, tmp_path, capsys):
    copy = shutil.copytree(base, tmp_path / "exp", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config |= {"normalize": "global_mvn", "normalize_conf": {"stats_file": "gone/stats.npz"}}
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "plan.yaml").write_text(plan_on(noisy))
    error = fails(capsys, *words(copy, tmp_path))
    assert "phase1 has no feature statistics" in error
    assert (
        "names gone/stats.npz, which is not there; a phase, on other data too, needs its" in error
    )


def test_lists_of_the_base_that_no_phase_reads_may_be_gone(base, noisy, tmp_path):
    copy = shutil.copytree(base, tmp_path / "exp", symlinks=True)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    for part in ("train", "valid"):
        rows = config[f"{part}_data_path_and_name_and_type"]
        gone = [[f"gone/{Path(path).name}", name, kind] for path, name, kind in rows]
        config[f"{part}_data_path_and_name_and_type"] = gone
        config[f"{part}_shape_file"] = ["gone/speech_shape", "gone/text_shape.char"]
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    cascade = run(copy, tmp_path, plan_on(noisy))
    assert [*hashes(cascade)] == ["phase1"]
    # By its name a shape file of texts has the size of the vocabulary, as asr.sh adds it.
    (text,) = (cascade / "shapes").glob("train.*/text_shape.char")
    assert {line.rpartition(",")[2] for line in text.read_text().splitlines()} == {"10"}


def test_utterances_of_the_second_list_alone_are_told(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("u1 x\n")
    second.write_text("u1 x\nu2 y\n")
    rows = [(str(path), "", "") for path in (first, second)]
    assert "1 are in one alone: u2" in other_data._list_fault(rows)


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """Data of one text and its tokens, and where its shapes are made, without the tool."""
    monkeypatch.setattr(other_data, "config_under", lambda *_, **__: {})
    monkeypatch.setattr(other_data, "run_tool", lambda *_, **__: None)
    text, tokens = tmp_path / "text", tmp_path / "tokens"
    text.write_text("u a\n")
    tokens.write_text("a\n")
    rows = [(str(text), "text", "text")]
    new = SimpleNamespace(part="train", rows=rows, files={}, tokens=str(tokens))
    base = SimpleNamespace(config={"train_shape_file": []}, task="asr", directory=tmp_path)
    place = tmp_path / "shapes" / "x"
    return SimpleNamespace(
        text=text,
        tokens=tokens,
        make=lambda: other_data._make(SimpleNamespace(base=base), None, new, None, place),
        is_made=lambda: other_data._is_made(place, new),
    )


@pytest.mark.parametrize("name", ["text", "tokens"])
def test_shapes_are_made_anew_where_what_they_were_made_of_has_changed(shapes, name):
    shapes.make()
    assert shapes.is_made()
    path = getattr(shapes, name)
    path.write_text(path.read_text() + "b\n")
    assert not shapes.is_made()
    shapes.make()
    assert shapes.is_made()


def test_shapes_of_a_text_that_changed_meanwhile_do_not_count(shapes, monkeypatch):
    monkeypatch.setattr(other_data, "run_tool", lambda *_, **__: shapes.text.write_text("u b\n"))
    shapes.make()
    assert not shapes.is_made()
