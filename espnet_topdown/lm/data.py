"""``python3 -m espnet_topdown.lm.data``: prepares plain text corpora for the lm1 recipes.

``prepare`` writes data/{train,valid,test}/text, ``tokens`` a token list, ``lines`` the copy without
blank lines that ESPnet2's own (per-line) language models need. Reading and writing are `corpus`'s.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.lm import corpus


def prepare(
    source: Path,
    output: Path,
    *,
    train_tokens: int | None = None,
    min_count: int = 1,
    expect_tokens: Sequence[int] | None = None,
    expect_vocabulary: int | None = None,
) -> str:
    """Writes ``output/{train,valid,test}/text`` and the options as ``output/options.json``.

    Says what is in them.

    The vocabulary is the (sliced) training text's; other words become ``<unk>`` in all three. The
    expected counts are those of the untouched source files.

    Args:
        source: directory with the three plain or gzip text files.
        output: the recipe's data directory.
        train_tokens: keep the first lines of the training text up to this many tokens, ``<eos>``
            counted; None for all.
        min_count: training words seen less often become ``<unk>``.
        expect_tokens: tokens of train, valid and test, ``<eos>`` counted.
        expect_vocabulary: distinct words of the training text, ``<unk>`` and ``<eos>`` counted.

    Raises:
        TopdownError: a file that cannot be used, or counts that differ from the expected ones
            (nothing is written then).
    """
    texts = {split: corpus.read_plain(corpus.find_split(source, split)) for split in corpus.SPLITS}
    _check_counts(source, texts, expect_tokens, expect_vocabulary)
    if train_tokens is not None:
        texts["train"] = corpus.cut(texts["train"], train_tokens)
    known = corpus.word_list(texts["train"], min_count)
    report = [f"vocabulary: {len(known)} words, {corpus.UNK} and {corpus.EOS} counted"]
    for split, lines in texts.items():
        lines, unknown = corpus.map_unknown(lines, known)
        corpus.write_text(output / split / "text", split, lines)
        tokens = corpus.count_tokens(lines)
        report.append(
            f"{split}: {len(lines)} lines, {tokens} tokens, {unknown} words mapped to {corpus.UNK}"
        )
    files.write_json(
        output / "options.json", {"train_tokens": train_tokens or "all", "min_count": min_count}
    )
    return "\n".join(report)


def _check_counts(
    source: Path,
    texts: dict[str, corpus.Lines],
    tokens: Sequence[int] | None,
    vocabulary: int | None,
) -> None:
    """Compares the source's counts with the expected ones, all of them before it complains."""
    checks = []
    if tokens is not None:
        found = map(corpus.count_tokens, texts.values())
        checks += [
            (f"tokens of {s}", want, got) for s, want, got in zip(texts, tokens, found, strict=True)
        ]
    if vocabulary is not None:
        checks.append(
            ("distinct training words", vocabulary, len(corpus.word_list(texts["train"])))
        )
    wrong = [f"{what}: {got}, expected {want}" for what, want, got in checks if want != got]
    if wrong:
        raise TopdownError(
            f"{source} is not the corpus that was asked for ({'; '.join(wrong)}). Nothing was"
            " written."
        )


def write_tokens(text: Path, output: Path) -> str:
    """Writes the words of `text` one a line, ``<eos>`` last, and says how many there are."""
    words = corpus.word_list(corpus.read_text(text))
    files.write_text(output, "".join(f"{word}\n" for word in words))
    return f"{output}: {len(words)} tokens"


def write_lines(text: Path, output: Path) -> str:
    """Writes `text` without its blank lines, which ESPnet2's own text reader refuses, and says what
    was dropped.

    Raises:
        TopdownError: as `corpus.read_text`; or there is no other line.
    """
    corpus.read_text(text)
    rows = text.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    kept = [row for row in rows if len(row.split()) > 1]
    if not kept:
        raise TopdownError(
            f"{text}: all of its {len(rows)} lines are blank; give a text with at least one word."
        )
    files.write_text(output, "".join(f"{row}\n" for row in kept))
    return f"{output}: {len(kept)} lines, {len(rows) - len(kept)} blank ones dropped"


def get_parser() -> argparse.ArgumentParser:
    """The three commands and their options."""
    parser = argparse.ArgumentParser(prog="python3 -m espnet_topdown.lm.data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    p = commands.add_parser("prepare", help="plain text files to data/{train,valid,test}/text")
    p.add_argument(
        "--source", type=Path, required=True, help="directory with {train,valid,test}.txt[.gz]"
    )
    p.add_argument("--output", type=Path, required=True, help="data directory to write")
    p.add_argument("--train_tokens", type=int, help="keep this many tokens of the training text")
    p.add_argument("--min_count", type=int, default=1, help="rarer training words become <unk>")
    p.add_argument(
        "--expect_tokens", type=int, nargs=3, help="tokens of train, valid and test, <eos> counted"
    )
    p.add_argument(
        "--expect_vocabulary", type=int, help="distinct training words, <unk> and <eos> counted"
    )
    for name, text in (
        ("tokens", "token list of a text file"),
        ("lines", "a text file without its blank lines"),
    ):
        p = commands.add_parser(name, help=text)
        p.add_argument("--text", type=Path, required=True, help="text file in ESPnet2's format")
        p.add_argument("--output", type=Path, required=True, help="file to write")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one command; a user's fault is printed without traceback."""
    options = vars(get_parser().parse_args(cmd))
    command = {"prepare": prepare, "tokens": write_tokens, "lines": write_lines}[
        options.pop("command")
    ]
    with reported():
        print(command(**options))


if __name__ == "__main__":
    main()
