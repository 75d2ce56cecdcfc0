"""Keys of finished phases: what they were before layers by name and factors came stays valid."""

from pathlib import Path

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.cascade.phase_config import config_under
from espnet_topdown.cascade.records import _choices
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.keys import phase_key
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import parse_plan
from espnet_topdown.results.rows import _settings

NAMES = ("encoder.embed", "encoder.0", "encoder.1", "decoder.0", "output")
PLAN = """
patience: 2
train: {max_epoch: 9}
phases:
- {cut: decoder, dropout: off}
- {every: 1, stop: encoder.0}
- {sweep: [encoder.1, encoder.0]}
- {control: restart, answers: phase1}
- {control: continue, answers: phase1}
- {control: unfrozen, answers: phase2}
- {control: bottom_up, answers: phase3}
"""
# name -> (cut, kind, dropout, seed, parent in the rows of tables), as version 0.2 wrote them.
KEYS = {
    "phase1": ("decoder", "top_down", "off", 1007, "phase0"),
    "phase2": ("encoder.1", "top_down", "keep", 2007, "phase1"),
    "phase3": ("encoder.0", "top_down", "keep", 3007, "phase2"),
    "phase4": ("encoder.1", "top_down", "keep", 4007, "phase0"),
    "phase5": ("encoder.0", "top_down", "keep", 5007, "phase0"),
    "restart_phase1": (None, "restart", "keep", 1007, None),
    "continue_phase1": (None, "continue", "keep", 1007, "phase0"),
    "unfrozen_phase2": ("encoder.1", "unfrozen", "keep", 2007, "phase1"),
    "bottom_up_phase3": ("encoder.0", "bottom_up", "keep", 3007, "phase2"),
}


def cascade_of(plan: str) -> Cascade:
    """A cascade of a base that is not there."""
    config = {"seed": 7, "optim": "adam", "optim_conf": {"lr": 0.01}, "max_epoch": 20}
    config["best_model_criterion"] = [["valid", "acc", "max"]]
    base = Path("exp/base")
    read = parse_plan(plan)
    return Cascade(
        base=Experiment(base, config, "asr"),
        plan=read,
        paths=CascadePaths(Path("exp/cascade"), base),
        facts=ModelFacts({"parser_keys": list(config), "layers": []}),
        phases=expand(read, NAMES, 7),
        plan_file=Path("plan.yaml"),
    )


def test_keys_of_phases_of_before_are_as_they_were():
    cascade = cascade_of(PLAN)
    assert {phase.name for phase in cascade.phases} == set(KEYS)
    for phase in cascade.phases:
        cut, kind, dropout, seed, parent = KEYS[phase.name]
        conf = {"kind": kind, "parent_model": "valid.acc.ave.pth", "dropout": dropout}
        if cut:
            conf["cut"] = cut
        config = config_under(cascade, phase, Path("exp/base"))
        assert phase_key(config, None, lists=False) == {
            "settings": {
                "best_model_criterion": [["valid", "acc", "max"]],
                "max_epoch": 9,
                "optim": "adam",
                "optim_conf": {"lr": 0.01},
                "seed": seed,
                "topdown_conf": conf,
            },
            "parent": None,
            "parent_epochs": {},
            "files": {},
        }
        own = f'"parent": "{parent}", ' if parent else ""
        settings = f'{{"dropout": "{dropout}", "init_param": "keep", {own}"tied": null, '
        assert _settings(phase) == settings + '"train": {"max_epoch": 9}}'
        assert _choices(phase) == {}


def test_what_is_new_is_in_the_key_and_in_the_record():
    cascade = cascade_of(
        "phases: [{cut: decoder, kind: slow}, {keep: [output], kept_lr: {output: 0.5}}]"
    )
    slow, named = cascade.phases
    # The number itself, so that another default would not pass for the same.
    assert config_under(cascade, slow, Path("exp/base"))["topdown_conf"]["kept_lr"] == 0.1
    conf = config_under(cascade, named, Path("exp/base"))["topdown_conf"]
    assert conf["keep"] == ["output"]
    assert conf["kept_lr"] == {"output": 0.5}
    assert _choices(named) == {"keep": ["output"], "kept_lr": {"output": 0.5}}
    assert '"kept_lr": 0.1' in _settings(slow)
