"""The command line: light, explaining itself, and clear about bad input."""

import subprocess
import sys

import pytest

from espnet_topdown.cli import ACTIONS, main
from espnet_topdown.plan.reference import reference

LIGHT = [
    *("plan.plan_file", "plan.expansion", "plan.ties", "plan.topdown_conf"),
    *("experiment.config", "experiment.train_log", "experiment.phase_dir"),
    *("cascade.paths", "cascade.model_facts", "cascade.judgement", "cascade.cascade"),
    *("cascade.records", "cascade.ledger", "cascade.launch", "cascade.runner"),
    *("cascade.text", "cascade.progress", "cascade.prune", "cascade.decode"),
    *("results.rows", "results.pages", "results.report", "study.study", "study.tables"),
    *("cli", "cli_parser", "warm", "warm.server", "warm.line", "__main__"),
]


def test_reading_modules_load_without_torch_or_espnet():
    imports = "; ".join(f"import espnet_topdown.{name}" for name in LIGHT)
    check = (
        "import sys; heavy = {'torch', 'espnet', 'espnet2'} & set(sys.modules); sys.exit(f'loaded"
        " {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {check}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "espnet_topdown", *words], capture_output=True, text=True
    )


def test_help_names_every_command():
    out = command("--help").stdout
    for name in ACTIONS:
        # A long name has a line of its own.
        assert f"\n    {name} " in out or f"\n    {name}\n" in out


def test_without_a_command_the_five_usual_ones_are_shown():
    done = command()
    assert (done.returncode, done.stdout) == (2, "")
    shown = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("  espnet-")]
    assert shown == ["layers", "plan", "run", "decode", "results"]


def test_the_keys_of_a_plan_are_printed_without_a_plan():
    done = command("plan", "--keys")
    assert (done.returncode, done.stdout, done.stderr) == (0, reference(), "")


