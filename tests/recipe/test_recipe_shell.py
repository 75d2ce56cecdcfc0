"""asr.sh, topdown.sh and mini_an4 as users run them.

Names, refusals, stages 1 to 5, and (marked) everything.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_recipe import RATE, write_set

from espnet_topdown.recipe import datadir

REPOSITORY = Path(__file__).parents[2]
TEMPLATE = REPOSITORY / "egs2" / "TEMPLATE" / "asr1"
SETS = ["--train_set", "train", "--valid_set", "dev", "--test_sets", "dev test"]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe directory beside a copy of TEMPLATE, with data/{train,dev,test} of tones.

    Its python3 is this one.
    """
    directory = tmp_path / "egs2" / "toy" / "asr1"
    shutil.copytree(TEMPLATE.parent, tmp_path / "egs2" / "TEMPLATE")
    (directory / "local").mkdir(parents=True)
    for name in ("cmd.sh", "path.sh"):
        (directory / name).symlink_to(f"../../TEMPLATE/asr1/{name}")
    (directory / "local" / "data.sh").write_text('#!/usr/bin/env bash\necho "data.sh: $*"\n')
    (directory / "local" / "data.sh").chmod(0o755)
    (directory / "conf").mkdir()
    (directory / "conf" / "train_x.yaml").touch()
    write_set(directory / "data" / "train", {"a1": 0.5, "a2": 0.05, "b1": 0.4}, "GO ON")
    write_set(directory / "data" / "dev", {"c1": 0.3}, "YES")
    write_set(directory / "data" / "test", {"d1": 0.3, "d2": 0.05}, "NO")
    monkeypatch.chdir(directory)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.delenv("ESPNET_ROOT", raising=False)
    return directory


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [f"../../TEMPLATE/asr1/{script}", *options], capture_output=True, text=True
    )


def refused(script: str, *options: str) -> str:
    """What a refused command said: one message, no traceback."""
    done = run(script, *options)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.usefixtures("recipe")
def test_stages_one_to_five_prepare_tokens_and_audio() -> None:
    options = [*SETS, "--stop_stage", "5", "--token_type", "char", "--nj", "2"]
    done = run("asr.sh", *options, "--local_data_opts", "--x 1 y")
    assert done.returncode == 0, done.stderr
    assert "data.sh: --x 1 y" in done.stdout
    assert Path("data/token_list/char/tokens.txt").read_text().split() == [
        "<blank>", "<unk>", "O", "G", "<space>", "N", "<sos/eos>"
    ]  # fmt: skip
    assert Path("dump/raw/train/text").read_text() == "a1 GO ON\nb1 GO ON\n"  # a2 is too short
    assert list(datadir.read_table(Path("dump/raw/org/train/wav.scp"))) == ["a1", "a2", "b1"]
    assert (
        Path("dump/raw/test/utt2num_samples").read_text() == "d1 4800\nd2 800\n"
    )  # 16 kHz, test sets whole
    assert (
        Path("dump/raw/test/wav.scp")
        .read_text()
        .startswith("d1 dump/raw/test/data/format.1/d1.flac\n")
    )
    assert Path("dump/raw/lm_train.txt").read_text() == "a1 GO ON\na2 GO ON\nb1 GO ON\n"
    assert (
        not Path("dump/raw/dev/data").exists()
        and Path("dump/raw/dev/feats_type").read_text() == "raw\n"
    )
    before = sorted(Path(".").rglob("*"))
    assert run("asr.sh", *options).returncode == 0
    assert sorted(Path(".").rglob("*")) == before


@pytest.mark.usefixtures("recipe")
def test_bpe_speeds_and_arks_have_espnets_names() -> None:
    options = [
        "--speed_perturb_factors",
        "0.9 1.0 1.1",
        "--nbpe",
        "7",
        "--audio_format",
        "flac.ark",
        "--lang",
        "en",
    ]
    done = run("asr.sh", *SETS, *options, "--stop_stage=5", "--fs", "8k", "--nj", "1")
    assert done.returncode == 0, done.stderr
    assert len(Path("data/en_token_list/bpe_unigram7/tokens.txt").read_text().split()) == 7
    samples = {
        k: int(v) for k, v in datadir.read_table(Path("dump/raw/train_sp/utt2num_samples")).items()
    }
    assert samples["a1"] == RATE // 2 and abs(samples["sp0.9-a1"] - RATE / 1.8) <= 1
    assert "data_wav.ark:" in Path("dump/raw/org/train_sp/wav.scp").read_text()


