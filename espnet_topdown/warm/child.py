"""What a forked child of the warm process does: it turns into the command that was asked for.

The warm process is blind to GPUs, since a process that has used CUDA cannot be forked; a child sees
those of its environment. What ESPnet settled at its import, blind, is settled anew here.
"""

import contextlib
import importlib
import os
import shlex
import signal
import sys
import tempfile
import time
import traceback
from typing import Any, NoReturn

# Under these, importing torch and ESPnet does not start CUDA (torch/cuda/__init__.py, is_available:
# by NVML, which answers 0 for no visible device without being asked).
BLIND = {"CUDA_VISIBLE_DEVICES": "", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
# Signals that are blocked from the fork until they end the child as they end any process.
HELD = (signal.SIGTERM, signal.SIGINT)


def become(
    module: str,
    argv: list[str],
    log: str,
    threads: int,
    cwd: str,
    env: dict[str, str],
    gpus: int = 0,
) -> NoReturn:
    """Turn a forked child into the command: directory, environment, log, threads, then ``main``.

    Args:
        module: run as ``module.main(argv)``.
        argv: its arguments.
        log: file for all that it prints, written anew.
        threads: torch's threads; 0 leaves torch's default.
        cwd: working directory.
        env: the whole environment.
        gpus: how many it uses.
    """
    code = 1
    try:
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        for number in HELD:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        tempfile.tempdir = None  # else that of the warm process's own TMPDIR
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        sys.argv = [module, *argv]
        line = f"python3 -m {module} {shlex.join(argv)}"
        print(f"# {line}\n# Started at {time.ctime()}\n#", flush=True)
        if gpus:
            _open_eyes(module, argv, threads)
        code = _call_main(module, argv, threads)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            print(f"# Ended (code {code}) at {time.ctime()}", flush=True)
            sys.stderr.flush()
        # The log may be on a full disk; a child must never go on as the server.
        finally:
            os._exit(code)


def _open_eyes(module: str, argv: list[str], threads: int) -> None:
    """Let this process use the GPUs of its environment, or start it cold where a fork cannot."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda._is_in_bad_fork():
        # The warm process was not blind, such as one that forked from a process with CUDA.
        _start_cold(module, argv, threads)
    # Counted only once CUDA has started, but private: a count of the blind process must not stay.
    torch.cuda._cached_device_count = None
    for name, settle in CASTS.items():
        imported = sys.modules.get(name)
        if imported is not None:
            vars(imported).update(settle(torch))


def _start_cold(module: str, argv: list[str], threads: int) -> NoReturn:
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *argv])


def _casts_to_bfloat16(torch: Any) -> bool:
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported()


def _of_trainer(torch: Any) -> dict[str, Any]:
    """What a step is cast to under AMP; without a dtype it is float16."""
    return {"autocast_args": {"dtype": torch.bfloat16} if _casts_to_bfloat16(torch) else {}}


def _of_model(torch: Any) -> dict[str, Any]:
    """What the features are cast to by ``autocast_frontend``."""
    return {"autocast_type": torch.bfloat16 if _casts_to_bfloat16(torch) else torch.float16}


# ESPnet's modules that settle at their import what mixed precision is cast to, as of 202511 and
# 202611: blind, they have taken float16 -> the names there and their values.
CASTS = {"espnet2.train.trainer": _of_trainer, "espnet2.asr.espnet_model": _of_model}


def _call_main(module: str, argv: list[str], threads: int) -> int:
    """The exit status of ``module.main(argv)``, by Python's rules for `SystemExit`."""
    # torch read OMP_NUM_THREADS when the warm process imported it.
    if threads and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    try:
        importlib.import_module(module).main(argv)
    except SystemExit as end:
        if end.code is None:
            return 0
        if isinstance(end.code, int):
            return end.code
        print(end.code, file=sys.stderr)
        return 1
    return 0
