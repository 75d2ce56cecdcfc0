"""Which ESPnet task a training config is for, told by its keys; a config does not name its task.

The names are those of ESPnet's tools: ``asr`` for ``espnet2.bin.asr_train``. The classes that train
them stand in `espnet_topdown.training.tasks`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.errors import TopdownError

TASKS = ("asr", "lm", "st", "mt", "slu", "s2t")
# Keys that only this task's configs have, in order of test; speech recognition is what remains.
_OWN_KEYS = {
    "slu": ("two_pass", "deliberationencoder", "transcript_token_list"),
    "st": ("extra_asr_decoder", "hier_encoder", "src_g2p"),
    "mt": ("src_token_list", "src_token_type"),
}
# Parts of models that have an encoder and are of no task here (enhancement, diarisation, speech
# synthesis).
_FOREIGN_KEYS = ("separator", "attractor", "enh_encoder", "generator", "tts")


def task_of_config(config: Mapping[str, Any], source: Path) -> str:
    """The task that a training config is for, one of `TASKS`.

    Args:
        config: ESPnet's options.
        source: the config's file, for the message.

    Raises:
        TopdownError: of none that this package trains.
    """
    if config.get("lm") and not config.get("encoder"):
        return "lm"
    is_foreign = any(config.get(key) for key in _FOREIGN_KEYS)
    if is_foreign or not config.get("encoder"):
        raise TopdownError(f"{source} is of no task that is trained top-down ({', '.join(TASKS)})")
    if config.get("preprocessor") == "s2t":
        return "s2t"
    for task, keys in _OWN_KEYS.items():
        if any(key in config for key in keys):
            return task
    return "asr"
