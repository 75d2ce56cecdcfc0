"""A study drives its recipe by the recipe's own stages, and knows what is done."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_records import usual, write

from espnet_topdown.study import study


def test_a_language_model_is_studied_by_its_own_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/train_lm_tiny.yaml").touch()
    here = study.choose("tiny", [1], 1, None, "test")
    train, decode = here.train_command(1), here.decode_command(Path("exp/x"))
    assert train[:3] == ["./run.sh", "--stage", "7"]
    assert "exp/lm_study_tiny_seed1" in train
    assert train[-2:] == ["--lm_args", "--seed 1"]
    assert decode[:3] == ["./run.sh", "--stage", "8"]
    assert "valid.loss.ave.pth" in decode
    assert not here.is_decoded(tmp_path)


def test_commands_of_an_asr_study_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = study.choose("tiny", [1], 2, None, "dev test")
    common = "./run.sh --asr_config conf/train_asr_tiny.yaml --asr_stats_dir exp/asr_stats_tiny"
    common += " --ngpu 0 --inference_asr_model valid.acc.ave.pth"
    train = " --stage 11 --stop_stage 11 --asr_tag study_tiny_seed1 --asr_args --seed 1"
    assert " ".join(here.train_command(1)) == common + train
    decode = " --stage 12 --stop_stage 13 --skip_train true --inference_nj 1 --test_sets dev test"
    assert " ".join(here.decode_command(Path("exp/x"))) == common + decode + " --asr_exp exp/x"
    cascade = "-m espnet_topdown run exp/asr_study_tiny_seed1 --plan conf/study/tiny.yaml --dir"
    cascade += " exp/asr_study_tiny_seed1_topdown --jobs 2 --threads 1 --ngpu 0"
    assert " ".join(here.cascade_command(1)[1:]) == cascade


def test_appended_phases_open_a_recorded_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = study.choose("tiny", [1], 1, None, "test")
    here.plan.parent.mkdir(parents=True)
    here.plan.write_text("phases:\n- cut: decoder  # a comment changes nothing\n")
    assert not here.is_recorded(1)
    write(tmp_path / "records" / "tiny", replace(usual(1), complete=False))
    assert not here.is_recorded(1)
    write(tmp_path / "records" / "tiny", usual(1))
    assert here.is_recorded(1)
    here.plan.write_text("phases:\n- cut: decoder\n- cut: encoder.1\n")
    assert not here.is_recorded(1)


def test_a_set_that_is_asked_for_later_opens_a_recorded_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = study.choose("tiny", [1], 1, None, "test dev")
    here.plan.parent.mkdir(parents=True)
    here.plan.write_text("phases: [{cut: decoder}]\n")
    write(tmp_path / "records" / "tiny", usual(1))
    assert study.choose("tiny", [1], 1, None, "test").is_recorded(1)
    assert not here.is_recorded(1)


def test_a_phase_is_decoded_once_every_set_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = study.choose("tiny", [1], 1, None, "test dev")
    (tmp_path / "exp").mkdir()
    for dataset in ("test", "org/dev"):
        assert not here.is_decoded(tmp_path / "exp")
        scored = tmp_path / "exp/decode" / dataset / "score_wer"
        scored.mkdir(parents=True)
        (scored / "result.txt").touch()
    assert here.is_decoded(tmp_path / "exp")