@pytest.mark.parametrize(
    "options, expected",
    [
        ([], "exp/asr_train_raw_bpe30"),
        (
            ["--asr_config", "conf/train_x.yaml", "--lang", "en", "--nbpe", "500"],
            "exp/asr_train_x_raw_en_bpe500",
        ),
        (
            ["--token_type", "char", "--asr_args", "--max_epoch 1 --optim=a"],
            "exp/asr_train_raw_char_max_epoch1_optima",
        ),
        (["--speed_perturb_factors", "0.9 1.1", "--expdir", "e"], "e/asr_train_raw_bpe30_sp"),
        (["--asr_tag", "mine", "--use-k2", "false"], "exp/asr_mine"),
        (["--asr_exp", "exp/here"], "exp/here"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_experiments_are_named_as_espnet_names_them(options: list[str], expected: str) -> None:
    assert run("asr.sh", *SETS, *options, "--print_asr_exp", "true").stdout == expected + "\n"


@pytest.mark.parametrize(
    "options, said",
    [
        (["--use_ngram", "true"], "--use_ngram true needs ESPnet's own asr.sh: set ESPNET_ROOT"),
        (["--use_k2", "true"], "--use_k2 true needs"),
        (["--asr_task", "asr_transducer"], "--asr_task asr_transducer needs"),
        (["--skip_upload", "false"], "--skip_upload false needs"),
        (["--feats_type", "fbank_pitch"], "--feats_type fbank_pitch needs"),
        (["--token_type", "whisper_en"], "--token_type whisper_en needs"),
        (["--stage", "14"], "ends with stage 13"),
        (["--asr_confg", "x"], "unknown option --asr_confg; near it: --asr_config"),
        (["--skip_train", "yes"], "--skip_train is true or false, not 'yes'"),
        (["--nj", "many"], "--nj is a number, not 'many'"),
        (["--nj"], "option --nj has no value"),
        (["stray"], "found the argument 'stray'"),
        (["--audio_format", "mp3"], "not 'mp3'"),
        (["--asr_config", "conf/none.yaml"], "found no conf/none.yaml"),
        (["--valid_set", "train"], "both 'train'"),
        (["--test_sets", "train"], "--test_sets names the training set"),
        (["--stage", "10", "--python", "python3 -X dev"], "stage 10 needs dump/raw/train/wav.scp"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    recipe: Path, options: list[str], said: str
) -> None:
    assert said in refused("asr.sh", *SETS, *options)
    assert not (recipe / "dump").exists() and not (recipe / "exp").exists()


@pytest.mark.usefixtures("recipe")
def test_names_are_told_for_options_that_a_checkout_alone_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ESPNET_ROOT", "/a/checkout")
    options = [
        "--asr_tag",
        "mine",
        "--use-k2",
        "true",
        "--new_option",
        "x",
        "--print_asr_exp",
        "true",
    ]
    assert run("asr.sh", *SETS, *options).stdout.endswith("exp/asr_mine\n")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--stage", "18", "--phse", "3"], "unknown option --phse"),
        (["--stage", "21"], "nothing to do: --stage 21"),
        (["--stage", "13", "--stop_stage", "12"], "nothing to do: --stage 13 --stop_stage 12"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_mistyped_option_stops_before_the_cascade(options: list[str], said: str) -> None:
    Path("plan.yaml").write_text("phases: [{cut: decoder}]")
    assert said in refused("topdown.sh", *SETS, "--topdown_plan", "plan.yaml", *options)


@pytest.mark.usefixtures("recipe")
def test_an_option_of_a_checkout_at_its_default_is_let_through() -> None:
    done = run(
        "asr.sh", *SETS, "--use_ngram", "false", "--skip_upload_hf", "true", "--stop_stage", "1"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["asr.sh", "topdown.sh"])
@pytest.mark.usefixtures("recipe")
def test_help_lists_every_option_once(script: str) -> None:
    block = (
        (TEMPLATE / script).read_text().split("# == options\n")[1].split("# == end of options")[0]
    )
    names = [line.split("=")[0] for line in block.splitlines() if line and not line.startswith("#")]
    done = run(script, "--help")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")]
    assert listed == [f"--{name}" for name in names] and len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    "options, said",
    [
        ([], "--topdown_plan is ''"),
        (["--topdown_plan", "conf/none.yaml"], "'conf/none.yaml', which is no file"),
        (
            ["--topdown_plan", "conf/train_x.yaml", "--decode", "some"],
            "--decode is best or all, not 'some'",
        ),
        (["--stage", "15", "--stop_stage", "16"], "stages 14 to 16"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_cascade_without_what_it_needs_is_refused(options: list[str], said: str) -> None:
    assert said in refused("topdown.sh", *SETS, *options)


@pytest.mark.usefixtures("recipe")
def test_with_a_checkout_its_asr_sh_is_linked_and_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "espnet" / "egs2" / "TEMPLATE" / "asr1"
    (tmp_path / "espnet" / "tools").mkdir(parents=True)
    (tmp_path / "espnet" / "tools" / "extra_path.sh").touch()
    for name in ("utils", "scripts", "pyscripts", "steps"):
        (template / name).mkdir(parents=True)
    names = (
        "python ngpu num_nodes skip_train asr_exp inference_asr_model train_set valid_set test_sets"
        " use_k2"
    )
    options = "".join(f"{name}=\n" for name in names.split())
    (template / "asr.sh").write_text(f'#!/usr/bin/env bash\n{options}printf "[%s]" "$@"\n')
    (template / "asr.sh").chmod(0o755)
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path / "espnet"))
    done = run("topdown.sh", *SETS, "--use_k2", "true", "--stage", "11", "--stop_stage", "14")
    assert done.returncode == 0, done.stderr
    assert (
        "[--test_sets][dev"
        " test][--use_k2][true][--python][python3][--ngpu][1][--num_nodes][1][--stage][11][--stop_stage][14]"
        in done.stdout
    )
    assert Path("utils").resolve() == template / "utils"
    assert (
        f"unknown option --use_k3: neither of this script (see --help) nor of {template}/asr.sh"
        in refused("topdown.sh", *SETS, "--use_k3", "true", "--stage", "11", "--stop_stage", "13")
    )
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path / "nowhere"))
    assert "has no egs2/TEMPLATE/asr1/asr.sh" in refused("topdown.sh", *SETS, "--stop_stage", "13")


def test_a_wrong_archive_of_mini_an4_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(REPOSITORY / "egs2" / "mini_an4" / "asr1" / "local", tmp_path / "local")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (tmp_path / "wrong.tar.gz").write_text("not it")
    for archive, said in (("wrong.tar.gz", "has MD5 "), ("none.tar.gz", "there is no such file")):
        command = [
            sys.executable,
            "local/data_prep.py",
            "--archive",
            archive,
            "--downloads",
            "dl",
            "--data",
            "data",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.recipe
def test_mini_an4_runs_from_its_recordings_to_the_table_of_a_cascade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TEMPLATE", "mini_an4"):
        source = REPOSITORY / "egs2" / name
        ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads", "logs")
        shutil.copytree(source, tmp_path / "egs2" / name, symlinks=True, ignore=ignored)
    directory = tmp_path / "egs2" / "mini_an4" / "asr1"
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    done = subprocess.run(
        ["./run.sh", "--decode", "all"], cwd=directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    texts = {
        n: datadir.read_table(directory / "data" / n / "text")
        for n in ("train_nodev", "train_dev", "test")
    }
    assert {name: len(table) for name, table in texts.items()} == {
        "train_nodev": 4,
        "train_dev": 1,
        "test": 2,
    }
    exp = directory / "exp" / "asr_train_asr_rnn_raw_en_char"
    assert "|2|10|" in (exp / "RESULTS.md").read_text()  # the two test sentences have ten words
    cascade = exp.with_name(f"{exp.name}_topdown_rnn")
    for phase in ("phase1", "phase2", "phase3"):
        assert len(list(cascade.glob(f"{phase}/decode_*/test*/score_wer/result.txt"))) == 2
    assert json.loads((cascade / "results.json").read_text())
    assert (cascade / "RESULTS.md").exists() and (cascade / "best").exists()
