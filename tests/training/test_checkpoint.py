"""Model files: torn ones are named, and a fingerprint tells one bit."""

import pytest
import tiny
import torch

from espnet_topdown.errors import TopdownError
from espnet_topdown.training import checkpoint


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04 torn zip"])
def test_torn_model_file_is_named(content, tmp_path):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(TopdownError, match="a.pth is torn or is not a model file"):
        checkpoint.load_state(tmp_path / "a.pth")


def test_fingerprint_tells_one_bit_and_the_dtype():
    ones = torch.ones(4)
    other = ones.clone()
    other[3] = torch.nextafter(other[3], torch.tensor(2.0))
    assert checkpoint.fingerprint(ones) == checkpoint.fingerprint(torch.ones(8)[::2])
    assert checkpoint.fingerprint(ones) != checkpoint.fingerprint(other)
    assert checkpoint.fingerprint(torch.zeros(2)) != checkpoint.fingerprint(
        torch.zeros(2, dtype=torch.int32)
    )
    assert checkpoint.fingerprint(torch.zeros(2, dtype=torch.bfloat16)) != checkpoint.fingerprint(
        torch.zeros(2)
    )


def test_a_real_checkpoint_loads_with_weights_only(train, tmp_path):
    directory = train(tmp_path / "base", tiny.asr_config("rnn"))
    reporter = checkpoint.reporter_of(checkpoint.load(directory / "checkpoint.pth"))
    assert reporter.get_epoch() == 2
    assert reporter.has("valid", "acc")
