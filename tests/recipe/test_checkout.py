"""A checkout's asr.sh by three ways (ESPNET_ROOT set), and what is refused there."""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from recipes import REPOSITORY, SETS, refused, run

from espnet_topdown.cascade.launch import failure
from espnet_topdown.cli import main
from espnet_topdown.plan.topdown_conf import TopdownConf

SCTK = "/usr/lib/sctk/bin"  # where Debian keeps sclite, which a checkout's asr.sh calls
EXP = "exp/asr_train_asr_rnn_raw_en_char_max_epoch2"
PLAN = "{dev_criterion: [valid, loss, min], phases: [{cut: decoder}, {cut: encoder.3}]}"
OURS = ["--token_type", "char", "--use_lm", "false", "--ngpu", "0", "--test_sets", "test"]
OURS += ["--inference_config", "conf/decode_ours.yaml", "--inference_nj", "1"]
WITH_TOPDOWN = ["--python", "python3 -m espnet_topdown"]
SWAPS = sorted(REPOSITORY.glob("conf/train_asr_*_topdown.yaml"))


# ---- a real checkout ----


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """mini_an4 in a directory of `ours` and in one of the checkout, `theirs`, which has a base."""
    if not os.environ.get("ESPNET_ROOT"):
        pytest.skip(
            "ESPNET_ROOT is not set: give the root of an ESPnet git checkout that fits the"
            " installed ESPnet (espnet_topdown/README.md), such as ESPNET_ROOT=/path/to/espnet"
        )
    root, tmp = Path(os.environ["ESPNET_ROOT"]).resolve(), tmp_path_factory.mktemp("ways")
    ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads", "logs")
    for name in ("TEMPLATE", "mini_an4"):
        shutil.copytree(
            REPOSITORY / "egs2" / name, tmp / "egs2" / name, symlinks=True, ignore=ignored
        )
    ours, theirs = tmp / "egs2/mini_an4/asr1", tmp / "espnet/egs2/mini_an4/asr1"
    shutil.copytree(root / "egs2/mini_an4/asr1", theirs, symlinks=True, ignore=ignored)
    for name in ("egs2/TEMPLATE", "egs", "tools", "utils"):
        (tmp / "espnet" / name).symlink_to(root / name)
    shutil.copy(ours / "conf/decode_asr.yaml", ours / "conf/decode_ours.yaml")
    call(ours, "./run.sh", "--stop_stage", "5", root=None)
    stages = ["--stage", "10", "--stop_stage", "11"]
    call(ours, "./run.sh", *OURS, *stages, "--asr_args", "--max_epoch 2", root=root)
    for name in ("data", "dump", "exp"):
        shutil.copytree(ours / name, theirs / name, symlinks=True)
    shutil.copy(ours / "conf/decode_asr.yaml", theirs / "conf/decode_ours.yaml")
    (theirs / "plan.yaml").write_text(PLAN)
    return SimpleNamespace(root=root, ours=ours, theirs=theirs)


def call(directory: Path, *words: str, root: Path | None = None) -> str:
    """What a command of a recipe directory printed; it must succeed."""
    environment = dict(os.environ)
    environment.pop("ESPNET_ROOT", None)
    if root:
        environment["ESPNET_ROOT"] = str(root)
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{SCTK}"
    environment |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=directory, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def topdown(*words: str) -> list[str]:
    return ["python3", "-m", "espnet_topdown", *words]


def digests(directory: Path) -> dict[str, str]:
    """Every file of a recipe directory that is not data or a result."""
    digests = {}
    for pattern in ("*", "conf/*", "local/*"):
        for path in directory.glob(pattern):
            if path.is_file():
                name = str(path.relative_to(directory))
                digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


@pytest.mark.recipe
def test_a_cascade_of_any_experiment_leaves_the_recipe_untouched(ways: SimpleNamespace) -> None:
    before = digests(ways.theirs)
    call(ways.theirs, *topdown("run", EXP, "--plan", "plan.yaml"))
    cascade = f"{EXP}_topdown_plan"
    call(ways.theirs, *topdown("decode", cascade, *OURS))
    assert "phase2" in call(ways.theirs, *topdown("results", cascade))
    for phase in ("phase1", "phase2"):
        # ESPnet's own table.
        assert "|2|10|" in (ways.theirs / cascade / phase / "RESULTS.md").read_text()
    rows = json.loads((ways.theirs / cascade / "results.json").read_text())
    assert rows
    assert digests(ways.theirs) == before


@pytest.mark.recipe
def test_a_swapped_config_trains_a_phase_by_the_recipes_own_asr_sh(ways: SimpleNamespace) -> None:
    config = yaml.safe_load((ways.ours / "conf/train_asr_rnn.yaml").read_text())
    config |= {"max_epoch": 2, "seed": 1000, "topdown_conf": {"parent": EXP, "cut": "decoder"}}
    (ways.theirs / "conf/train_swap.yaml").write_text(yaml.safe_dump(config))
    stages = ["--stage", "11", "--stop_stage", "12", "--asr_config", "conf/train_swap.yaml"]
    sets = ["--train_set", "train_nodev", "--valid_set", "train_dev"]
    model = ["--inference_asr_model", "valid.loss.ave.pth"]
    call(ways.theirs, "./run.sh", *stages, *sets, *model, *OURS, *WITH_TOPDOWN)
    exp = ways.theirs / "exp/asr_train_swap_raw_en_char"
    proof = json.loads((exp / "topdown/proof.json").read_text())
    assert any(name.startswith("decoder.") for name in proof["frozen"])
    assert len(list(exp.glob("*/test/text"))) == 1


