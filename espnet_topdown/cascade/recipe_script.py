"""What a recipe's run.sh does with options, and with which the base was decoded. Nothing is run."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from string import Template

from espnet_topdown.errors import TopdownError

# Of one run, or of where it begins: decoding a phase sets its own.
_RUN_OPTIONS = (
    *("stage", "stop_stage", "skip_stages", "skip_data_prep", "skip_train", "skip_eval"),
    *("skip_packing", "skip_upload", "skip_upload_hf", "asr_exp", "asr_tag", "download_model"),
)
# Of a cascade, which decoding does not see.
_CASCADE_OPTIONS = ("topdown_plan", "topdown_dir", "phase", "decode", "jobs")
# Before the command that they run.
_RUNNERS = ("exec", "source", ".", "bash")
_FORWARDED = re.compile(r"\$@|\$\{@")
# The first word of a command that gets all arguments; a line of $@ alone, which a lost backslash
# leaves, has none.
_GIVEN = re.compile(
    r"""\s* (?: (?:exec|source|\.|bash) \s+ )*+
    (?! (?:set|log|echo) \s )  ( (?: (?!\$@|\$\{@) \S )+ )  \s .* (?:\$@|\$\{@)""",
    re.VERBOSE,
)


def base_options(exp: Path) -> dict[str, str]:
    """Options of asr.sh with which an experiment was last decoded, or else trained.

    Those of its corpus's run.sh and those of the command line, as asr.sh keeps them in
    ``EXP/DECODING/run.sh`` and ``EXP/run.sh``; none where neither is there.
    """
    decodings = sorted(exp.glob("*/run.sh"), key=lambda path: path.stat().st_mtime)
    script = [exp / "run.sh", *decodings][-1]
    if not script.exists():
        return {}
    text = script.read_text(encoding="utf-8", errors="replace")
    # asr.sh: ./asr.sh --lang en ... --stage 12 "$@"; exit $?
    command = text.partition('"$@"')[0]
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise TopdownError(f"{script} cannot be read as a command: {error}") from None
    return _without(options_in(words[1:]), _RUN_OPTIONS)


def options_in(words: Sequence[str]) -> dict[str, str]:
    """Name -> value of ``--name value`` and ``--name=value``; the last counts, as in asr.sh.

    ESPnet's print_args.sh drops a value that is empty, so that another name may follow a name.
    """
    options: dict[str, str] = {}
    rest = list(words)
    while rest:
        word, has_value, value = rest.pop(0).partition("=")
        name = word.removeprefix("--").replace("-", "_")
        options[name] = value
        if not has_value and rest and not re.fullmatch(r"--[a-z]\w*", rest[0]):
            options[name] = rest.pop(0)
    return options


def own_options(script: Path) -> dict[str, str]:
    """Options that a run.sh gives itself, as far as its plain assignments tell their values."""
    variables: dict[str, str] = {}
    options: dict[str, str] = {}
    for line in _commands(script):
        assignment = re.fullmatch(r"\s*(?:export\s+)?(\w+)=(\S*|\"[^\"]*\"|'[^']*')\s*", line)
        if assignment:
            variables[assignment[1]] = assignment[2].strip("\"'")
        elif _FORWARDED.search(line) and " --" in line:
            words = _split(Template(line).safe_substitute(variables))
            while words and words[0] in _RUNNERS:
                words.pop(0)
            options |= options_in([word for word in words[1:] if not _FORWARDED.search(word)])
    return options


def decoding_options(script: Path) -> dict[str, str]:
    """Options of a run.sh by which its stages 12 and 13 may differ; it may be gone.

    Its own, and before them those of a script of the recipe that it hands its arguments to.
    """
    options: dict[str, str] = {}
    inner: Path | None = script
    seen = set()
    while inner is not None and inner.exists() and inner not in seen:
        seen.add(inner)
        options = {**own_options(inner), **options}
        inner = next(iter(_inner_scripts(inner)), None)
    return _without(options, (*_RUN_OPTIONS, *_CASCADE_OPTIONS))


def _without(options: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in options.items() if name not in names}


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:
        return []


def forwards(script: Path) -> bool:
    """Whether a run.sh hands its arguments on; a script of the recipe that it hands them to, too.

    Told from its text, since running it could start the whole recipe.
    """
    return bool(_scripts_given_arguments(script)) and all(
        map(_scripts_given_arguments, _inner_scripts(script))
    )


def _inner_scripts(script: Path) -> list[Path]:
    """Scripts of the recipe that a script hands its arguments to."""
    handed_to = map(script.parent.joinpath, _scripts_given_arguments(script))
    return [path for path in handed_to if is_of_recipe(path)]


def is_of_recipe(path: Path) -> bool:
    """Whether it is a corpus's own script and not one that all recipes share, which parses."""
    is_shared = path.name in ("asr.sh", "lm.sh", "topdown.sh", "st.sh", "slu.sh", "mt.sh")
    return path.is_file() and not is_shared


def _scripts_given_arguments(script: Path) -> list[str]:
    """First words, after exec and source, of the commands that get all of a script's arguments."""
    bare = (line.replace('"', "") for line in _commands(script))
    return [found[1] for found in filter(None, map(_GIVEN.match, bare))]


def _commands(script: Path) -> list[str]:
    """A script's lines without comments, those that a backslash continues joined."""
    text = script.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    return [re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines()]
