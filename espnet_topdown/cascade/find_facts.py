"""Finds the facts of a base's model, and reads those that a cascade keeps of its last run.

`espnet_topdown.bin.model_facts` finds them in a process of its own, so that whoever asks needs
neither torch nor ESPnet; `espnet_topdown.cascade.espnet_answers` keeps its answer.
"""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade import espnet_answers
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.check import Must
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.versions import check_versions

FINDER = "espnet_topdown.bin.model_facts"


def _are_layers(value: Any) -> bool:
    are_rows = check.are_rows(value) and bool(value)
    return are_rows and not any(check.lacking(layer, _LAYER) for layer in value)


_LAYER = {
    "name": check.NAME,
    "parameters": check.whole(0),
    "notes": check.TEXT,
    "tied_to": check.MAPPING,
}
_FACTS = {
    "layers": Must("a list of layers", _are_layers),
    "dropouts": check.MAPPING,
    "notes": check.LIST,
    "parser_keys": check.LIST,
    "epochs": check.ROWS,
}


def find_model_facts(
    config: Path,
    task: str,
    *,
    plan: Path | None = None,
    vocab_size: int | None = None,
    input_size: int | None = None,
    per_token: bool = False,
) -> ModelFacts:
    """The facts of the model that `config` describes.

    Args:
        config: an experiment's ``config.yaml`` or a training config.
        task: ESPnet's, one of `espnet_topdown.experiment.task.TASKS`.
        plan: plan whose own layer order is used.
        vocab_size: tokens, for a config without a token list.
        input_size: feature dimension, for a config without a frontend.
        per_token: whether what one more token adds must be known.

    Raises:
        TopdownError: the model cannot be built, or has layers without an order.
    """
    check_versions()
    options = {"--plan": plan, "--vocab_size": vocab_size, "--input_size": input_size}
    argv = ["--config", str(config), "--task", task]
    given = {option: str(value) for option, value in options.items() if value is not None}
    argv += chain.from_iterable(given.items())
    if per_token:
        argv.append("--per_token")
    return ModelFacts({**_find(config, argv), "config_sha256": files.sha256(config)})


def stored_facts(path: Path) -> ModelFacts | None:
    """The facts that a cascade keeps, whatever became of its base since; None where damaged."""
    if not path.exists():
        return None
    data = files.read_object(path)
    return None if check.lacking(data, _FACTS) else ModelFacts(data)


def with_known_epochs(facts: ModelFacts, stored: ModelFacts | None) -> ModelFacts:
    """The facts, with the epochs of `stored` where none are known by now.

    The checkpoint of a base may be damaged or taken away, and no log tell its epochs.
    """
    if facts.epochs or stored is None:
        return facts
    if stored.data.get("config_sha256") != facts.data["config_sha256"]:
        return facts
    return ModelFacts(facts.data | {"epochs": stored.epochs})


def _find(config: Path, argv: Sequence[str]) -> dict[str, Any]:
    """The facts, by a process that builds the model."""
    # The last three tell the epochs.
    trained = [config.parent / name for name in ("checkpoint.pth", EPOCHS, "train.log")]
    question = espnet_answers.Question(
        module=FINDER,
        argv=argv,
        reads=[*espnet_answers.files_named(read_config(config)), *trained],
        waits_for=f"building the model of {config}: ESPnet is imported, once for this model ...",
        failure=f"the model of {config} cannot be built",
    )
    return dict(espnet_answers.answer(question))
