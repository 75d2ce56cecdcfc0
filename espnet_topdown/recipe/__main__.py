"""``python3 -m espnet_topdown.recipe STEP``: one process of one stage of egs2/TEMPLATE/asr1/asr.sh.

The work is in this package's other modules; options have asr.sh's names.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.errors import TopdownError

METRICS = {"char": "cer", "word": "wer", "bpe": "ter"}


def perturb(args: argparse.Namespace) -> None:
    """Stage 2: data/TRAIN and speed factors -> data/TRAIN_sp."""
    from espnet_topdown.recipe import audio

    logging.info("wrote %s", audio.perturb(args.source, args.factors))


def format_audio(args: argparse.Namespace) -> None:
    """Stage 3: data/SET -> TARGET/SET with its audio in one format and rate."""
    from espnet_topdown.recipe import audio

    processes = min(args.nj, len(os.sched_getaffinity(0)))
    for source, target in zip(args.sources, args.targets, strict=True):
        seconds = audio.format_set(
            source, target, audio_format=args.audio_format, rate=parse_rate(args.fs), processes=processes, parts=args.nj
        )  # fmt: skip
        logging.info("%s -> %s: %.2f h of audio", source, target, seconds / 3600)


def keep_usable(args: argparse.Namespace) -> None:
    """Stage 4: DUMP/org/SET -> DUMP/SET without long, short and empty utterances.

    Texts -> DUMP/lm_train.txt.
    """
    from espnet_topdown.recipe import text

    rate = parse_rate(args.fs)
    bounds = {
        "shortest": int(args.min_wav_duration * rate),
        "longest": int(args.max_wav_duration * rate),
    }
    for name in args.sets:
        logging.info(text.keep_usable(args.dump / "org" / name, args.dump / name, **bounds))
    text.join_texts(args.lm_train_text, args.dump / "lm_train.txt")


def write_tokens(args: argparse.Namespace) -> None:
    """Stage 5: text -> token list, and a sentencepiece model for bpe."""
    from espnet_topdown.recipe import datadir, text

    lines = [line for source in args.texts for line in datadir.read_table(source).values()]
    folder = args.token_list.parent
    if args.token_type == "bpe":
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        symbols = args.bpe_nlsyms
        if symbols and Path(symbols).is_file():
            symbols = ",".join(text.read_symbols(symbols))
        tokens = text.train_bpe(
            folder / "train.txt", folder / "bpe", vocab_size=args.nbpe, model_type=args.bpemode,
            character_coverage=args.bpe_char_cover, input_sentence_size=args.bpe_input_sentence_size,
            user_defined_symbols=symbols,
        )  # fmt: skip
    else:
        tokenize = text.tokenizer(args.token_type, symbols=text.read_symbols(args.nlsyms_txt))
        tokens = text.count_tokens(map(text.cleaner(args.cleaner), lines), tokenize)
    text.write_token_list(args.token_list, tokens, (args.blank, args.oov, args.sos_eos))
    logging.info("wrote %s: %d tokens", args.token_list, len(tokens) + 3)


def split(args: argparse.Namespace) -> None:
    """Stages 6, 10, 12: shares FILE's lines out to DIRECTORY/NAME.{1..n}.scp and prints n."""
    from espnet_topdown.recipe import jobs

    print(
        jobs.split_keys(
            args.nj,
            {k: Path(v) for k, _, v in (a.partition("=") for a in args.keys)},
            args.directory,
        )
    )


def shapes(args: argparse.Namespace) -> None:
    """Stages 6, 10: text_shape -> text_shape.TOKEN_TYPE with the vocabulary's size."""
    from espnet_topdown.recipe import jobs

    jobs.append_vocabulary(args.shapes, args.token_list, args.token_type)


def join(args: argparse.Namespace) -> None:
    """Stage 12: the jobs' results of each decoded set, in one file of each kind."""
    from espnet_topdown.recipe import jobs

    for directory in args.directories:
        jobs.join_outputs(directory)


