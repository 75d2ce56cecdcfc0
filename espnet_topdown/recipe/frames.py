"""How short an utterance may be for the encoder that a training config names."""

from pathlib import Path
from typing import NamedTuple

from espnet_topdown.check import mapping_in
from espnet_topdown.experiment.config import read_config

# Frames that an encoder's first convolutions need (check_short_utt of ESPnet 202511's
# espnet/nets/pytorch_backend/transformer/subsampling.py), by input_layer.
_FRAMES = {
    "conv1d1": 5,
    "conv1d2": 5,
    "conv1d3": 7,
    "conv2d": 7,
    "conv2d1": 5,
    "conv2d2": 7,
    "conv2d6": 11,
    "conv2d8": 15,
}
# Encoders with such convolutions; their default is conv2d.
_ENCODERS = ("transformer", "conformer", "branchformer", "e_branchformer", "multiconv_conformer")
_HOP = 128  # samples, ESPnet's default
_WINDOW = 512  # samples of the Fourier transform, likewise


class Shortest(NamedTuple):
    """What an encoder needs.

    Attributes:
        frames: of features.
        samples: that give so many.
    """

    frames: int
    samples: int


def least_samples(config: Path) -> int:
    """Samples of which the frontend of a config makes its first frame; 1 where it is not known.

    Frames are centred, and torch mirrors half a window at each end, for which it wants more than
    that (torch.stft).

    Raises:
        TopdownError: the config cannot be read.
    """
    options = read_config(config)
    if options.get("frontend") not in (None, "default"):
        return 1
    conf = mapping_in(options, "frontend_conf")
    window = conf.get("n_fft", _WINDOW)
    if not isinstance(window, int):
        return 1
    return window // 2 + 1 if conf.get("center", True) else window


def shortest_of(config: Path) -> Shortest | None:
    """What the encoder of a training config needs; None where it is not known.

    Raises:
        TopdownError: the config cannot be read.
    """
    options = read_config(config)
    if options.get("frontend") not in (None, "default") or options.get("encoder") not in _ENCODERS:
        return None
    hop = mapping_in(options, "frontend_conf").get("hop_length", _HOP)
    layer = mapping_in(options, "encoder_conf").get("input_layer", "conv2d")
    frames = _FRAMES.get(layer)
    if frames is None or not isinstance(hop, int):
        return None
    # Frames are centred: n samples give n // hop + 1 of them.
    return Shortest(frames, (frames - 1) * hop)
