"""Phases are decoded by the recipe's run.sh as the base was, each once."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown import locks
from espnet_topdown.cascade.decode import decode
from espnet_topdown.cascade.recipe_script import base_options, forwards, options_in, own_options
from espnet_topdown.errors import TopdownError
from espnet_topdown.experiment.phase_dir import DECODING
from espnet_topdown.warm import groups

ROOT = Path(__file__).parents[2]
MODEL = "valid.acc.ave_10best.pth"
STAGES = "--stage 12 --stop_stage 13 --skip_train true"
# As asr.sh of ESPnet writes it: the corpus's options, then those of the command line.
TRAINED = (
    "./asr.sh --lang en --asr_config conf/train.yaml --use_lm false --lm_tag"
    " --inference_args '--beam_size 3' --asr_tag x --stage 11 \"$@\"; exit $?\n"
)
RUN = """#!/bin/bash
lang=en
./asr.sh \\
    --lang "${lang}" \\
    --asr_config conf/train.yaml "$@"
"""
ASR = """#!/bin/bash
stage=1
stop_stage=9
skip_train=false
asr_exp=
inference_asr_model=valid.acc.ave.pth
echo "$*" >> called
for word in "$@"; do [ -d "${word}" ] && exp=${word}; done
[[ ${exp} != *bad ]] || exit 1
mkdir -p "${exp}/decode_x/test/score_wer"
touch "${exp}/decode_x/test/score_wer/result.txt"
"""


def toy_cascade(task: str = "asr") -> SimpleNamespace:
    base = SimpleNamespace(task=task, directory=Path("exp/base"))
    phase = SimpleNamespace(tokens=None)
    return SimpleNamespace(base=base, phase_model_name="valid.loss.ave.pth", phase=lambda _: phase)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe with a base and two phases; `called` has what its asr.sh was called with."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("run.sh", RUN), ("asr.sh", ASR), ("path.sh", "")):
        Path(name).write_text(text)
        Path(name).chmod(0o755)
    for name in ("base", "p1", "p2", "bad"):
        experiment = Path("exp") / name
        experiment.mkdir(parents=True)
        for model in (MODEL, "valid.acc.ave.pth", "valid.loss.ave.pth"):
            (experiment / model).write_text(name)
    return tmp_path


def calls() -> list[str]:
    """What asr.sh was called with since the last time."""
    lines = Path("called").read_text().splitlines() if Path("called").exists() else []
    Path("called").unlink(missing_ok=True)
    return [line.removeprefix("--lang en --asr_config conf/train.yaml ") for line in lines]


@pytest.mark.usefixtures("recipe")
def test_options_of_the_command_line_that_trained_the_base_are_taken_and_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("exp/base/run.sh").write_text(TRAINED)
    decode(toy_cascade(), [Path("exp/p1"), Path("exp/p2")], ["--use_lm", "true"])
    taken = "--inference_asr_model valid.acc.ave.pth --use_lm true --lm_tag  --inference_args"
    assert calls() == [
        f"{STAGES} --asr_exp exp/p1 {taken} --beam_size 3",
        f"{STAGES} --asr_exp exp/p2 {taken} --beam_size 3",
    ]
    said = capsys.readouterr().out
    assert "decoding with --inference_asr_model valid.acc.ave.pth --use_lm true --lm_tag ''" in said
    assert "exp/p2 (2 of 2): decoded and scored in 0.0 min" in said


@pytest.mark.usefixtures("recipe")
def test_the_model_is_that_of_the_bases_last_decoding() -> None:
    Path("exp/base/run.sh").write_text(TRAINED)
    for place, name in enumerate(("old", MODEL)):
        decoding = Path("exp/base") / f"decode_{place}"
        decoding.mkdir()
        words = f"./asr.sh --lang en --inference_asr_model {name} --nj 3 --stage 12"
        (decoding / "run.sh").write_text(f'{words} "$@"; exit $?\n')
        os.utime(decoding / "run.sh", (place, place))
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == [f"{STAGES} --asr_exp exp/p1 --inference_asr_model {MODEL} --nj 3"]
    Path("exp/p2", MODEL).unlink()
    with pytest.raises(TopdownError, match=f"exp/p2 has no {MODEL}, .* valid.acc.ave.pth, valid"):
        decode(toy_cascade(), [Path("exp/p1"), Path("exp/p2")], [])
    # Nothing began, and the advice works.
    assert calls() == []
    decode(toy_cascade(), [Path("exp/p2")], ["--inference_asr_model", "valid.acc.ave.pth"])
    assert "valid.acc.ave.pth --nj 3" in calls()[0]


@pytest.mark.usefixtures("recipe")
def test_run_shs_own_model_is_taken_and_else_asr_shs_and_else_the_parents() -> None:
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == [f"{STAGES} --asr_exp exp/p1 --inference_asr_model valid.acc.ave.pth"]
    Path("exp/base/valid.acc.ave.pth").unlink()
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == [f"{STAGES} --asr_exp exp/p1 --inference_asr_model valid.loss.ave.pth"]
    Path("run.sh").write_text(RUN.replace("--lang", f"--inference_asr_model {MODEL} --lang"))
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls()[0].endswith(f"--asr_exp exp/p1 --inference_asr_model {MODEL}")


@pytest.mark.usefixtures("recipe")
def test_a_phase_is_held_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = []

    def run(words: list[str]) -> int:
        holders.append(locks.holder(Path("exp/p1") / DECODING))
        return 0

    monkeypatch.setattr(groups, "run", run)
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert "(decode)" in holders[0].name
    assert locks.holder(Path("exp/p1") / DECODING) is None


@pytest.mark.usefixtures("recipe")
def test_what_is_decoded_by_the_same_model_and_options_is_passed_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    phases = [Path("exp/p1"), Path("exp/p2")]
    Path("decode.yaml").write_text("beam_size: 3")
    options = ["--inference_config", "decode.yaml"]
    decode(toy_cascade(), phases, options)
    assert len(calls()) == 2
    decode(toy_cascade(), phases, options)
    assert calls() == []
    assert "exp/p1 (1 of 2): decoded already by this model" in capsys.readouterr().out
    decode(toy_cascade(), phases, options, again=True)
    assert len(calls()) == 2
    Path("exp/p1/valid.acc.ave.pth").write_text("another model")
    decode(toy_cascade(), phases, options)
    assert len(calls()) == 1
    Path("exp/p2/decode_x/test/score_wer/result.txt").unlink()
    decode(toy_cascade(), phases, options)
    assert len(calls()) == 1
    Path("decode.yaml").write_text("beam_size: 4")
    decode(toy_cascade(), phases, options)
    assert len(calls()) == 2
    decode(toy_cascade(), phases, [*options, "--nj", "2"])
    assert len(calls()) == 2


@pytest.mark.usefixtures("recipe")
def test_run_shs_own_options_are_among_those_of_a_decoding(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stage 19 is given all of them, and the command decode finds them in run.sh."""
    Path("conf").mkdir()
    Path("conf/train.yaml").write_text("encoder: rnn")
    Path("topdown.sh").write_text('#!/bin/bash\n./asr.sh "$@"\n')
    Path("topdown.sh").chmod(0o755)
    given = ["--lang", "en", "--asr_config", "conf/train.yaml"]
    decode(toy_cascade(), [Path("exp/p1")], given, script=Path("topdown.sh"))
    assert len(calls()) == 1
    Path("run.sh").write_text(RUN.replace("--lang", "--topdown_plan conf/x.yaml --lang"))
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == []
    assert "decoded already by this model and these options" in capsys.readouterr().out
    Path("run.sh").write_text(RUN.replace("--lang", "--inference_args '--beam_size 5' --lang"))
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert len(calls()) == 1


