"""Every shipped training config leaves its warm-up, by the sizes of its corpus."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# Updates needed, in warm-ups: training is to go on for half as long again.
MARGIN = 1.5


class Corpus(NamedTuple):
    """Sizes of a training set as a model is given it, all speeds counted.

    Attributes:
        utterances: how many.
        samples: of all of them; 0 for text.
        token_bins: tokens times vocabulary.
    """

    utterances: int
    samples: float
    token_bins: float


SPEEDS = 1 / 0.9 + 1 + 1 / 1.1
MINI_AN4 = Corpus(utterances=4, samples=4 * 3 * 16000, token_bins=4 * 20 * 30)
# 286 hours, 3.1 million words of 1.13 tokens.
SWITCHBOARD = Corpus(3 * 192_000, 286 * 3600 * 16000 * SPEEDS, 3 * 3.5e6 * 2000)
# Without Fisher.
SWITCHBOARD_TEXT = Corpus(192_000, 0, 3.5e6 * 2000)
CORPORA = {
    "conf/train_asr_conformer_topdown.yaml": MINI_AN4,
    "conf/train_asr_transformer_topdown.yaml": MINI_AN4,
    "egs2/mini_an4/asr1/conf/train_asr_transformer.yaml": MINI_AN4,
    "egs2/fsdd/asr1/conf/train_asr_transformer.yaml": Corpus(1000, 1000 * 2 * 8000, 1000 * 5 * 30),
    "egs2/swbd/asr1/conf/tuning/train_asr_transformer.yaml": SWITCHBOARD,
    "egs2/swbd/asr1/conf/tuning/train_lm_transformer.yaml": SWITCHBOARD_TEXT,
}


def training_configs() -> dict[str, dict[str, Any]]:
    """Every shipped training config, links left out, by its path."""
    paths = [*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("egs2/*/*/conf/**/*.yaml")]
    shipped = [path for path in paths if not path.is_symlink()]
    configs = {str(path.relative_to(ROOT)): yaml.safe_load(path.read_text()) for path in shipped}
    return {name: config for name, config in configs.items() if "optim" in (config or {})}


def warmup(config: dict[str, Any]) -> int:
    """Updates of the warm-up, 0 for none."""
    return (config.get("scheduler_conf") or {}).get("warmup_steps", 0)


def updates(config: dict[str, Any], corpus: Corpus) -> int:
    """Updates of a whole training, at least: without padding, and with no batch made smaller."""
    if config["batch_type"] == "numel":
        batches = (corpus.samples + corpus.token_bins) / config["batch_bins"]
    else:
        batches = corpus.utterances / config["batch_size"]
    return int(config["max_epoch"] * batches / config.get("accum_grad", 1))


def test_the_corpus_of_each_config_with_a_warmup_is_known() -> None:
    with_warmup = {name for name, config in training_configs().items() if warmup(config)}
    assert with_warmup == CORPORA.keys()


@pytest.mark.parametrize("name", CORPORA)
def test_training_goes_on_well_after_the_warmup(name: str) -> None:
    config = training_configs()[name]
    assert updates(config, CORPORA[name]) >= MARGIN * warmup(config)


@pytest.mark.parametrize("name", CORPORA)
def test_an_epoch_has_an_update(name: str) -> None:
    config = training_configs()[name]
    assert updates(config | {"max_epoch": 1}, CORPORA[name]) >= 1


def test_the_updates_of_the_readme_are_those_of_the_config() -> None:
    name = "egs2/swbd/asr1/conf/tuning/train_asr_transformer.yaml"
    config = training_configs()[name]
    # 70.8 thousand million bins, in batches of 40 million.
    assert updates(config | {"max_epoch": 1}, SWITCHBOARD) == pytest.approx(1769, abs=1)
    assert updates(config, SWITCHBOARD) == pytest.approx(177_000, rel=0.01)
    readme = (ROOT / "egs2/swbd/asr1/README.md").read_text()
    assert "| 177,000, of which 50,000 are warm-up |" in readme
    assert warmup(config) == 50_000


def test_a_schedule_that_stays_in_its_warmup_is_seen() -> None:
    # ESPnet2's egs2/swbd train_asr_transformer.yaml, whose warm-up has 25,000 updates.
    config = {"batch_type": "numel", "batch_bins": 15_000_000, "accum_grad": 8, "max_epoch": 35}
    assert updates(config, SWITCHBOARD) == pytest.approx(20_600, rel=0.01)
