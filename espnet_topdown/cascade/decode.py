"""Decodes and scores phases through the recipe's own run.sh.

So language model, scoring and RESULTS.md are the recipe's. Which phases, and with which further
options, is for the caller to say.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.errors import TopdownError
from espnet_topdown.warm import groups

# Of egs2/TEMPLATE/asr1/asr.sh, ESPnet 202301 and later.
_OPTIONS = ("stage", "stop_stage", "skip_train", "asr_exp", "inference_asr_model")


def decode(cascade: Cascade, phases: Sequence[Path], options: Sequence[str]) -> None:
    """Run stages 12 and 13 of the recipe in the current directory for each phase.

    Args:
        cascade: whose parent model file is decoded with.
        phases: directories of finished phases.
        options: further options of run.sh.

    Raises:
        TopdownError: no such recipe here, an asr.sh without the options, or run.sh failed.
    """
    if cascade.base.task != "asr":
        raise TopdownError(
            f"{cascade.base.directory} is of task {cascade.base.task}, and only asr is decoded"
            " through run.sh's stages 12 and 13"
        )
    _check_recipe()
    for phase in phases:
        words = ["./run.sh", "--stage", "12", "--stop_stage", "13", "--skip_train", "true"]
        words += ["--asr_exp", str(phase), "--inference_asr_model", cascade.parent_model, *options]
        # It has no terminal, which a decoder might read, and ends with this process.
        status = groups.run(words)
        if status != 0:
            raise TopdownError(
                f"{shlex.join(words)} {groups.told(status)}; what it said stands above"
            )


def _check_recipe() -> None:
    for name in ("run.sh", "path.sh"):
        if not Path(name).is_file():
            raise TopdownError(
                f"found no {name} in {Path.cwd()}; run in the recipe directory of the experiment"
            )
    script = Path("asr.sh")
    if not script.exists():
        # run.sh calls another script, whose options are not known.
        return
    text = script.read_text(encoding="utf-8")
    lacking = [f"--{name}" for name in _OPTIONS if not re.search(rf"^{name}=", text, re.MULTILINE)]
    if lacking:
        raise TopdownError(
            f"{script.resolve()} has no option {', '.join(lacking)}, by which a phase is decoded;"
            " use ESPnet 202301 or later, or our recipes without ESPNET_ROOT"
        )
