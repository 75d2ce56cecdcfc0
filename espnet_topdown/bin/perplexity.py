"""``python3 -m espnet_topdown.bin.perplexity``: perplexity of a whole stream, as in the literature.

The text is one stream, ``<eos>`` after every line (blank ones too), read in windows with the state
carried from the first word to the last; every token but the first is a target. ESPnet2's own
per-line perplexity (every line from a zero state, blank lines left out) can be printed beside it:
the two are not comparable.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from espnet_topdown import files
from espnet_topdown.errors import TopdownError, reported
from espnet_topdown.experiment.config import read_config
from espnet_topdown.lm.bptt import BpttIterFactory, Windows
from espnet_topdown.lm.corpus import read_text, word_ids
from espnet_topdown.lm.data import write_lines
from espnet_topdown.lm.stream_model import StreamLanguageModel
from espnet_topdown.lm.task import read_stream
from espnet_topdown.training import checkpoint
from espnet_topdown.training.tasks import TopdownLMTask


@dataclass(frozen=True)
class Perplexity:
    """What was measured.

    The text, the way of counting, mean negative log likelihood in nats and its exponential.
    """

    text: str
    kind: str
    targets: int
    nll: float

    @property
    def perplexity(self) -> float:
        """exp of the mean negative log likelihood."""
        return math.exp(self.nll)

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
    args = argparse.Namespace(**read_config(config))
    if getattr(args, "model", None) != "lm_stream":
        raise TopdownError(
            f"{config}: stream perplexity needs --model lm_stream, got"
            f" {getattr(args, 'model', None)}."
        )
    model = TopdownLMTask.build_model(args)
    weights = checkpoint.load_state(model_file)
    want = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    got = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    differ = [name for name in sorted(want | got) if want.get(name) != got.get(name)]
    wrong = [f"{name} is {got.get(name)}, the config needs {want.get(name)}" for name in differ]
    if wrong:
        raise TopdownError(f"{model_file} does not fit {config}:\n  " + "\n  ".join(wrong))
    model.load_state_dict(weights)
    return model.eval(), args.token_list


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
    total, targets = 0.0, 0
    for _, batch in BpttIterFactory(ids, columns, Windows(bptt=window), seed=None).build_iter(1):
        loss, _, weight = model(
            batch["tokens"].to(device), batch["targets"].to(device), batch["reset"]
        )
        total += loss.item() * weight.item()
        targets += weight.item()
    return Perplexity(
        text, "stream" if columns == 1 else f"stream ({columns} columns)", targets, total / targets
    )


def line_perplexity(
    text: Path, model_file: Path, config: Path | None, *, batch_size: int = 100, ngpu: int = 0
) -> Perplexity:
    """ESPnet2's own perplexity of the file without its blank lines
    (espnet2/bin/lm_calc_perplexity.py, 202511).
    """
    from espnet2.bin import lm_calc_perplexity

    from espnet_topdown.lm import register

    register()
    with tempfile.TemporaryDirectory() as directory:
        lines, out = Path(directory, "text"), Path(directory, "out")
        write_lines(text, lines)
        options = dict(
            output_dir=out,
            data_path_and_name_and_type=f"{lines},text,text",
            train_config=config or model_file.parent / "config.yaml",
            model_file=model_file,
            batch_size=batch_size,
            num_workers=0,
            ngpu=ngpu,
            log_level="WARNING",
        )
        lm_calc_perplexity.main([word for k, v in options.items() for word in (f"--{k}", str(v))])
        targets = sum(
            int(row.split()[1])
            for row in (out / "utt2ntokens").read_text(encoding="utf-8").splitlines()
        )
        return Perplexity(
            str(text), "per-line", targets, math.log(float((out / "ppl").read_text()))
        )


def measure(options: argparse.Namespace) -> list[Perplexity]:
    """All that was asked for, in order, printed as it comes."""
    jobs: list[Callable[[], Perplexity]] = []
    config = options.train_config or options.model_file.parent / "config.yaml"
    _check_vocabulary(config, options.token_list, options.text if options.kind == "line" else ())
    if options.kind != "line":
        model, tokens = load_model(options.model_file, options.train_config)
        model.to("cuda" if options.ngpu else "cpu")
        streams = {text: read_stream(text, tokens) for text in options.text}
    for text in options.text:
        if options.kind != "line":
            width = dict(columns=options.batch_size, window=options.window)
            jobs.append(partial(stream_perplexity, model, streams[text], str(text), **width))
        if options.kind != "stream":
            jobs.append(
                partial(line_perplexity, text, options.model_file, config, ngpu=options.ngpu)
            )
    results = []
    for job in jobs:
        results.append(job())
        print(results[-1], flush=True)
    return results


def _check_vocabulary(config: Path, token_list: Path | None, texts: Sequence[Path]) -> None:
    """Refuses another preparation than the one that the model was trained on.

    Raises:
        TopdownError: `token_list` is not the model's, or a word of `texts` is not in it; a stream
            is checked as it is read.
    """
    trained = read_config(config)
    tokens = trained.get("token_list")
    if trained.get("token_type") != "word" or not isinstance(tokens, list):
        return
    if (
        token_list is not None
        and (given := token_list.read_text(encoding="utf-8").splitlines()) != tokens
    ):
        raise TopdownError(
            f"{token_list} ({len(given)} words) is not the vocabulary that {config} was trained"
            f" with ({len(tokens)} words): data/ was prepared anew since. Prepare it as it was"
            " (stages 1 and 5), or train again"
        )
    for text in texts:
        word_ids(read_text(text), tokens, text)


def get_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python3 -m espnet_topdown.bin.perplexity", description=__doc__
    )
    parser.add_argument(
        "--model_file",
        type=Path,
        required=True,
        help="weights, e.g. exp/lm_.../valid.loss.best.pth",
    )
    parser.add_argument(
        "--train_config", type=Path, help="config.yaml; default: the one beside the weights"
    )
    parser.add_argument(
        "--token_list",
        type=Path,
        help="the token list of the texts; refused where it is not the model's",
    )
    parser.add_argument(
        "--text", type=Path, nargs="+", required=True, help="text files in ESPnet2's format"
    )
    parser.add_argument(
        "--batch_size", type=int, default=1, help="columns; the literature's test perplexity has 1"
    )
    parser.add_argument(
        "--window", type=int, default=70, help="frames at a time; changes nothing but speed"
    )
    parser.add_argument(
        "--kind",
        choices=("stream", "line", "both"),
        default="stream",
        help="line: ESPnet2's own perplexity",
    )
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="1: on the GPU")
    parser.add_argument("--output", type=Path, help="JSON file for the results")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Prints the perplexities; a user's fault is printed without traceback."""
    options = get_parser().parse_args(cmd)
    with reported():
        results = measure(options)
        if options.output:
            rows: list[dict[str, Any]] = [asdict(r) | {"perplexity": r.perplexity} for r in results]
            files.write_json(options.output, rows)


if __name__ == "__main__":
    main()
