"""One phase after its last epoch: exact averages, and frozen tensors in every model file."""

import multiprocessing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from epochs import CRITERIA, write_epochs
from tiny_phases import frozen_in, phase, proof_of

from espnet_topdown import files
from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.sides import Sides
from espnet_topdown.training import checkpoint, phase_end
from espnet_topdown.training.checkpoint import load_state
from espnet_topdown.training.parent import Parent


@pytest.fixture(scope="module")
def trained(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phase cut at encoder.1."""
    from espnet_topdown.bin import train

    directory = tmp_path_factory.mktemp("phase") / "p"
    train.main(tiny.command(data, directory, phase(base)))
    return directory


def test_frozen_tensors_equal_the_parents_in_every_file_and_fresh_ones_do_not(base_state, trained):
    frozen = frozen_in(trained)
    assert "encoder.encoders.2.conv_module.norm.num_batches_tracked" in frozen
    assert "ctc.ctc_lo.weight" in frozen
    names = [f"{n}epoch.pth" for n in (5, 6)] + ["checkpoint.pth"]
    names += [f"valid.{m}.ave_{n}best.pth" for m in ("acc", "loss") for n in (3, 5)]
    for name in names:
        state = load_state(trained / name)
        assert all(torch.equal(state[tensor], base_state[tensor]) for tensor in frozen), name
    fresh = set(base_state) - frozen
    assert {name.split(".")[1] for name in fresh} == {"embed", "encoders"}
    # Both counted as many batches.
    drawn = [name for name in fresh if "num_batches" not in name]
    assert not any(torch.equal(state[name], base_state[name]) for name in drawn)


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize(("metric", "mode"), [("acc", "max"), ("loss", "min")])
def test_averages_of_the_phase_are_exact(metric, mode, count, trained):
    reporter = checkpoint.reporter_of(checkpoint.load(trained / "checkpoint.pth"))
    epochs = reporter.sort_epochs("valid", metric, mode)[:count]
    states = [load_state(trained / f"{epoch}epoch.pth") for epoch in epochs]
    average = load_state(trained / f"valid.{metric}.ave_{count}best.pth")
    fresh = set(average) - frozen_in(trained)
    for name in fresh:
        if average[name].is_floating_point():
            expected = np.mean([state[name].double().numpy() for state in states], axis=0)
            np.testing.assert_allclose(average[name].numpy(), expected, rtol=1e-6, atol=1e-7)


def end_phase(directory: Path, *, frozen: float, start: float, parent: float) -> None:
    """End a phase of three epochs, whose weight `w` is 3 then and whose frozen tensor is 0.1."""
    from espnet_topdown.training.phase_end import finish
    from espnet_topdown.training.phase_start import Begun

    write_epochs(directory, 3)
    held = {"frozen": torch.full((3,), frozen)}
    state = {"w": torch.full((3,), parent), **held}
    begun = Begun(
        sides=Sides(kept=("top",), fresh=("bottom",), frozen=("top",)),
        parent=Parent(directory=directory, file="parent.pth", state=state, hash=""),
        frozen=held,
        start={"w": checkpoint.fingerprint(torch.full((3,), start))},
        trainable={"bottom": ("w",)},
    )
    finish(begun, directory, CRITERIA, [2])


def test_phase_that_did_what_it_should_is_proved(espnet, tmp_path):
    end_phase(tmp_path, frozen=0.1, start=0.0, parent=9.0)
    assert set(proof_of(tmp_path)["files"]) == {
        "3epoch.pth",
        "checkpoint.pth",
        "valid.acc.ave_2best.pth",
        "valid.loss.ave_2best.pth",
    }
    assert proof_of(tmp_path)["unmoved"] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frozen": 0.2}, "3epoch.pth: frozen tensors are not the parent's: frozen"),
        ({"start": 3.0}, "layer bottom is trainable but did not move from its start"),
        ({"parent": 3.0}, "layer bottom should be fresh but equals the parent's"),
    ],
)
def test_phase_that_did_not_is_refused_and_has_no_proof(values, message, espnet, tmp_path):
    with pytest.raises(TopdownError, match=message):
        end_phase(tmp_path, **{"frozen": 0.1, "start": 0.0, "parent": 9.0, **values})
    assert not (tmp_path / "topdown" / "proof.json").exists()


def test_base_freeze_param_stays_frozen_and_is_no_fault_of_the_proof(base, train, tmp_path):
    """Its layer starts from init_param and is not drawn."""
    pretrained = f"{base}/valid.acc.best.pth:encoder.embed:encoder.embed"
    config = phase(base) | {"freeze_param": ["encoder.embed"], "init_param": [pretrained]}
    directory = train(tmp_path / "p", config | {"max_epoch": 2, "keep_nbest_models": 1})
    final = load_state(directory / "2epoch.pth")
    embed = [name for name in final if name.startswith("encoder.embed.")]
    start = load_state(base / "valid.acc.best.pth")
    assert embed and all(torch.equal(final[name], start[name]) for name in embed)


def test_fresh_layers_that_freeze_param_leaves_random_are_refused(base, train, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train(tmp_path / "p", phase(base) | {"freeze_param": ["encoder.embed", "decoder"]})
    error = capsys.readouterr().err
    assert "encoder.embed: drawn anew, but freeze_param (encoder.embed, decoder)" in error
    assert not list((tmp_path / "p").glob("*.pth"))


def test_model_of_a_phase_decodes_where_this_package_cannot_be_imported(trained):
    def decode(queue) -> None:
        import sys

        for name in [n for n in sys.modules if n.startswith("espnet_topdown")]:
            del sys.modules[name]
        # None makes an import of it fail.
        sys.modules["espnet_topdown"] = None  # type: ignore[assignment]
        from espnet2.bin.asr_inference import Speech2Text

        speech2text = Speech2Text(
            str(trained / "config.yaml"), str(trained / "valid.acc.ave.pth"), beam_size=2
        )
        queue.put(len(speech2text(torch.randn(60, tiny.DIM).numpy())))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=decode, args=(queue,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get(timeout=5) == 1


def test_the_machine_of_a_training_is_told_with_its_gpu(monkeypatch):
    from espnet_topdown.training.phase_end import machine

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    # ESPnet's import has started CUDA where there is a GPU, for a training on the CPU too.
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "H100")
    assert machine(0) == {"torch": torch.__version__, "cuda": "13.0", "gpu": None}
    assert machine(1)["gpu"] == "H100"


def test_epochs_of_a_newer_espnet_are_read_by_an_older_one():
    class Reporter:
        stats = {
            1: {
                "train": {"loss": float("nan"), "time": {"__timedelta_seconds__": 2.5}},
                "valid": {"acc": 0.5, "time": timedelta(seconds=1)},
            }
        }

        def get_epoch(self) -> int:
            return 1

    expected = {"epoch": 1, "train": {"loss": None, "time": 2.5}, "valid": {"acc": 0.5, "time": 1}}
    assert phase_end.epochs(Reporter()) == [expected]


def test_a_duration_of_more_than_a_day_is_told_in_seconds():
    assert phase_end._number(timedelta(days=1, seconds=2, milliseconds=500)) == 86402.5


def proved(directory: Path, names: list[str]) -> None:
    """The files of a proof of these model files, whatever they hold."""
    proof = {"files": dict.fromkeys(names, "0"), "frozen": {}}
    files.write_json(directory / "topdown" / "proof.json", proof)
    files.write_json(directory / "topdown" / "epochs.json", [])


def test_a_phase_that_has_lost_an_average_is_not_proved(tmp_path):
    proved(tmp_path, ["valid.acc.ave_3best.pth"])
    assert not phase_end.is_proved(tmp_path)


def test_the_last_good_checkpoint_of_a_proved_phase_is_removed(tmp_path):
    proved(tmp_path, [])
    (tmp_path / "checkpoint.good.pth").touch()
    assert phase_end.is_proved(tmp_path)
    assert not (tmp_path / "checkpoint.good.pth").exists()
