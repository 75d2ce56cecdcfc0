"""Text as tokens: the token list, a language model's text, and the files to score.

The tokens are ESPnet's (espnet2/text/char_tokenizer.py, word_tokenizer.py, bin/tokenize_text.py,
202511): a space is ``<space>`` among characters, and of non-linguistic symbols that begin alike the
longest counts. Scoring itself is in `espnet_topdown.results.scoring`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import sentencepiece

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_lines
from espnet_topdown.text_files import read_lines, read_table
from espnet_topdown.versions import importing

Tokenizer = Callable[[str], list[str]]


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
    return [line.rstrip() for line in read_lines(Path(path)) if line.strip()]


def tokenizer(
    kind: str,
    *,
    symbols: Sequence[str] = (),
    without_symbols: bool = False,
    bpemodel: Path | None = None,
) -> Tokenizer:
    """A function from a line of text to its tokens.

    Args:
        kind: ``char``, ``word`` or ``bpe``.
        symbols: non-linguistic symbols, one token each for ``char``.
        without_symbols: leave these symbols out, as for scoring.
        bpemodel: sentencepiece's model, for ``bpe``.
    """
    if kind == "bpe":
        processor = sentencepiece.SentencePieceProcessor(model_file=str(bpemodel))
        return lambda line: processor.encode(line, out_type=str)
    left_out = frozenset(symbols) if without_symbols else frozenset()
    if kind == "word":
        return lambda line: [word for word in line.split() if word not in left_out]
    # Alternatives are tried in order: the longest symbol first, and last any character.
    longest_first = sorted(symbols, key=len, reverse=True)
    alternatives = [*map(re.escape, longest_first), "."]
    token = re.compile("|".join(alternatives), re.DOTALL)

    def characters(line: str) -> list[str]:
        kept = [text for text in token.findall(line) if text not in left_out]
        return ["<space>" if text == " " else text for text in kept]

    return characters


def cleaner(name: str) -> Callable[[str], str]:
    """ESPnet's text cleaner `name`; ``none`` changes nothing and needs no ESPnet.

    Raises:
        TopdownError: ESPnet has none of that name, or what it needs is not installed.
    """
    if name in ("", "none"):
        return lambda line: line
    with importing("espnet2.text.cleaner"):
        from espnet2.text.cleaner import TextCleaner

    clean = TextCleaner(name)
    try:
        clean("a")
    except (RuntimeError, ImportError) as error:
        # It looks at its name, and imports what it needs, at the first text.
        raise TopdownError(
            f"asked ESPnet for the text cleaner {name!r}, but it refused: {error}; see --cleaner"
            " and --hyp_cleaner"
        ) from None
    return clean


def join_texts(sources: Iterable[Path], target: Path) -> None:
    """Write the lines with text of several files to one.

    An id gets what the file's name has besides "text", so that sets may share ids.

    Raises:
        TopdownError: files of one name share an id.
    """
    lines = []
    files: dict[str, Path] = {}
    for source in sources:
        suffix = source.name.replace("text", "", 1)
        said = {key: words for key, words in read_table(source).items() if words}
        for key, words in said.items():
            name = f"{key}{suffix}"
            if name in files:
                raise TopdownError(
                    f"the id {name} stands in {files[name]} and {source}; list each file once, and"
                    " give one of them another name, such as text_more, which its ids then end in"
                )
            files[name] = source
            lines.append(f"{name} {words}")
    write_lines(target, lines)


def write_token_list(path: Path, tokens: Iterable[str], special: tuple[str, str, str]) -> None:
    """Write a token list.

    Args:
        path: the file.
        tokens: those of the text; its token for unknown is the list's.
        special: blank and unknown, which come before them, and start/end, which comes last.

    Raises:
        TopdownError: the text holds the blank or start/end, or one name stands for two of them.
    """
    blank, unknown, ends = special
    listed = [blank, unknown, *(token for token in tokens if token != unknown), ends]
    # ESPnet stops at a list with a token twice (espnet2/text/token_id_converter.py, 202511).
    # What is left where each is taken once.
    repeated = list(Counter(listed) - Counter(set(listed)))
    if repeated:
        raise TopdownError(
            f"{path}: {', '.join(repeated)} would be in the list twice: the text holds what stands"
            " for the blank or for start and end; change the text in local/data.sh, or give other"
            " names (--blank, --oov, --sos_eos)"
        )
    write_lines(path, listed)


def count_tokens(texts: Iterable[str], tokenize: Tokenizer) -> list[str]:
    """The tokens of all texts, the most frequent first; equals stand as they first appear."""
    counter = Counter(chain.from_iterable(map(tokenize, texts)))
    return [token for token, _ in counter.most_common()]


def train_bpe(text: Path, prefix: Path, **options: object) -> list[str]:
    """Train a sentencepiece model ``prefix.model``.

    Args:
        text: what to train it on, one sentence a line.
        prefix: path of the model without its ending.
        **options: sentencepiece's own.

    Returns:
        its pieces, without those for unknown, start and end.

    Raises:
        TopdownError: sentencepiece refuses, e.g. a vocabulary larger than the text can give.
    """
    train = sentencepiece.SentencePieceTrainer.train
    try:
        train(input=str(text), model_prefix=str(prefix), minloglevel=1, **options)
    except (RuntimeError, OSError, SyntaxError) as error:
        # The last is about an option that it cannot parse.
        raise TopdownError(_refusal(options, str(error))) from error
    vocabulary = read_lines(prefix.with_suffix(".vocab"))
    # <unk>, <s>, </s> come first.
    return [line.split("\t")[0] for line in vocabulary[3:]]


def rewritten(lines: Iterable[str], bpemodel: Path) -> dict[str, str]:
    """Lines that sentencepiece rewrites before it parts them, and what it makes of each.

    It normalises by Unicode's NFKC unless trained otherwise: ligatures and letters of full width
    become plain ones. A model never outputs what stands in such a line, and scoring counts it.

    Args:
        lines: transcripts without their ids.
        bpemodel: sentencepiece's model.
    """
    normalise = sentencepiece.SentencePieceProcessor(model_file=str(bpemodel)).Normalize
    said = {line: normalise(line).replace("\u2581", " ").strip() for line in lines}
    return {line: new for line, new in said.items() if new.split() != line.split()}


def _refusal(options: Mapping[str, object], said: str) -> str:
    """What to do about a refusal of sentencepiece, in the words of asr.sh's options."""
    asked = f"asked sentencepiece for {options.get('vocab_size')} pieces (--nbpe)"
    least = re.search(r"smaller than required_chars\. \d+ vs (\d+)", said)
    most = re.search(r"set it to a value <= (\d+)", said)
    if least:
        return (
            f"{asked}, but the characters of the text alone need {least[1]}; give --nbpe of at"
            f" least {least[1]}, or --bpe_char_cover of 0.98 to 1, which leaves out rare ones"
        )
    if most:
        return (
            f"{asked}, but the text can give no more than {most[1]}; give --nbpe {most[1]} at most"
        )
    return f"asked sentencepiece for {options}, but it refused: {said}; see --nbpe"


def scored_rows(
    data: Path, text: Path, tokenize: Tokenizer, clean: Callable[[str], str]
) -> list[tuple[str, str, list[str]]]:
    """Rows (utterance, speaker, tokens) of `text`, one for each utterance of the set in `data`.

    Raises:
        TopdownError: `text` has other utterances than the set.
    """
    utt2spk, lines = read_table(data / "utt2spk"), read_table(text)
    differing = sorted(utt2spk.keys() ^ lines.keys())
    if differing:
        raise TopdownError(
            f"{text} and {data}/utt2spk name different utterances ({len(differing)} in one only,"
            f" first {', '.join(differing[:3])}); decode the set again (stage 12)"
        )
    words = {utterance: " ".join(line.split()) for utterance, line in lines.items()}
    return [(u, utt2spk[u], tokenize(clean(words[u]))) for u in sorted(utt2spk)]
