"""What each step of ``python3 -m espnet_topdown.recipe`` does, with the options of `__main__`.

The work is in this package's other modules, which load when their step needs them: a step takes no
longer than it must. Nothing imports ESPnet, but for its text cleaners where a recipe names one.
"""

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from espnet_topdown import gpus, recognise
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.config import read_config
from espnet_topdown.plan.plan_file import read_plan
from espnet_topdown.table import counted

MIN_RATE, MAX_RATE = 1000, 655350  # Hz; the latter is what flac can hold
METRICS = {"char": "cer", "word": "wer", "bpe": "ter"}


def check_gpus(args: argparse.Namespace) -> None:
    """Before any stage: whether this machine has the GPUs that a training is to use."""
    variable = os.environ.get(gpus.VARIABLE)
    found = len(gpus.seen(variable))
    if found >= args.ngpu:
        return
    named = "" if variable is None else f", as {gpus.VARIABLE}={variable!r} says"
    raise TopdownError(
        f"asked for {counted(args.ngpu, 'GPU')}, and found {found} on this machine{named};"
        f" {args.cure} computes on the CPU, which is much slower, and cmd_backend in cmd.sh"
        " submits to a cluster"
    )


def check_configs(args: argparse.Namespace) -> None:
    """Before any stage: whether the file of each option is of the kind that the option takes."""
    for option, read in CONFIGS.items():
        path = getattr(args, option)
        try:
            if path is not None:
                read(path)
        except TopdownError as error:
            raise TopdownError(f"--{option}: {error}") from None


def check_cleaners(args: argparse.Namespace) -> None:
    """Before any stage: whether ESPnet has the text cleaners that are named."""
    from espnet_topdown.recipe import text

    for name in args.names:
        text.cleaner(name)


def _check_decoding(path: Path) -> None:
    kind = recognise.kind_of(path)
    if kind not in (recognise.DECODING, ""):
        raise TopdownError(
            f"{path} is not a decoding config but {kind}; give one such as conf/decode_asr.yaml"
        )


CONFIGS: dict[str, Callable[[Path], object]] = {
    "asr_config": read_config,
    "lm_config": read_config,
    "inference_config": _check_decoding,
    "topdown_plan": read_plan,
}


def perturb(args: argparse.Namespace) -> None:
    """Stage 2: data/TRAIN and speed factors -> data/TRAIN_sp."""
    from espnet_topdown.recipe import speed

    logging.info("wrote %s", speed.perturb(args.source, args.factors))


def format_audio(args: argparse.Namespace) -> None:
    """Stage 3: data/SET -> TARGET/SET with its audio in one format and rate."""
    from espnet_topdown.recipe import formats

    rate = parse_rate(args.fs)
    processes = min(args.nj, len(os.sched_getaffinity(0)))
    needs_text = {source: source.name not in args.text_optional for source in args.sources}
    # The last set's lists are looked at before the first one's audio, which may take hours.
    for source in args.sources:
        formats.check_set(source, needs_text=needs_text[source])
    for source, target in zip(args.sources, args.targets, strict=True):
        seconds = formats.format_set(
            source,
            target,
            audio_format=args.audio_format,
            rate=rate,
            processes=processes,
            parts=args.nj,
            needs_text=needs_text[source],
        )
        logging.info("%s -> %s: %.2f h of audio", source, target, seconds / 3600)


def keep_usable(args: argparse.Namespace) -> None:
    """Stage 4: DUMP/org/SET -> DUMP/SET without long, short and empty utterances; texts -> one."""
    from espnet_topdown.recipe import frames, text, usable

    needed = frames.shortest_of(args.asr_config) if args.asr_config else None
    for name in args.sets:
        kept = usable.keep_usable(
            args.dump / "org" / name,
            args.dump / name,
            rate=parse_rate(args.fs),
            shortest_s=args.min_wav_duration,
            longest_s=args.max_wav_duration,
            needed=needed,
        )
        logging.info(kept)
    text.join_texts(args.lm_train_text, args.dump / "lm_train.txt")


def write_tokens(args: argparse.Namespace) -> None:
    """Stage 5: text -> token list, and a sentencepiece model for bpe."""
    from espnet_topdown.recipe import text
    from espnet_topdown.text_files import read_table

    lines: list[str] = []
    for source in args.texts:
        lines += read_table(source).values()
    if args.token_type == "bpe":
        tokens = _train_bpe(args, lines)
    else:
        tokenize = text.tokenizer(args.token_type, symbols=text.read_symbols(args.nlsyms_txt))
        # As in ESPnet (espnet2/bin/tokenize_text.py, 202511), whose lists have no other blanks.
        spaced = (" ".join(line.split()) for line in lines)
        tokens = text.count_tokens(map(text.cleaner(args.cleaner), spaced), tokenize)
    text.write_token_list(args.token_list, tokens, (args.blank, args.oov, args.sos_eos))
    logging.info("wrote %s: %d tokens", args.token_list, len(tokens) + 3)


