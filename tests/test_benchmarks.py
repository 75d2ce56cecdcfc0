"""The script for a GPU runs on a CPU, small, by its real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def gpu(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--device", "cpu", "--quick", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def results(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


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
