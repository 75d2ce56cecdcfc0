"""A cascade of a base that nobody trained, as its first run would have stored it."""

from pathlib import Path

import yaml

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.cascade.paths import CascadePaths
from espnet_topdown.experiment.config import Experiment
from espnet_topdown.experiment.phase_dir import write_record
from espnet_topdown.plan.expansion import expand
from espnet_topdown.plan.plan_file import parse_plan

NAMES = ("encoder.0", "encoder.1", "decoder.0", "output")
PLAN = "phases: [{cut: decoder}, {cut: encoder.1}, {control: restart, answers: [phase1]}]"
CONFIG = {
    "encoder": "rnn",
    "seed": 0,
    "max_epoch": 3,
    "best_model_criterion": [["valid", "acc", "max"]],
    "token_list": ["a"],
    "train_data_path_and_name_and_type": [["gone.scp", "speech", "sound"]],
}


def made(directory: Path, plan: str = PLAN, **config: object) -> Cascade:
    """Of three epochs of 12 minutes, dev 0.5, 0.6 and 0.7; a checkpoint has 5 GB.

    Args:
        directory: where the base and the cascade are made.
        plan: its text.
        config: further options of the base.
    """
    base = directory / "exp"
    base.mkdir()
    (base / "config.yaml").write_text(yaml.safe_dump(CONFIG | config))
    (base / "valid.acc.ave.pth").touch()
    layers = [{"name": name, "parameters": 2, "notes": "", "tied_to": {}} for name in NAMES]
    epochs = []
    for number in (1, 2, 3):
        valid = {"acc": 0.4 + 0.1 * number, "time": 120.0}
        epochs.append({"epoch": number, "train": {"time": 600.0}, "valid": valid})
    empty = {"dropouts": {}, "notes": [], "parser_keys": [], "checkpoint_bytes": 5 * 10**9}
    parsed = parse_plan(plan)
    cascade = Cascade(
        base=Experiment.read(base),
        plan=parsed,
        paths=CascadePaths(directory / "cascade", base),
        facts=ModelFacts({"layers": layers, "epochs": epochs, **empty}),
        phases=expand(parsed, NAMES, 0),
        plan_file=directory / "plan.yaml",
    )
    cascade.store()
    return cascade


def record(cascade: Cascade, name: str, dev: float, parent: str = "../exp") -> None:
    """Make a phase of the cascade a finished one.

    Args:
        cascade: whose phase it is.
        name: the phase's.
        dev: the criterion's value.
        parent: as the record names it, seen from the cascade.
    """
    directory = cascade.paths.phase_dir(name)
    directory.mkdir()
    made_by = {"phase": name, "kind": "top_down", "parent": parent, "seed": 0, "model_sha256": "0"}
    trained = {"epochs": 3, "hours": 0.1, "base": {"dev": 0.7, "model_sha256": "0"}}
    curve = {"dev": {"curve": [dev], "criterion": ["valid", "acc", "max"]}}
    held = {"key": {"settings": {}, "files": {}}, "files": {}, "bytes": {}, "links": {}}
    write_record(directory, made_by | trained | curve | held)
