"""What ESPnet's ``freeze_param`` does to layers that are drawn anew, by tensor names.

Neither torch nor ESPnet is needed.

A frozen tensor that nothing gives a value stays as it was drawn: random, and never trained.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any


def frozen_by(freeze_param: Iterable[str], tensors: Iterable[str]) -> list[str]:
    """The tensors that ``freeze_param`` names (espnet2/tasks/abs_task.py, main_worker)."""
    prefixes = list(freeze_param)
    return [name for name in tensors if any(_is_under(name, prefix) for prefix in prefixes)]


def left_random(
    config: Mapping[str, Any], tensors: Iterable[str], loaded: Collection[str]
) -> list[str]:
    """The tensors that ``freeze_param`` freezes and that nothing fills.

    Args:
        config: ESPnet's options.
        tensors: names of parameters of layers that are drawn.
        loaded: names of tensors that a pre-trained checkpoint fills (`LayerOrder.loaded`).
    """
    sources = [str(source) for source in config.get("init_param") or []]
    left = []
    for name in frozen_by(config.get("freeze_param") or [], tensors):
        is_filled = name in loaded or any(_fills(source, name) for source in sources)
        if not is_filled:
            left.append(name)
    return left


def fault(layers: Collection[str], config: Mapping[str, Any]) -> str:
    """The message about fresh `layers` that would stay random."""
    names = ", ".join(map(str, config.get("freeze_param") or []))
    return (
        f"{', '.join(layers)}: drawn anew, but freeze_param ({names}) would leave them random and"
        " untrained; cut where they are kept, start them from init_param ('init_param: keep', where"
        " the base has it), or train them: 'train: {freeze_param: []}' (in a training config:"
        " 'freeze_param: []')"
    )


def _is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _fills(source: str, name: str) -> bool:
    """Whether ``FILE:SOURCE:TARGET:EXCLUDED`` sets a tensor (torch_utils/load_pretrained_model)."""
    _, key, target, excluded = (source.split(":", 3) + ["", "", ""])[:4]
    if target and not _is_under(name, target):
        return False
    below = name[len(target) :].lstrip(".")
    origin = f"{key}.{below}" if key else below
    return not any(origin.startswith(word) for word in excluded.split(",") if word)
