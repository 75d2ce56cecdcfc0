"""Write shape files of other lists than a base's, as ESPnet's stage 10 would; no statistics.

Every utterance is read once, through ESPnet's own data set and preprocessor, and the shortest ones
are tried by the model, so that what cannot be read or is too short is told before the training.
What calls it: `espnet_topdown.cascade.other_data`.
"""

import argparse
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from espnet2.train.dataset import ESPnetDataset

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.phase_data import PathNameType, tokens_of
from espnet_topdown.text_files import read_lines, read_table
from espnet_topdown.training.model_options import parsed
from espnet_topdown.training.tasks import TopdownTask, task_of

# Of fewer utterances reading is done before workers have started.
FEW = 1000
MOST_WORKERS = 8


def main(argv: Sequence[str] | None = None) -> None:
    """``python3 -m espnet_topdown.bin.data_shapes --asked FILE --output DIR``."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.data_shapes",
        description="Write shape files of a phase's own lists",
    )
    asked = "JSON: task, config (the phase's), part, rows, files (data name -> name, base's file)"
    parser.add_argument("--asked", type=Path, required=True, help=asked)
    parser.add_argument("--output", type=Path, required=True, help="directory of the shape files")
    args = parser.parse_args(argv)
    with reported():
        write_shapes(files.read_object(args.asked), args.output)


def write_shapes(asked: Mapping[str, Any], output: Path) -> None:
    """Write one shape file for each name of data.

    Args:
        asked: `task`; `config` of the phase; `part`; `rows`, ESPnet's path, name and type of each
            list; `files`, data name -> [name of its shape file, the base's file or None].
        output: a directory that is there.

    Raises:
        TopdownError: an utterance cannot be read as the base's were, or is too short for the model.
    """
    task = task_of(asked["task"])
    options = parsed(task, asked["config"])
    rows = list(map(tuple, asked["rows"]))
    names = list(asked["files"])
    utterances = list(read_table(Path(rows[0][0])))
    shapes = Shapes(task, options, rows, names)
    found = dict(_read(shapes, utterances))
    is_audible = any(kind != "text" for _, _, kind in rows)
    if is_audible:
        _check_long_enough(task, options, shapes, found)
    for place, name in enumerate(names):
        file, like = asked["files"][name]
        more = _appended(file, like, found[utterances[0]][place], asked["config"])
        lines = []
        for utterance in utterances:
            shape = [*found[utterance][place], *more]
            lines.append(f"{utterance} {','.join(map(str, shape))}\n")
        files.write_text(output / file, "".join(lines))


Shape = list[int]


class Shapes(torch.utils.data.Dataset):
    """The shapes of an utterance's data, by its id.

    Args:
        task: whose preprocessor is used.
        options: of the training.
        rows: ESPnet's path, name and type of each list.
        names: of the data whose shapes are asked for.
    """

    def __init__(
        self,
        task: type[TopdownTask],
        options: argparse.Namespace,
        rows: Sequence[PathNameType],
        names: Sequence[str],
    ) -> None:
        self.rows = rows
        self.names = names
        # Before the model is built, which puts the tokens into the place of their file.
        preprocess = task.build_preprocess_fn(options, train=False)
        self.dataset = ESPnetDataset(
            list(rows), preprocess=preprocess, allow_multi_rates=options.allow_multi_rates
        )

    def data(self, utterance: str) -> dict[str, Any]:
        """The utterance as a training gets it.

        Raises:
            TopdownError: it cannot be read.
        """
        try:
            return self.dataset[utterance][1]
        # Readers of audio raise what they like.
        except Exception as error:
            lists = ", ".join(f"{path} as {kind}" for path, _, kind in self.rows)
            raise TopdownError(
                f"{utterance} cannot be read ({type(error).__name__}: {error}); the base's types of"
                f" data were taken: {lists}. Write the data in the base's format"
            ) from error

    def __getitem__(self, utterance: str) -> tuple[str, list[Shape]]:
        data = self.data(utterance)
        return utterance, [list(data[name].shape) for name in self.names]


def _read(shapes: Shapes, utterances: Sequence[str]) -> Any:
    """(utterance, its shapes) of each, by several processes where there are many."""
    if len(utterances) < FEW:
        return (shapes[utterance] for utterance in utterances)
    workers = min(MOST_WORKERS, len(os.sched_getaffinity(0)))
    return torch.utils.data.DataLoader(
        shapes, sampler=utterances, batch_size=None, num_workers=workers
    )


def _check_long_enough(
    task: type[TopdownTask],
    options: argparse.Namespace,
    shapes: Shapes,
    found: Mapping[str, Sequence[Shape]],
) -> None:
    """Refuse utterances that the encoder would refuse in the midst of an epoch."""
    ordered = sorted(found, key=lambda utterance: found[utterance][0])
    model = task.build_model(options).eval()
    collate = task.build_collate_fn(options, train=False)

    def is_long_enough(utterance: str) -> bool:
        _, batch = collate([(utterance, shapes.data(utterance))])
        try:
            with torch.no_grad():
                model(**batch)
        # ESPnet has several classes of this name.
        except Exception as error:
            if type(error).__name__ != "TooShortUttError":
                raise
            return False
        return True

    # The shortest is asked first: as a rule it is long enough, and nothing more is asked.
    if not is_long_enough(ordered[0]):
        count = bisect_left(ordered, True, lo=1, key=is_long_enough)
        place = Path(shapes.rows[0][0]).parent
        which = "every utterance" if count == len(ordered) else f"{count} of {len(ordered)}"
        raise TopdownError(
            f"{place}: {which} too short for the model's subsampling ({', '.join(ordered[:3])}: "
            f"{found[ordered[count - 1]][0][0]} samples or frames and fewer); leave them out, as"
            " stage 4 of asr.sh does (--min_wav_duration)"
        )


def _appended(file: str, like: str | None, shape: Shape, config: Mapping[str, Any]) -> list[int]:
    """What the base's shape file has behind the shape: asr.sh adds the size of the vocabulary."""
    size = len(tokens_of(config))
    if like is None:
        return [size] if "_shape." in file else []
    first = read_lines(_first_file(Path(like)))[0].split()[-1].split(",")
    if len(first) != len(shape) + 1:
        return []
    # That of a source language stays.
    theirs = int(first[-1])
    is_of_target = not file.startswith("src_")
    return [size if is_of_target else theirs]


def _first_file(shapes: Path) -> Path:
    """A shape file; of one that was split for a large corpus, the first part."""
    return shapes / "split.0" if shapes.is_dir() else shapes


if __name__ == "__main__":
    main()
