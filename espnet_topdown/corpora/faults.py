"""What is wrong with single files or utterances of a corpus, refused or skipped together."""

import logging

from espnet_topdown.errors import TopdownError, first_lines

POLICIES = ("refuse", "skip")
_SHOWN = 10  # examples per kind of fault in a refusal
_WAY_OUT = "Nothing was written. Mend the corpus, or leave these out with --faults skip"


class Faults:
    """Faults so far, by kind; `settle` decides what becomes of them.

    Args:
        policy: ``refuse`` (nothing is written) or ``skip`` (what is faulty is named and left out).
    """

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note one fault.

        Args:
            kind: a sentence that ends before the list of names.
            name: the file or utterance, with details where there are any.
        """
        self._names.setdefault(kind, []).append(name)

    def settle(self) -> None:
        """Name every fault in the log where they are skipped.

        Raises:
            TopdownError: there are faults and the policy is ``refuse``.
        """
        if self._names and self.policy == "refuse":
            summaries = [_summary(kind, names) for kind, names in self._names.items()]
            raise TopdownError("\n".join([*summaries, _WAY_OUT]))
        for kind, names in self._names.items():
            for name in names:
                logging.warning("skipped: %s: %s", kind, name)
        self._names.clear()


def _summary(kind: str, names: list[str]) -> str:
    return "\n  ".join([f"{kind} ({len(names)}):", *first_lines(names, _SHOWN)])
