"""Trainings by the real task against a second implementation, and against themselves resumed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recipe import DROPOUT, TINY, WITHOUT_DROPOUT, Recipe

EPOCHS = 7
# (tied, lag) beside those of the recipe.
OTHERS = ((False, False), (True, True), (False, True))
# As conftest's CONFIG, written out for the second implementation.
CONF = dict(lr=20.0, weight_decay=1e-4, clip=0.25, nonmono=1, seed=3)
CONF |= dict(bptt=9, sigma=2.0, min_frames=3, short_probability=0.3, columns=4, valid_columns=2)


def ids_of(corpus: Path, split: str) -> list[int]:
    """The stream by hand: the words after each id, then the last token."""
    tokens = (corpus / "tokens.txt").read_text().split()
    rows = (corpus / split / "text").read_text().splitlines()
    ids = []
    for row in rows:
        ids += [tokens.index(word) for word in row.split()[1:]]
        ids.append(len(tokens) - 1)
    return ids


def initial(
    directory: Path, train: Callable[..., object], **changes: object
) -> dict[str, torch.Tensor]:
    """The weights that such a training starts from: those after an epoch at learning rate zero."""
    conf = changes.pop("optim_conf", {})
    train(directory, max_epoch=1, optim_conf=conf | dict(lr=0.0), **changes)
    return torch.load(directory / "1epoch.pth", weights_only=True)


@pytest.mark.parametrize(
    ("tied", "lag"),
    [
        (True, False),
        *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHERS),
    ],
)
def test_every_window_equals_a_second_implementation(
    tmp_path: Path, corpus: Path, train: Callable[..., object], lag: bool, tied: bool
) -> None:
    lm_conf = TINY | WITHOUT_DROPOUT | dict(tie_weights=tied)
    optim_conf = dict(lr=20.0, weight_decay=1e-4, lag=lag)
    settings = dict(lm_conf=lm_conf, train_dtype="float64", optim_conf=optim_conf)
    weights = initial(tmp_path / "start", train, **settings)
    if tied:
        del weights["lm.decoder.weight"]
    ours = train(tmp_path / "exp", max_epoch=EPOCHS, **settings)
    theirs = Recipe(weights, ids_of(corpus, "train"), ids_of(corpus, "valid"), CONF, lag=lag)
    valid = []
    for epoch in range(1, EPOCHS + 1):
        theirs.train_epoch(epoch)
        valid.append(theirs.validate())
        saved = torch.load(tmp_path / f"exp/{epoch}epoch.pth", weights_only=True)
        for name, weight in theirs.averages().items():
            torch.testing.assert_close(
                saved[name], weight, rtol=1e-5, atol=1e-7, msg=f"{name} after epoch {epoch}"
            )
    assert theirs.iterates and len(theirs.history) < EPOCHS, "the corpus must make the trigger fire"
    assert min(theirs.norms) < CONF["clip"] < max(theirs.norms), "some windows must be clipped"
    assert ours.losses == pytest.approx(theirs.losses, rel=1e-5)
    assert ours.norms == pytest.approx(theirs.norms, rel=1e-5)
    state = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=False)
    reported = [state["reporter"]["stats"][e]["valid"]["loss"] for e in range(1, EPOCHS + 1)]
    assert reported == pytest.approx(valid, rel=1e-5)
    raw = state["optimizers"][0]["state"]
    names = [k for k in saved if k != "lm.decoder.weight" or not tied]
    for number, name in enumerate(names):
        torch.testing.assert_close(
            raw[number]["raw"], theirs.weights[name].detach(), rtol=1e-5, atol=1e-7
        )


# Before the average begins and after it, by `straight`; the others are slow.
@pytest.mark.parametrize(
    "stop",
    [2, 6, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (1, 3, 4, 5))],
)
def test_resumed_training_is_bit_identical(
    tmp_path: Path, train: Callable[..., object], straight: dict, stop: int
) -> None:
    train(tmp_path / "exp", max_epoch=stop, lm_conf=DROPOUT)
    train(tmp_path / "exp", max_epoch=EPOCHS, lm_conf=DROPOUT)
    state = torch.load(tmp_path / "exp/checkpoint.pth", weights_only=False)
    assert same(state["model"], straight["model"])
    assert same(state["optimizers"], straight["optimizers"])
    assert state["schedulers"] == straight["schedulers"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, train: Callable[..., object]) -> dict:
    """The last checkpoint of an undisturbed training that began to average in its middle."""
    directory = tmp_path_factory.mktemp("straight")
    train(directory, max_epoch=EPOCHS, lm_conf=DROPOUT)
    state = torch.load(directory / "checkpoint.pth", weights_only=False)
    assert state["optimizers"][0]["param_groups"][0]["averaging"]
    assert 2 <= len(state["schedulers"][0]["losses"]) < EPOCHS
    return state


def same(a: object, b: object) -> bool:
    """Whether two states are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
