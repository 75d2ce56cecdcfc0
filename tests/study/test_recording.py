"""Recording a seed: what its experiments heard, what is complete, what it was made with."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from made_records import lm_record, usual

from espnet_topdown.lm.trigger import trigger_epoch
from espnet_topdown.study import recording

EXPECTED = {phase.name for phase in usual(1).phases}


def test_a_study_is_complete_once_every_phase_has_every_set() -> None:
    """One of two sets, or one phase of them, is not enough."""
    one = list(usual(1).phases)
    assert recording.is_complete(one, EXPECTED, ["test"])
    # A second set that the study decodes, and no phase has.
    assert not recording.is_complete(one, EXPECTED, ["test", "dev"])
    both = [replace(p, hypotheses={**p.hypotheses, "decode/org/dev": {}}) for p in one]
    assert recording.is_complete(both, EXPECTED, ["test", "dev"])
    # All but one phase have it, which nobody had asked for.
    assert not recording.is_complete([*both[:-1], one[-1]], EXPECTED, [])
    assert not recording.is_complete(one[:-1], EXPECTED, ["test"])
    assert not recording.is_complete([], EXPECTED, [])


def test_a_language_model_is_complete_with_every_text() -> None:
    one = list(lm_record(1, 60, 58, 60, 59).phases)
    names = {phase.name for phase in one}
    assert recording.is_complete(one, names, [])
    lacking = replace(one[1], perplexity={"test (stream)": 58.0})
    assert not recording.is_complete([one[0], lacking, *one[2:]], names, [])
    bare = [replace(p, perplexity={}) for p in one]
    assert not recording.is_complete(bare, names, [])


def test_averaging_starts_where_the_loss_is_worse_than_before_the_last_epochs() -> None:
    # At the sixth, the best of all but the last three before it is 4.0.
    assert trigger_epoch([5.0, 4.0, 3.0, 4.5, 4.4, 4.3], 3) == 6
    assert trigger_epoch([5.0, 4.0, 3.0, 4.5, 4.4, 3.9], 3) is None
    assert trigger_epoch([3.0, None, float("nan"), 3.1, 3.2], 1) == 5
    assert trigger_epoch([]) is None


def test_a_record_names_the_commit_that_it_was_made_with(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert recording.commit_of(tmp_path) == "none"
    # Nothing of git's, either.
    assert capfd.readouterr().err == ""
    (tmp_path / "code.py").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=n@example.org"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    commit = recording.commit_of(tmp_path)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (tmp_path / "code.py").write_text("changed")
    assert recording.commit_of(tmp_path) == f"{commit} (changed since)"


def test_a_record_tells_how_its_base_was_trained_whatever_the_config_says_since(
    tmp_path: Path,
) -> None:
    config = tmp_path / "train_asr_tiny.yaml"
    # The seed is a study's own, and what changes no result may differ between its seeds.
    text = "{max_epoch: 80, optim: adam, optim_conf: {lr: 0.002}, seed: 1, num_workers: 0}"
    config.write_text(text)
    base = {"max_epoch": 40, "optim": "adam", "optim_conf": {"lr": 0.002}, "output_dir": "exp/x"}
    base |= {"seed": 100000, "num_workers": 2}
    said = {"max_epoch": 40, "optim": "adam", "optim_conf": {"lr": 0.002}}
    assert recording.trained_with(config, base) == said


def test_a_record_tells_of_the_sets_that_its_study_used_and_what_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("dev", "dev_clean", "test"):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "text").write_text(f"a1 one {name}\n")
    (tmp_path / "data/dev_clean/options.json").write_text('{"snr_db": "clean,10"}')
    (tmp_path / "data/options.json").write_text('{"snr_db": "10"}')
    noted = recording.data_of({"dev", "test"})
    assert [*noted["sets"]] == ["dev", "test"]
    assert noted["sets"]["dev"]["words"] == 2
    assert noted["options"] == {"snr_db": "10"}
    assert recording.data_of({"dev_clean", "train"})["options"] == {"snr_db": "clean,10"}
