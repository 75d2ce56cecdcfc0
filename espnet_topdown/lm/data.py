"""``python3 -m espnet_topdown.lm.data``: prepare plain text corpora for the lm1 recipes.

``prepare`` writes data/{train,valid,test}/text, ``tokens`` a token list. Reading and writing are
`corpus`'s.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.errors import Parser, TopdownError, reported
from espnet_topdown.lm import corpus
from espnet_topdown.table import counted
from espnet_topdown.text_files import read_lines, read_table


def prepare(
    source: Path,
    output: Path,
    *,
    train_tokens: int | None = None,
    valid_tokens: int | None = None,
    min_count: int = 1,
    expect_tokens: Sequence[int] | None = None,
    expect_vocabulary: int | None = None,
) -> str:
    """Write ``output/{train,valid,test}/text`` and say what is in them.

    The vocabulary is the (sliced) training text's; other words become ``<unk>`` in all three. The
    expected counts are those of the untouched source files. The options stay in
    ``output/options.json``.

    Args:
        source: directory with the three plain or gzip text files.
        output: the recipe's data directory.
        train_tokens: keep the first lines of the training text up to this many tokens, ``<eos>``
            counted; None for all.
        valid_tokens: the same of the validation text.
        min_count: training words seen less often become ``<unk>``.
        expect_tokens: tokens of train, valid and test, ``<eos>`` counted.
        expect_vocabulary: distinct words of the training text, ``<unk>`` and ``<eos>`` counted.

    Raises:
        TopdownError: a file that cannot be used, counts that differ from the expected ones, or a
            `min_count` that keeps no word (nothing is written then).
    """
    if min_count < 1:
        raise TopdownError(f"--min_count {min_count}: give 1, which keeps every word, or more")
    texts = {}
    sizes = {}
    for split in corpus.SPLITS:
        texts[split] = corpus.read_plain(corpus.find_split(source, split))
        sizes[f"tokens of {split}"] = corpus.count_tokens(texts[split])
    sizes["distinct training words"] = len(corpus.word_list(texts["train"]))
    # None where nothing is expected.
    expected: list[int | None] = [*(expect_tokens or (None, None, None)), expect_vocabulary]
    faults = [
        f"{what}: {size}, expected {want}"
        for (what, size), want in zip(sizes.items(), expected, strict=True)
        if want not in (None, size)
    ]
    if faults:
        raise TopdownError(
            f"{source} is not the corpus that was asked for ({'; '.join(faults)}). Nothing was"
            " written"
        )
    if train_tokens is not None:
        texts["train"] = corpus.cut(texts["train"], train_tokens)
    if valid_tokens is not None:
        texts["valid"] = corpus.cut(texts["valid"], valid_tokens)
    # Of the slice, not of the whole text: a small recipe must not know words it never saw.
    known = corpus.word_list(texts["train"], min_count)
    if set(known) == {corpus.UNK, corpus.EOS}:
        raise TopdownError(
            f"--min_count {min_count}: no word of the training text is seen so often; give less"
        )
    report = [f"vocabulary: {len(known)} words, {corpus.UNK} and {corpus.EOS} counted"]
    for split, lines in texts.items():
        mapped, unknown = corpus.map_unknown(lines, known)
        corpus.write_text(output / split / "text", split, mapped)
        size = f"{counted(len(lines), 'line')}, {counted(corpus.count_tokens(lines), 'token')}"
        report.append(f"{split}: {size}, {counted(unknown, 'word')} mapped to {corpus.UNK}")
    options = {"train_tokens": train_tokens or "all", "min_count": min_count}
    if valid_tokens is not None:
        # Not named where it is all: studies from before this option have no such line.
        options["valid_tokens"] = valid_tokens
    files.write_json(output / "options.json", options)
    return "\n".join(report)


def write_tokens(text: Path, output: Path) -> str:
    """Write the words of `text` one a line, ``<eos>`` last, and say how many there are."""
    words = corpus.word_list(corpus.read_text(text))
    if words[0] == "\ufeff":
        raise TopdownError(
            f"{text}: its first word is a byte order mark (U+FEFF) alone, which would be taken for"
            " the token list's own; remove it from the training text and run stage 1 again"
        )
    files.write_text(output, "".join(f"{word}\n" for word in words))
    return f"{output}: {counted(len(words), 'token')}"


def write_without_blanks(text: Path, output: Path) -> str:
    """Write `text` without its blank lines and say how many were dropped.

    For ESPnet2's per-line perplexity: its text reader refuses an id without text
    (espnet2/train/iterable_dataset.py, 202511).

    Raises:
        TopdownError: as `corpus.read_text` and `read_table`; or there is no other line.
    """
    # For their checks alone: the rows are copied as they stand, ids included.
    corpus.read_text(text)
    read_table(text)
    rows = read_lines(text)
    kept = [row for row in rows if len(row.split()) > 1]
    if not kept:
        raise TopdownError(
            f"{text}: nothing but blank lines ({len(rows)}); give a text with at least one word"
        )
    files.write_text(output, "".join(f"{row}\n" for row in kept))
    return f"{output}: {counted(len(kept), 'line')}, {len(rows) - len(kept)} blank dropped"


def get_parser() -> argparse.ArgumentParser:
    """The commands and their options; `run` is the function that a command calls."""
    parser = Parser(prog="python3 -m espnet_topdown.lm.data", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    command = commands.add_parser(
        "prepare", help="plain text files to data/{train,valid,test}/text"
    )
    command.set_defaults(run=prepare)
    add = command.add_argument
    add("--source", type=Path, required=True, help="directory with {train,valid,test}.txt[.gz]")
    add("--output", type=Path, required=True, help="data directory to write")
    add("--train_tokens", type=int, help="keep this many tokens of the training text")
    add("--valid_tokens", type=int, help="keep this many tokens of the validation text")
    add("--min_count", type=int, default=1, help="rarer training words become <unk>")
    add("--expect_tokens", type=int, nargs=3, help="of train, valid and test, <eos> counted")
    add("--expect_vocabulary", type=int, help="distinct training words, <unk> and <eos> counted")
    command = commands.add_parser("tokens", help="token list of a text file")
    command.set_defaults(run=write_tokens)
    command.add_argument("--text", type=Path, required=True, help="file in ESPnet2's format")
    command.add_argument("--output", type=Path, required=True, help="file to write")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and print what it says."""
    options = vars(get_parser().parse_args(argv))
    del options["command"]
    run = options.pop("run")
    with reported():
        print(run(**options))


if __name__ == "__main__":
    main()
