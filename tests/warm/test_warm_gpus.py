"""The warm process does not start CUDA, and its children see the GPUs of their environment."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from espnet_topdown import warm
from espnet_topdown.warm import child, server

REPOSITORY = str(Path(warm.__file__).parents[2])
# As espnet2/train/trainer.py does at its import.
IMPORT = "import torch\ntorch.cuda.is_available() and torch.cuda.is_bf16_supported()\n"
SERVE = "from espnet_topdown.warm import child, server; from pathlib import Path\n"
SERVE += "import os, sys; os.environ.update({blind})\n"
SERVE += "server.serve(Path(sys.argv[1]), preload=('imports_torch',))"
TELL = """
import os, sys, torch
def main(argv):
    print("fork is bad:", torch.cuda._is_in_bad_fork())
    print("sees:", os.environ.get("CUDA_VISIBLE_DEVICES"))
    print("checks by:", os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK"))
    print("argv:", argv, __name__)
if __name__ == "__main__":
    main(sys.argv[1:])
"""


def test_the_warm_process_is_blind_before_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr(os, "environ", {"CUDA_VISIBLE_DEVICES": "0,1"})
    monkeypatch.setattr(server, "serve", lambda path, parent: seen.update(os.environ))
    server.main(["socket"])
    assert seen == {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}


# torch with CUDA counts a fork as bad once it has asked the driver, one that is missing included.
@pytest.mark.parametrize(
    ("blind", "module"),
    [("child.BLIND", "tells_gpus"), pytest.param("{}", "__main__", marks=pytest.mark.slow)],
    ids=["blind", "not"],
)
def test_a_child_can_use_cuda_forked_from_a_blind_process_and_cold_from_another(
    blind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    if not hasattr(torch._C, "_cuda_getDeviceCount"):
        pytest.skip("this torch is built without CUDA")
    (tmp_path / "imports_torch.py").write_text(IMPORT)
    (tmp_path / "tells_gpus.py").write_text(TELL)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    words = [sys.executable, "-c", SERVE.replace("{blind}", blind), str(tmp_path / "s")]
    process = subprocess.Popen(words)
    monkeypatch.setenv(warm.SOCKET, str(tmp_path / "s"))
    command = warm.Command("tells_gpus", ["--x"], tmp_path / "a.log", gpus=1)
    handle = warm.start(command, variables={"CUDA_VISIBLE_DEVICES": "5"})
    assert handle.wait() == 0
    process.terminate()
    process.wait()
    said = [line for line in (tmp_path / "a.log").read_text().splitlines() if line[0] != "#"]
    assert said == [
        "fork is bad: False",
        "sees: 5",
        "checks by: None",
        f"argv: ['--x'] {module}",
    ]


def fake_torch(*, bf16: bool = True, bad_fork: bool = False) -> SimpleNamespace:
    """Enough of torch: one GPU is visible where CUDA_VISIBLE_DEVICES does not hide it."""
    cuda = SimpleNamespace(
        is_available=lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "",
        is_bf16_supported=lambda: bf16,
        _is_in_bad_fork=lambda: bad_fork,
        _cached_device_count=0,
    )
    return SimpleNamespace(cuda=cuda, bfloat16="bfloat16")


@pytest.mark.parametrize(
    ("bf16", "visible", "expected"),
    [(True, "0", {"dtype": "bfloat16"}), (False, "0", {}), (True, "", {})],
)
def test_mixed_precision_is_settled_anew_with_eyes_open(
    bf16: bool, visible: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, trainer = fake_torch(bf16=bf16), SimpleNamespace(autocast_args="as imported")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "espnet2.train.trainer", trainer)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    child._open_eyes("module", [], 0)
    assert trainer.autocast_args == expected
    assert torch.cuda._cached_device_count is None


def test_espnet_still_keeps_what_it_casts_to_where_it_is_set(espnet: None) -> None:
    import torch
    from espnet2.train import trainer

    assert trainer.autocast_args == child.autocast_args(torch)
    assert "**autocast_args" in Path(trainer.__file__).read_text()


@pytest.mark.gpu
def test_a_forked_child_trains_in_bfloat16_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = "import torch\nfrom espnet2.train import trainer\ndef main(argv):\n"
    tell += "    print(torch.ones(3, device='cuda').sum().item(), trainer.autocast_args)\n"
    (tmp_path / "imports_torch.py").write_text("import espnet2.train.trainer")
    (tmp_path / "uses_gpu.py").write_text(tell)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    words = [sys.executable, "-c", SERVE.replace("{blind}", "child.BLIND"), str(tmp_path / "s")]
    process = subprocess.Popen(words)
    monkeypatch.setenv(warm.SOCKET, str(tmp_path / "s"))
    assert warm.start(warm.Command("uses_gpu", [], tmp_path / "a.log", gpus=1)).wait() == 0
    process.terminate()
    process.wait()
    import torch

    expected = "3.0 {'dtype': torch.bfloat16}" if torch.cuda.is_bf16_supported() else "3.0 {}"
    assert expected in (tmp_path / "a.log").read_text()
