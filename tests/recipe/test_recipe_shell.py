"""asr.sh, topdown.sh and mini_an4 as users run them: names, refusals, stages 1 to 5, and all."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from recipes import RATE, REPOSITORY, SETS, TEMPLATE, refused, run

from espnet_topdown.experiment.phase_dir import read_record
from espnet_topdown.recipe import datadir
from espnet_topdown.text_files import read_table


@pytest.mark.usefixtures("recipe")
def test_an_option_s_words_may_stand_on_several_lines() -> None:
    words = "--corpus /data/x\n  --lang en\n--min 3\n"
    done = run("asr.sh", *SETS, "--stop_stage", "1", "--local_data_opts", words)
    assert done.returncode == 0, done.stderr
    assert "data.sh: --corpus /data/x --lang en --min 3\n" in done.stdout


def test_the_kept_command_is_read_back_by_other_shells() -> None:
    """bash itself would quote these as $'...', which sh and Python's shlex do not know."""
    words = ["./asr.sh", "--lang", "français", "--oov", "⟨unk⟩", "--x", "it's $1\n\\'&'", "", "é'"]
    code = 'source <(sed -n \'/^quoted() {/,/^}/p\' "$1"); shift; quoted "$@"'
    command = ["bash", "-c", code, "-", str(TEMPLATE / "asr.sh"), *words]
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert shlex.split(done.stdout) == words
    script = f"for word in {done.stdout}; do printf '%s|' \"$word\"; done"
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "".join(f"{word}|" for word in words)


@pytest.mark.usefixtures("recipe")
def test_stages_one_to_five_prepare_tokens_and_audio() -> None:
    options = [*SETS, "--stop_stage", "5", "--token_type", "char", "--nj", "2"]
    done = run("asr.sh", *options, "--local_data_opts", "--x 1 y")
    assert done.returncode == 0, done.stderr
    assert "data.sh: --x 1 y" in done.stdout
    tokens = Path("data/token_list/char/tokens.txt").read_text().split()
    assert tokens == ["<blank>", "<unk>", "O", "G", "<space>", "N", "<sos/eos>"]
    # a2 is too short.
    assert Path("dump/raw/train/text").read_text() == "a1 GO ON\nb1 GO ON\n"
    assert list(read_table(Path("dump/raw/org/train/wav.scp"))) == ["a1", "a2", "b1"]
    # At 16 kHz; test sets are left whole.
    assert Path("dump/raw/test/utt2num_samples").read_text() == "d1 4800\nd2 800\n"
    places = Path("dump/raw/test/wav.scp").read_text().splitlines()
    assert places[0] == "d1 dump/raw/test/data/format.1/d1.flac"
    assert Path("dump/raw/lm_train.txt").read_text() == "a1 GO ON\na2 GO ON\nb1 GO ON\n"
    assert not Path("dump/raw/dev/data").exists()
    assert Path("dump/raw/dev/feats_type").read_text() == "raw\n"
    before = sorted(Path().rglob("*"))
    assert run("asr.sh", *options).returncode == 0
    assert sorted(Path().rglob("*")) == before


@pytest.mark.usefixtures("recipe")
def test_bpe_speeds_and_arks_have_espnets_names() -> None:
    options = ["--speed_perturb_factors", "0.9 1.0 1.1", "--audio_format", "flac.ark"]
    options += ["--lang", "en", "--nbpe", "7", "--fs", "8k", "--nj", "1"]
    done = run("asr.sh", *SETS, *options, "--stop_stage=5")
    assert done.returncode == 0, done.stderr
    assert len(Path("data/en_token_list/bpe_unigram7/tokens.txt").read_text().split()) == 7
    samples = read_table(Path("dump/raw/train_sp/utt2num_samples"))
    assert int(samples["a1"]) == RATE // 2
    assert abs(int(samples["sp0.9-a1"]) - RATE / 1.8) <= 1
    assert "data_wav.ark:" in Path("dump/raw/org/train_sp/wav.scp").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("recipe")
