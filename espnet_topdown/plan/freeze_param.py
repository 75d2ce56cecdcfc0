"""What ESPnet's ``freeze_param`` does to layers that are drawn anew, by tensor names.

A class of ESPnet that trains only a part of itself (``finetuning`` of torchaudiohubert) does the
same to them.

Neither torch nor ESPnet is needed.

A frozen tensor that nothing gives a value stays as it was drawn: random, and never trained.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from espnet_topdown.check import list_in


def frozen_by(freeze_param: Iterable[str], tensors: Iterable[str]) -> list[str]:
    """The tensors that ``freeze_param`` names (espnet2/tasks/abs_task.py, main_worker)."""
    prefixes = tuple(f"{prefix}." for prefix in freeze_param)
    # With its own dot behind it a name is under itself too.
    return [name for name in tensors if f"{name}.".startswith(prefixes)]


def left_random(
    config: Mapping[str, Any],
    tensors: Iterable[str],
    loaded: Collection[str],
    by_class: Collection[str] = (),
) -> list[str]:
    """The tensors that ``freeze_param``, or a class of ESPnet, freezes and that nothing fills.

    Args:
        config: ESPnet's options.
        tensors: names of parameters of layers that are drawn.
        loaded: names of tensors that a pre-trained checkpoint fills (`LayerOrder.loaded`), or
            ``init_param`` (`espnet_topdown.training.pretrained.filled`).
        by_class: those of `tensors` that ESPnet's own class never trains.
    """
    frozen = dict.fromkeys([*frozen_by(list_in(config, "freeze_param"), tensors), *by_class])
    return [name for name in frozen if name not in loaded]


def fault(layers: Collection[str], config: Mapping[str, Any]) -> str:
    """The message about fresh `layers` that would stay random."""
    names = ", ".join(map(str, list_in(config, "freeze_param")))
    if not names:
        return (
            f"{', '.join(layers)}: drawn anew, but ESPnet's class never trains all of it and would"
            " leave that random; cut where it is kept, or start it from init_param"
        )
    return (
        f"{', '.join(layers)}: drawn anew, but freeze_param ({names}) would leave them random and"
        " untrained; cut where they are kept, start them from init_param ('init_param: keep', where"
        " the base has it), or train them: 'train: {freeze_param: []}' (in a training config:"
        " 'freeze_param: []')"
    )
