"""Pre-trained files that a base's ``init_param`` names: refused where they could not be loaded.

ESPnet itself would find out once the training has begun, and would run what is in them
(espnet2/torch_utils/load_pretrained_model.py, 202511, loads with ``weights_only=False``).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

from espnet_topdown.errors import TopdownError
from espnet_topdown.training import checkpoint

_CURE = "give the plan 'init_param: drop', which draws these layers"


def refuse_code(init_params: Sequence[str]) -> None:
    """Refuse files that are gone, damaged, or hold more than tensors.

    Args:
        init_params: ESPnet's ``FILE:SOURCE:TARGET:EXCLUDED`` each.

    Raises:
        TopdownError: with the file and the way out.
    """
    for words in init_params:
        path = _file(words)
        if not path.exists():
            raise TopdownError(
                f"init_param {words} of the base names {path}, which is not there: put it back, or"
                f" {_CURE}"
            )
        try:
            checkpoint.load(path)
        except TopdownError as error:
            raise TopdownError(
                f"init_param {words} of the base cannot be loaded as tensors alone: {error}. Save"
                f" its state dict (torch.save(model.state_dict(), FILE)), or {_CURE}"
            ) from None


def refuse_misfits(
    init_params: Sequence[str], model: torch.nn.Module, *, ignore_mismatch: bool
) -> None:
    """Refuse files that do not fit the model, or of which nothing would be loaded.

    Args:
        init_params: ESPnet's ``FILE:SOURCE:TARGET:EXCLUDED`` each; `refuse_code` has passed them.
        model: of the training; its parameters are changed.
        ignore_mismatch: ESPnet's ``ignore_init_mismatch``.

    Raises:
        TopdownError: with what ESPnet says, and the way out.
    """
    for words in init_params:
        source = words.split(":")[1] if ":" in words else ""
        names = checkpoint.load(_file(words))
        # As ESPnet does, without a dot behind it.
        if not any(str(name).startswith(source) for name in names):
            first = ", ".join(map(str, list(names)[:3]))
            raise TopdownError(
                f"init_param {words} of the base fills nothing: no tensor in it begins with"
                f" {source!r} (first ones: {first}); {_CURE}"
            )
        try:
            load_pretrained_model(words, model, ignore_mismatch, map_location="cpu")
        # Whatever ESPnet says against it: other names or shapes, parts that the model lacks.
        except Exception as error:  # noqa: BLE001
            said = " ".join(str(error).split())
            raise TopdownError(
                f"init_param {words} of the base does not fit its model: {said[:300]}; {_CURE}"
            ) from None


def _file(words: str) -> Path:
    return Path(words.partition(":")[0])
