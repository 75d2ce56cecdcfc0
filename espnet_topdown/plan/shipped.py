"""The plans of ``conf/topdown``, which a command takes by their names alone."""

from pathlib import Path

import espnet_topdown

_PACKAGE = Path(espnet_topdown.__file__).parent
# Installed, conf/ is in the package (setup.py); in a checkout it stands beside it.
CONF = next((path for path in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if path.is_dir()), None)


def shipped_plans() -> dict[str, Path]:
    """Name -> file of each; ``rnn`` is ``conf/topdown/rnn.yaml``."""
    paths = sorted(CONF.glob("topdown/*.yaml")) if CONF else []
    return {path.stem: path for path in paths}


def plan_path(given: str) -> Path:
    """The file that `given` names: a path, or else the name of a shipped plan."""
    path = Path(given)
    return path if path.exists() else shipped_plans().get(given, path)
