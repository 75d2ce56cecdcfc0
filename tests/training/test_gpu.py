"""On a GPU, where there is one: a cascade of a recurrent model trains, is proved and says on what.

Its commands are processes of their own: this one must not initialise CUDA, since others fork it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from new_process import search_path

from espnet_topdown.experiment.phase_dir import PROOF, RECORD

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
RNN = tiny.asr_config("rnn", "rnn", max_epoch=2, keep_nbest_models=1)


def call(*words: str) -> str:
    """What a command of the package printed; it must succeed."""
    environment = os.environ | {"PYTHONPATH": search_path(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def cascade(base: Path, place: Path, *options: str) -> Path:
    (place / "plan.yaml").write_text("phases: [{cut: decoder}, {cut: encoder.1}]\n")
    directory = place / "cascade"
    plan = ["--plan", str(place / "plan.yaml"), "--dir", str(directory)]
    call("espnet_topdown", "run", str(base), *plan, "--threads", "1", *options)
    return directory


@pytest.mark.parametrize("amp", [False, True])
def test_a_recurrent_cascade_trains_on_a_gpu_and_says_on_which(
    data: Path, tmp_path: Path, *, amp: bool
) -> None:
    base = tmp_path / "base"
    words = tiny.command(data, base, RNN | {"use_amp": amp}, "--ngpu", "1")
    call("espnet_topdown.bin.train", *words)
    # As the base did, without a word on GPUs.
    directory = cascade(base, tmp_path)
    for name in ("phase1", "phase2"):
        assert (directory / name / PROOF).exists()
        record = json.loads((directory / name / RECORD).read_text())
        assert record["ngpu"] == 1
        assert record["machine"]["gpu"] and record["machine"]["cuda"]
    assert "phase2" in call("espnet_topdown", "verify", str(directory))


def test_a_base_of_a_gpu_is_cascaded_on_the_cpu_where_that_is_asked_for(
    data: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    call("espnet_topdown.bin.train", *tiny.command(data, base, dict(RNN), "--ngpu", "1"))
    directory = cascade(base, tmp_path, "--ngpu", "0")
    record = json.loads((directory / "phase2" / RECORD).read_text())
    assert (record["ngpu"], record["machine"]["gpu"]) == (0, None)
