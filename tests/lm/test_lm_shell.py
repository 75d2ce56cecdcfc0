"""lm.sh: how it submits, and what it refuses, without any training."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe of WikiText-2 below a directory with a blank in its name."""
    root = tmp_path / "my work"
    shutil.copytree(
        ROOT / "egs2",
        root / "egs2",
        symlinks=True,
        ignore=shutil.ignore_patterns("exp", "data", "dump", "records", "images"),
    )
    shutil.copytree(ROOT / "conf", root / "conf")
    return root / "egs2/wikitext2/lm1"


@pytest.fixture
def trained(recipe: Path) -> Path:
    """The recipe with what stage 18 asks for: the config of a base."""
    base = recipe / "exp/lm_train_lm_awd_lstm_word"
    base.mkdir(parents=True)
    (base / "config.yaml").write_text("model: lm_stream\n")
    return recipe


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """Programs on PATH that note how they were called: python3 and those that submit.

    Checks of the script's own options are none of its work.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python3", "slurm.pl", "queue.pl", "pbs.pl"):
        program = programs / name
        checks = '"-m espnet_topdown.recipe configs "* | "- "* | "-c import espnet_topdown"'
        check = f'case "$*" in {checks}) exit 0 ;; esac'
        program.write_text(f'#!/bin/sh\n{check}\necho "{name} $*" >> "{tmp_path}/calls"\n')
        program.chmod(0o755)
    return tmp_path / "calls"


def run(
    recipe: Path, programs: Path | None, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    first = programs or Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{first}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["./run.sh", *options],
        cwd=recipe,
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("backend", "program"), [("slurm", "slurm.pl"), ("sge", "queue.pl")])
def test_the_cascade_is_submitted_as_training_is(
    trained: Path, calls: Path, backend: str, program: str
) -> None:
    options = ("--stage", "18", "--stop_stage", "18")
    done = run(trained, calls.parent / "bin", *options, cmd_backend=backend)
    assert done.returncode == 0, done.stderr
    [call] = calls.read_text().splitlines()
    assert call.startswith("python3 -m espnet_topdown run exp/lm_train_lm_awd_lstm_word --plan ")
    assert call.endswith(f"--ngpu 1 --cmd {program} --jobs 1")


def test_here_the_cascade_needs_no_program_that_submits(trained: Path, calls: Path) -> None:
    done = run(trained, calls.parent / "bin", "--stage", "18", "--stop_stage", "18")
    assert done.returncode == 0, done.stderr
    assert "--cmd" not in calls.read_text()


@pytest.mark.parametrize("directory", ["data", "data/token_list/word"])
def test_the_word_list_waits_for_who_reads_it(recipe: Path, calls: Path, directory: str) -> None:
    (recipe / "data/train").mkdir(parents=True)
    (recipe / "data/train/text").write_text("1 one\n")
    (recipe / directory).mkdir(parents=True, exist_ok=True)
    path = f"{calls.parent / 'bin'}:{os.environ['PATH']}"
    stage = ["./run.sh", "--stage", "5", "--stop_stage", "5", "--ngpu", "0"]
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    with (recipe / directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with subprocess.Popen(stage, cwd=recipe, env=environment, stdout=-1, text=True) as process:
            assert process.stdout is not None
            told = next((line for line in process.stdout if "in use" in line), "nothing")
            was_written = calls.exists()
            fcntl.flock(lock, fcntl.LOCK_UN)
            rest = process.stdout.read()
    assert f"{directory} is in use by another run; waiting for it" in told
    assert not was_written
    assert "lm.data tokens" in calls.read_text()
    assert "Stages 5 to 5: done" in rest


# options -> the message.
REFUSED = {
    "stages the wrong way round": (["--stage", "8", "--stop_stage", "7"], "nothing to do: --stage"),
    "a stage that there is not": (["--stage", "21"], "nothing to do: --stage 21"),
    "half a stage": (["--stage", "1.5"], "--stage is a whole number, not '1.5'"),
    "an octal stage": (["--stage", "08"], "--stage is a whole number, not '08'"),
    "part of a GPU": (["--ngpu", "0.5"], "--ngpu is a whole number, not '0.5'"),
    "no job": (["--jobs", "0"], "at least 1, not '0'"),
    "no such plan": (["--topdown_plan", "conf/no such.yaml"], "--topdown_plan is 'conf/no such"),
    "no such config": (["--lm_config", "conf/none.yaml"], "found no conf/none.yaml in"),
    "no phases to decode": (["--decode", "al"], "is 'al'; valid: best, all"),
    "a stage before its input": (["--stage", "5", "--ngpu", "0"], "stage 5 needs data/train/text"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_odd_options_are_refused_before_any_work(recipe: Path, calls: Path, case: str) -> None:
    options, message = REFUSED[case]
    done = run(recipe, calls.parent / "bin", *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not calls.exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            "--max_epoch",
            "unknown option --max_epoch; see --help; an option of the training itself is given as",
        ),
        ("--lm_conf", "unknown option --lm_conf; near it: --lm_config"),
    ],
)
def test_an_unknown_option_says_where_options_go(recipe: Path, option: str, message: str) -> None:
    done = run(recipe, None, option, "20")
    assert done.returncode == 1
    assert message in done.stderr and "--lm_args" in done.stderr


def test_a_machine_without_gpus_is_told_before_data_are_prepared(recipe: Path) -> None:
    """The options are those of the published recipe, which trains on a GPU."""
    done = run(recipe, None, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert "asked for 1 GPU, and found 0 on this machine" in done.stderr
    assert not (recipe / "data").exists()
