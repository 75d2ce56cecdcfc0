"""One phase after its last epoch: exact averages, and frozen tensors in every model file."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from phases import frozen_in, phase

from espnet_topdown.training import checkpoint
from espnet_topdown.training.checkpoint import load_state


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


def test_base_freeze_param_stays_frozen_and_is_no_fault_of_the_proof(base, train, tmp_path):
    config = phase(base) | {"freeze_param": ["encoder.embed"]}
    directory = train(tmp_path / "p", config)
    assert not any(name.startswith("encoder.embed") for name in frozen_in(directory))


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