@pytest.mark.recipe
def test_our_recipe_over_a_checkout_ends_with_both_tables(ways: SimpleNamespace) -> None:
    (ways.ours / "conf/topdown/plan.yaml").write_text(PLAN)
    options = ["--topdown_plan", "conf/topdown/plan.yaml", "--asr_args", "--max_epoch 2"]
    stages = ["--stage", "12", "--decode", "all"]
    call(ways.ours, "./run.sh", *OURS, *stages, *options, root=ways.root)
    assert (ways.ours / "asr.sh").resolve() == ways.root / "egs2/TEMPLATE/asr1/asr.sh"
    cascade = ways.ours / f"{EXP}_topdown_plan"
    assert "|2|10|" in (ways.ours / EXP / "RESULTS.md").read_text()
    assert "|2|10|" in (cascade / "phase2" / "RESULTS.md").read_text()
    assert "phase2" in (cascade / "RESULTS.md").read_text()


# ---- what is refused ----


@pytest.mark.usefixtures("recipe")
def test_an_espnet_root_that_is_no_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # tmp_path holds what this repository does.
    for root, lacks in ((tmp_path / "no" / "where", "asr.sh"), (tmp_path, "utils")):
        monkeypatch.setenv("ESPNET_ROOT", str(root))
        said = refused("topdown.sh", *SETS, "--stop_stage", "13")
        assert (
            f"ESPNET_ROOT is {root}, but it has no egs2/TEMPLATE/asr1/{lacks}; set it to an ESPnet"
            " git checkout" in said
        )


@pytest.mark.usefixtures("recipe")
def test_a_checkout_whose_asr_sh_lacks_an_option_is_refused(fake_checkout: Path) -> None:
    fake_checkout.write_text("python=python3\nngpu=1\nnum_nodes=1\nasr_exp=\n")
    said = refused("topdown.sh", *SETS)
    assert "asr.sh has no option --skip_train; set ESPNET_ROOT to ESPnet 202301" in said
    assert not Path("asr.sh").exists()


@pytest.mark.usefixtures("recipe")
def test_a_checkouts_asr_sh_gets_its_options_and_values_that_begin_with_dashes(
    fake_checkout: Path,
) -> None:
    names = ["python", "ngpu", "num_nodes", "skip_train", "asr_exp", "inference_asr_model"]
    names += ["asr_args", "train_set", "valid_set", "test_sets"]
    known = "".join(f"{name}=\n" for name in names)
    fake_checkout.write_text(f"#!/bin/sh\n{known}printf '<%s>' \"$@\"\n")
    options = [*SETS, "--stage", "11", "--stop_stage", "11", "--ngpu", "0"]
    options += ["--asr_args", "--max_epoch 2"]
    done = run("topdown.sh", *options)
    assert done.returncode == 0, done.stderr
    assert "<--asr_args><--max_epoch 2>" in done.stdout
    said = refused("topdown.sh", *options, "--asr_arg", "x")
    assert "unknown option --asr_arg; near it: --asr_args" in said


def test_an_experiment_whose_data_are_gone_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [["dump/raw/train/wav.scp", "speech", "sound"]]
    (tmp_path / "exp").mkdir()
    config = {"encoder": "rnn", "decoder": "rnn", "train_data_path_and_name_and_type": data}
    (tmp_path / "exp" / "config.yaml").write_text(
        yaml.safe_dump(config | {"best_model_criterion": [["valid", "acc", "max"]]})
    )
    (tmp_path / "plan.yaml").write_text(PLAN)
    with pytest.raises(SystemExit) as caught:
        main(["run", str(tmp_path / "exp"), "--plan", str(tmp_path / "plan.yaml")])
    assert caught.value.code == 1
    assert "config.yaml names files that are not there, seen from" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, said",
    [
        (["--num_nodes", "2"], "--num_nodes 2 needs --cmd, a command that submits to a cluster"),
        (["--cmd", "none.pl --mem 8G"], "--cmd 'none.pl --mem 8G': found no such command"),
    ],
)
def test_a_launch_that_cannot_work_is_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "exp/x", "--plan", "plan.yaml", *options])
    assert said in capsys.readouterr().err


def test_a_training_that_could_not_be_submitted_says_why(tmp_path: Path) -> None:
    reason = "RuntimeError: The first args of --cmd should be a script path: none.pl"
    (tmp_path / "launch.log").write_text(f"{reason}\n")
    assert f"launch.log:\n    {reason}" in failure(tmp_path)


# ---- configs to swap in ----


@pytest.mark.parametrize("path", SWAPS, ids=lambda p: p.stem)
def test_a_swap_in_config_is_a_config_of_one_phase(path: Path, espnet: None) -> None:
    from espnet_topdown.training.model_layers import order_of
    from espnet_topdown.training.tasks import task_of

    config, task = yaml.safe_load(path.read_text()), task_of("asr")
    parser = task.get_parser()
    assert set(config) <= {action.dest for action in parser._actions}
    tokens = ["<blank>", "<unk>", "a", "<sos/eos>"]
    model = task.build_model(
        argparse.Namespace(**vars(parser.parse_args([])) | config | {"token_list": tokens})
    )
    sides = TopdownConf.from_conf(config["topdown_conf"]).sides(order_of(model).names)
    assert sides.frozen[0] == "decoder.0" and sides.fresh[0] == "encoder.embed"
    assert config["seed"] != parser.get_default("seed")
