"""The language-model recipe from stage 1 to 20, on a small corpus of its own."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def write_corpus(directory: Path) -> None:
    """Plain text with blank lines, a hundred words that are no numbers; train, valid and test."""
    draw = random.Random(0)
    words = [f"{k}.e4" for k in range(100)]
    directory.mkdir()
    for split, lines in (("train", 400), ("valid", 60), ("test", 60)):
        rows = [" ".join(draw.choices(words, k=draw.randint(0, 12))) for _ in range(lines)]
        (directory / f"{split}.txt").write_text("\n".join([" ".join(words), *rows]) + "\n")


@pytest.mark.recipe
def test_recipe_ends_with_a_table_of_perplexities(tmp_path: Path) -> None:
    shutil.copytree(
        ROOT / "egs2",
        tmp_path / "egs2",
        symlinks=True,
        ignore=shutil.ignore_patterns("exp", "data", "dump"),
    )
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    recipe = tmp_path / "egs2" / "wikitext2" / "lm1"
    write_corpus(tmp_path / "corpus")
    config = yaml.safe_load((ROOT / "conf/lm/awd_lstm_small.yaml").read_text())
    config["lm_conf"] |= dict(unit=8, nhid=12)
    config |= dict(max_epoch=2, batch_size=2, valid_batch_size=2)
    (recipe / "conf" / "tiny.yaml").write_text(yaml.safe_dump(config))
    command = ["./run.sh", "--ngpu", "0", "--lm_config", "conf/tiny.yaml"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "TEXT_CORPUS": str(tmp_path / "corpus"),
    }
    done = subprocess.run(command, cwd=recipe, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (results,) = recipe.glob("exp/*_topdown_*/RESULTS.md")
    table = results.read_text()
    assert "valid (stream)" in table
    assert "test (stream)" in table
    assert "phase3" in table
