"""``python3 -m espnet_topdown``: our command line, or any ESPnet tool with our tasks.

The second form, ``-m MODULE`` or a script, is for ESPnet's ``asr.sh --python "python3 -m
espnet_topdown"``: training tools run with `topdown_conf`, inference tools know our language models,
every other module or script runs as it is. Nothing is printed on its standard output.
"""

import importlib
import re
import runpy
import sys
from collections.abc import Sequence

from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.task import TASKS
from espnet_topdown.versions import check_versions, importing


def main(argv: Sequence[str] | None = None) -> None:
    """Run a tool (``-m MODULE args...``, ``script.py args...``) or one of our own commands."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["-m"]:
        # What ESPnet's tools do with files is told by their tracebacks.
        with reported(system_faults=False):
            run_module(words[1:])
    elif words and words[0].endswith(".py"):
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
    else:
        from espnet_topdown.cli import main as command_line

        command_line(words)


def run_module(words: Sequence[str]) -> None:
    """Run ``MODULE args...``, with our own training tools in the place of ESPnet's.

    Raises:
        TopdownError: no module is given.
    """
    if not words:
        raise TopdownError("-m needs a module, such as -m espnet2.bin.asr_train")
    name, *rest = words
    sys.argv = [name, *rest]
    training = re.fullmatch(r"espnet2\.bin\.(\w+)_train", name)
    if training and training[1] in TASKS:
        check_versions()
        # Imported, not run as __main__: workers that it spawns find the task by its own name.
        with importing("espnet_topdown.bin.train"):
            train = importlib.import_module("espnet_topdown.bin.train")
        train.main([training[1], *rest])
        return
    reads_models = re.fullmatch(r"espnet2\.bin\.\w+_(inference\w*|perplexity)", name)
    if reads_models:
        importlib.import_module("espnet_topdown.lm").register()
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
