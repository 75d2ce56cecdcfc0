"""The task of a training config, and one list of tasks everywhere."""

import re
from pathlib import Path

import pytest

from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.task import TASKS, task_of_config
from espnet_topdown.plan.model_table import MODELS

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


@pytest.mark.parametrize("config", [{}, {"tts": "tacotron2"}, {"encoder": "rnn", "separator": "x"}])
def test_a_config_of_another_task_is_refused(config):
    with pytest.raises(TopdownError, match="no task that is trained top-down .asr, lm, st, mt"):
        task_of_config(config, Path("config.yaml"))


def test_the_readme_lists_the_tasks_and_the_models_of_the_table():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    listed = readme.split("Tasks: ")[1].split(". Any other model")[0]
    words = set(re.findall(r"\w+", listed))
    models = {choice for part in ("encoder", "decoder", "lm") for choice in MODELS[part]}
    assert {*TASKS, *models} <= words


def test_every_task_has_a_class_that_trains_it(espnet):
    from espnet_topdown.training import tasks

    assert tuple(tasks._TASKS) == TASKS