def _train_bpe(args: argparse.Namespace, lines: Sequence[str]) -> list[str]:
    from espnet_topdown.recipe import text

    directory = args.token_list.parent
    directory.mkdir(parents=True, exist_ok=True)
    sentences = directory / "train.txt"
    sentences.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    # As in ESPnet's asr.sh: a file of symbols, or the symbols with commas between them.
    symbols = args.bpe_nlsyms
    if symbols and Path(symbols).is_file():
        symbols = ",".join(text.read_symbols(symbols))
    tokens = text.train_bpe(
        sentences,
        directory / "bpe",
        vocab_size=args.nbpe,
        model_type=args.bpemode,
        character_coverage=args.bpe_char_cover,
        input_sentence_size=args.bpe_input_sentence_size,
        user_defined_symbols=symbols,
    )
    rewritten = text.rewritten(lines, directory / "bpe.model")
    if rewritten:
        line, new = next(iter(rewritten.items()))
        logging.warning(
            "sentencepiece rewrites %d of %d lines by Unicode's NFKC, such as '%s' to '%s', and no"
            " model can output them as they are; rewrite the texts of all sets in local/data.sh,"
            " or their words count as errors",
            *(len(rewritten), len(lines), line, new),
        )
    return tokens


def split(args: argparse.Namespace) -> None:
    """Stages 6, 10, 12: share FILE's lines out to DIRECTORY/NAME.{1..n}.scp and print n."""
    from espnet_topdown.recipe import jobs

    files = {}
    for assignment in args.keys:
        name, _, path = assignment.partition("=")
        files[name] = Path(path)
    print(jobs.split_keys(args.nj, files, args.directory))


def shapes(args: argparse.Namespace) -> None:
    """Stages 6, 10: text_shape -> text_shape.TOKEN_TYPE with the vocabulary's size."""
    from espnet_topdown.recipe import jobs

    jobs.append_vocabulary(args.shapes, args.token_list, args.token_type)


def check_lengths(args: argparse.Namespace) -> None:
    """Stage 12: whether every utterance of each set is long enough for the model's frontend."""
    from espnet_topdown.recipe import datadir, frames
    from espnet_topdown.text_files import read_table

    least = frames.least_samples(args.config)
    for directory in args.data:
        if not (directory / "utt2num_samples").exists():
            continue
        lengths = read_table(directory / "utt2num_samples")
        short = [f"{name}: {length}" for name, length in lengths.items() if int(length) < least]
        datadir.refuse_some(
            short,
            f"{directory} has utterances of fewer than {least} samples, at which ESPnet's decoding"
            " would end",
        )


def join(args: argparse.Namespace) -> None:
    """Stage 12: the jobs' results of each decoded set, in one file of each kind."""
    from espnet_topdown.recipe import jobs

    for directory in args.directories:
        jobs.join_outputs(directory)


def score(args: argparse.Namespace) -> None:
    """Stage 13: score_{cer,wer,ter}/{ref.trn,hyp.trn,result.txt} of each set with transcripts.

    Prints how many scores were made.
    """
    from espnet_topdown.recipe import text

    flags = args.score_opts.split()
    unknown = sorted(set(flags) - {"-s"})
    if unknown:
        raise TopdownError(
            f"--score_opts has {' '.join(unknown)}, but only -s (case counts) is known here"
        )
    symbols = text.read_symbols(args.nlsyms_txt)
    scores = 0
    for kind, metric in METRICS.items():
        if kind == "bpe" and args.bpemodel == "none":
            continue
        tokenize = text.tokenizer(
            kind, symbols=symbols, without_symbols=True, bpemodel=Path(args.bpemodel)
        )
        scores += _score_sets(args, metric, tokenize, case_sensitive="-s" in flags)
    print(scores)


def _score_sets(
    args: argparse.Namespace,
    metric: str,
    tokenize: Callable[[str], list[str]],
    *,
    case_sensitive: bool,
) -> int:
    """The number of sets that were scored; those without transcripts are told."""
    from espnet_topdown.recipe import text
    from espnet_topdown.results import scoring, trn
    from espnet_topdown.results.score import percent

    scored = 0
    clean, clean_hypothesis = text.cleaner(args.cleaner), text.cleaner(args.hyp_cleaner)
    for data, decoded in zip(args.data, args.decoded, strict=True):
        references = []
        if (data / "text").exists():
            references = text.scored_rows(data, data / "text", tokenize, clean)
        if not any(tokens for *_, tokens in references):
            logging.info("%s has no transcripts: nothing to score in %s", data, decoded)
            continue
        scored += 1
        directory = decoded / f"score_{metric}"
        hypotheses = text.scored_rows(data, decoded / "text", tokenize, clean_hypothesis)
        trn.write_trn(directory / "ref.trn", references)
        trn.write_trn(directory / "hyp.trn", hypotheses)
        result = scoring.write_result(directory, case_sensitive=case_sensitive)
        rate = percent(result.errors, result.words)
        logging.info("%s: %s %s %%", directory / "result.txt", metric.upper(), rate)
    return scored


def parse_rate(fs: str) -> int:
    """Hz of ``16k``, ``8000`` and the like.

    Raises:
        TopdownError: it is no such number, or no rate of speech.
    """
    number, unit = fs, 1
    if fs[-1:] in ("k", "K"):
        number, unit = fs[:-1], 1000
    try:
        rate = round(float(number) * unit)
    except (ValueError, OverflowError):
        rate = 0
    if not MIN_RATE <= rate <= MAX_RATE:
        raise TopdownError(
            f"asked for --fs {fs!r}; give Hz, such as 16k or 8000 ({MIN_RATE} to {MAX_RATE})"
        )
    return rate
