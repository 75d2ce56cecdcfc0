"""Perplexities of a language-model study, as the numbers that its answers are made of.

A text is one stream, so that nothing but the seed can be resampled.
"""

import math
from collections.abc import Sequence

from espnet_topdown.results.rows import texts_of
from espnet_topdown.study.answers import Values
from espnet_topdown.study.records import Record, by_key, phases_of


def texts(records: Sequence[Record]) -> list[str]:
    """Names of the texts with a perplexity, such as "test (stream)"; a study of errors has none."""
    return texts_of(phases_of(records))


def values(records: Sequence[Record], text: str) -> Values:
    """The perplexity on a text of every phase that has one."""
    return {
        key: phase.perplexity[text]
        for key, phase in by_key(records).items()
        if text in phase.perplexity
    }


def logs(values: Values) -> Values:
    """A hundred times the natural logarithm of each: differences are percent of perplexity."""
    return {key: 100 * math.log(value) for key, value in values.items()}
