"""How trainings share a machine, and what is told of those that ended early."""

import pytest

from espnet_topdown.cascade.launch import Launch, default_threads, failure, gpu_share
from espnet_topdown.errors import TopdownError


@pytest.mark.parametrize(
    ("launch", "visible", "shares"),
    [
        (dict(ngpu=1, jobs=2), None, ["0", "1"]),
        (dict(ngpu=2, jobs=2), "4,5,6,7", ["4,5", "6,7"]),
        (dict(ngpu=1, jobs=1), None, [None]),
        (dict(ngpu=0, jobs=2), None, [None, None]),
        (dict(ngpu=1, jobs=2, cmd="slurm.pl"), None, [None, None]),
    ],
)
def test_trainings_side_by_side_get_gpus_of_their_own(launch, visible, shares):
    given = [gpu_share(Launch(**launch), slot, visible) for slot in range(launch["jobs"])]
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in given] == shares


def test_more_jobs_than_gpus_are_refused():
    with pytest.raises(TopdownError, match="needs 4 GPUs, and CUDA_VISIBLE_DEVICES=0,1 names 2"):
        gpu_share(Launch(ngpu=2, jobs=2), 0, "0,1")


@pytest.mark.parametrize(
    ("variable", "launch", "expected"),
    [
        ("3", dict(jobs=2, cmd="slurm.pl"), 3),
        ("", dict(cmd="slurm.pl"), 1),
        ("", dict(jobs=2), 4),
        ("", dict(jobs=20), 1),
    ],
)
def test_threads_are_the_variables_else_a_share_of_eight_cpus(
    variable, launch, expected, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert default_threads(Launch(**launch)) == expected


def test_a_failed_training_tells_our_message_with_its_indented_lines_alone(tmp_path):
    log = "INFO: 1/3epoch started\ntrain.py: error: two faults:\n  - a\n# Ended\n  - b\n"
    (tmp_path / "train.log").write_text(log)
    assert failure(tmp_path) == "two faults:\n  - a\n  - b"
