"""What can judge a cascade: metrics that measure quality and that move."""

import pytest

from espnet_topdown.experiment.quality import Criterion, better, criterion_fault, measures_quality

ROWS = [
    {"train": {"optim0_lr0": 0.1}, "valid": {"acc": acc, "loss": 3 - acc, "cer": 0.5, **fixed}}
    for acc in (0.1, 0.2, 0.3)
    for fixed in [{"total_count": 7, "time": acc, "iter_time": acc}]
]
VALID = "valid: [valid, acc, max], [valid, loss, min]"


@pytest.mark.parametrize(
    ("criterion", "fault"),
    [
        (("valid", "acc", "max"), None),
        (("valid", "loss", "min"), None),
        (("valid", "total_count", "max"), "does not measure quality"),
        (("valid", "time", "min"), "does not measure quality"),
        (("valid", "iter_time", "min"), "does not measure quality"),
        (
            ("valid", "cer", "min"),
            "is 0.5 in all 3 epochs of exp/x, so it cannot tell phases apart",
        ),
        (("valid", "accc", "max"), "is in no epoch of exp/x"),
        (("valid", "acc", "min"), "would select the worst: of acc the max is the best"),
        (("valid", "loss", "max"), "would select the worst: of loss the min is the best"),
    ],
)
def test_a_criterion_that_cannot_judge_is_refused_with_those_that_can(criterion, fault):
    said = criterion_fault(criterion, ROWS, source="exp/x")
    if fault is None:
        assert said is None
    else:
        assert said == f"the dev criterion {' '.join(criterion)} {fault}; {VALID}"


def test_of_few_epochs_nothing_is_said_about_moving():
    rows = [{"valid": {"acc": 0.5}}] * 2
    assert criterion_fault(("valid", "acc", "max"), rows, source="x") is None
    assert "cannot tell" in str(criterion_fault(("valid", "acc", "max"), rows * 2, source="x"))


def test_without_epochs_only_the_name_is_known():
    assert criterion_fault(("valid", "acc", "max"), [], source="x") is None
    assert criterion_fault(("valid", "si_snr", "max"), [], source="x") is None
    fault = criterion_fault(("valid", "total_count", "max"), [], source="x")
    assert fault == (
        "the dev criterion valid total_count max does not measure quality; valid: those of its log"
    )


@pytest.mark.parametrize("name", ["optim0_lr0", "optim0_step", "gpu_max_cached_mem_GB", "clip"])
def test_rates_and_sizes_are_no_quality(name):
    assert not measures_quality(name)


@pytest.mark.parametrize(
    ("name", "way"),
    [("cer_ctc", "min"), ("loss_interctc_layer6", "min"), ("acc_asr", "max"), ("si_snr", None)],
)
def test_names_made_of_known_ones_are_known(name, way):
    assert better(name) == way


def test_a_criterion_is_read_as_it_is_written() -> None:
    criterion = Criterion.parse("valid cer_ctc min")
    assert criterion == ("valid", "cer_ctc", "min")
    assert criterion.name == "valid cer_ctc min"