@pytest.mark.usefixtures("recipe")
def test_scores_of_a_decoding_that_did_not_end_are_no_others() -> None:
    """What it wrote lies where the earlier one's did, whose options may come back."""
    Path("decode.yaml").write_text("beam_size: 3")
    options = ["--inference_config", "decode.yaml"]
    decode(toy_cascade(), [Path("exp/p1")], options)
    calls()
    asr = Path("asr.sh").read_text()
    Path("asr.sh").write_text(f"{asr}exit 1\n")
    Path("decode.yaml").write_text("beam_size: 4")
    with pytest.raises(TopdownError, match="ended with status 1"):
        decode(toy_cascade(), [Path("exp/p1")], options)
    Path("asr.sh").write_text(asr)
    Path("decode.yaml").write_text("beam_size: 3")
    calls()
    decode(toy_cascade(), [Path("exp/p1")], options)
    assert len(calls()) == 1


@pytest.mark.usefixtures("recipe")
def test_a_refusal_before_anything_was_decoded_leaves_what_is_there() -> None:
    decode(toy_cascade(), [Path("exp/p1")], [])
    for path in Path("exp/p1").rglob("*"):
        os.utime(path, (1, 1))
    asr = Path("asr.sh").read_text()
    Path("asr.sh").write_text(asr.replace("asr_exp=\n", "asr_exp=\nexit 1\n", 1))
    with pytest.raises(TopdownError, match="ended with status 1"):
        decode(toy_cascade(), [Path("exp/p1")], ["--inference_config", "none.yaml"])
    Path("asr.sh").write_text(asr)
    calls()
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == []


