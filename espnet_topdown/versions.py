"""Which ESPnet and torch are used here, and whether they are new enough.

Nothing heavy is imported: whoever asks may be a command that answers at once.
"""

import importlib
import importlib.metadata

from packaging.version import InvalidVersion, Version

from espnet_topdown.errors import TopdownError

# The oldest that cascades were trained with. `espnet2.tasks.s2t` came in 202310, and
# `torch.serialization.safe_globals` in torch 2.5.
OLDEST_ESPNET = "202402"
OLDEST_TORCH = "2.5"
_NOT_INSTALLED = "not installed"
# What a checkout of 2026 says of itself on PYTHONPATH.
_UNKNOWN = "0.0.0"


def espnet_version() -> str | None:
    """ESPnet's version, None where it is not installed.

    Its own word, not the package's metadata: an editable checkout's say 0.0.0, and a checkout on
    PYTHONPATH has none.
    """
    try:
        # Loads no torch (espnet2/__init__.py of 202301 to 202611).
        return str(importlib.import_module("espnet2").__version__)
    except ModuleNotFoundError:
        return None


def torch_version() -> str | None:
    """Torch's version, None where it is not installed; importing torch takes seconds."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Both, by package, as records and tables state them."""
    return {
        "espnet": espnet_version() or _NOT_INSTALLED,
        "torch": torch_version() or _NOT_INSTALLED,
    }


def check_versions() -> None:
    """Refuse an ESPnet or a torch that is too old, or that is not there.

    Raises:
        TopdownError: with what was found and what is needed.
    """
    found = versions()
    needed = {"espnet": OLDEST_ESPNET, "torch": OLDEST_TORCH}
    faults = [
        f"{name} >= {oldest} is needed, and found is {found[name]}"
        for name, oldest in needed.items()
        if found[name] == _NOT_INSTALLED or _is_older(found[name], oldest)
    ]
    if faults:
        raise TopdownError(
            f"{'; '.join(faults)}. Use a newer checkout, or install espnet_topdown[tested] into an"
            " environment of its own"
        )


def _is_older(version: str, oldest: str) -> bool:
    """Whether it is known to be older; a checkout that does not know its version is taken."""
    if version == _UNKNOWN:
        return False
    try:
        return Version(version) < Version(oldest)
    except InvalidVersion:
        return False
