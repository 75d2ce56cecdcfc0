"""Which ESPnet and torch are used here, and whether they are new enough.

Nothing heavy is imported: whoever asks may be a command that answers at once.
"""

import contextlib
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator

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
    return _installed("torch")


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
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


@contextlib.contextmanager
def importing(module: str) -> Iterator[None]:
    """Tell what keeps `module`, which needs ESPnet, from being imported in the body.

    Raises:
        TopdownError: with the first cause and the installed versions. A torchaudio that is no match
            for torch ends in an OSError, a numpy that is too new in an AttributeError.
    """
    try:
        yield
    except Exception as error:
        found = versions() | {"torchaudio": _installed("torchaudio") or _NOT_INSTALLED}
        raise TopdownError(
            f"{module} cannot be imported by {sys.executable}: {_first_cause(error)}; found are"
            f" {', '.join(f'{name} {version}' for name, version in found.items())}. Install what is"
            f" missing or does not fit the others; {sys.executable} -c 'import {module}'"
            " shows where"
        ) from error


def _first_cause(error: BaseException) -> str:
    while error.__cause__:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"


def _is_older(version: str, oldest: str) -> bool:
    """Whether it is known to be older; a checkout that does not know its version is taken."""
    if version == _UNKNOWN:
        return False
    try:
        return Version(version) < Version(oldest)
    except InvalidVersion:
        return False