@pytest.mark.usefixtures("recipe")
def test_what_a_script_hands_on_to_counts_too() -> None:
    Path("run_noisy.sh").write_text('#!/bin/bash\n./run.sh --test_sets noisy "$@"\n')
    Path("run_noisy.sh").chmod(0o755)
    for text, times in ((RUN, 1), (RUN, 0), (RUN.replace("--lang", "--use_lm true --lang"), 1)):
        Path("run.sh").write_text(text)
        decode(toy_cascade(), [Path("exp/p1")], [], script=Path("run_noisy.sh"))
        assert len(calls()) == times


def test_the_recipes_own_scripts_give_nothing_but_options() -> None:
    scripts = [*ROOT.glob("egs2/*/asr1/run.sh")]
    assert len(scripts) > 4
    for script in scripts:
        assert all(map(str.isidentifier, own_options(script))), script


@pytest.mark.usefixtures("recipe")
def test_a_script_counts_by_its_own_options() -> None:
    Path("run_lm.sh").write_text(RUN.replace("--lang", "--use_lm true --lang"))
    Path("run_lm.sh").chmod(0o755)
    for script, times in (("run.sh", 1), ("run_lm.sh", 1), ("run_lm.sh", 0), ("run.sh", 1)):
        decode(toy_cascade(), [Path("exp/p1")], [], script=Path(script))
        assert len(calls()) == times, script


READS = """
log=${exp}/decode_x/test/logdir/asr_inference.1.log
words="--data_path_and_name_and_type dump/test/wav.scp,speech,sound --lm_file exp/lm/ave.pth"
mkdir -p "${log%/*}"
printf '# Started at once\\n# dump/python3 -m espnet2.bin.asr_inference %s\\n' "${words}" > "${log}"
"""


