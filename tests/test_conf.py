"""Every plan and training config that is shipped: readable, and opened by what it is for."""

from pathlib import Path

import pytest
import yaml

from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.kinds import TOP_DOWN
from espnet_topdown.plan.plan import reads_of
from espnet_topdown.plan.plan_file import read_plan

ROOT = Path(__file__).parent.parent
PLANS = sorted([*ROOT.glob("conf/topdown/*.yaml"), *ROOT.glob("egs2/*/*/conf/topdown/*.yaml")])
CONFIGS = sorted({*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("egs2/*/*/conf/**/*.yaml")} - set(PLANS))
ASR = ("encoder.embed", *(f"encoder.{k}" for k in range(12)), "decoder.0", "decoder.1", "output")
LM = ("embed", "rnn.0", "rnn.1", "rnn.2", "output")


@pytest.mark.parametrize("path", PLANS, ids=lambda p: str(p.relative_to(ROOT)))
def test_plan_expands_to_phases_whose_cuts_go_down(path: Path) -> None:
    plan = read_plan(path)
    recipe = path.parents[2].name
    is_of_lm = recipe.startswith("lm") or path.stem == "lm"
    names = LM if is_of_lm else ASR
    candidates = [p for p in expand(plan, names, 0) if not p.is_control]
    assert candidates
    phases = [p for p in candidates if p.kind == TOP_DOWN]
    # On the same data; one cut can be tried on several.
    for reads in {reads_of(phase, phases) for phase in phases}:
        own = [phase for phase in phases if reads_of(phase, phases) == reads]
        frozen = [len(phase.sides(names).frozen) for phase in own]
        assert frozen == sorted(set(frozen))


@pytest.mark.parametrize("path", [*PLANS, *CONFIGS], ids=lambda p: str(p.relative_to(ROOT)))
def test_config_opens_with_its_purpose_and_launch_line(path: Path) -> None:
    head = path.read_text().splitlines()[:12]
    assert head[0].startswith("# Purpose:")
    # What a study is asked is read by the study's own launch.
    if path.parent.name != "analysis":
        assert any(line.startswith("# Launch:") for line in head)
    assert yaml.safe_load(path.read_text())


@pytest.mark.parametrize("name", ["slurm", "queue", "pbs"])
def test_every_recipe_can_be_submitted(name: str) -> None:
    """Kaldi's scripts refuse an option that such a file does not describe."""
    recipes = [path.parent for path in ROOT.glob("egs2/*/*/run.sh")]
    assert len(recipes) >= 6
    for recipe in recipes:
        lines = (recipe / f"conf/{name}.conf").read_text().splitlines()
        first = [line.split()[0] for line in lines if not line.startswith("#")]
        assert first.count("command") == 1
        assert set(first) == {"command", "option", "default"}
        described = {line.split("=")[0].removeprefix("option ") for line in lines if "=*" in line}
        # What asr.sh and lm.sh, ESPnet's launcher and its users give.
        assert described >= {"name", "gpu", "num_threads", "num_nodes", "mem", "time"}
