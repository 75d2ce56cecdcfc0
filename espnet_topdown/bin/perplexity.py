"""``python3 -m espnet_topdown.bin.perplexity``: perplexity of a whole stream, as in the literature.

The text is one stream, ``<eos>`` after every line (blank ones too), read in windows with the state
carried from the first word to the last; every token but the first is a target. ESPnet2's own
per-line perplexity (every line from a zero state, blank lines left out) can be printed beside it:
the two are not comparable.
"""

import argparse
import itertools
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import check, files
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.config import read_config
from espnet_topdown.experiment.phase_data import tokens_of
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.corpus import read_text, word_ids
from espnet_topdown.lm.data import write_without_blanks
from espnet_topdown.lm.stream_model import StreamLanguageModel
from espnet_topdown.lm.task import read_stream
from espnet_topdown.text_files import read_lines, read_table, read_tokens
from espnet_topdown.training import checkpoint
from espnet_topdown.training.checkpoint import State
from espnet_topdown.training.tasks import TopdownLMTask

# Of a batch: 0.5 GB, which ESPnet2 holds three times. 100 lines of WikiText-2 would have 9 GB.
LOGITS = 1 << 27


@dataclass(frozen=True)
class Perplexity:
    """A measured perplexity.

    Args:
        text: name of the text.
        kind: how it was counted (``stream``, ``per-line``).
        targets: tokens predicted.
        nll: mean negative log likelihood of a target in nats.
    """

    text: str
    kind: str
    targets: int
    nll: float

    @property
    def perplexity(self) -> float:
        """The exponential of the mean negative log likelihood; infinite where no float holds it."""
        # Of a model that has diverged.
        return math.exp(self.nll) if self.nll < 700 else math.inf

    def __str__(self) -> str:
        size = f"{self.targets} targets, {self.nll:.5f} nats each"
        return f"{self.text}: {self.kind} perplexity {self.perplexity:.2f} ({size})"


def load_model(
    model_file: Path, config: Path | None = None
) -> tuple[StreamLanguageModel, list[str]]:
    """The trained model in eval mode and its token list, loaded strictly.

    Args:
        model_file: weights of an experiment, such as ``valid.loss.best.pth``.
        config: its ``config.yaml``; None for the one beside `model_file`.

    Raises:
        TopdownError: no such files, another kind of model, or weights that do not fit the config,
            vocabulary included.
    """
    config = config or model_file.parent / "config.yaml"
    options = read_config(config)
    kind = options.get("model")
    if kind != "lm_stream":
        raise TopdownError(f"{config}: stream perplexity needs --model lm_stream, got {kind}")
    model = TopdownLMTask.build_model(argparse.Namespace(**options))
    weights = checkpoint.load_state(model_file)
    faults = _misfits(model.state_dict(), weights)
    if faults:
        raise TopdownError(f"{model_file} does not fit {config}:\n  " + "\n  ".join(faults))
    model.load_state_dict(weights)
    return model.eval(), options["token_list"]


def _misfits(needed: State, given: State) -> list[str]:
    """A line for every tensor whose shape is not the one needed, or that only one side has."""
    want = {name: tuple(tensor.shape) for name, tensor in needed.items()}
    got = {name: tuple(tensor.shape) for name, tensor in given.items()}
    names = [name for name in sorted(want | got) if want.get(name) != got.get(name)]
    return [f"{name} is {got.get(name)}, the config needs {want.get(name)}" for name in names]


@torch.no_grad()
def stream_perplexity(
    model: StreamLanguageModel, ids: torch.Tensor, text: str, *, columns: int = 1, window: int = 70
) -> Perplexity:
    """The perplexity of a stream, which does not depend on `window` but for rounding.

    Args:
        model: in eval mode.
        ids: the stream, (tokens,).
        text: its name in the result.
        columns: read it as so many equal columns side by side; the literature's test perplexity has
            1.
        window: frames at a time.
    """
    device = next(model.parameters()).device
    windows = BpttIterFactory(ids, columns, Windows(bptt=window), seed=None)
    # Windows differ in length: losses are means and count by their targets.
    nats, targets = 0.0, 0
    for _, batch in windows.build_iter(1):
        tokens, following = batch["tokens"].to(device), batch["targets"].to(device)
        loss, _, weight = model(tokens, following, batch["reset"])
        nats += loss.item() * weight.item()
        targets += weight.item()
    kind = "stream" if columns == 1 else f"stream ({columns} columns)"
    return Perplexity(text=text, kind=kind, targets=targets, nll=nats / targets)