MODULES = {
    "espnet_topdown": "espnet-topdown",
    "espnet_topdown.cli": "espnet-topdown",
    "espnet_topdown.study": "python3 -m espnet_topdown.study",
    "espnet_topdown.recipe": "espnet_topdown.recipe",
    "espnet_topdown.corpora.fsdd": "python3 -m espnet_topdown.corpora.fsdd",
    "espnet_topdown.corpora.hub5": "python3 -m espnet_topdown.corpora.hub5",
    "espnet_topdown.corpora.sphere": "python3 -m espnet_topdown.corpora.sphere",
    "espnet_topdown.corpora.swbd": "python3 -m espnet_topdown.corpora.swbd",
    "espnet_topdown.corpora.wsj": "python3 -m espnet_topdown.corpora.wsj",
    "espnet_topdown.lm.data": "python3 -m espnet_topdown.lm.data",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_wrong_option_is_told_by_the_program_as_it_is_called(module):
    words = [sys.executable, "-m", module, "--no_such_option"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: {MODULES[module]} ")
    assert f"\n{MODULES[module]}: error: " in done.stderr


MISSPELT = {
    "a command": (["layres", "x"], "COMMAND: 'layres' is unknown; did you mean layers, phases?"),
    "an option": (
        ["results", "x", "--josn"],
        "espnet-topdown results: error: unknown option --josn; did you mean --json, --csv? (valid:",
    ),
    "an option that is required": (
        ["plan", "x", "--plann", "rnn"],
        "--plann; did you mean --plan?",
    ),
    "an option and its value": (["status", "x", "--folow=1"], "--folow; did you mean --follow?"),
    "a value": (
        ["layers", "x", "--task", "asrr"],
        "--task: 'asrr' is unknown; did you mean asr? (valid: asr, lm, st, mt, slu, s2t)",
    ),
    "a word too many": (["status", "x", "y"], "status: error: found y, which no argument takes"),
    "of a study": (
        ["-m", "espnet_topdown.study", "run", "rnn", "--sedes", "3"],
        "unknown option --sedes; did you mean --seeds?",
    ),
}


@pytest.mark.parametrize("name", MISSPELT)
def test_what_is_misspelt_is_told_with_the_nearest(name):
    words, said = MISSPELT[name]
    done = command(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("option", ["--decode best", "--decode=best", "--again", "--script x.sh"])
def test_an_option_of_decode_behind_the_directory_is_not_run_shs(option, capsys):
    with pytest.raises(SystemExit):
        main(["decode", "exp/x_topdown_rnn", "--use_lm", "false", *option.split()])
    told = f"{option.split()[0]} stands behind exp/x_topdown_rnn, where options are run.sh's"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("script, told", [("", True), ("yes", False)])
def test_ctrl_c_is_told_by_the_command_or_by_the_recipe_that_runs_it(
    script, told, monkeypatch, capsys
):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setenv("ESPNET_TOPDOWN_SCRIPT", script)
    monkeypatch.setitem(ACTIONS, "status", interrupt)
    with pytest.raises(SystemExit) as end:
        main(["status", "x"])
    assert end.value.code == 130
    assert ("the same command goes on from here" in capsys.readouterr().err) == told


def test_a_script_and_a_module_are_run_with_their_own_arguments_and_clean_streams(tmp_path):
    script = tmp_path / "say.py"
    script.write_text("import sys; print(sys.argv[1:], sys.stdin.read())")
    words = [sys.executable, "-m", "espnet_topdown", str(script), "-x", "--y"]
    done = subprocess.run(words, input="in", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['-x', '--y'] in\n", "")
    done = subprocess.run(
        [sys.executable, "-m", "espnet_topdown", "-m", "json.tool"],
        input="[1]",
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[\n    1\n]\n"


BAD = {
    "no experiment": (["run", "nowhere", "--plan", "plan.yaml"], "nowhere is not a directory"),
    "no plan": (["run", "exp", "--plan", "none.yaml"], "cannot read the plan none.yaml"),
    "no config": (
        ["plan", "empty", "--plan", "plan.yaml"],
        "is no trained experiment: cannot read empty/config.yaml",
    ),
    "no model": (
        ["layers", "nowhere.yaml"],
        "nowhere.yaml is neither an experiment's directory nor a training config",
    ),
    "config is not YAML": (["plan", "broken", "--plan", "plan.yaml"], "is not YAML"),
    "config of another task": (
        ["plan", "tts", "--plan", "plan.yaml"],
        "of ESPnet's task tts, which is not trained top-down (valid: asr, lm, st, mt, slu, s2t)",
    ),
    "config without data": (["plan", "nodata", "--plan", "plan.yaml"], "names no training data"),
    "data are gone": (["plan", "exp", "--plan", "plan.yaml"], "names files that are not there"),
    "no cascade": (["status", "exp"], "exp is no cascade"),
    "no cascade to verify": (["verify", "exp"], "exp is no cascade"),
    "layers of nothing": (["layers", "none.yaml"], "cannot read none.yaml"),
    "no module": (["-m"], "-m needs a module"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with experiments that cannot be used."""
    directory = tmp_path_factory.mktemp("bad")
    configs = {
        "exp": "{encoder: rnn, train_data_path_and_name_and_type: [[gone.scp, speech, sound]]}",
        "broken": "{a: [",
        "tts": "{tts: tacotron2}",
        "nodata": "{encoder: rnn}",
    }
    for name, text in configs.items():
        (directory / name).mkdir()
        (directory / name / "config.yaml").write_text(text)
    (directory / "empty").mkdir()
    (directory / "plan.yaml").write_text("phases: [{cut: decoder}]")
    return directory


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gives_one_clear_message(name, place, monkeypatch, capsys):
    from espnet_topdown.__main__ import main

    words, fragment = BAD[name]
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as caught:
        main(words)
    error = capsys.readouterr().err
    assert caught.value.code == 1
    assert fragment in error
    assert "Traceback" not in error