@pytest.mark.usefixtures("recipe")
def test_what_a_decoding_has_read_may_not_have_changed(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("asr.sh").open("a") as script:
        script.write(READS)
    others = ("dump/python3", "dump/test/other")
    for name in ("dump/test/wav.scp", "dump/test/text", "exp/lm/ave.pth", *others):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("one")
    decode(toy_cascade(), [Path("exp/p1")], [])
    calls()
    for name in others:
        Path(name).write_text("two")
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == []
    for name in ("dump/test/wav.scp", "dump/test/text", "exp/lm/ave.pth"):
        Path(name).write_text("two")
        decode(toy_cascade(), [Path("exp/p1")], [])
        assert len(calls()) == 1, name
        assert (
            f"exp/p1 (1 of 1): {name} has changed since it was decoded" in capsys.readouterr().out
        )
    # What is gone cannot be read anew.
    Path("dump/test/wav.scp").unlink()
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == []


@pytest.mark.usefixtures("recipe")
def test_another_script_takes_the_place_of_run_sh() -> None:
    """As stage 19 of our recipes, whose options come from the command line of stages 1 to 20."""
    Path("shared").mkdir()
    Path("run.sh").rename("shared/all.sh")
    # Which experiment is decoded, the phases say.
    options = ["--asr_exp", "exp/base", "--use_lm", "true"]
    # Longer than the name of a file can be.
    long = " ".join(["--optim_conf lr=0.1"] * 20)
    options += ["--asr_args", long]
    decode(toy_cascade(), [Path("exp/p1")], options, script=Path("shared/all.sh"))
    model = "--inference_asr_model valid.acc.ave.pth"
    assert calls() == [f"{STAGES} --asr_exp exp/p1 {model} --use_lm true --asr_args {long}"]
    with pytest.raises(TopdownError, match="found no shared/none.sh in"):
        decode(toy_cascade(), [Path("exp/p1")], [], script=Path("shared/none.sh"))


@pytest.mark.usefixtures("recipe")
def test_a_run_sh_that_keeps_its_arguments_is_refused_before_anything_runs() -> None:
    Path("run.sh").write_text(RUN.replace(' "$@"', ""))
    refusal = 'does not hand its arguments on, .* write "[$]@" at the end of its ./asr.sh command'
    with pytest.raises(TopdownError, match=refusal):
        decode(toy_cascade(), [Path("exp/p1")], [])
    assert calls() == []
    Path("run.sh").write_text(Path("run.sh").read_text().rstrip() + ' "$@"\n')
    decode(toy_cascade(), [Path("exp/p1")], [])
    assert len(calls()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('./asr.sh --lang en "$@"', True),
        ("./asr.sh --lang en ${@}", True),
        ('./asr.sh \\\n --lang en \\\n "$@"', True),
        ("./asr.sh --lang en", False),
        # A lost backslash: the arguments are a command of their own.
        ('./asr.sh --lang en\n    "$@"', False),
        ('./asr.sh --lang en  # "$@"', False),
        ('set -- "$@"\n./asr.sh --lang en', False),
        ('exec ./run_forwards.sh "$@"', True),
        ('. ./run_keeps.sh "$@"', False),
    ],
)
def test_whether_a_script_hands_its_arguments_on(text: str, expected: bool, tmp_path: Path) -> None:
    (tmp_path / "run_forwards.sh").write_text('./asr.sh --lang en "$@"\n')
    (tmp_path / "run_keeps.sh").write_text("./asr.sh --lang en\n")
    (tmp_path / "run.sh").write_text(f"#!/bin/bash\n{text}\n")
    assert forwards(tmp_path / "run.sh") is expected


def test_options_are_read_as_asr_sh_wrote_and_run_sh_gives_them(tmp_path: Path) -> None:
    assert base_options(tmp_path) == {}
    (tmp_path / "run.sh").write_text(TRAINED)
    assert base_options(tmp_path) == {
        "lang": "en",
        "asr_config": "conf/train.yaml",
        "use_lm": "false",
        "lm_tag": "",
        "inference_args": "--beam_size 3",
    }
    (tmp_path / "run.sh").write_text(RUN)
    assert own_options(tmp_path / "run.sh") == {"lang": "en", "asr_config": "conf/train.yaml"}
    assert options_in(["--nj", "1", "--nj", "2", "--inference-nj"]) == {
        "nj": "2",
        "inference_nj": "",
    }
    assert options_in(["--inference-nj=4", "--lm_args=--lr=1", "--use_lm", "false", "--tag="]) == {
        "inference_nj": "4",
        "lm_args": "--lr=1",
        "use_lm": "false",
        "tag": "",
    }


@pytest.mark.usefixtures("recipe")
def test_what_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(TopdownError, match="--asr_exp exp/bad .* ended with status 1"):
        decode(toy_cascade(), [Path("exp/bad")], [])
    Path("asr.sh").write_text("stage=1\nstop_stage=9\nasr_exp=\ninference_asr_model=x\n")
    with pytest.raises(
        TopdownError, match="asr.sh has no option --skip_train, by which a phase is decoded"
    ):
        decode(toy_cascade(), [Path("exp/p1")], [])
    with pytest.raises(TopdownError, match="is of task lm, and only asr"):
        decode(toy_cascade("lm"), [Path("exp/p1")], [])
    for name in ("path.sh", "run.sh"):
        Path(name).unlink()
        with pytest.raises(TopdownError, match=f"found no {name} in .*; run in the recipe dir"):
            decode(toy_cascade(), [Path("exp/p1")], [])
