"""Benchmarks run small, by their real commands; that of a GPU on a CPU."""

import json
import logging
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def gpu(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--device", "cpu", "--quick", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def results(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of the scripts on the path."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))


@pytest.mark.usefixtures("benchmarks")
def test_the_limits_of_all_sections_fit_in_the_budget_and_that_in_8_minutes() -> None:
    import gpu as script

    assert sum(script.LIMITS.values()) <= script.BUDGET_S < 480


# A step of half a second is that of a recurrent decoder on a GPU.
@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(("step_s", "turns"), [(0.05, 20), (0.3, 9), (0.5, 6), (2.0, 6)])
def test_slow_steps_have_fewer_turns_but_enough_for_an_interval(step_s: float, turns: int) -> None:
    import gpu_steps

    ways = 4
    assert gpu_steps.turns_within(gpu_steps.TURNS_S, ways * step_s) == turns


def test_a_benchmark_measures_the_checkout_that_it_stands_in(tmp_path: Path) -> None:
    package = tmp_path / "espnet_topdown"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "versions.py").write_text("def versions(): return {'beside it': '1'}")
    (tmp_path / "benchmarks").mkdir()
    script = tmp_path / "benchmarks" / "measure.py"
    script.write_text(SCRIPT.with_name("measure.py").read_text() + "\nprint(versions())")
    # One that is installed, or, where it is not, none at all.
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "{'beside it': '1'}\n", done.stderr


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.parametrize(
    ("device", "killed", "again", "is_right"),
    [
        ("cpu", 0.0, 0.0, True),
        ("cpu", 1e-9, 1e-9, False),
        ("cuda", 0.0, 0.0, True),
        ("cuda", 1e-9, 0.0, False),
        ("cuda", 1e-9, 1e-9, True),
        ("cuda", 1e-9, None, False),
    ],
)
def test_a_resumed_training_that_differs_fails_unless_a_repetition_does_too(
    device: str, killed: float, again: float | None, *, is_right: bool
) -> None:
    import gpu_cascades

    differences = {"killed": killed} | ({} if again is None else {"again": again})
    assert gpu_cascades.is_as_promised(differences, device) is is_right


def test_public_configs_are_counted_with_what_stands_in_their_way(
    espnet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    sizes = dict(output_size=4, linear_units=4, attention_heads=1, num_blocks=1)
    served = dict(encoder="transformer", encoder_conf=sizes, decoder="rnn", max_epoch=1)
    configs = {
        "train_a.yaml": served,
        # Equal to it.
        "train_b.yaml": served,
        "train_c.yaml": served | dict(frontend="s3prl", optim="adam"),
        "train_d.yaml": served | dict(encoder="longformer", encoder_conf={}),
        "train_e.yaml": served | dict(encoder="none_such"),
        "train_f.yaml": served | dict(encoder_conf=sizes | dict(depth=3)),
        "decode.yaml": dict(beam_size=10),
    }
    conf = tmp_path / "egs2" / "corpus" / "asr1" / "conf"
    conf.mkdir(parents=True)
    for name, config in configs.items():
        (conf / name).write_text(yaml.safe_dump(config))
    monkeypatch.setenv("ESPNET_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["public_configs.py", "--build"])
    # For all tests after this one.
    monkeypatch.setattr(logging, "disable", lambda _: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT.with_name("public_configs.py")), run_name="__main__")
    said = capsys.readouterr().out
    assert ended.value.code == 1
    assert "5 distinct training configs" in said
    assert "served: 2 (40.0 %)" in said
    assert "refused: 1 (20.0 %)" in said and "LongformerEncoder" in said
    assert "not ESPnet's: 2 (40.0 %)" in said and "'depth'" in said
    assert "no encoder 'none_such'" in said


@pytest.mark.recipe
def test_all_sections_end_well_and_a_killed_cascade_is_bit_identical(tmp_path: Path) -> None:
    done = gpu(tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = results(tmp_path / "out")
    sections = ["machine", "cascades", "steps", "lstm", "phase"]
    assert list(dict.fromkeys(row["section"] for row in rows)) == sections
    (cascade,) = [row for row in rows if row["section"] == "cascades"]
    assert (cascade["ok"], cascade["largest_difference"]) == (True, {"killed": 0.0})


def test_results_of_an_earlier_run_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    (tmp_path / "results.jsonl").write_text("{}\n")
    done = gpu(tmp_path)
    assert done.returncode == 2
    assert f"--out {tmp_path} is not empty; give a new directory" in done.stderr


@pytest.mark.recipe
def test_a_section_that_fails_is_a_result_and_ends_in_status_1(tmp_path: Path) -> None:
    done = gpu(tmp_path / "out", "--only", "phase", "--wikitext2", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    (row,) = results(tmp_path / "out")
    assert (row["section"], row["ok"]) == ("phase", False)
    assert "nowhere" in row["log"]


@pytest.mark.slow
def test_many_phases_are_scheduled_and_read_by_the_real_command() -> None:
    script = SCRIPT.with_name("many_phases.py")
    words = [sys.executable, str(script), "--phases", "3", "--sets", "1", "--utterances", "20"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stdout.splitlines()[1:]]
    assert told == [
        "scheduling of 3 independent phases",
        "results, first call",
        "results, second call",
    ]
