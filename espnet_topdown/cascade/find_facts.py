"""Finds the facts of a base's model, which are kept beside a cascade.

`espnet_topdown.bin.model_facts` finds them in a process of its own, so that whoever asks needs
neither torch nor ESPnet; a rerun reads them from the cascade's ``model.json``, or from the user's
cache (`espnet_topdown.cascade.espnet_answers`).
"""

import hashlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from espnet_topdown import check, files
from espnet_topdown.cascade import espnet_answers
from espnet_topdown.cascade.model_facts import ModelFacts
from espnet_topdown.check import Must
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_dir import EPOCHS
from espnet_topdown.versions import check_versions, espnet_version

FINDER = "espnet_topdown.bin.model_facts"


def _are_layers(value: Any) -> bool:
    are_rows = check.are_rows(value) and bool(value)
    return are_rows and not any(check.lacking(layer, _LAYER) for layer in value)


# Of what is written; facts of another one are found again.
_FORMAT = b"3"
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
    cache: Path | None = None,
    vocab_size: int | None = None,
    input_size: int | None = None,
    per_token: bool = False,
) -> ModelFacts:
    """The facts of the model that `config` describes, from `cache` when nothing changed since.

    Args:
        config: an experiment's ``config.yaml`` or a training config.
        task: ESPnet's, one of `espnet_topdown.experiment.task.TASKS`.
        plan: plan whose own layer order is used.
        cache: JSON file to keep the facts in.
        vocab_size: tokens, for a config without a token list.
        input_size: feature dimension, for a config without a frontend.
        per_token: whether what one more token adds must be known.

    Raises:
        TopdownError: the model cannot be built, or has layers without an order.
    """
    check_versions()
    stamp = _stamp(config, plan)
    before = files.read_object(cache) if cache is not None and cache.exists() else {}
    is_enough = not per_token or "per_token" in before
    if before.get("stamp") == stamp and is_enough and not check.lacking(before, _FACTS):
        return ModelFacts(before)
    options = {"--plan": plan, "--vocab_size": vocab_size, "--input_size": input_size}
    argv = ["--config", str(config), "--task", task]
    given = {option: str(value) for option, value in options.items() if value is not None}
    argv += chain.from_iterable(given.items())
    if per_token:
        argv.append("--per_token")
    data = {**_find(config, argv), "stamp": stamp, "config_sha256": files.sha256(config)}
    known = before.get("epochs")
    is_same = before.get("config_sha256") == data["config_sha256"]
    if not data["epochs"] and is_same and check.are_rows(known):
        # The checkpoint was damaged or taken away since, and no log tells the epochs.
        data["epochs"] = known
    if cache is not None:
        files.write_json(cache, data)
    return ModelFacts(data)


def stored_facts(cache: Path) -> ModelFacts | None:
    """The facts that a cascade keeps, whatever became of its base since; None where damaged."""
    if not cache.exists():
        return None
    data = files.read_object(cache)
    return None if check.lacking(data, _FACTS) else ModelFacts(data)


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


def _stamp(config: Path, plan: Path | None) -> str:
    """A hash that changes whenever the facts may have changed.

    Of the config, the plan's layer order, ESPnet's version and the recorded epochs.
    """
    try:
        parts = [config.read_bytes(), plan.read_bytes() if plan else b""]
    except OSError as error:
        raise TopdownError(f"cannot read {error.filename}: {error.strerror}") from None
    # The epochs are read from the checkpoint, which is large: its time stands for its content.
    checkpoint = config.parent / "checkpoint.pth"
    trained = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    parts += [_FORMAT, str(espnet_version()).encode(), str(trained).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
