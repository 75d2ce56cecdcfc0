"""Progress from the lines that ESPnet logs."""

import pytest

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
    expected = Progress(epoch=2, max_epoch=3, time_left="16 seconds", results=(row,))
    assert read_progress(tmp_path / "train.log") == expected


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("2 minutes and 5.2 seconds", 125.2),
        ("5 minutes", 300),
        ("1 hour, 2 minutes and 3.5 seconds", 3723.5),
        ("1 day, 2 hours and 3 minutes", 93780),
        ("1 week and 1 day", 691200),
    ],
)
def test_times_above_a_minute_are_all_of_their_words(words, seconds, tmp_path):
    """Those of humanfriendly's format_timespan, by which ESPnet logs them."""
    log = LOG.replace("7.32 seconds", words).replace("time=1 second", f"time={words}, gpu=1.5")
    (tmp_path / "train.log").write_text(log)
    (row,) = read_progress(tmp_path / "train.log").results
    assert (row["train"]["time"], row["train"]["total_count"]) == (seconds, 10)
    assert (row["valid"]["time"], row["valid"]["gpu"]) == (seconds, 1.5)


def test_metrics_of_any_name_are_told_apart(tmp_path):
    """Models name their own."""
    log = "1/3epoch started\n1epoch results: [train] loss=1, acc-x=0.5, a/b=3, time=1 hour, c=nan\n"
    (tmp_path / "train.log").write_text(log)
    (row,) = read_progress(tmp_path / "train.log").results
    numbers = {name: value for name, value in row["train"].items() if name != "c"}
    assert numbers == {"loss": 1, "acc-x": 0.5, "a/b": 3, "time": 3600}


def test_a_resumed_training_shows_all_its_epochs(tmp_path):
    def log(name: str, *epochs: tuple[int, float]) -> None:
        lines = []
        for epoch, acc in epochs:
            lines += [
                f"INFO: {epoch}/9epoch started",
                f"INFO: {epoch}epoch results: [valid] acc={acc}",
            ]
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    # ESPnet's launcher renames: the higher the number, the older. Epoch 3 was repeated.
    log("train.10.log", (1, 0.1))
    log("train.9.log", (2, 0.2), (3, 0.3))
    log("train.1.log", (3, 0.35), (4, 0.4))
    log("train.log", (5, 0.5))
    (tmp_path / "train.extra.log").write_text("7/9epoch started\n")
    progress = read_progress(tmp_path / "train.log")
    assert [row["epoch"] for row in progress.results] == [1, 2, 3, 4, 5]
    assert [row["valid"]["acc"] for row in progress.results] == [0.1, 0.2, 0.35, 0.4, 0.5]


def test_a_training_begun_anew_shows_none_of_the_old_epochs(tmp_path):
    (tmp_path / "train.1.log").write_text(LOG)
    (tmp_path / "train.log").write_text("1/4epoch started\n")
    assert read_progress(tmp_path / "train.log") == Progress(1, 4, None, ())


def test_there_is_none_before_the_first_epoch(tmp_path):
    assert read_progress(tmp_path / "train.log") is None
    (tmp_path / "train.log").write_text("Traceback (most recent call last):\n")
    assert read_progress(tmp_path / "train.log") is None
