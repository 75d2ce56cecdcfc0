"""Pre-trained checkpoints that a model is built from, where they are not here.

ESPnet and the packages that it asks fetch them while a model is built. What else stands in the way
of a model is told by `espnet_topdown.training.obstacles`.
"""

import argparse
import difflib
import importlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from espnet_topdown.check import mapping_in
from espnet_topdown.errors import listed
from espnet_topdown.plan.model_table import MODELS

# Options by which a part names its pre-trained checkpoint.
_UPSTREAMS = (
    *("upstream", "path_or_url", "model_name_or_path", "whisper_model", "model"),
    "beats_ckpt_path",
)
# Those of them that Hugging Face's hub is asked for.
_OF_HUB = ("model_name_or_path", "model")
# Seconds to wait for a hub's answer.
_PATIENCE_S = 5.0
_FETCH = (
    "is not here and cannot be downloaded; fetch it once on a machine with a network (building the"
    " model there leaves it in the cache), or name a local file or directory"
)
# Packages whose errors say that something could not be fetched.
_NETWORK = {"urllib", "urllib3", "requests", "huggingface_hub", "httpx", "socket"}


def download_fault(options: argparse.Namespace, error: BaseException) -> str | None:
    """The message about a pre-trained checkpoint that is not here; None for another error."""
    chain = _chain(error)
    # Hugging Face's own, of what its cache does not have, names no file.
    files = [one.filename for one in chain if isinstance(one, FileNotFoundError) and one.filename]
    if files:
        return _lost_file(options, Path(files[0]))
    if _NETWORK.isdisjoint(type(link).__module__.partition(".")[0] for link in chain):
        return None
    wanted = list(_checkpoints(options))
    # Which of several it was is in the error.
    which = "one of " if len(wanted) > 1 else ""
    return f"{which}{listed(wanted, 'a pre-trained checkpoint')} {_FETCH}: {error}"


def out_of_reach(options: argparse.Namespace) -> list[str]:
    """A message about each model of Hugging Face's that is not here, where no hub answers.

    Asked beforehand, since Hugging Face tries for most of a minute, and names the first alone.
    """
    try:
        cached_file = importlib.import_module("transformers.utils").cached_file
    # Whatever it is, that it does not import is told beside.
    except Exception:
        return []
    wanted = {}
    for part in (*MODELS, "extra_mt_encoder"):
        conf = mapping_in(vars(options), f"{part}_conf")
        for name, value in _named(conf):
            if name not in _OF_HUB:
                continue
            try:
                cache = conf.get("download_dir")
                cached_file(value, "config.json", cache_dir=cache, local_files_only=True)
            # Of a name that is none of the hub's, too.
            except (OSError, ValueError):
                wanted[f"{part}_conf's {name} '{value}' {_FETCH}"] = value
    return [] if _hub_answers(wanted.values()) else [*wanted]


def upstream_faults(options: argparse.Namespace) -> list[str]:
    """Upstreams that S3PRL does not have, and checkpoints of local ones that are not there.

    S3PRL, and ESPnet before it, assert both without a word.
    """
    faults = []
    nested = _mappings(mapping_in(vars(options), "frontend_conf"))
    for conf in [conf for conf in nested if "upstream" in conf]:
        upstream, file = str(conf["upstream"]), conf.get("path_or_url")
        try:
            known = importlib.import_module("s3prl.nn").S3PRLUpstream.available_names()
        # Whatever it is, that it does not import is told beside.
        except Exception:
            return []
        if upstream not in known:
            near = listed(difflib.get_close_matches(upstream, known), "s3prl/upstream/*/hubconf.py")
            faults.append(f"S3PRL has no upstream '{upstream}'; see {near}")
        elif upstream.endswith("_local") and not Path(str(file)).is_file():
            faults.append(
                f"frontend_conf's upstream '{upstream}' needs its checkpoint as path_or_url:"
                f" {file} is no file, seen from {Path.cwd()}"
            )
    return faults


def _hub_answers(models: Collection[str]) -> bool:
    """Whether a hub can be asked for `models`; true where there are none."""
    constants = importlib.import_module("huggingface_hub.constants")
    if not models:
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    try:
        with urllib.request.urlopen(constants.ENDPOINT, timeout=_PATIENCE_S):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Whom Hugging Face trusts is for it to say.
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False


def _chain(error: BaseException) -> list[BaseException]:
    """An error, and those that it came from."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    # An error can be its own cause.
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    return chain


def _lost_file(options: argparse.Namespace, lost: Path) -> str | None:
    """The message about a local checkpoint that is not there; None for another file."""
    for option, value in _checkpoints(options).items():
        # Or what ESPnet looks for beside it, as its config.
        if lost.parent == Path(value).parent and lost.parent != Path():
            return (
                f"{option} is not there ({lost} does not exist, seen from {Path.cwd()}); copy it"
                " there, or name another file"
            )
    return None


def _checkpoints(options: argparse.Namespace) -> dict[str, str]:
    """The pre-trained checkpoints that a model names: the option with its value -> the value."""
    found = {}
    for part in MODELS:
        for name, value in _named(mapping_in(vars(options), f"{part}_conf")):
            found[f"{part}_conf's {name} '{value}'"] = value
    return found


def _named(conf: Any) -> Iterator[tuple[str, str]]:
    """The pre-trained checkpoints that a ``_conf`` names, also in what it nests."""
    for mapping in _mappings(conf):
        for name, value in mapping.items():
            if name in _UPSTREAMS and isinstance(value, str):
                yield name, value


def _mappings(conf: Any) -> Iterator[Mapping[str, Any]]:
    """Every mapping of a ``_conf``: itself, and those in its values and lists."""
    match conf:
        case list():
            for item in conf:
                yield from _mappings(item)
        case Mapping():
            yield conf
            for value in conf.values():
                yield from _mappings(value)
