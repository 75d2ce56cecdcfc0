"""The task of a training config, and one list of tasks everywhere."""

import re
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.task import TASKS, task_of_config

CONFIGS = {
    "asr": {"encoder": "rnn"},
    "lm": {"lm": "transformer"},
    "st": {"encoder": "rnn", "extra_asr_decoder": "rnn", "src_token_list": ["a"]},
    "mt": {"encoder": "rnn", "src_token_list": ["a"]},
    "slu": {"encoder": "rnn", "two_pass": False},
    "s2t": {"encoder": "rnn", "preprocessor": "s2t"},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_config_is_of_the_task_that_its_keys_tell(task):
    assert task_of_config(CONFIGS[task], Path("config.yaml")) == task


UNSERVED = {
    "tts": {"tts": "tacotron2"},
    "enh": {"encoder": "stft", "separator": "x"},
    "s2t_ctc": {"encoder": "e_branchformer", "preprocessor": "s2t_ctc"},
    "spk": {"encoder": "ecapa_tdnn", "spk_num": 7},
    "ssl": {"encoder": "transformer", "window_shift": 1},
    "hubert": {"encoder": "transformer", "pred_masked_weight": 1.0},
    "asr_transducer": {"joint_network_conf": {}},
}


@pytest.mark.parametrize("task", UNSERVED)
def test_a_config_of_another_task_is_refused_by_name(task: str) -> None:
    with pytest.raises(TopdownError, match=f"ESPnet's task {task}, which is not .* asr, lm, st"):
        task_of_config(UNSERVED[task], Path("config.yaml"))


def test_a_config_of_nothing_is_refused() -> None:
    with pytest.raises(TopdownError, match="no task that is trained top-down .asr, lm, st, mt"):
        task_of_config({}, Path("config.yaml"))


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("egs2/x/st1/conf/train.yaml", "st"),
        ("egs2/x/asr1/conf/tuning/train_st_conformer.yaml", "st"),
        ("egs2/x/asr1/conf/train_lm.yaml", "lm"),
        ("egs2/x/asr2/conf/train_discrete_asr.yaml", "mt"),
        ("egs2/x/asr1/conf/train_asr_transducer.yaml", "asr"),
        ("egs2/x/slu1/conf/train_asr_whisper.yaml", "slu"),
        ("egs2/x/slu1/conf/train_lm.yaml", "lm"),
        ("egs2/x/asr2/conf/train_asr_transformer.yaml", "mt"),
        ("egs2/x/st1/conf/train_asr_conformer.yaml", "asr"),
        ("conf/train.yaml", "asr"),
    ],
)
def test_a_recipes_config_is_of_the_task_that_its_name_or_recipe_tells(
    path: str, task: str
) -> None:
    assert task_of_config({"encoder": "rnn"}, Path(path)) == task


def test_the_path_of_an_experiment_says_nothing() -> None:
    config = {"encoder": "rnn", "output_dir": "exp/asr"}
    assert task_of_config(config, Path("egs2/x/st1/exp/asr/config.yaml")) == "asr"


def test_an_experiment_without_an_encoder_is_of_recognition() -> None:
    config = {"encoder": None, "frontend": "espnet_ssl", "output_dir": "exp/asr"}
    assert task_of_config(config, Path("exp/asr/config.yaml")) == "asr"


def test_a_recipe_of_another_task_is_refused_by_name() -> None:
    with pytest.raises(TopdownError, match="config of ESPnet's task cls, which"):
        task_of_config({"encoder": "rnn"}, Path("egs2/x/cls1/conf/train.yaml"))


def test_the_readme_lists_the_tasks():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    tested_with = readme.split("## Tested with")[1].split("\n## ")[0]
    words = {word.lower() for word in re.findall(r"\w+", tested_with)}
    assert set(TASKS) <= words


def test_every_task_has_a_class_that_trains_it(espnet):
    from espnet_topdown.training import tasks

    assert tuple(tasks._TASKS) == TASKS
