"""Which of ESPnet's classes the tests build, from their own lists, as a table of our README."""

from collections.abc import Iterator

import tiny
from plan import test_public_models as public

from espnet_topdown.plan.model_table import MODELS

HEADER = ("|part|classes|classes that need an extra (or a package)|", "|---|---|---|")


def table() -> str:
    """A line for each part of a model that has a tested class."""
    plain: dict[str, list[str]] = {
        "encoder": [*tiny.ENCODERS],
        "decoder": [*tiny.DECODERS, "none (CTC alone)"],
        # tests/training/test_tasks.py trains text translation, tests/lm/test_nt_asgd.py AWD-LSTMs;
        # the small checkpoint of ESPnet's own is in no config alone
        "frontend": ["embed", "espnet_ssl"],
        "lm": [*tiny.LMS, "awd_lstm"],
    }
    for _, config, _ in [*public.CASES.values(), *public.PLACED.values()]:
        for part in MODELS:
            choice = config.get(part)
            # A frontend that is in no row computes features.
            if choice and (part != "frontend" or choice in MODELS[part]):
                plain.setdefault(part, []).append(choice)
    extra: dict[str, list[str]] = {}
    for name, part, choice in _built_with_extras():
        extra.setdefault(part, []).append(f"{choice} ({name})")
    lines = []
    for part in MODELS:
        cells = [", ".join(dict.fromkeys(cell.get(part, []))) for cell in (plain, extra)]
        if any(cells):
            lines.append(f"|{part}|{'|'.join(cells)}|")
    return "\n".join([*HEADER, *lines])


def _built_with_extras() -> Iterator[tuple[str, str, str]]:
    """(extra, part, choice) of the tests that need a package outside our dependencies."""
    for test in vars(public).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "builds":
                for part, choice in mark.kwargs.items():
                    yield mark.args[0], part, choice
