"""Phases of a tiny conformer with BatchNorm: configs, and what a phase leaves in its directory."""

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import tiny

SEVERAL = dict(
    keep_nbest_models=[3, 5],
    best_model_criterion=[["valid", "acc", "max"], ["valid", "loss", "min"]],
    max_epoch=6,
)
# Of an epoch alone, where what happens later tells no more.
SHORT = dict(max_epoch=1, keep_nbest_models=1)


def conformer(**changes: object) -> dict[str, object]:
    """A training config with averages of 3 and 5 epochs by two criteria."""
    return tiny.asr_config("conformer", "transformer", **{**SEVERAL, **changes})


def phase(base: Path, *, seed: int = 1000, **conf: object) -> dict[str, object]:
    """The config of a phase that is cut at encoder.1 unless `conf` says otherwise."""
    topdown_conf = {"parent": str(base), "cut": "encoder.1", **conf}
    return conformer(seed=seed, topdown_conf=topdown_conf)


def lm_phase(base: Path, *, seed: int = 1000, **conf: object) -> dict[str, object]:
    """The config of a language model's phase, cut at rnn.1 unless `conf` says otherwise."""
    topdown_conf = {"parent": str(base), "cut": "rnn.1", **conf}
    return tiny.lm_config(seed=seed, topdown_conf=topdown_conf)


def start_of(directory: Path) -> dict[str, Any]:
    """What a phase was begun with."""
    return json.loads((directory / "topdown" / "start.json").read_text())


def proof_of(directory: Path) -> dict[str, Any]:
    """Fingerprints of a phase's model files and frozen tensors."""
    return json.loads((directory / "topdown" / "proof.json").read_text())


def frozen_in(directory: Path) -> set[str]:
    """Names of a phase's frozen tensors."""
    return set(proof_of(directory)["frozen"])


def epochs_of(directory: Path) -> int:
    """How many epochs a phase was trained for."""
    return len(json.loads((directory / "topdown" / "epochs.json").read_text()))


def killed(data: Path, directory: Path, config: dict[str, object], epoch: int) -> None:
    """Train, and die by SIGKILL: after the first step of `epoch`, or before it where none is."""

    def victim() -> None:
        from espnet_topdown.bin import train
        from espnet_topdown.training import trainer

        original = trainer.Trainer.train_one_epoch.__func__
        ours = trainer.TopdownTrainer.train_one_epoch.__func__

        def one_step(iterator):
            yield next(iterator)
            os.kill(os.getpid(), 9)

        def dies(cls, **kwargs):
            if kwargs["reporter"].get_epoch() == epoch:
                kwargs["iterator"] = one_step(iter(kwargs["iterator"]))
            return original(cls, **kwargs)

        def dies_before(cls, **kwargs):
            try:
                return ours(cls, **kwargs)
            except trainer._Stopped:
                os.kill(os.getpid(), 9)

        trainer.Trainer.train_one_epoch = classmethod(dies)
        trainer.TopdownTrainer.train_one_epoch = classmethod(dies_before)
        train.main(tiny.command(data, directory, config))

    process = multiprocessing.get_context("fork").Process(target=victim)
    process.start()
    process.join()
    assert process.exitcode == -9
    assert not (directory / "topdown" / "proof.json").exists()
