"""Decodes and scores phases through the recipe's run.sh or another script, as the base was decoded.

So language model, scoring and RESULTS.md are the recipe's. Which phases, and with which further
options, is for the caller to say.
"""

import contextlib
import re
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from espnet_topdown import check, files, locks
from espnet_topdown.cascade.cascade import Cascade
from espnet_topdown.cascade.recipe_script import (
    base_options,
    decoding_options,
    forwards,
    is_of_recipe,
    options_in,
    own_options,
)
from espnet_topdown.errors import TopdownError, listed
from espnet_topdown.experiment.phase_dir import DECODING
from espnet_topdown.warm import groups

# What follows an option in a command, up to a comma: perhaps another option.
_ARGUMENT = re.compile(r"(?<!\S)--\S*(?=\s+([^\s,]*))")
# Of egs2/TEMPLATE/asr1/asr.sh, ESPnet 202301 and later.
_OPTIONS = ("stage", "stop_stage", "skip_train", "asr_exp", "inference_asr_model")
MODEL = "inference_asr_model"
RUN = Path("run.sh")
ASR = Path("asr.sh")
# In a phase's directory: by what it was decoded, and what came of it.
DECODED = "decoded.json"
FIRST_LINES = 8  # of a log, in which its command stands


def decode(
    cascade: Cascade,
    phases: Sequence[Path],
    options: Sequence[str],
    *,
    again: bool = False,
    script: Path = RUN,
) -> None:
    """Run stages 12 and 13 of the recipe in the current directory for each phase.

    Options are run.sh's own, then those with which the base was decoded or trained, then `options`.
    A phase that was decoded by the same model and options is passed over, unless what its decoding
    read (the language model, the sets) has changed since.

    Args:
        cascade: whose phases they are.
        phases: directories of finished phases.
        options: further options of the script.
        again: decode what is decoded, too.
        script: takes asr.sh's options.

    Raises:
        TopdownError: no such recipe here, a run.sh that does not hand options on, an asr.sh without
            the options, a phase without the model file, or run.sh failed.
    """
    if cascade.base.task != "asr":
        raise TopdownError(
            f"{cascade.base.directory} is of task {cascade.base.task}, and only asr is decoded"
            " through run.sh's stages 12 and 13"
        )
    _check_recipe(script)
    taken = _options_of_base(cascade, options, script)
    for phase in phases:
        _check_model(phase, taken[MODEL])
    print(f"decoding with {_line(taken)}", flush=True)
    for number, phase in enumerate(phases, start=1):
        place = f"{phase} ({number} of {len(phases)})"
        own = {**taken, **_token_options(cascade, phase, options_in(options))}
        if own != taken:
            print(f"{place}: its vocabulary is its own: {_line(own)}", flush=True)
        # Who trains it anew meanwhile would put its decoding beside another model.
        with locks.locked(phase / DECODING, "decode", waits=True):
            _decode_once(phase, place, own, script, again=again)


def _decode_once(
    phase: Path, place: str, options: Mapping[str, str], script: Path, *, again: bool
) -> None:
    """Decode a phase, unless that is done already; `place` names it in what is printed."""
    made_by = _made_by(phase, options, script)
    if not again and _is_decoded(phase, made_by):
        changed = _changed(phase)
        if not changed:
            print(f"{place}: decoded already by this model and these options", flush=True)
            return
        print(f"{place}: {changed[0]} has changed since it was decoded", flush=True)
    print(f"{place}: decoding", flush=True)
    began = time.time()
    with _record_away(phase, began):
        _decode_phase(phase, options, script)
    outcome = {"results": _results(phase), "reads": _reads(phase, began)}
    files.write_json(phase / DECODED, {**made_by, **outcome})
    minutes = (time.time() - began) / 60
    print(f"{place}: decoded and scored in {minutes:.1f} min", flush=True)


@contextlib.contextmanager
def _record_away(phase: Path, began: float) -> Iterator[None]:
    """No record while scores are written over, which are then of neither decoding.

    It is put back where the script refused before it wrote any.
    """
    record = phase / DECODED
    before = record.read_text(encoding="utf-8") if record.exists() else None
    record.unlink(missing_ok=True)
    try:
        yield
    except TopdownError:
        # A second, since a disk elsewhere has a clock of its own.
        sets = chain(phase.glob("*/*/"), phase.glob("*/*/*/"))
        is_untouched = all(path.stat().st_mtime < began - 1 for path in sets)
        if before is not None and is_untouched:
            files.write_text(record, before)
        raise


