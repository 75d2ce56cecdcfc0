"""The plans of ``conf/topdown``, which a command takes by their names alone."""

from pathlib import Path

import espnet_topdown

_PACKAGE = Path(espnet_topdown.__file__).parent
# Installed, conf/ is in the package (setup.py); in a checkout it stands beside it.
_PLACES = (_PACKAGE / "conf", _PACKAGE.parent / "conf")
CONF = next(filter(Path.is_dir, _PLACES), None)


def shipped_plans() -> dict[str, Path]:
    """Name -> file of each; ``rnn`` is ``conf/topdown/rnn.yaml``."""
    if CONF is None:
        return {}
    return {path.stem: path for path in sorted(CONF.glob("topdown/*.yaml"))}


def plan_path(given: str) -> Path:
    """The file that `given` names: a path, or else the name of a shipped plan."""
    path = Path(given)
    return path if path.exists() else shipped_plans().get(given, path)
