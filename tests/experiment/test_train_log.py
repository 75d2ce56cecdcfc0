"""Progress from the lines that ESPnet logs."""

from espnet_topdown.experiment.train_log import Progress, read_progress

LOG = """\
[host] 2026-01-01 (trainer:336) INFO: 1/3epoch started
[host] 2026-01-01 (trainer:400) INFO: 1epoch results: [train] iter_time=1.2e-04, loss=2.5, \
time=7.32 seconds, total_count=10, [valid] loss=nan, acc=0.25, time=1 second
[host] 2026-01-01 (trainer:325) INFO: 2/3epoch started. Estimated time to finish: 16.6 seconds
"""


def test_epochs_metrics_and_the_time_left_are_read(tmp_path):
    (tmp_path / "train.log").write_text(LOG.replace("nan", "1.5"))
    row = {
        "epoch": 1,
        "train": {"iter_time": 0.00012, "loss": 2.5, "time": 7.32, "total_count": 10.0},
        "valid": {"loss": 1.5, "acc": 0.25, "time": 1.0},
    }
    expected = Progress(epoch=2, max_epoch=3, time_left="16.6 seconds", results=(row,))
    assert read_progress(tmp_path / "train.log") == expected


def test_there_is_none_before_the_first_epoch(tmp_path):
    assert read_progress(tmp_path / "train.log") is None
    (tmp_path / "train.log").write_text("Traceback (most recent call last):\n")
    assert read_progress(tmp_path / "train.log") is None
