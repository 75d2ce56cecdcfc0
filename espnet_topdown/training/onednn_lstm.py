"""LSTM layers of ESPnet's encoders through oneDNN, where PyTorch would step through time itself.

PyTorch 2 gives an LSTM on a CPU to oneDNN unless its input is packed, which it is in ESPnet's
encoders: then every frame is a dozen operations, and the backward pass adds a gradient as long as
the utterance for each. Here the padded batch is given to oneDNN, the backward direction with every
utterance reversed within its own length. Outputs and gradients are the same to rounding.
"""

import logging

import torch
from espnet2.asr.encoder.rnn_encoder import RNNP
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from espnet_topdown import warm
from espnet_topdown.lm.awd_lstm import lstm_layer


class PaddedLSTM(nn.LSTM):
    """One LSTM layer, in one or both directions, that computes a packed batch as a padded one."""

    def forward(
        self, packed: PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[PackedSequence, tuple[Tensor, Tensor] | None]:
        """As `torch.nn.LSTM`, of a packed batch of utterances.

        Args:
            packed: features of shape (frame, batch, feature) before packing.
            hx: states before the first frame, each of shape (direction, batch, hidden); with them
                PyTorch's own layer is called.

        Returns:
            Outputs, packed as the input is; and no states after the last frames, which ESPnet's
            encoders give on and its models leave.
        """
        if hx is not None:
            return super().forward(packed, hx)  # type: ignore[has-type]
        padded, lengths = pad_packed_sequence(packed)
        outputs = self._direction(padded, "")
        if self.bidirectional:
            turned = _turned(lengths, len(padded)).unsqueeze(-1)
            backward = self._direction(_taken(padded, turned), "_reverse")
            outputs = torch.cat([outputs, _taken(backward, turned)], dim=-1)
        in_order = packed.sorted_indices is None
        return pack_padded_sequence(outputs, lengths, enforce_sorted=in_order), None

    def _direction(self, padded: Tensor, suffix: str) -> Tensor:
        """Outputs of shape (frame, batch, hidden), first frame first."""
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        weights = [getattr(self, name + suffix) for name in names]
        outputs, _ = lstm_layer(padded, None, weights, is_training=self.training)
        return outputs


def _turned(lengths: Tensor, frames: int) -> Tensor:
    """For each place of the padded batch, the frame that it has when utterances run backwards."""
    frame = torch.arange(frames).unsqueeze(1)
    return torch.where(frame < lengths, lengths - 1 - frame, frame)


def _taken(padded: Tensor, frames: Tensor) -> Tensor:
    return padded.gather(0, frames.expand_as(padded))


def use(model: nn.Module) -> None:
    """Let the projected LSTM layers of a model's encoder compute by oneDNN, if that is asked for.

    Args:
        model: where and of the type that it trains. Its layers keep their parameters and names;
            those that oneDNN does not take, on a GPU or in float64, are left alone.

    Raises:
        TopdownError: as `warm.environment_lstm`.
    """
    if not warm.environment_lstm():
        return
    modules = getattr(model, "encoder", nn.Module()).modules()
    layers = [
        child for module in modules if isinstance(module, RNNP) for child in module.children()
    ]
    served = [layer for layer in layers if type(layer) is nn.LSTM and _is_served(layer)]
    for layer in served:
        layer.__class__ = PaddedLSTM
    logging.info(f"top-down: {len(served)} LSTM layers of the encoder compute by oneDNN")


def _is_served(layer: nn.LSTM) -> bool:
    weight = layer.weight_ih_l0
    onednn = torch.backends.mkldnn
    has_onednn = onednn.is_available() and bool(onednn.enabled)
    return has_onednn and weight.device.type == "cpu" and weight.dtype is torch.float32
