"""A training config's options as ESPnet's parser reads them, and the model that they describe.

For looking at a model before it is trained: what only data give (tokens, statistics) is made up.
"""

import argparse
import contextlib
import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from espnet_topdown import archives
from espnet_topdown.check import mapping_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_data import TOKEN_LISTS
from espnet_topdown.experiment.task import is_written_by_espnet
from espnet_topdown.training import obstacles
from espnet_topdown.training.downloads import download_fault
from espnet_topdown.training.tasks import TopdownTask
from espnet_topdown.versions import espnet_version

# Symbols that the models of ESPnet's tasks look for: `<sos>` and `<sop>` that of s2t, those of
# generation lm's with several tasks.
_SYMBOLS = (
    *("<blank>", "<unk>", "<na>", "<sop>", "<sos>", "<eos>"),
    *("<generatetext>", "<generatespeech>", "<sos/eos>"),
)


def options_of(
    task: type[TopdownTask], config: Path, *, vocab_size: int, input_size: int | None
) -> argparse.Namespace:
    """The options of a config over the parser's defaults, as ESPnet's own main sees them.

    Args:
        task: whose parser reads them.
        config: a training's config, or an experiment's.
        vocab_size: tokens, where the config has no token list that is there.
        input_size: feature dimension, where the config gives none; None: the frontend's.

    Raises:
        TopdownError: the config cannot be read, or a value is none that the option takes.
    """
    parser = task.get_parser()
    given = read_config(config)
    known = {action.dest for action in parser._actions}
    # An experiment's own config names the file that it was launched by. The parser would read that
    # file, which may be gone, or another by now (espnet2/utils/config_argparse.py).
    known.discard("config")
    # As espnet2/utils/config_argparse.py does: a text passes the option's own type, so that
    # `init: none` is no initialisation and not one called none.
    parser.set_defaults(**{key: value for key, value in given.items() if key in known})
    parser.exit_on_error = False
    try:
        options = parser.parse_args([])
    # An ArgumentError, or what the function that converts a text raises.
    except Exception as error:
        raise TopdownError(f"{config}: {error}") from None
    for name in known.intersection(TOKEN_LISTS):
        _fill_tokens(options, name, vocab_size)
    if vars(options).get("input_size") is None and input_size:
        options.input_size = input_size
    # A config before stage 10 has no statistics, and a packed model has them at another place; they
    # belong to no layer.
    statistics = mapping_in(vars(options), "normalize_conf").get("stats_file")
    if statistics is None or not Path(statistics).exists():
        options.normalize = None
    return options


def parsed(task: type[TopdownTask], config: Mapping[str, Any]) -> argparse.Namespace:
    """The options of a phase's training config, as its parser gives them.

    Raises:
        TopdownError: what the parser would end with.
    """
    # As they stand: YAML takes seconds for a vocabulary of 33,000 words.
    tokens = {name: config[name] for name in TOKEN_LISTS if isinstance(config.get(name), list)}
    text = yaml.safe_dump({**config, **dict.fromkeys(tokens)})
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "phase.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            with contextlib.redirect_stderr(said):
                options = task.get_parser().parse_args(["--config", str(path)])
        except SystemExit:
            reason = said.getvalue().strip().rpartition("error: ")[2]
            raise TopdownError(f"ESPnet's parser refuses its options: {reason}") from None
        # What the function that converts a text raises, such as a size's.
        except Exception as error:
            raise TopdownError(f"ESPnet's parser refuses its options: {error}") from error
    vars(options).update(tokens)
    return options


def notes(task: type[TopdownTask], config: Path) -> list[str]:
    """What to know of a training config before it is trained; of an experiment's, nothing."""
    given = read_config(config)
    if is_written_by_espnet(given):
        return []
    known = {action.dest for action in task.get_parser()._actions}
    unknown = [key for key in given if key not in known]
    if not unknown:
        return []
    refusal = "would refuse to train by this config"
    return [f"ESPnet {espnet_version()} does not know {', '.join(unknown)}, and {refusal}"]


def _fill_tokens(options: argparse.Namespace, name: str, size: int) -> None:
    """Make up a token list where none is there; of a task's optional lists, where it is used."""
    match getattr(options, name):
        case list():
            return
        case str() as path if Path(path).exists():
            return
    if name == "transcript_token_list" and not vars(options).get("two_pass"):
        return
    first, *middle, last = _SYMBOLS
    words = map(str, range(size - len(_SYMBOLS)))
    setattr(options, name, [first, *middle, *words, last])


def build(task: type[TopdownTask], options: argparse.Namespace, config: Path) -> torch.nn.Module:
    """The model that `options` describe.

    Raises:
        TopdownError: ESPnet cannot build it, for the reason that is given.
    """
    try:
        return task.build_model(options)
    except ImportError as error:
        missing = obstacles.lacking(error.name or "a package", error)
        raise TopdownError(f"{config}: its model needs {missing}") from error
    except Exception as error:
        fault = download_fault(options, error) or _statistics_fault(options)
        if fault:
            raise TopdownError(f"{config}: {fault}") from error
        # All that is run here is ESPnet's: what it raises is about the config.
        raise TopdownError(
            f"ESPnet {espnet_version()} cannot build the model of {config}:"
            f" {type(error).__name__}: {error}"
        ) from error


def _statistics_fault(options: argparse.Namespace) -> str | None:
    """Why the feature statistics of a config cannot be read, where they are an archive of NumPy's.

    What NumPy says of one does not name it.
    """
    named = mapping_in(vars(options), "normalize_conf").get("stats_file")
    path = Path(str(named))
    damage = archives.damage(path) if path.suffix == ".npz" and path.is_file() else None
    if damage is None:
        return None
    return (
        f"its feature statistics {path} are damaged ({damage}); bring them back from a copy, or run"
        " the stage that writes them again"
    )
