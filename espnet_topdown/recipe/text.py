"""Text as tokens, and stages 4, 5 and 13.

What is kept of a set, the token list, and the files to score.

The tokens are ESPnet's (espnet2/text/char_tokenizer.py, word_tokenizer.py, bin/tokenize_text.py,
202511): a space is ``<space>`` among characters, and of non-linguistic symbols that begin alike the
longest counts. Scoring itself is in `espnet_topdown.results.scoring`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import sentencepiece

from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import datadir

Tokenizer = Callable[[str], list[str]]
TOKEN_TYPES = ("bpe", "char", "word")


def read_symbols(path: str) -> list[str]:
    """The symbols in a file, one a line; none for ``none``.

    Raises:
        TopdownError: there is no such file.
    """
    if path in ("", "none"):
        return []
    if not Path(path).is_file():
        raise TopdownError(
            f"asked for the non-linguistic symbols {path}, but there is no such file; see"
            " --nlsyms_txt"
        )
    return [
        line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()
    ]


def tokenizer(
    kind: str, *, symbols: Sequence[str] = (), remove: bool = False, bpemodel: Path | None = None
) -> Tokenizer:
    """A function from a line of text to its tokens.

    Args:
        kind: ``char``, ``word`` or ``bpe``.
        symbols: non-linguistic symbols, one token each for ``char``.
        remove: leave these symbols out, as for scoring.
        bpemodel: sentencepiece's model, for ``bpe``.
    """
    if kind == "bpe":
        processor = sentencepiece.SentencePieceProcessor(model_file=str(bpemodel))
        return lambda line: processor.encode(line, out_type=str)
    if kind == "word":
        return lambda line: [word for word in line.split() if not (remove and word in symbols)]
    pattern = re.compile(
        "|".join([*(re.escape(s) for s in sorted(symbols, key=len, reverse=True)), "."]), re.DOTALL
    )

    def characters(line: str) -> list[str]:
        found = (t for t in pattern.findall(line) if not (remove and t in symbols))
        return ["<space>" if t == " " else t for t in found]

    return characters


def cleaner(name: str) -> Callable[[str], str]:
    """ESPnet's text cleaner `name`; ``none`` changes nothing and needs no ESPnet."""
    if name in ("", "none"):
        return lambda line: line
    from espnet2.text.cleaner import TextCleaner

    return TextCleaner(name)


# ---- stage 4 ----


def keep_usable(source: Path, target: Path, *, shortest: float, longest: float) -> str:
    """Writes the utterances of a formatted set that are neither short nor long (samples, exclusive)
    nor without text.

    Returns:
        What was kept, for the log.

    Raises:
        TopdownError: nothing is left.
    """
    samples = {k: int(v) for k, v in datadir.read_table(source / "utt2num_samples").items()}
    text, audio = datadir.read_table(source / "text"), datadir.read_table(source / "wav.scp")
    kept = {u: n for u, n in samples.items() if shortest < n < longest and text.get(u)}
    short, long = (
        sum(n <= shortest for n in samples.values()),
        sum(n >= longest for n in samples.values()),
    )
    empty = sum(not text.get(u) for u in samples)
    found = (
        f"{source}: {len(samples)} utterances, {short} too short, {long} too long, {empty} without"
        " text"
    )
    if not kept:
        raise TopdownError(f"{found}: none is left; see --min_wav_duration and --max_wav_duration")
    datadir.copy_set(source, target, kept)
    datadir.write_table(target / "utt2num_samples", kept)
    datadir.write_table(target / "wav.scp", {u: audio[u] for u in kept})
    (target / "feats_type").write_text("raw\n")
    return f"{found}: {len(kept)} kept"


def join_texts(sources: Iterable[Path], target: Path) -> None:
    """Writes the non-empty lines of several text files to one.

    An id gets what the file's name has besides "text".
    """
    lines = []
    for source in sources:
        suffix = source.name.replace("text", "", 1)
        lines += [
            f"{key}{suffix} {value}\n" for key, value in datadir.read_table(source).items() if value
        ]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(lines), encoding="utf-8")


# ---- stage 5 ----


def write_token_list(path: Path, tokens: Iterable[str], special: tuple[str, str, str]) -> None:
    """Writes a token list: blank, unknown, `tokens`, start/end.

    `special` holds the three that are not `tokens`.
    """
    blank, unknown, ends = special
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{t}\n" for t in [blank, unknown, *tokens, ends]), encoding="utf-8")


def count_tokens(texts: Iterable[str], tokenize: Tokenizer) -> list[str]:
    """The tokens of all texts, the most frequent first; equals stand as they first appear."""
    counter: Counter[str] = Counter()
    for text in texts:
        counter.update(tokenize(text))
    return [token for token, _ in counter.most_common()]


def train_bpe(text: Path, prefix: Path, **options: object) -> list[str]:
    """Trains a sentencepiece model ``prefix.model`` on `text`, one sentence a line, and returns its
    pieces.

    Raises:
        TopdownError: sentencepiece refuses, e.g. a vocabulary larger than the text can give.
    """
    try:
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(prefix), minloglevel=1, **options
        )  # fmt: skip
    except (RuntimeError, OSError) as error:
        raise TopdownError(
            f"asked sentencepiece for {options}, but it refused: {error}; see --nbpe"
        ) from error
    vocabulary = prefix.with_suffix(".vocab").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in vocabulary[3:]]  # <unk>, <s>, </s> come first


# ---- stage 13 ----


def scored_rows(
    data: Path, text: Path, tokenize: Tokenizer, clean: Callable[[str], str]
) -> list[tuple[str, str, list[str]]]:
    """Rows (utterance, speaker, tokens) of `text`, one for each utterance of the set in `data`.

    Raises:
        TopdownError: `text` has other utterances than the set.
    """
    utt2spk, lines = datadir.read_table(data / "utt2spk"), datadir.read_table(text)
    differing = sorted(utt2spk.keys() ^ lines.keys())
    if differing:
        raise TopdownError(
            f"{text} and {data}/utt2spk name different utterances ({len(differing)} in one only,"
            f" first {', '.join(differing[:3])}); decode the set again (stage 12)"
        )
    return [(u, utt2spk[u], tokenize(clean(" ".join(lines[u].split())))) for u in sorted(utt2spk)]
