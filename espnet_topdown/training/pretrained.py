"""Pre-trained files that a base's ``init_param`` names: refused where they could not be loaded.

ESPnet itself would find out once the training has begun, and would run what is in them
(espnet2/torch_utils/load_pretrained_model.py, 202511, loads with ``weights_only=False``).
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
        source = _Source.of(words)
        names = _tensors(source.path)
        if not any(source.chosen(names)):
            first = ", ".join(map(str, list(names)[:3]))
            raise TopdownError(
                f"init_param {words} of the base fills nothing: no tensor in it begins with"
                f" {source.key!r} and is not left out (first ones: {first}); {_CURE}"
            )
        try:
            load_pretrained_model(words, model, ignore_mismatch, map_location="cpu")
        # Whatever ESPnet says against it: other names or shapes, parts that the model lacks.
        except Exception as error:  # noqa: BLE001
            said = " ".join(str(error).split())
            raise TopdownError(
                f"init_param {words} of the base does not fit its model: {said[:300]}; {_CURE}"
            ) from None


def filled(
    init_params: Sequence[str], model: torch.nn.Module, *, ignore_mismatch: bool
) -> set[str]:
    """The tensors of a model that such files set; what cannot be read sets all of its target.

    Source: torch_utils/load_pretrained_model.py (202511).

    Args:
        init_params: ESPnet's ``FILE:SOURCE:TARGET:EXCLUDED`` each.
        model: of the training.
        ignore_mismatch: ESPnet's ``ignore_init_mismatch``, which passes over other sizes.
    """
    own = model.state_dict()
    names: set[str] = set()
    for words in init_params:
        source = _Source.of(words)
        try:
            tensors = _tensors(source.path)
        except (TopdownError, OSError):
            # It is refused where it would be read.
            names.update(name for name in own if f"{name}.".startswith(source.prefix))
            continue
        for name, tensor in source.chosen(tensors):
            if name in own and not (ignore_mismatch and own[name].shape != tensor.shape):
                names.add(name)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    # Of weights that are tied one name is enough.
    set_ones = {id(own) for name, own in parameters.items() if name in names}
    return names | {name for name, own in parameters.items() if id(own) in set_ones}


class _Source(NamedTuple):
    """An ``init_param``: a file, names in it and in the model, and what of the file is left out."""

    path: Path
    key: str
    target: str
    excluded: tuple[str, ...]

    @classmethod
    def of(cls, words: str) -> "_Source":
        path, *fields = words.split(":", 3)
        key, target, *_ = [*fields, "", ""]
        # A last colon with nothing behind it leaves out every name, as all begin with nothing.
        excluded = tuple(fields[2].split(",")) if len(fields) > 2 else ()
        return cls(Path(path), key, target, excluded)

    @property
    def prefix(self) -> str:
        """What names in the model begin with."""
        return f"{self.target}." if self.target else ""

    def chosen(self, tensors: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Its tensors under their names in the model."""
        for name, tensor in tensors.items():
            # As ESPnet does, without a dot behind it.
            if name.startswith(self.key) and not name.startswith(self.excluded):
                below = name[len(self.key) + 1 :] if self.key else name
                yield f"{self.prefix}{below}", tensor


def _tensors(path: Path) -> Mapping[str, Any]:
    """The tensors of a file, out of the wrapping that ESPnet takes off, DeepSpeed's."""
    stored = checkpoint.load(path)
    if not isinstance(stored, Mapping):
        raise TopdownError(f"{path} holds no tensors by name")
    inner = stored.get("module")
    return inner if isinstance(inner, Mapping) else stored


def _file(words: str) -> Path:
    return _Source.of(words).path