def test_a_test_set_without_transcripts_is_prepared_and_not_scored() -> None:
    Path("data/test/text").unlink()
    options = [*SETS, "--token_type", "char", "--nj", "1", "--use_lm", "false"]
    done = run("asr.sh", *options, "--stage", "3", "--stop_stage", "5")
    assert done.returncode == 0, done.stderr
    assert "too short: a2 (0.05 s)\n  all of them: dump/raw/train/dropped" in done.stderr
    assert Path("dump/raw/test/wav.scp").exists() and not Path("dump/raw/test/text").exists()
    exp = Path("exp/x")
    results = exp / "inference_asr_model_valid.acc.ave"
    datadir.write_table(results / "test" / "text", {"d1": "NO", "d2": "NO"})
    datadir.write_table(results / "org" / "dev" / "text", {"c1": "YES"})
    options += ["--asr_exp", str(exp), "--stage", "13"]
    done = run("asr.sh", *options)
    assert done.returncode == 0, done.stderr
    assert f"dump/raw/test has no transcripts: nothing to score in {results}/test" in done.stderr
    assert "org/dev" in (exp / "RESULTS.md").read_text()
    # And where it is the only set that was decoded; ids alone are no transcripts either.
    (exp / "RESULTS.md").unlink()
    options[options.index("--test_sets") + 1] = "test"
    for ids in ({}, {"d1": "", "d2": ""}):
        if ids:
            datadir.write_table(Path("dump/raw/test/text"), ids)
        done = run("asr.sh", *options)
        assert done.returncode == 0, done.stderr
        assert "nothing to score" in done.stderr
        assert not (exp / "RESULTS.md").exists()


@pytest.mark.usefixtures("recipe")
def test_training_without_transcripts_is_refused_before_audio_is_read() -> None:
    Path("data/train/text").unlink()
    said = "asked for data/train/text, but there is no such file"
    assert said in refused("asr.sh", *SETS, "--stage", "3", "--ngpu", "0")
    assert not Path("dump/raw/org/train/data").exists()


@pytest.mark.parametrize(
    "stage, gone, said",
    [
        ("7", "dump/raw/lm_train.txt", "stage 7 needs dump/raw/lm_train.txt, but it is missing"),
        ("7", "data/token_list", "stage 7 needs data/token_list/char/tokens.txt, but it is"),
        ("11", "data/token_list", "stage 11 needs data/token_list/char/tokens.txt, but it is"),
        ("11", "dump/raw/dev", "stage 11 needs dump/raw/dev/wav.scp, but it is missing or empty"),
    ],
)
def test_a_training_names_the_input_that_is_gone(
    stage: str, gone: str, said: str, recipe: Path
) -> None:
    options = [*SETS, "--token_type", "char", "--nj", "1", "--ngpu", "0"]
    assert run("asr.sh", *options, "--stage", "3", "--stop_stage", "5").returncode == 0
    for part in ("train", "valid"):
        for directory in ("exp/lm_stats_char", "exp/asr_stats_raw_char"):
            for name in ("speech_shape", "text_shape.char"):
                datadir.write_table(Path(directory, part, name), {"a1": "1"})
    # As if someone had made room since.
    Path(gone).rename("away")
    assert said in refused("asr.sh", *options, "--stage", stage)


