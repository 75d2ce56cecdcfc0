"""``python3 -m espnet_topdown.recipe STEP``: one process of one stage of egs2/TEMPLATE/asr1/asr.sh.

However many sets a stage has, it starts one process. What a step does is
`espnet_topdown.recipe.steps`'s part; options have asr.sh's names.
"""

import argparse
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_topdown.errors import LOG_FORMAT, reported
from espnet_topdown.recipe import steps
from espnet_topdown.warm.groups import end_with_parent


def _seconds(word: str) -> float:
    """A time in seconds; infinity and NaN are none."""
    seconds = _numbers(word)
    if len(seconds) != 1 or not math.isfinite(seconds[0]):
        raise argparse.ArgumentTypeError(f"give seconds, not '{word}'")
    return seconds[0]


def _paths(words: str) -> list[Path]:
    return list(map(Path, words.split()))


def _numbers(words: str) -> list[float]:
    try:
        return list(map(float, words.split()))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"give numbers, several with blanks between, not '{words}'"
        ) from None


# What `add_argument` is given for an option.
Options = Mapping[str, Mapping[str, Any]]
TEXT = {"required": True}
PATH = {"type": Path}
WORDS = {"type": str.split, "required": True}
PATHS = {"type": _paths, "required": True}
WHOLE = {"type": int, "required": True}
SECONDS = {"type": _seconds, "required": True}

STEPS: Mapping[str, tuple[Callable[[argparse.Namespace], None], Options]] = {
    "gpus": (
        steps.check_gpus,
        {"--ngpu": WHOLE, "--cure": {"required": True, "help": "the recipe's option for no GPU"}},
    ),
    "configs": (steps.check_configs, {f"--{option}": PATH for option in steps.CONFIGS}),
    "cleaners": (steps.check_cleaners, {"names": {"nargs": "+"}}),
    "perturb": (steps.perturb, {"source": PATH, "--factors": {"type": _numbers, "required": True}}),
    "format": (
        steps.format_audio,
        {
            "--sources": PATHS,
            "--targets": PATHS,
            "--audio_format": TEXT,
            "--fs": TEXT,
            "--nj": WHOLE,
            "--text_optional": {"type": str.split, "default": ()},
        },
    ),
    "filter": (
        steps.keep_usable,
        {
            "dump": PATH,
            "--sets": WORDS,
            "--fs": TEXT,
            "--min_wav_duration": SECONDS,
            "--max_wav_duration": SECONDS,
            "--lm_train_text": PATHS,
            "--asr_config": PATH,
        },
    ),
    "tokens": (
        steps.write_tokens,
        {
            "token_list": PATH,
            "--texts": PATHS,
            "--token_type": TEXT,
            "--nlsyms_txt": TEXT,
            "--cleaner": TEXT,
            "--nbpe": WHOLE,
            "--bpemode": TEXT,
            "--bpe_nlsyms": TEXT,
            "--bpe_input_sentence_size": WHOLE,
            "--bpe_char_cover": {"type": float, "required": True},
            "--blank": TEXT,
            "--oov": TEXT,
            "--sos_eos": TEXT,
        },
    ),
    "split": (
        steps.split,
        {"directory": PATH, "keys": {"nargs": "+", "metavar": "NAME=FILE"}, "--nj": WHOLE},
    ),
    "shapes": (
        steps.shapes,
        {
            "shapes": {"type": Path, "nargs": "+"},
            "--token_list": {"type": Path, "required": True},
            "--token_type": TEXT,
        },
    ),
    "lengths": (steps.check_lengths, {"config": PATH, "--data": PATHS}),
    "join": (steps.join, {"directories": {"type": Path, "nargs": "+"}}),
    "score": (
        steps.score,
        {
            "--data": PATHS,
            "--decoded": PATHS,
            "--nlsyms_txt": TEXT,
            "--cleaner": TEXT,
            "--hyp_cleaner": TEXT,
            "--bpemodel": TEXT,
            "--score_opts": TEXT,
        },
    ),
}


def get_parser() -> argparse.ArgumentParser:
    """The sub-commands and their options."""
    parser = argparse.ArgumentParser(prog="espnet_topdown.recipe", description=_summary(__doc__))
    commands = parser.add_subparsers(dest="step", required=True)
    for name, (function, options) in STEPS.items():
        step = commands.add_parser(name, help=_summary(function.__doc__))
        step.set_defaults(function=function)
        for option, given in options.items():
            step.add_argument(option, **given)
    return parser


def _summary(docstring: str | None) -> str:
    return (docstring or "").partition("\n")[0]


def main(argv: Sequence[str] | None = None) -> None:
    """Run one step; user faults are printed without a traceback."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    args = get_parser().parse_args(argv)
    with reported():
        args.function(args)


if __name__ == "__main__":
    # A run.sh that is killed alone leaves no step behind that would write beside its rerun's.
    end_with_parent()
    main()
