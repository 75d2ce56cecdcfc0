"""The warm process does not start CUDA, and its children see the GPUs of their environment."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from new_process import search_path

from espnet_topdown import warm
from espnet_topdown.warm import child, server

COLLECTED = {name: os.environ.get(name) for name in child.BLIND}
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


def test_tests_are_collected_blind_too_since_they_import_espnet() -> None:
    assert COLLECTED == child.BLIND
    assert "PYTORCH_NVML_BASED_CUDA_CHECK" not in os.environ


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


# A GPU that is named twice is for two commands; CUDA takes such a list for an empty one.
@pytest.mark.parametrize(
    ("gpus", "named", "seen"),
    [
        (1, "0,0", "0"),
        (1, "GPU-5f, GPU-5f,1", "GPU-5f,1"),
        (2, "0,1,0,1", "0,1"),
        (1, "", ""),
        (1, "3", "3"),
        (0, "0,0", "0,0"),
    ],
)
def test_a_command_sees_each_gpu_once(
    gpus: int, named: str, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    words = ["sh", "-c", 'echo "$CUDA_VISIBLE_DEVICES"']
    command = warm.Command(None, words, tmp_path / "a.log", gpus=gpus)
    assert warm.start(command).wait() == 0
    assert (tmp_path / "a.log").read_text() == f"{seen}\n"


def fake_torch(*, bf16: bool = True, bad_fork: bool = False) -> SimpleNamespace:
    """Enough of torch: one GPU is visible where CUDA_VISIBLE_DEVICES does not hide it."""
    cuda = SimpleNamespace(
        is_available=lambda: os.environ.get("CUDA_VISIBLE_DEVICES") != "",
        is_bf16_supported=lambda: bf16,
        _is_in_bad_fork=lambda: bad_fork,
        _cached_device_count=0,
    )
    return SimpleNamespace(cuda=cuda, bfloat16="bfloat16", float16="float16")


@pytest.mark.parametrize(
    ("bf16", "visible", "step", "features"),
    [
        (True, "0", {"dtype": "bfloat16"}, "bfloat16"),
        (False, "0", {}, "float16"),
        (True, "", {}, "float16"),
    ],
)
def test_mixed_precision_is_settled_anew_with_eyes_open(
    bf16: bool, visible: str, step: object, features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch, trainer = fake_torch(bf16=bf16), SimpleNamespace(autocast_args="as imported")
    model = SimpleNamespace(autocast_type="as imported")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "espnet2.train.trainer", trainer)
    monkeypatch.setitem(sys.modules, "espnet2.asr.espnet_model", model)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    child._open_eyes("module", [], 0)
    assert (trainer.autocast_args, model.autocast_type) == (step, features)
    assert torch.cuda._cached_device_count is None


# Of the modules that training imports; others are imported with eyes open.
def test_all_that_espnet_asks_of_a_gpu_at_its_import_is_settled_anew(
    espnet: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    settled = set()
    for name, module in list(sys.modules.items()):
        is_espnet = name.split(".")[0] == "espnet2" and getattr(module, "__file__", None)
        if is_espnet and asks_at_import(Path(module.__file__).read_text()):
            settled.add(name)
    assert settled == child.CASTS.keys()
    for name, settle in child.CASTS.items():
        module = sys.modules[name]
        for key, value in settle(fake_torch(bf16=False)).items():
            assert str(vars(module)[key]).removeprefix("torch.") == str(value)
            # Looked up there when it is used: once where it is, besides the lines that set it.
            assert Path(module.__file__).read_text().count(key) > 2


def asks_at_import(source: str) -> bool:
    """Whether a module asks for GPUs outside its functions."""
    if "torch.cuda." not in source:
        return False
    statements: list[ast.AST] = [ast.parse(source)]
    while statements:
        statement = statements.pop()
        if isinstance(statement, ast.FunctionDef):
            continue
        if isinstance(statement, ast.Attribute) and ast.unparse(statement.value) == "torch.cuda":
            return True
        statements += ast.iter_child_nodes(statement)
    return False


@pytest.mark.gpu
def test_a_forked_child_trains_in_bfloat16_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = "import torch\nfrom espnet2.train import trainer\ndef main(argv):\n"
    tell += "    print(torch.ones(3, device='cuda').sum().item(), trainer.autocast_args)\n"
    tell += "    print('supported:', torch.cuda.is_bf16_supported())\n"
    (tmp_path / "imports_torch.py").write_text("import espnet2.train.trainer")
    (tmp_path / "uses_gpu.py").write_text(tell)
    monkeypatch.setenv("PYTHONPATH", search_path(tmp_path, REPOSITORY))
    words = [sys.executable, "-c", SERVE.replace("{blind}", "child.BLIND"), str(tmp_path / "s")]
    process = subprocess.Popen(words)
    monkeypatch.setenv(warm.SOCKET, str(tmp_path / "s"))
    assert warm.start(warm.Command("uses_gpu", [], tmp_path / "a.log", gpus=1)).wait() == 0
    process.terminate()
    process.wait()
    log = (tmp_path / "a.log").read_text()
    # Not asked here: this process, which others fork, must not start CUDA.
    dtype = "{'dtype': torch.bfloat16}" if "supported: True" in log else "{}"
    assert f"3.0 {dtype}\n" in log
