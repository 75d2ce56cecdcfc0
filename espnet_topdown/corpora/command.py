"""What the corpus commands share: their options, their log, and refusals without a traceback."""

import logging
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from espnet_topdown.corpora.audio import CHECKS
from espnet_topdown.corpora.faults import POLICIES
from espnet_topdown.errors import LOG_FORMAT, reported


def add_options(parser: ArgumentParser) -> None:
    """Add the options of every corpus that is read from LDC's directories."""
    parser.add_argument(
        "--output", type=Path, default=Path("data"), help="where the sets go (default: data)"
    )
    parser.add_argument(
        "--faults",
        choices=POLICIES,
        default="refuse",
        help="files that are damaged and utterances without a transcript: refuse the corpus"
        " (default) or name and skip them",
    )
    parser.add_argument(
        "--audio_check",
        choices=CHECKS,
        default="header",
        help="of every audio file read the header and compare the size (default), decode it whole"
        " (the only check that sees damage inside compressed files), or trust it",
    )


def run_command(prepare: Callable[[Namespace], None], options: Namespace) -> None:
    """Run `prepare` with its log on standard error; a refusal ends the process with status 1."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    with reported():
        prepare(options)
