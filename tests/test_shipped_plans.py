"""Every shipped plan on every model that it names or that stands beside it: it can be trained."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import yaml

from espnet_topdown.cascade.checks import phase as phase_check
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.plan.topdown_conf import TopdownConf

ROOT = Path(__file__).parent.parent
PLANS = sorted(
    [
        *ROOT.glob("conf/topdown/*.yaml"),
        *ROOT.glob("egs2/*/*/conf/topdown/*.yaml"),
        *ROOT.glob("egs2/*/*/conf/study/*.yaml"),
    ]
)

# Plans that are named for what they do, not for their model.
_ALL = ("transformer", "conformer", "rnn")
MODELS_OF = {
    "clean_to_noisy": ("transformer",),
    "gradual_unfreezing": _ALL,
    "layerwise_decay": _ALL,
    "later_layer_forgetting": _ALL,
    "rifle": _ALL,
}


def models_of(plan: Path) -> dict[str, dict[str, object]]:
    """Training configs by name: those beside the plan whose name has the plan's."""
    if plan == ROOT / "conf" / "topdown" / "lm.yaml":
        return {
            "seq_rnn": tiny.lm_config(),
            "seq_rnn, untied": tiny.lm_config(lm_conf={"unit": 12, "nlayers": 3}),
            "transformer": tiny.lm_config("transformer"),
            "awd_lstm": yaml.safe_load((ROOT / "conf/lm/awd_lstm_small.yaml").read_text()),
        }
    small: dict[str, dict[str, object]] = {}
    if plan == ROOT / "conf" / "topdown" / "rnn.yaml":
        # Without a layer below its first LSTM.
        small["rnn"] = tiny.asr_config("rnn")
    if plan.stem in ("layerwise_decay", "rifle"):
        small["seq_rnn, untied"] = tiny.lm_config(lm_conf={"unit": 12, "nlayers": 3})
    if plan.stem == "layerwise_decay":
        small["ctc"] = tiny.asr_config("transformer", None)
    # Recipes of language models are called lm1.
    task = "lm" if plan.parents[2].name.startswith("lm") else "asr"
    named = (plan.stem.removesuffix("_controls"),)
    # A study has a training config of its name.
    is_study = plan.parent.name == "study"
    paths: list[Path] = []
    for words in named if is_study else MODELS_OF.get(plan.stem, named):
        paths += plan.parent.parent.glob(f"**/train_{task}*{words}*.yaml")
    configs = {path.name: yaml.safe_load(path.read_text()) for path in sorted(paths)}
    return small | {name: _narrow(config) for name, config in configs.items()}


def _narrow(config: dict[str, object]) -> dict[str, object]:
    """The same model with narrow layers, quickly built; neither names nor ties depend on that."""
    widths = {"output_size": 4, "linear_units": 4, "cgmlp_linear_units": 4, "eprojs": 4}
    for part in ("encoder_conf", "decoder_conf"):
        conf = config.get(part)
        if isinstance(conf, dict) and "attention_heads" in conf:
            config[part] = conf | {
                key: 4 * conf["attention_heads"] for key in widths if key in conf
            }
    return config


CASES = [(plan, name) for plan in PLANS for name in models_of(plan)]


def test_every_plan_has_a_model() -> None:
    assert {plan for plan, _ in CASES} == set(PLANS)


@pytest.mark.parametrize(
    ("plan", "name"), CASES, ids=[f"{plan.relative_to(ROOT)} {name}" for plan, name in CASES]
)
def test_a_shipped_plan_can_be_trained(plan: Path, name: str, espnet: None, tmp_path: Path) -> None:
    from espnet_topdown.bin import model_facts
    from espnet_topdown.bin.phase_check import faults
    from espnet_topdown.training.tasks import task_of

    config = models_of(plan)[name]
    # The phase under test has its own; how weights begin changes no layer.
    for key in ("topdown_conf", "init"):
        config.pop(key, None)
    task = "lm" if "lm" in config else "asr"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    # Few tokens and features: neither names of layers nor ties depend on them.
    words = ["--config", str(tmp_path / "config.yaml"), "--task", task, "--vocab_size", "8"]
    asked = model_facts.get_parser().parse_args([*words, "--output", "none"])
    facts = ModelFacts(model_facts.model_facts(asked))
    read = read_plan(plan)
    phases = expand(read, facts.names, 0, held=facts.held_from_above())
    by_name = {phase.name: phase for phase in phases}
    base = Experiment(Path("exp"), config, task)
    cascade = SimpleNamespace(
        facts=facts,
        phases=phases,
        phase=by_name.get,
        base=base,
        max_epoch=lambda phase: phase.train.get("max_epoch", config["max_epoch"]),
        phase_model_name=base.phase_model_name(read),
    )
    assert not any(list(phase_check._faults(cascade, phase)) for phase in phases)
    whole = config | {"token_list": tiny.TOKENS[:8], "normalize": None, "use_tensorboard": False}
    if task == "lm":
        del whole["normalize"]
    trained = []
    for phase in phases:
        conf = TopdownConf(
            parent="exp",
            cut=phase.cut,
            kind=phase.kind,
            dropout=phase.dropout,
            tied=phase.tied,
            keep=phase.keep,
            draw=phase.draw,
            kept_lr=phase.kept_lr,
        )
        options = whole | phase.train | {"topdown_conf": conf.to_conf()}
        trained.append({"name": phase.name, "config": options, "changed": [*phase.train]})
    assert not any(faults(task_of(task), trained).values())