def score(args: argparse.Namespace) -> None:
    """Stage 13: score_{cer,wer,ter}/{ref.trn,hyp.trn,result.txt} of each decoded set."""
    from espnet_topdown.recipe import text
    from espnet_topdown.results import scoring, trn

    unknown = set(args.score_opts.split()) - {"-s"}
    if unknown:
        raise TopdownError(
            f"--score_opts has {' '.join(sorted(unknown))}, but only -s (case counts) is known here"
        )
    symbols = text.read_symbols(args.nlsyms_txt)
    clean = text.cleaner(args.cleaner), text.cleaner(args.hyp_cleaner)
    for kind, metric in METRICS.items():
        if kind == "bpe" and args.bpemodel == "none":
            continue
        tokenize = text.tokenizer(kind, symbols=symbols, remove=True, bpemodel=Path(args.bpemodel))
        for data, decoded in zip(args.data, args.decoded, strict=True):
            target = decoded / f"score_{metric}"
            target.mkdir(parents=True, exist_ok=True)
            for name, source, cleaner in zip(
                ("ref", "hyp"), (data / "text", decoded / "text"), clean, strict=True
            ):
                trn.write_trn(
                    target / f"{name}.trn", text.scored_rows(data, source, tokenize, cleaner)
                )
            result = scoring.write_result(target, case_sensitive="-s" in args.score_opts.split())
            logging.info("%s: %s %.1f %%", target / "result.txt", metric.upper(), result.err_rate)


def parse_rate(fs: str) -> int:
    """Hz of ``16k``, ``8000`` and the like."""
    number, unit = (fs[:-1], 1000) if fs[-1:] in "kK" else (fs, 1)
    try:
        return round(float(number) * unit)
    except ValueError:
        raise TopdownError(f"asked for --fs {fs!r}; give Hz, such as 16k or 8000") from None


def get_parser() -> argparse.ArgumentParser:
    """The sub-commands and their options."""
    parser = argparse.ArgumentParser(
        prog="espnet_topdown.recipe", description=__doc__.splitlines()[0]
    )
    steps = parser.add_subparsers(dest="step", required=True)

    def add(name: str, function: object) -> argparse.ArgumentParser:
        step = steps.add_parser(name, help=function.__doc__.splitlines()[0])
        step.set_defaults(function=function)
        return step

    def words(text: str) -> list[Path]:
        return [Path(word) for word in text.split()]

    step = add("perturb", perturb)
    step.add_argument("source", type=Path)
    step.add_argument(
        "--factors", type=lambda text: [float(f) for f in text.split()], required=True
    )
    step = add("format", format_audio)
    for name in ("--sources", "--targets"):
        step.add_argument(name, type=words, required=True)
    step.add_argument("--audio_format", required=True)
    step.add_argument("--fs", required=True)
    step.add_argument("--nj", type=int, required=True)
    step = add("filter", keep_usable)
    step.add_argument("dump", type=Path)
    step.add_argument("--sets", type=str.split, required=True)
    step.add_argument("--fs", required=True)
    for name in ("--min_wav_duration", "--max_wav_duration"):
        step.add_argument(name, type=float, required=True)
    step.add_argument("--lm_train_text", type=words, required=True)
    step = add("tokens", write_tokens)
    step.add_argument("token_list", type=Path)
    step.add_argument("--texts", type=words, required=True)
    for name in (
        "token_type",
        "nlsyms_txt",
        "cleaner",
        "bpemode",
        "bpe_nlsyms",
        "blank",
        "oov",
        "sos_eos",
    ):
        step.add_argument(f"--{name}", required=True)
    for name, kind in (("nbpe", int), ("bpe_input_sentence_size", int), ("bpe_char_cover", float)):
        step.add_argument(f"--{name}", type=kind, required=True)
    step = add("split", split)
    step.add_argument("directory", type=Path)
    step.add_argument("keys", nargs="+", metavar="NAME=FILE")
    step.add_argument("--nj", type=int, required=True)
    step = add("shapes", shapes)
    step.add_argument("shapes", type=Path, nargs="+")
    step.add_argument("--token_list", type=Path, required=True)
    step.add_argument("--token_type", required=True)
    step = add("join", join)
    step.add_argument("directories", type=Path, nargs="+")
    step = add("score", score)
    for name in ("--data", "--decoded"):
        step.add_argument(name, type=words, required=True)
    for name in ("nlsyms_txt", "cleaner", "hyp_cleaner", "bpemodel", "score_opts"):
        step.add_argument(f"--{name}", required=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one step; user faults are printed without a traceback."""
    logging.basicConfig(
        level="INFO", format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"
    )
    args = get_parser().parse_args(argv)
    try:
        args.function(args)
    except TopdownError as error:
        print(f"espnet_topdown.recipe {args.step}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