def _token_options(cascade: Cascade, directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The options by which asr.sh names the token list of a phase that has its own.

    The model's config has its tokens; asr.sh scores by these, and takes the language model of them.

    Args:
        cascade: of the phase.
        directory: of the phase.
        given: options that the caller has chosen, which stand.
    """
    tokens = cascade.phase(directory.name).tokens
    # data/en_token_list/bpe_unigram30/tokens.txt
    kind = Path(tokens).parent.name if tokens else ""
    bpe = re.fullmatch(r"bpe_([a-z]+)(\d+)", kind)
    options = {"token_type": kind} if kind in ("char", "word") else {}
    if bpe:
        options = {"token_type": "bpe", "bpemode": bpe[1], "nbpe": bpe[2]}
    return {name: value for name, value in options.items() if name not in given}


def _options_of_base(cascade: Cascade, options: Sequence[str], script: Path) -> dict[str, str]:
    """What the script does not give by itself: of the base, and what the caller adds."""
    given = own_options(script)
    of_base = base_options(cascade.base.directory)
    model = of_base.pop(MODEL, None) or given.get(MODEL) or _default_model(cascade)
    taken = {name: value for name, value in of_base.items() if given.get(name) != value}
    added = options_in(options)
    # Which experiment is decoded is for this module to say.
    added.pop("asr_exp", None)
    return {MODEL: model, **taken, **added}


def _default_model(cascade: Cascade) -> str:
    """The model file of asr.sh's default where the base has it, else the parents'."""
    named = _asr_defaults().get(MODEL, "")
    # Without a default this is the directory itself.
    is_there = (cascade.base.directory / named).is_file()
    return named if is_there else cascade.phase_model_name


def _asr_defaults() -> dict[str, str]:
    """What the options of the recipe's asr.sh are by default; empty without an asr.sh."""
    text = ASR.read_text(encoding="utf-8") if ASR.exists() else ""
    return dict(re.findall(r"^(\w+)=(\S*)", text, re.MULTILINE))


def _check_model(phase: Path, name: str) -> None:
    if (phase / name).exists():
        return
    there = sorted(path.name for path in phase.glob("*.ave*.pth"))
    raise TopdownError(
        f"{phase} has no {name}, by which the base was decoded; decode with --{MODEL} and one of"
        f" {listed(there)}"
    )


def _decode_phase(phase: Path, options: Mapping[str, str], script: Path) -> None:
    program = str(script) if len(script.parts) > 1 else f"./{script}"
    words = [program, "--stage", "12", "--stop_stage", "13", "--skip_train", "true"]
    words += ["--asr_exp", str(phase), *_words(options)]
    # It has no terminal, which a decoder might read, and ends with this process.
    status = groups.run(words)
    if status != 0:
        raise TopdownError(f"{shlex.join(words)} {groups.told(status)}; what it said stands above")


def _words(options: Mapping[str, str]) -> list[str]:
    return [*chain.from_iterable((f"--{name}", value) for name, value in options.items())]


def _line(options: Mapping[str, str]) -> str:
    return shlex.join(_words(options))


def _made_by(phase: Path, options: Mapping[str, str], script: Path) -> dict[str, Any]:
    """The model and the options of a decoding; a config counts by its content too.

    The script's own options are among them: stage 19, whose script all recipes share, is given all
    that run.sh has, and they may be edited.
    """
    own = script if is_of_recipe(script) else RUN
    options = {**decoding_options(own), **options}
    named = filter(_is_file, options.values())
    configs = {value: files.sha256(Path(value)) for value in named}
    model = files.sha256(phase / options[MODEL])
    return {"options": dict(options), "configs": configs, "model_sha256": model}


def _is_file(value: str) -> bool:
    try:
        return Path(value).is_file()
    except OSError:
        # Options of the training in one value are too long for a name.
        return False


def _is_decoded(phase: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether the phase was decoded like this, and what came of it is there still."""
    if not (phase / DECODED).exists():
        return False
    before = files.read_object(phase / DECODED)
    results = before.pop("results", None)
    before.pop("reads", None)
    return bool(results) and before == made_by and set(results) <= set(_results(phase))


def _reads(phase: Path, began: float) -> dict[str, str]:
    """File -> SHA-256 of what a phase's decodings since then have read, but for the phase's own.

    Which files is told by the first lines of their logs, the commands as they were run. Of a set
    the transcripts count too, which are scored against.
    """
    named: set[Path] = set()
    for log in (*phase.glob("*/*/logdir/*.1.log"), *phase.glob("*/*/*/logdir/*.1.log")):
        # A second, since a disk elsewhere has a clock of its own.
        if log.stat().st_mtime < began - 1:
            continue
        with log.open(encoding="utf-8", errors="replace") as stream:
            command = " ".join(islice(stream, FIRST_LINES))
        for path in map(Path, _ARGUMENT.findall(command)):
            named.add(path)
            if path.name.endswith(".scp"):
                named.add(path.with_name("text"))
    others = [path for path in named if phase not in path.parents and _is_file(str(path))]
    return {str(path): files.sha256(path) for path in sorted(others)}


def _changed(phase: Path) -> list[str]:
    """Files that a phase's decoding read, and that are there and hold something else now."""
    reads = files.read_object(phase / DECODED, reads=check.MAPPING)["reads"]
    there = filter(_is_file, reads)
    return [name for name in there if files.sha256(Path(name)) != reads[name]]


def _results(phase: Path) -> list[str]:
    """Score files of a phase, the valid set's among them."""
    paths = [*phase.glob("*/*/score_*/result.txt"), *phase.glob("*/*/*/score_*/result.txt")]
    return sorted(str(path.relative_to(phase)) for path in paths)


def _check_recipe(run_script: Path) -> None:
    absent = [path for path in (run_script, Path("path.sh")) if not path.is_file()]
    if absent:
        raise TopdownError(
            f"found no {absent[0]} in {Path.cwd()}; run in the recipe directory of the experiment"
        )
    if not forwards(run_script):
        raise TopdownError(
            f"{run_script.resolve()} does not hand its arguments on, so it would run the whole"
            ' recipe instead of decoding a phase; write "$@" at the end of its ./asr.sh command (a'
            " backslash ends each line before), and decode again"
        )
    defaults = _asr_defaults()
    lacking = [f"--{name}" for name in _OPTIONS if name not in defaults]
    # Without an asr.sh, run.sh calls another script, whose options are not known.
    if lacking and ASR.exists():
        raise TopdownError(
            f"{ASR.resolve()} has no option {', '.join(lacking)}, by which a phase is decoded;"
            " use ESPnet 202301 or later, or our recipes without ESPNET_ROOT"
        )
