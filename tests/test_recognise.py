"""Files and directories of every kind that this repository has are known by what they hold."""

from pathlib import Path

import pytest

from espnet_topdown.recognise import DECODING, PLAN, RECORD, TRAINING, but, kind_of

REPOSITORY = Path(__file__).parents[1]
FILES = {
    "egs2/*/*/conf/train_*.yaml": TRAINING,
    "egs2/*/*/conf/tuning/train_*.yaml": TRAINING,
    "conf/*.yaml": TRAINING,
    "conf/lm/*.yaml": TRAINING,
    "egs2/*/*/conf/decode_*.yaml": DECODING,
    "egs2/*/*/conf/topdown/*.yaml": PLAN,
    "egs2/*/*/conf/study/*.yaml": PLAN,
    "conf/topdown/*.yaml": PLAN,
    "egs2/*/*/conf/analysis/*.yaml": "the analysis of a study",
    "egs2/*/*/records/*/seed1.json": RECORD,
    "egs2/*/asr1": "a recipe",
}


@pytest.mark.parametrize("pattern", FILES)
def test_what_the_repository_holds_is_known(pattern: str) -> None:
    paths = sorted(REPOSITORY.glob(pattern))
    assert paths
    expected = dict.fromkeys(paths, FILES[pattern])
    if pattern == "egs2/*/asr1":
        expected.pop(REPOSITORY / "egs2/TEMPLATE/asr1")
    assert {path: kind_of(path) for path in expected} == expected


@pytest.mark.parametrize("text", ["", "[1]", "{a: 1}", "{a: [", "a: !!python/none x"])
def test_what_is_not_known_is_not_guessed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert (kind_of(path), but(path), but(tmp_path / "none"), but(tmp_path)) == ("", "", "", "")


def test_what_is_not_there_is_told_with_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipe's paths, typed in another directory."""
    monkeypatch.chdir(tmp_path)
    assert but(Path("exp/x")) == f" in {tmp_path}"


def test_an_experiment_is_no_recipe_for_the_run_sh_that_asr_sh_writes_there(tmp_path: Path) -> None:
    (tmp_path / "run.sh").touch()
    assert kind_of(tmp_path) == ""
    (tmp_path / "path.sh").touch()
    assert kind_of(tmp_path) == "a recipe"


def test_a_decoding_config_may_set_what_a_training_config_sets_too(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("{beam_size: 10, batch_size: 1, transducer_conf: {search_type: alsd}}")
    assert kind_of(path) == DECODING
    path.write_text("{lm_conf: {nlayers: 1}}")
    assert kind_of(path) == TRAINING
