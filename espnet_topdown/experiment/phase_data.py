"""ESPnet's options for a phase that reads other lists, or another vocabulary, than its base.

Only the paths are decided here, from the base's own config: the same names and types of data, in
the directory that the plan gives. Shape files are made by `espnet_topdown.cascade.other_data`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from espnet_topdown.check import list_in
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.rules import DATA_PARTS
from espnet_topdown.text_files import read_tokens

Config = Mapping[str, Any]
PathNameType = tuple[str, str, str]  # ESPnet's path, name and type

DATA = "{part}_data_path_and_name_and_type"
SHAPES = "{part}_shape_file"
BPE_MODEL = "bpe.model"
# Of the source language too in translation, of the transcript in two-pass understanding.
TOKEN_LISTS = ("token_list", "src_token_list", "transcript_token_list")
# Directories of token lists that ESPnet's asr.sh names by their type.
_TOKEN_TYPES = ("char", "word", "phn")


class Listed(NamedTuple):
    """A list that a training reads, as ESPnet's options have it: its path, name and type."""

    path: str
    name: str
    kind: str


@dataclass(frozen=True)
class NewShapes:
    """Shape files that a phase needs and its base has not.

    Args:
        part: ``train`` or ``valid``.
        rows: the lists whose shapes they are.
        files: data name -> name of its shape file, as the base calls it.
        tokens: the vocabulary of the texts; None: the base's.
    """

    part: str
    rows: tuple[Listed, ...]
    files: Mapping[str, str]
    tokens: str | None

    @property
    def directory(self) -> str:
        """A name that is the same for the same lists and vocabulary, and for no others."""
        digest = hashlib.sha256(json.dumps([self.rows, self.tokens]).encode()).hexdigest()
        return f"{Path(self.rows[0][0]).parent.name or 'lists'}.{digest[:10]}"


def rows_of(config: Config, part: str) -> tuple[Listed, ...]:
    """The lists of one part of a training."""
    rows = list_in(config, DATA.format(part=part))
    return tuple(Listed(*map(str, row)) for row in rows)


def paths_of(config: Config, part: str) -> list[str]:
    """The files of these lists."""
    return [row.path for row in rows_of(config, part)]


def lists_of(config: Config, part: str) -> list[str]:
    """These files and their shape files."""
    return [*paths_of(config, part), *_shapes_of(config, part)]


def _shapes_of(config: Config, part: str) -> list[str]:
    return [str(path) for path in list_in(config, SHAPES.format(part=part))]


def rows_in(config: Config, part: str, place: str) -> tuple[Listed, ...]:
    """The lists of the same names and types in `place`.

    Args:
        config: the base's.
        part: ``train`` or ``valid``.
        place: a directory with files of the base's names, or where the base reads one list alone,
            a file.
    """
    rows = rows_of(config, part)
    if len(rows) == 1 and Path(place).is_file():
        return (rows[0]._replace(path=place),)
    return tuple(row._replace(path=str(Path(place, Path(row.path).name))) for row in rows)


def data_options(config: Config, data: Mapping[str, str], tokens: str | None) -> dict[str, Any]:
    """The options that differ from the base's, shape files apart.

    Args:
        config: the base's.
        data: ``train`` and ``valid`` -> where their lists are.
        tokens: the token list of another vocabulary, if any.

    Raises:
        TopdownError: it does not tell what type of token it lists.
    """
    options: dict[str, Any] = {}
    for part, place in data.items():
        options[DATA.format(part=part)] = [list(row) for row in rows_in(config, part, place)]
    if "train" in data and config.get("multiple_iterator"):
        # The base's lists are split into directories, one of which a new list is not.
        options["multiple_iterator"] = False
    if tokens:
        options |= token_options(config, tokens)
    return options


def tokens_of(config: Config) -> list[str]:
    """The tokens of a training: an experiment's config holds them, another names their file."""
    tokens = config.get("token_list") or []
    return read_tokens(Path(tokens)) if isinstance(tokens, str) else list(tokens)


def token_options(config: Config, tokens: str) -> dict[str, Any]:
    """``token_list``, ``token_type`` and ``bpemodel`` of a token list that a recipe has made.

    A BPE model beside it makes it BPE's, else its directory's name is its type, as in ESPnet's
    asr.sh; else its type is the base's.

    Raises:
        TopdownError: the base's is BPE, and there is no model.
    """
    directory = Path(tokens).parent
    model = directory / BPE_MODEL
    if model.exists():
        return {"token_list": tokens, "token_type": "bpe", "bpemodel": str(model)}
    # One that is not named is not known either.
    own = str(config.get("token_type") or "bpe")
    if directory.name in _TOKEN_TYPES:
        own = directory.name
    # The files of these types hold more than a list, so that one beside them says nothing.
    if own.startswith(("bpe", "hugging_face", "whisper")):
        raise TopdownError(
            f"tokens {tokens}: there is no {model}, and the directory is named for none of"
            f" {', '.join(_TOKEN_TYPES)}, so that the type of its tokens is not known; give the"
            " token list that stage 5 of the recipe wrote"
        )
    return {"token_list": tokens, "token_type": own, "bpemodel": None}


def new_shapes(config: Config, data: Mapping[str, str], tokens: str | None) -> list[NewShapes]:
    """The shape files that must be made for a phase.

    Of other lists all; of another vocabulary those of texts, whose tokens they count.

    Raises:
        TopdownError: a shape file of the base is not named for its data, as ESPnet's are.
    """
    several = []
    for part in DATA_PARTS:
        if part in data:
            rows = rows_in(config, part, data[part])
        else:
            # Another vocabulary changes the lengths of texts alone.
            rows = tuple(row for row in rows_of(config, part) if tokens and row.kind == "text")
        files = _files_by_name(config, part, rows, is_whole=part in data)
        if files:
            several.append(NewShapes(part=part, rows=rows, files=files, tokens=tokens))
    return several


def _files_by_name(
    config: Config, part: str, rows: Sequence[Listed], *, is_whole: bool
) -> dict[str, str]:
    """Data name -> name of its shape file: ``text`` -> ``text_shape.char``."""
    names = [row.name for row in rows]
    files = {}
    for path in _shapes_of(config, part):
        name, mark, _ = Path(path).name.partition("_shape")
        if mark and name in names:
            files[name] = Path(path).name
        elif is_whole:
            raise TopdownError(
                f"the base's shape file {path} is named for none of its data ({', '.join(names)}),"
                " as text_shape is for text, so it cannot be made for other lists; train the base"
                " with shape files of ESPnet's names"
            )
    return files


def without_shapes(config: Config, several: Sequence[NewShapes]) -> dict[str, Any]:
    """A config without the shape files that are made anew."""
    left = dict(config)
    for new in several:
        key = SHAPES.format(part=new.part)
        made = new.files.values()
        left[key] = [path for path in list_in(config, key) if Path(path).name not in made]
    return left


def shape_options(config: Config, several: Sequence[NewShapes], place: Path) -> dict[str, Any]:
    """``train_shape_file`` and ``valid_shape_file`` with the new files in the place of the base's.

    Args:
        config: the base's.
        several: those of a phase.
        place: where the directories of shape files are.
    """
    options = {}
    for new in several:
        key = SHAPES.format(part=new.part)
        made = {file: str(place / new.directory / file) for file in new.files.values()}
        # Those that need not be made are the base's own.
        options[key] = [made.get(Path(path).name, path) for path in map(str, config[key])]
    return options