@pytest.mark.usefixtures("recipe")
def test_a_missing_model_is_refused_with_the_averages_that_are_there() -> None:
    exp = Path("exp/asr_train_raw_bpe30")
    exp.mkdir(parents=True)
    for name in ("config.yaml", "valid.acc.ave_10best.pth", "valid.loss.ave.pth", "3epoch.pth"):
        (exp / name).write_text("x")
    options = [*SETS, "--use_lm", "false", "--python", "python3 -X dev"]
    message = refused("asr.sh", *options, "--stage", "12")
    assert f"stage 12 needs {exp}/valid.acc.ave.pth, but it is missing" in message
    advice = "give --inference_asr_model one of those that are there:"
    assert f"{advice} valid.acc.ave_10best.pth valid.loss.ave.pth\n" in message
    # The advice leads on: what is missing next is the data.
    options += ["--inference_asr_model", "valid.loss.ave.pth"]
    assert "stage 12 needs dump/raw/org/dev/wav.scp" in refused("asr.sh", *options, "--stage", "12")
    for path in exp.glob("valid.*"):
        path.unlink()
    assert "run stage 11 first" in refused("asr.sh", *SETS, *options[6:8], "--stage", "12")


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
        (
            ["--feats_type", "fbank_pitch"],
            "--feats_type is 'fbank_pitch'; valid: raw; ESPnet's own asr.sh has more (set",
        ),
        (
            ["--token_type", "chars"],
            "--token_type is 'chars'; valid: bpe, char, word; near it: char; ESPnet's own asr.sh",
        ),
        (["--token_type", ""], "--token_type is ''; valid: bpe, char, word; ESPnet's own asr.sh"),
        (["--bpemode", "unigrm"], "--bpemode is 'unigrm'; valid: unigram, bpe; near it: unigram"),
        (["--feats_normalize", "global_mvm"], "null; near it: global_mvn\n"),
        (["--stage", "14"], "ends with stage 13"),
        (["--asr_confg", "x"], "unknown option --asr_confg; near it: --asr_config"),
        (["--max_epoch", "20"], 'of the training itself is given as --asr_args "--max_epoch 20"'),
        (["--skip_train", "yes"], "--skip_train is true or false, not 'yes'"),
        (["--nj", "many"], "--nj is a number, not 'many'"),
        (["--nj"], "option --nj has no value"),
        (["--nj", "0"], "--nj is at least 1, not '0'"),
        (["--inference_nj", "0"], "--inference_nj is at least 1, not '0'"),
        (["--skip_stages", "1,2"], "--skip_stages is numbers with blanks between, not '1,2'"),
        (["--python", "python9 -X dev"], "--python names 'python9 -X dev', which is not on PATH"),
        (["--python", ""], "--python names '', which is not on PATH"),
        (["--stage", "1.5"], "--stage is a whole number, not '1.5'"),
        (["--asr_speech_fold_length", "8.5"], "--asr_speech_fold_length is a whole number"),
        (["--dumpdir", "my dump"], "dumpdir is 'my dump': blanks part the names in a list"),
        (["--expdir", "my exp"], "asr_exp is 'my exp/asr_train_raw_bpe30': blanks"),
        (["--inference_tag", "a/b"], "--inference_tag 'a/b' names one directory of the experiment"),
        (["--asr_exp", "exp/JOB2"], "asr_exp is 'exp/JOB2': JOB stands for a job's number"),
        (["--test_sets", "dev JOBS"], "the set 'JOBS' has JOB in its name"),
        (["--dumpdir", "a,b"], "--dumpdir 'a,b' and the names of sets"),
        (["stray"], "found the argument 'stray'"),
        (["--audio_format", "mp3"], "is 'mp3'; valid: flac, wav, flac.ark, wav.ark\n"),
        (["--qqqqqq", "x"], "unknown option --qqqqqq; see --help"),
        (
            ["--asr_config", "conf/decode.yaml", "--python", "python3 -X dev"],
            "--asr_config: conf/decode.yaml is not a training config but a decoding config",
        ),
        (
            ["--lm_config", "conf/plan.yaml", "--python", "python3 -X dev"],
            "--lm_config: conf/plan.yaml is not a training config but a plan of phases",
        ),
        (
            ["--inference_config", "conf/train.yaml", "--python", "python3 -X dev"],
            "--inference_config: conf/train.yaml is not a decoding config but a training config",
        ),
        (["--asr_config", "conf/none.yaml"], "found no conf/none.yaml"),
        # ESPnet is asked, which takes seconds.
        pytest.param(
            ["--cleaner", "tacotrn", "--python", "python3 -X dev"],
            "asked ESPnet for the text cleaner 'tacotrn', but it refused",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--hyp_cleaner", "tacotrn", "--python", "python3 -X dev"],
            "asked ESPnet for the text cleaner 'tacotrn', but it refused",
            marks=pytest.mark.slow,
        ),
        (["--valid_set", "train"], "both 'train'"),
        (["--test_sets", "dev sub/test"], "the set 'sub/test' has a / in its name"),
        (["--train_set", "sub/train"], "the set 'sub/train' has a / in its name"),
        (["--test_sets", "train"], "--test_sets names the training set"),
        (
            ["--stage", "10", "--ngpu", "0", "--python", "python3 -X dev"],
            "stage 10 needs dump/raw/train/wav.scp",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(
    recipe: Path, options: list[str], said: str
) -> None:
    write_configs(recipe / "conf")
    assert said in refused("asr.sh", *SETS, *options)
    assert not (recipe / "dump").exists() and not (recipe / "exp").exists()


def write_configs(directory: Path) -> None:
    (directory / "train.yaml").write_text("{encoder: rnn, optim: adam}")
    (directory / "decode.yaml").write_text("{beam_size: 3}")
    (directory / "plan.yaml").write_text("phases: [{cut: decoder}]")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--ngpu", "1"], "asked for 1 GPU, and found 0 on this machine"),
        (["--ngpu", "1", "--skip_stages", "7 8"], "--ngpu 0 computes on the CPU"),
        (["--ngpu", "0", "--gpu_inference", "true"], "--gpu_inference false computes on the CPU"),
        (["--ngpu", "1", "--stage", "12"], "stage 12 needs exp/"),  # decodes on the CPU
        (["--ngpu", "1", "--stop_stage", "5"], "local/data.sh"),  # computes on none
    ],
)
def test_a_machine_without_gpus_is_told_before_data_are_prepared(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    (recipe / "local/data.sh").write_text("#!/bin/sh\necho local/data.sh ran >&2; exit 1\n")
    assert said in refused("asr.sh", *SETS, *options)


@pytest.mark.usefixtures("recipe")
def test_names_are_told_for_options_that_a_checkout_alone_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ESPNET_ROOT", "/a/checkout")
    options = ["--asr_tag", "mine", "--use-k2", "true", "--new_option", "x"]
    assert run("asr.sh", *SETS, *options, "--print_asr_exp", "true").stdout.endswith(
        "exp/asr_mine\n"
    )


@pytest.mark.parametrize("script", ["asr.sh", "topdown.sh", "../lm1/lm.sh"])
@pytest.mark.usefixtures("recipe")
def test_a_python_without_the_package_is_told_with_what_helps(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a terminal where no environment is activated."""
    monkeypatch.delenv("PYTHONPATH")
    programs = Path("programs")
    programs.mkdir()
    (programs / "python3").symlink_to(sys.base_prefix + "/bin/python3")
    monkeypatch.setenv("PATH", f"{programs.resolve()}:{os.environ['PATH']}")
    options = [] if script.endswith("lm.sh") else SETS
    said = refused(script, *options, "--stop_stage", "5")
    assert f"{programs.resolve()}/python3 has no espnet_topdown; activate an environment" in said
    assert "source .venv-3.X/bin/activate" in said


@pytest.mark.usefixtures("recipe")
def test_an_option_of_two_scripts_is_named_once() -> None:
    said = refused("topdown.sh", *SETS, "--stop_stage", "5", "--stge", "1")
    assert "unknown option --stge; near it: --stage; see" in said


@pytest.mark.parametrize(
    "options, said",
    [
        (["--stage", "18", "--phse", "3"], "unknown option --phse; near it: --phase"),
        (["--stage", "21"], "nothing to do: --stage 21"),
        (["--stage", "13", "--stop_stage", "12"], "nothing to do: --stage 13 --stop_stage 12"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_mistyped_option_stops_before_the_cascade(options: list[str], said: str) -> None:
    Path("plan.yaml").write_text("phases: [{cut: decoder}]")
    assert said in refused("topdown.sh", *SETS, "--topdown_plan", "plan.yaml", *options)


@pytest.mark.parametrize(
    "stage, said",
    [
        ("17", "stage 17 needs exp/base/config.yaml, but it is missing or empty; run stage 11"),
        ("18", "stage 18 needs exp/base/config.yaml, but it is missing or empty; run stage 11"),
        (
            "19",
            "needs exp/base_topdown_plan/cascade.json, but it is missing or empty; run stage 18",
        ),
        (
            "20",
            "needs exp/base_topdown_plan/cascade.json, but it is missing or empty; run stage 18",
        ),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_stage_of_the_cascade_names_the_stage_that_it_needs(stage: str, said: str) -> None:
    Path("plan.yaml").write_text("phases: [{cut: decoder}]")
    options = ["--topdown_plan", "plan.yaml", "--asr_exp", "exp/base", "--ngpu", "0"]
    stages = ["--stage", stage, "--stop_stage", stage]
    assert said in refused("topdown.sh", *SETS, *options, *stages)


def write_show() -> None:
    """A program ./show that prints its arguments, in the place of Python."""
    Path("show").write_text('#!/usr/bin/env bash\nprintf "[%s]" "$@"\n')
    Path("show").chmod(0o755)


@pytest.mark.usefixtures("recipe")
def test_stage_17_tells_the_wall_time_of_as_many_jobs_as_stage_18_has() -> None:
    Path("plan.yaml").write_text("phases: [{cut: decoder}]")
    write_show()
    Path("exp/base").mkdir(parents=True)
    Path("exp/base/config.yaml").write_text("encoder: rnn")
    options = ["--topdown_plan", "plan.yaml", "--python", "./show", "--asr_exp", "exp/base"]
    stages = ["--stage", "17", "--stop_stage", "17", "--ngpu", "0", "--jobs", "3"]
    done = run("topdown.sh", *SETS, *options, *stages)
    assert done.returncode == 0, done.stderr
    assert "[espnet_topdown][plan][exp/base][--plan][plan.yaml][--jobs][3]" in done.stdout


@pytest.mark.usefixtures("recipe")
def test_stage_19_passes_over_what_is_decoded() -> None:
    """By the command that does, with the recipe's options."""
    Path("plan.yaml").write_text("phases: [{cut: decoder}]")
    write_show()
    Path("exp/base_topdown_plan").mkdir(parents=True)
    Path("exp/base_topdown_plan/cascade.json").write_text("{}")
    options = ["--topdown_plan", "plan.yaml", "--python", "./show", "--asr_exp", "exp/base"]
    done = run("topdown.sh", *SETS, *options, "--stage", "19", "--stop_stage", "19")
    assert done.returncode == 0, done.stderr
    command = "[-m][espnet_topdown][decode][--decode][best][--script]"
    command += "[../../TEMPLATE/asr1/topdown.sh][exp/base_topdown_plan][--train_set][train]"
    assert command in done.stdout


@pytest.mark.parametrize("script", ["asr.sh", "topdown.sh"])
@pytest.mark.usefixtures("recipe")
def test_what_ctrl_c_has_ended_is_told_as_that_and_once(script: str) -> None:
    # As a terminal does, to all that it runs; then a program ends as if it had failed.
    Path("local/data.sh").write_text("#!/usr/bin/env bash\ntrap : INT\nkill -INT 0\nexit 1\n")
    words = [f"../../TEMPLATE/asr1/{script}", *SETS, "--stop_stage", "1"]
    done = subprocess.run(words, capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command goes on\n")


@pytest.mark.usefixtures("recipe")
def test_statistics_that_ctrl_c_has_ended_have_not_failed(recipe: Path) -> None:
    for name in ("train", "dev"):
        shutil.copytree(f"data/{name}", f"dump/raw/{name}")
    Path("data/token_list/char").mkdir(parents=True)
    Path("data/token_list/char/tokens.txt").write_text("<blank>\n<unk>\n<sos/eos>\n")
    Path("stop").write_text("#!/usr/bin/env bash\ntrap : INT\nkill -INT 0\nexit 1\n")
    Path("stop").chmod(0o755)
    (recipe / "cmd.sh").unlink()
    Path("cmd.sh").write_text("train_cmd=./stop\ncuda_cmd=./stop\ndecode_cmd=./stop\n")
    words = ["../../TEMPLATE/asr1/asr.sh", *SETS, "--token_type", "char", "--ngpu", "0"]
    write_configs(Path("conf"))
    words += ["--asr_config", "conf/train.yaml", "--stage", "10", "--stop_stage", "10"]
    done = subprocess.run(words, capture_output=True, text=True, start_new_session=True)
    assert (done.returncode, done.stderr) == (130, "interrupted; the same command goes on\n")


@pytest.mark.usefixtures("recipe")
def test_an_option_of_a_checkout_at_its_default_is_let_through() -> None:
    options = ["--use_ngram", "false", "--skip_upload_hf", "true"]
    done = run("asr.sh", *SETS, *options, "--stop_stage", "1")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["asr.sh", "topdown.sh"])
@pytest.mark.usefixtures("recipe")
def test_help_lists_every_option_once(script: str) -> None:
    text = (TEMPLATE / script).read_text()
    block = text.partition("# == options\n")[2].partition("# == end of options")[0]
    names = [line.split("=")[0] for line in block.splitlines() if line and not line.startswith("#")]
    done = run(script, "--help")
    assert done.returncode == 0
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  --")]
    assert listed == [f"--{name}" for name in names]
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize(
    "options, said",
    [
        ([], "--topdown_plan is ''"),
        (["--topdown_plan", "conf/none.yaml"], "'conf/none.yaml', which is no file"),
        (
            ["--topdown_plan", "conf/train_x.yaml", "--decode", "bets"],
            "--decode is 'bets'; valid: best, all; near it: best",
        ),
        (
            ["--topdown_plan", "conf/train.yaml"],
            "--topdown_plan: conf/train.yaml is not a plan but a training config",
        ),
        (["--stage", "15", "--stop_stage", "16"], "stages 14 to 16"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_a_cascade_without_what_it_needs_is_refused(options: list[str], said: str) -> None:
    write_configs(Path("conf"))
    assert said in refused("topdown.sh", *SETS, *options)


@pytest.fixture
def checkout(recipe: Path, fake_checkout: Path) -> Path:
    """The root of a checkout whose asr.sh prints its options."""
    names = ["python", "ngpu", "num_nodes", "skip_train", "asr_exp", "inference_asr_model"]
    names += ["train_set", "valid_set", "test_sets", "use_k2", "use_lm", "skip_stages"]
    names += ["gpu_inference"]
    options = "".join(f"{name}=\n" for name in names)
    fake_checkout.write_text(f'#!/usr/bin/env bash\n{options}printf "[%s]" "$@"\n')
    return fake_checkout.parents[3]


@pytest.mark.parametrize(
    "options, said",
    [
        (["--stage", "1", "--stop_stage", "13"], "asked for 1 GPU, and found 0 on this machine"),
        (["--stage", "18", "--topdown_plan", "conf/plan.yaml"], "--ngpu 0 computes on the CPU"),
        (["--gpu_inference", "true", "--ngpu", "0", "--stop_stage", "13"], "--gpu_inference false"),
        (["--stage", "12", "--stop_stage", "13"], ""),  # decodes on the CPU
        (["--stage", "7", "--stop_stage", "8"], "asked for 1 GPU"),
        (["--stage", "7", "--stop_stage", "8", "--use_lm", "false"], ""),
        (["--stop_stage", "13", "--skip_train", "true"], ""),
        (["--stop_stage", "13", "--skip_stages", "7 8 11"], ""),
        (["--stop_stage", "13", "--ngpu", "0"], ""),
    ],
)
@pytest.mark.usefixtures("checkout")
def test_a_machine_without_gpus_is_told_before_a_checkout_begins(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write_configs(recipe / "conf")
    done = run("topdown.sh", *SETS, *options)
    assert (done.returncode, said in done.stderr) == (1 if said else 0, True), done.stderr
    assert ("[--train_set]" in done.stdout) == (not said)


def test_with_a_checkout_its_asr_sh_is_linked_and_called(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = checkout / "egs2" / "TEMPLATE" / "asr1"
    options = ["--use_k2", "true", "--ngpu", "0", "--stage", "11", "--stop_stage", "14"]
    done = run("topdown.sh", *SETS, *options)
    assert done.returncode == 0, done.stderr
    given = "[--test_sets][dev test][--use_k2][true]"
    added = "[--python][python3][--ngpu][0][--num_nodes][1][--stage][11][--stop_stage][14]"
    assert given + added in done.stdout
    assert Path("utils").resolve() == template / "utils"
    said = "unknown option --use_k3; near it: --use_k2 --use_lm: neither of this script (see"
    stages = ["--stage", "11", "--stop_stage", "13"]
    assert said in refused("topdown.sh", *SETS, "--use_k3", "true", *stages)
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path / "nowhere"))
    assert "has no egs2/TEMPLATE/asr1/asr.sh" in refused("topdown.sh", *SETS, "--stop_stage", "13")


def test_a_wrong_archive_of_mini_an4_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(REPOSITORY / "egs2" / "mini_an4" / "asr1" / "local", tmp_path / "local")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (tmp_path / "wrong.tar.gz").write_text("not it")
    for archive, said in (("wrong.tar.gz", "has MD5 "), ("none.tar.gz", "there is no such file")):
        command = [sys.executable, "local/data_prep.py", "--archive", archive]
        command += ["--downloads", "dl", "--data", "data"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.recipe
def test_mini_an4_goes_from_its_recordings_to_the_table_of_a_cascade() -> None:
    """Looks at what `make mini_an4` made, which .ci/run calls before."""
    directory = REPOSITORY / "egs2" / "mini_an4" / "asr1"
    exp = directory / "exp" / "asr_train_asr_rnn_raw_en_char"
    cascade = exp.with_name(f"{exp.name}_topdown_rnn")
    if not (cascade / "RESULTS.md").exists():
        pytest.skip("make mini_an4 was not run")
    for name, size in (("train_nodev", 4), ("train_dev", 1), ("test", 2)):
        assert len(read_table(directory / "data" / name / "text")) == size
    # The two test sentences have ten words.
    assert "|2|10|" in (exp / "RESULTS.md").read_text()
    phases = [cascade / f"phase{k}" for k in (1, 2, 3)]
    assert all(read_record(phase) for phase in phases)
    best = (cascade / "best").resolve()
    assert best in [exp, *phases]
    assert list(best.glob("*/test*/score_wer/result.txt"))
    assert json.loads((cascade / "results.json").read_text())
