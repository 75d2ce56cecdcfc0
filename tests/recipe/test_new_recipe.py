"""``new_recipe.sh NAME`` makes a recipe that runs, and marks in it what is to change."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from recipes import write_set

from espnet_topdown.plan.plan_file import read_plan

# A model of seconds in the place of the template's; the layers keep their names.
SMALL = [
    *("--max_epoch 1", "--batch_type unsorted", "--batch_size 2", "--num_workers 0"),
    *(f"--encoder_conf {change}" for change in ("output_size=8", "num_blocks=2")),
    *(f"--{part}_conf linear_units=8" for part in ("encoder", "decoder")),
    *(f"--{part}_conf attention_heads=2" for part in ("encoder", "decoder")),
    "--decoder_conf num_blocks=1",
]


def new_recipe(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["../../TEMPLATE/new_recipe.sh", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def own(recipe: Path) -> Path:
    """A new recipe beside the one of the fixture, whose sets it has as its corpus."""
    done = new_recipe("own-corpus")
    assert done.returncode == 0, done.stderr
    return recipe.parents[1] / "own-corpus" / "asr1"


def run_sh(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["./run.sh", *options], cwd=directory, capture_output=True, text=True)


def test_it_has_all_that_a_recipe_needs(own: Path) -> None:
    files = {str(path.relative_to(own)) for path in own.rglob("*") if not path.is_dir()}
    configs = {"conf/train_asr.yaml", "conf/decode_asr.yaml", "conf/topdown/transformer.yaml"}
    clusters = {"conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf"}
    assert files == {"run.sh", "cmd.sh", "path.sh", "local/data.sh", *clusters, *configs}
    for name in ("path.sh", *clusters):
        assert (own / name).resolve() == own.parents[1] / "TEMPLATE/asr1" / name
    for name in configs:
        lines = (own / name).read_text().splitlines()
        assert lines[0].startswith("# Purpose:")
        assert any(line.startswith("# Launch:") for line in lines)
        assert yaml.safe_load((own / name).read_text())
    assert read_plan(own / "conf/topdown/transformer.yaml").entries
    assert not any("NAME" in (own / name).read_text() for name in files)


def test_it_says_what_is_to_change(recipe: Path) -> None:
    said = new_recipe("mine").stdout
    script = (recipe.parents[1] / "mine/asr1/run.sh").read_text()
    changed = [line for line in script.splitlines() if "CHANGE" in line]
    for option in ("test_sets", "fs", "token_type", "ngpu", "decode"):
        assert any(line.startswith(f"{option}=") for line in changed)
    # The model that decodes has to be one that training writes.
    config = yaml.safe_load((recipe.parents[1] / "mine/asr1/conf/train_asr.yaml").read_text())
    (criterion,) = config["best_model_criterion"]
    assert f"inference_asr_model={'.'.join(criterion[:2])}.ave.pth" in script
    assert said.count("run.sh:") == len(changed)


def test_the_last_line_can_be_pasted_where_a_directory_has_a_blank(recipe: Path) -> None:
    root = recipe.parents[2] / "my work"
    shutil.copytree(recipe.parents[1] / "TEMPLATE", root / "TEMPLATE")
    done = subprocess.run(
        ["TEMPLATE/new_recipe.sh", "mine"], cwd=root, capture_output=True, text=True, check=True
    )
    change = done.stdout.splitlines()[-1].removeprefix("then: ").removesuffix("./run.sh")
    there = subprocess.run(["bash", "-c", f"{change} pwd"], capture_output=True, text=True)
    assert there.stdout.strip() == str(root / "mine/asr1"), there.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["toy"], "toy/asr1 is there already; give another name"),
        (["a/b"], "letters, digits, _ and -, as a directory of egs2, not 'a/b'"),
        (["TEMPLATE"], "TEMPLATE is what recipes are made of"),
        ([], "takes one name, of the corpus; see --help"),
        (["one", "two"], "takes one name"),
    ],
)
def test_what_is_there_and_odd_names_are_refused(recipe: Path, words: list[str], said: str) -> None:
    before = sorted(recipe.parents[1].rglob("*"))
    done = new_recipe(*words)
    assert done.returncode == 1
    assert said in done.stderr
    assert sorted(recipe.parents[1].rglob("*")) == before


@pytest.mark.usefixtures("recipe")
def test_help_is_what_its_head_says() -> None:
    done = new_recipe("--help")
    assert done.returncode == 0
    assert "egs2/TEMPLATE/new_recipe.sh NAME" in done.stdout
    assert "utt2spk" in done.stdout


def test_it_asks_for_its_data_and_prepares_them(own: Path, recipe: Path) -> None:
    options = ["--stop_stage", "5", "--fs", "8k", "--nj", "1"]
    done = run_sh(own, *options)
    assert done.returncode == 1
    assert "found no data/train/wav.scp; write it" in done.stderr
    # The stage held data/, so that it is there.
    shutil.copytree(recipe / "data", own / "data", dirs_exist_ok=True)
    (own / "data/dev/utt2spk").rename(own / "data/dev/kept")
    assert "found no data/dev/utt2spk" in run_sh(own, *options).stderr
    (own / "data/dev/kept").rename(own / "data/dev/utt2spk")
    done = run_sh(own, *options)
    assert done.returncode == 0, done.stderr
    tokens = (own / "data/token_list/char/tokens.txt").read_text().split()
    assert tokens == ["<blank>", "<unk>", "O", "G", "<space>", "N", "<sos/eos>"]


@pytest.mark.recipe
def test_it_runs_from_its_data_to_the_tables_of_a_cascade(own: Path) -> None:
    for name, words in (("train", "GO ON"), ("dev", "NO GO"), ("test", "ON")):
        write_set(own / "data" / name, {f"{name[0]}{k}": 0.5 + 0.1 * k for k in range(4)}, words)
    options = ["--ngpu", "0", "--nj", "1", "--inference_nj", "1", "--fs", "8k"]
    # ESPnet's beam has to be narrower than the list of tokens.
    options += ["--asr_tag", "small", "--inference_args", "--beam_size 2"]
    done = run_sh(own, *options, "--asr_args", " ".join(SMALL))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    cascade = own / "exp/asr_small_topdown_transformer"
    decoded = sorted(path.parts[-5] for path in cascade.glob("*phase*/*/test/score_wer/result.txt"))
    assert decoded == ["phase1", "phase2", "restart_phase1", "restart_phase2"]
    assert "|phase2|top_down|encoder.0|" in (cascade / "RESULTS.md").read_text()
    # What is decoded is not decoded again.
    again = run_sh(own, *options, "--stage", "19", "--stop_stage", "19")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("decoded already by this model") == 4
