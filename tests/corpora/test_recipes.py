"""Recipe directories of WSJ and Switchboard: links lead somewhere, configs are as documented."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PLANS = {
    "wsj/asr1/conf/topdown/rnn.yaml": "decoder encoder.3 encoder.2 encoder.1 encoder.0",
    "swbd/asr1/conf/topdown/transformer.yaml": "decoder encoder.9 encoder.6 encoder.3",
}


@pytest.mark.parametrize("plan", PLANS)
def test_plans_go_down_from_the_decoder(plan: str) -> None:
    phases = yaml.safe_load((ROOT / "egs2" / plan).read_text())["phases"]
    *cuts, control = phases
    assert [phase["cut"] for phase in cuts] == PLANS[plan].split()
    # One for each phase.
    assert control == {"control": "restart"}


def test_models_have_the_published_sizes() -> None:
    configs = [ROOT / f"egs2/{corpus}/asr1/conf/train_asr.yaml" for corpus in ("wsj", "swbd")]
    wsj, swbd = (yaml.safe_load(config.read_text()) for config in configs)
    assert wsj["encoder"] == "vgg_rnn"
    assert (wsj["encoder_conf"]["num_layers"], wsj["encoder_conf"]["hidden_size"]) == (4, 320)
    assert wsj["optim_conf"]["eps"] == 1e-8
    assert wsj["decoder_conf"]["att_conf"]["atype"] == "location"
    assert (swbd["encoder_conf"]["num_blocks"], swbd["decoder_conf"]["num_blocks"]) == (12, 6)
    assert swbd["optim_conf"]["lr"] == 0.002
    assert swbd["frontend_conf"]["hop_length"] == 160


@pytest.mark.parametrize("corpus", ["wsj", "swbd"])
def test_files_that_a_recipe_names_exist(corpus: str) -> None:
    recipe = ROOT / f"egs2/{corpus}/asr1"
    named = [word for word in (recipe / "run.sh").read_text().split() if word.startswith("conf/")]
    assert len(named) == 4
    for name in [*named, "path.sh", "cmd.sh", "db.sh", "local/data.sh"]:
        assert (recipe / name).exists(), name


@pytest.mark.parametrize(("corpus", "variable"), [("wsj", "WSJ0"), ("swbd", "SWBD")])
def test_stage_1_with_an_unset_db_says_so(corpus: str, variable: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("WSJ0", "WSJ1", "SWBD")}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["local/data.sh"],
        cwd=ROOT / f"egs2/{corpus}/asr1",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: {variable} is not set" in done.stderr
    assert done.stderr.count("\n") == 1


def test_corpus_modules_need_neither_torch_nor_espnet() -> None:
    code = (
        "import sys\n"
        "from espnet_topdown.corpora import hub5, swbd, wsj\n"
        "assert not {'torch', 'espnet2', 'soundfile'} & sys.modules.keys()"
    )
    subprocess.run(["python3", "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.recipe
@pytest.mark.parametrize("checkout", [False, True], ids=["alone", "over a checkout"])
def test_both_recipes_run_from_stage_1_to_20_on_fake_corpora(
    tmp_path: Path, checkout: bool
) -> None:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    root = environment.pop("ESPNET_ROOT", "")
    if checkout and not root:
        pytest.skip("ESPNET_ROOT names no ESPnet checkout")
    if checkout:
        environment["ESPNET_ROOT"] = root
    done = subprocess.run(
        [ROOT / "tests/corpora/run_recipes.sh", tmp_path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "both recipes ran" in done.stdout