def lines_at_a_time(longest: int, words: int) -> int:
    """As many lines, 100 at most, as keep ESPnet2's logits (lines, longest, words) in bounds.

    Args:
        longest: tokens of the longest line.
        words: in the vocabulary.
    """
    return min(max(LOGITS // (longest * words), 1), 100)


def line_perplexity(text: Path, model_file: Path, config: Path, *, ngpu: int = 0) -> Perplexity:
    """ESPnet2's own perplexity of a text without its blank lines.

    Source: espnet2/bin/lm_calc_perplexity.py (202511).

    Args:
        text: a file in ESPnet2's format.
        model_file: weights of an experiment.
        config: its ``config.yaml``.
        ngpu: 1 for the GPU.
    """
    from espnet2.bin import lm_calc_perplexity

    from espnet_topdown.lm import register

    # ESPnet's tool builds the model from its config.yaml and must know our classes.
    register()
    with tempfile.TemporaryDirectory() as directory:
        lines = Path(directory, "text")
        output = Path(directory, "out")
        write_without_blanks(text, lines)
        trained = read_config(config)
        longest = _longest_line(lines, trained)
        options = dict(
            output_dir=output,
            data_path_and_name_and_type=f"{lines},text,text",
            train_config=config,
            model_file=model_file,
            batch_size=lines_at_a_time(longest, len(tokens_of(trained))),
            num_workers=0,
            ngpu=ngpu,
            log_level="WARNING",
        )
        words = [(f"--{name}", str(value)) for name, value in options.items()]
        lm_calc_perplexity.main(list(itertools.chain(*words)))
        targets = sum(map(int, read_table(output / "utt2ntokens").values()))
        nll = math.log(float((output / "ppl").read_text()))
    return Perplexity(text=str(text), kind="per-line", targets=targets, nll=nll)


def measure(options: argparse.Namespace) -> list[Perplexity]:
    """All that was asked for, in order, printed as it comes.

    Raises:
        TopdownError: a model, a text or a vocabulary that cannot be used; nothing is measured then.
    """
    config = options.train_config or options.model_file.parent / "config.yaml"
    sizes = {"--batch_size": options.batch_size, "--window": options.window}
    check.refuse_options("options", check.faults(sizes, dict.fromkeys(sizes, check.whole(1))))
    per_line = options.kind in ("line", "both")
    as_stream = options.kind in ("stream", "both")
    _check_vocabulary(config, options.token_list, () if as_stream else options.text)
    if as_stream:
        model, tokens = load_model(options.model_file, options.train_config)
        model.to("cuda" if options.ngpu else "cpu")
        streams = {text: read_stream(text, tokens) for text in options.text}
    too_long = _too_long(options.text, config) if per_line and not options.ngpu else {}
    if not as_stream:
        check.refuse_in("--kind line", too_long.values())
    results = []
    for text in options.text:
        if as_stream:
            width = {"columns": options.batch_size, "window": options.window}
            results.append(stream_perplexity(model, streams[text], str(text), **width))
            print(results[-1], flush=True)
        if text in too_long:
            print(f"note: {too_long[text]}", flush=True)
        elif per_line:
            results.append(line_perplexity(text, options.model_file, config, ngpu=options.ngpu))
            print(results[-1], flush=True)
    return results


def _check_vocabulary(config: Path, token_list: Path | None, texts: Sequence[Path]) -> None:
    """Refuse another preparation than the one that the model was trained on.

    Raises:
        TopdownError: `token_list` is not the model's, or a word of `texts` is not in it; a stream
            is checked as it is read.
    """
    # Other token types cut words up, so that a text's words are in no list.
    trained = read_config(config)
    tokens = trained.get("token_list")
    if trained.get("token_type") != "word" or not isinstance(tokens, list):
        return
    if token_list is not None:
        given = read_tokens(token_list)
        if given != tokens:
            raise TopdownError(
                f"{token_list} ({len(given)} words) is not the vocabulary that {config} was trained"
                f" with ({len(tokens)} words): data/ was prepared anew since. Prepare it as it was"
                " (stages 1 and 5), or train again"
            )
    for text in texts:
        word_ids(read_text(text), tokens, text)


def _longest_line(text: Path, trained: Mapping[str, Any]) -> int:
    """Tokens of the longest line of a text, or more."""
    is_cut = trained.get("token_type") != "word"
    # A text that is cut up otherwise has hardly more tokens than bytes.
    sizes = (len(row.encode() if is_cut else row.split()) for row in read_lines(text))
    return max(sizes, default=0)


def _too_long(texts: Sequence[Path], config: Path) -> dict[Path, str]:
    """Texts with a line that is too long for memory -> what to say of them."""
    trained = read_config(config)
    words, there = len(tokens_of(trained)), _available_bytes()
    told = {}
    for text in texts:
        tokens = _longest_line(text, trained)
        # ESPnet2 holds the float32 logits three times.
        needed = 3 * 4 * tokens * words
        if needed > there:
            told[text] = (
                f"{text}: no per-line perplexity: a line of it has up to {tokens:,} tokens, whose"
                f" logits over {words:,} words take {needed / 1e9:.1f} GB, and {there / 1e9:.1f} GB"
                " are free; as a stream (--kind stream) it has one"
            )
    return told


def _available_bytes() -> float:
    """Memory that a process can have on this machine (Linux); infinite where that is not told."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return math.inf
    found = re.search(r"^MemAvailable: *(\d+) kB$", text, re.MULTILINE)
    return 1024 * float(found[1]) if found else math.inf


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.perplexity", description=__doc__
    )
    add = parser.add_argument
    add("--model_file", type=Path, required=True, help="e.g. exp/lm_.../valid.loss.best.pth")
    add("--train_config", type=Path, help="config.yaml; default: the one beside the weights")
    add(
        "--token_list",
        type=Path,
        help="the token list of the texts; refused where it is not the model's",
    )
    add("--text", type=Path, nargs="+", required=True, help="text files in ESPnet2's format")
    add("--batch_size", type=int, default=1, help="columns; the literature's test perplexity has 1")
    add("--window", type=int, default=70, help="frames at a time; changes nothing but speed")
    add(
        "--kind",
        choices=("stream", "line", "both"),
        default="stream",
        help="line: ESPnet2's own perplexity",
    )
    add("--ngpu", type=int, default=0, choices=(0, 1), help="1: on the GPU")
    add("--output", type=Path, help="JSON file for the results")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Print the perplexities, and write them where ``--output`` says.

    What the same model, texts and options gave there before is printed from it.
    """
    options = get_parser().parse_args(argv)
    with reported():
        if not options.output:
            measure(options)
            return
        key = options.output.with_suffix(".made_by.json")
        made_by = _made_by(options)
        if _is_measured(options.output, key, made_by):
            print(f"{options.output}: measured already by this model, these texts and options")
            for row in files.read_json(options.output):
                row.pop("perplexity")
                print(Perplexity(**row))
            return
        rows = [asdict(row) | {"perplexity": row.perplexity} for row in measure(options)]
        files.write_json(options.output, rows)
        files.write_json(key, {**made_by, "results": files.sha256(options.output)})


def _made_by(options: argparse.Namespace) -> dict[str, Any]:
    """What decides a perplexity: the model, the texts and how they are read."""
    config = options.train_config or options.model_file.parent / "config.yaml"
    tokens = options.token_list
    return {
        "model_sha256": files.sha256(options.model_file),
        "config_sha256": files.sha256(config),
        "token_list_sha256": files.sha256(tokens) if tokens else None,
        "texts": {str(text): files.sha256(text) for text in options.text},
        "kind": options.kind,
        "batch_size": options.batch_size,
        "window": options.window,
    }


def _is_measured(output: Path, key: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether the same gave what `output` holds."""
    if not output.exists() or not key.exists():
        return False
    return files.read_json(key) == {**made_by, "results": files.sha256(output)}


if __name__ == "__main__":
    main()
