"""What is wrong with single files or utterances of a corpus.

All of it refused together, or named and skipped.
"""

import logging

from espnet_topdown.errors import TopdownError

POLICIES = ("refuse", "skip")
_SHOWN = 10  # examples per kind of fault in a refusal


class Faults:
    """Faults found so far, by kind; `settle` decides what becomes of them."""

    def __init__(self, policy: str) -> None:
        """Args: policy.

        ``refuse`` (nothing is written) or ``skip`` (what is faulty is left out, each one named).
        """
        self.policy = policy
        self._found: dict[str, list[str]] = {}

    def add(self, kind: str, what: str) -> None:
        """Note one fault.

        `kind` is a sentence that ends before the list of names, `what` the file or utterance.
        """
        self._found.setdefault(kind, []).append(what)

    def settle(self) -> None:
        """Name every fault in the log where they are skipped.

        Raises:
            TopdownError: there are faults and the policy is ``refuse``.
        """
        if not self._found:
            return
        if self.policy == "refuse":
            raise TopdownError(
                "\n".join(
                    [
                        *map(self._summary, self._found),
                        (
                            "Nothing was written. Mend the corpus, or "
                            "leave these out with --faults skip"
                        ),
                    ]
                )
            )
        for kind, names in self._found.items():
            for name in names:
                logging.warning("skipped: %s: %s", kind, name)
        self._found.clear()

    def _summary(self, kind: str) -> str:
        names = self._found[kind]
        more = f"\n  ... and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"{kind} ({len(names)}):\n  " + "\n  ".join(names[:_SHOWN]) + more
