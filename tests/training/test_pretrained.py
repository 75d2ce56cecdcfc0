"""Which tensors of a model pre-trained files set, as ESPnet loads them."""

import pytest
import torch

from espnet_topdown.training import pretrained


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.ModuleDict(
            {"embed": torch.nn.Linear(2, 3), "top": torch.nn.Linear(3, 2)}
        )
        self.decoder = torch.nn.Linear(2, 2)


EMBED = {"encoder.embed.weight", "encoder.embed.bias"}
TOP = {"encoder.top.weight", "encoder.top.bias"}
ALL = EMBED | TOP | {"decoder.weight", "decoder.bias"}
CASES = {
    "the whole file": ("", ALL),
    "a part": (":encoder:encoder", EMBED | TOP),
    "left out": (":encoder:encoder:encoder.embed", TOP),
    "under another name": (":encoder.embed:encoder.embed", EMBED),
    "nothing, after a last colon": (":encoder:encoder:", set()),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_filled_is_what_espnet_loads(name, espnet, tmp_path):
    from espnet2.torch_utils.load_pretrained_model import load_pretrained_model

    part, expected = CASES[name]
    path = tmp_path / "pre.pth"
    torch.save({name: torch.full_like(w, 7.0) for name, w in Model().state_dict().items()}, path)
    model = Model()
    found = pretrained.filled([f"{path}{part}"], model, ignore_mismatch=False)
    assert found == expected
    load_pretrained_model(f"{path}{part}", model, False)
    assert {name for name, w in model.state_dict().items() if (w == 7.0).all()} == expected


def test_what_the_file_lacks_or_has_in_another_size_is_not_filled(tmp_path):
    path = tmp_path / "pre.pth"
    sizes = {"embed.weight": (3, 2), "embed.bias": (4,), "top.weight": (2, 3)}
    torch.save({f"encoder.{name}": torch.zeros(size) for name, size in sizes.items()}, path)
    found = pretrained.filled([f"{path}:encoder:encoder"], Model(), ignore_mismatch=True)
    assert found == {"encoder.embed.weight", "encoder.top.weight"}


def test_a_file_that_is_gone_is_refused_elsewhere(tmp_path):
    words = [f"{tmp_path / 'none.pth'}:encoder:encoder"]
    assert pretrained.filled(words, Model(), ignore_mismatch=False) == EMBED | TOP


def test_of_tied_weights_one_name_is_enough(tmp_path):
    model = Model()
    model.decoder = model.encoder["top"]
    torch.save({"encoder.top.weight": torch.zeros(2, 3)}, tmp_path / "pre.pth")
    found = pretrained.filled([str(tmp_path / "pre.pth")], model, ignore_mismatch=False)
    assert found == {"encoder.top.weight", "decoder.weight"}


def test_a_file_that_holds_no_tensors_by_name_is_refused_elsewhere(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "pre.pth")
    found = pretrained.filled([str(tmp_path / "pre.pth")], Model(), ignore_mismatch=False)
    assert found == ALL
