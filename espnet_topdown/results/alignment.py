"""sclite's alignment of two token sequences, and whether equally cheap ones count other errors.

Costs are sclite's: substitution 4, insertion and deletion 3. Counting whole sets is left to
`espnet_topdown.results.scoring`.
"""

from collections.abc import Sequence
from os.path import commonprefix
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Words = tuple[str, ...]
SUBSTITUTION = 4
INDEL = 3


def align(ref: Sequence[str], hyp: Sequence[str]) -> str:
    """The alignment that sclite prints, as a string of C, S, D and I.

    Source: SCTK 2.4.10, net_dp.c: traced back from the end; among equally cheap alignments a match
        or substitution is taken first, then an insertion, then a deletion.
    """
    if ref == hyp:
        return "C" * len(ref)
    costs = _costs(ref, hyp).tolist()
    i, j = len(ref), len(hyp)
    steps = []
    # Backwards; the order of the branches is sclite's preference among equal costs.
    while i and j:
        is_same = ref[i - 1] == hyp[j - 1]
        step, cost = ("C", 0) if is_same else ("S", SUBSTITUTION)
        if costs[i][j] == costs[i - 1][j - 1] + cost:
            steps.append(step)
            i -= 1
            j -= 1
        elif costs[i - 1][j] < costs[i][j - 1]:
            steps.append("D")
            i -= 1
        else:
            steps.append("I")
            j -= 1
    return "D" * i + "I" * j + "".join(reversed(steps))


def middle(ref: Words, hyp: Words) -> tuple[Words, Words]:
    """Both without the tokens that they begin and end with alike.

    Those can always be aligned with each other, whatever the rest costs: the numbers of errors of
    all cheapest alignments, and of sclite's, are those of the middle.
    """
    # Of words as of letters; the end is the beginning of what is left, read backwards.
    start = len(commonprefix([ref, hyp]))
    ref, hyp = ref[start:], hyp[start:]
    end = len(commonprefix([ref[::-1], hyp[::-1]]))
    return ref[: len(ref) - end], hyp[: len(hyp) - end]


def is_tie(
    ref: Sequence[str], hyp: Sequence[str], substitutions: int, deletions: int, insertions: int
) -> bool:
    """Whether the cheapest alignments differ in their number of errors.

    Args:
        ref: words of the reference.
        hyp: words of the hypothesis.
        substitutions: those of one of the cheapest.
        deletions: its own.
        insertions: its own.
    """
    # 3 substitutions cost as much as 2 insertions and 2 deletions, which are one error more: only
    # where the one or the other are there can one be had for the other. Costs are scaled so far
    # up that a surcharge for each error decides among the cheapest alone.
    scale = len(ref) + len(hyp) + 1
    errors = substitutions + deletions + insertions
    if min(deletions, insertions) >= 2:
        dearer = _costs(ref, hyp, scale=scale, surcharge=1)
        fewest_errors = int(dearer[-1, -1]) % scale
        if fewest_errors < errors:
            return True
    if substitutions < 3:
        return False
    cheaper = _costs(ref, hyp, scale=scale, surcharge=-1)
    most_errors = -int(cheaper[-1, -1]) % scale
    return most_errors > errors


def _costs(
    ref: Sequence[str], hyp: Sequence[str], *, scale: int = 1, surcharge: int = 0
) -> "np.ndarray":
    """Least costs of aligning every prefix of `ref` with every prefix of `hyp`.

    Args:
        ref: words of the reference.
        hyp: words of the hypothesis.
        scale: of all costs.
        surcharge: of every error, on its scaled cost.

    Returns:
        (len(ref) + 1, len(hyp) + 1).
    """
    import numpy as np

    substitution = SUBSTITUTION * scale + surcharge
    indel = INDEL * scale + surcharge
    numbers = {word: number for number, word in enumerate({*ref, *hyp})}
    hyp_numbers = np.array([numbers[word] for word in hyp], dtype=np.int64)
    insertions = indel * np.arange(len(hyp) + 1)
    costs = np.empty((len(ref) + 1, len(hyp) + 1), dtype=np.int64)
    costs[0] = insertions
    for i, word in enumerate(ref, 1):
        above = costs[i - 1]
        replaced = above[:-1] + np.where(hyp_numbers == numbers[word], 0, substitution)
        row = above + indel
        row[1:] = np.minimum(row[1:], replaced)
        # The running minimum carries insertions along the row without a loop over its cells.
        costs[i] = np.minimum.accumulate(row - insertions) + insertions
    return costs
