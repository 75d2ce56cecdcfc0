#!/usr/bin/env python3
"""Time and memory of preparing WSJ and Switchboard at full size, on fake trees with tiny audio.

    python3 benchmarks/prepare_corpora.py /tmp/prepare --espnet_root ~/espnet

Prints a line for each preparation as it ends: wall, user and system time, peak memory of its
largest process. With --espnet_root the original scripts of that checkout prepare the same trees,
and every list is compared byte by byte. Trees that are there already are used again.
"""

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from measure import ROOT

sys.path.insert(0, str(ROOT / "tests/corpora"))
from fake_swbd import make_swbd  # noqa: E402  found by the line above
from fake_wsj import make_wsj  # noqa: E402

WSJ_SETS = (
    "train_si284",
    "test_eval92",
    "test_eval93",
    "test_dev93",
    "test_eval92_5k",
    "test_eval93_5k",
    "test_dev93_5k",
    "dev_dt_05",
    "dev_dt_20",
)
SWBD_SETS = ("train_nodup", "train_dev", "eval2000")
LISTS = ("text", "utt2spk", "spk2utt", "wav.scp")
# In ESPnet's wav.scp of 202301; ours leaves it to stage 3.
UPSAMPLING = " sox -R -t wav - -t wav - rate 16000 dither | "


def timed(name: str, command: Sequence[str], directory: Path, path: str) -> None:
    """Run `command` in `directory` and print its wall time and its largest process's memory."""
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    # One sorting order for both; ESPnet's script stops where IRSTLM is not named.
    environment |= {"LC_ALL": "C", "IRSTLM": "none"}
    format_ = "%e s wall, %U s user, %S s system, %M kB"
    with (directory / "log").open("w") as log:
        done = subprocess.run(
            ["/usr/bin/time", "-f", format_, *command],
            cwd=directory,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    lines = (directory / "log").read_text(errors="replace").splitlines()
    if done.returncode:
        raise SystemExit(f"{name} failed:\n" + "\n".join(lines[-15:]))
    print(f"{name:40s} {lines[-1]}", flush=True)


def empty(directory: Path) -> None:
    """Make the directory anew: to replace a large list would cost a flush to disk."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def ours(corpus: str, arguments: Sequence[str], work: Path, path: str) -> Path:
    """Prepare with this package, with and without reading the header of every audio file."""
    module = f"espnet_topdown.corpora.{corpus}"
    for check in ("none", "header"):
        empty(work)
        command = [sys.executable, "-m", module, *arguments, "--audio_check", check]
        timed(f"{corpus}, ours, --audio_check {check}", command, work, path)
    return work / "data"


def original(corpus: str, espnet: Path, settings: str, work: Path, path: str) -> Path:
    """Prepare with the checkout's local/data.sh."""
    empty(work)
    template = espnet / "egs2/TEMPLATE/asr1"
    for name in ("utils", "scripts", "pyscripts"):
        (work / name).symlink_to(template / name)
    shutil.copytree(espnet / f"egs2/{corpus}/asr1/local", work / "local")
    (work / "db.sh").write_text(settings)
    (work / "cmd.sh").write_text("")
    (work / "path.sh").write_text('export PATH="$PWD/utils:$PATH"\n')
    script = work / "local/data.sh"
    without_fisher = re.sub(
        r"^fisher_dir=.*", "fisher_dir=", script.read_text(), flags=re.MULTILINE
    )
    script.write_text(without_fisher)
    # Where it is missing the script fetches it from the net.
    speakers = work / "data/local/data/wsj0-train-spkrinfo.txt"
    speakers.parent.mkdir(parents=True)
    speakers.write_text("".join(f"s{number} F\n" for number in range(134)))
    timed(f"{corpus}, ESPnet's scripts", ["bash", "local/data.sh"], work, path)
    return work / "data"


def compare(name: str, theirs: Path, our: Path, files: Iterable[str]) -> None:
    """Print whether the files below both directories are the same, byte by byte."""
    differing = []
    for file in files:
        expected = (theirs / file).read_text(errors="surrogateescape").replace(UPSAMPLING, "")
        if (our / file).read_text(errors="surrogateescape") != expected:
            differing.append(file)
    verdict = f"DIFFERENT: {', '.join(differing)}" if differing else "all lists are the same"
    print(f"{name}: {verdict}", flush=True)


def pad_dictionary(dictionary: Path, patch: Path) -> None:
    """Spread the fake `dictionary` so that the original's `patch` can be applied to it.

    The lines that the patch replaces stand where it expects them, the fake's own fill the gaps.
    """
    fixed: dict[int, str] = {}
    for line in patch.read_text().splitlines():
        # Commands of ed, such as 12c or 12,14d, each followed by the old lines with "< ".
        command = re.match(r"(\d+)(?:,(\d+))?[acd]", line)
        if command:
            at = int(command[1])
            last = int(command[2] or command[1])
        elif line.startswith("<"):
            fixed[at] = line[2:]
            at += 1
    free = (number for number in range(1, 40000) if number not in fixed)
    for line in dictionary.read_text().splitlines():
        if not line.startswith("#"):
            fixed[next(free)] = line
    rows = [fixed.get(number, "#") for number in range(1, max(39000, last) + 1)]
    dictionary.write_text("".join(f"{row}\n" for row in rows))


def decoder_path(work: Path) -> str:
    """PATH with sph2pipe, an empty one where none is installed.

    Preparation only looks whether it is there.
    """
    stub = work / "bin/sph2pipe"
    if not shutil.which("sph2pipe"):
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text("#!/bin/sh\nexit 1\n")
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    return f"{stub.parent}:{os.environ['PATH']}"


def make_trees(options: argparse.Namespace, wsj: Path, swbd: Path) -> None:
    """Write the fake trees that are not there."""
    if not wsj.is_dir():
        sentences = options.wsj_lm_sentences
        make_wsj(wsj, options.wsj_utterances, lm_sentences=sentences, tiny_audio=True)
    if swbd.is_dir():
        return
    make_swbd(swbd, options.swbd_conversations, options.swbd_turns, tiny_audio=True)
    if options.espnet_root:
        transcriptions = swbd / "LDC97S62/transcriptions/swb_ms98_transcriptions"
        patch = options.espnet_root / "egs2/swbd/asr1/local/dict.patch"
        pad_dictionary(transcriptions / "sw-ms98-dict.text", patch)


def benchmark_wsj(tree: Path, work: Path, espnet: Path | None, path: str) -> None:
    """Prepare WSJ, and compare with the original where there is one."""
    wsj0 = tree / "LDC93S6B"
    wsj1 = tree / "LDC94S13B"
    data = ours("wsj", ["--wsj0", str(wsj0), "--wsj1", str(wsj1)], work / "ours_wsj", path)
    if espnet is None:
        return
    settings = f"WSJ0={wsj0}\nWSJ1={wsj1}\n"
    theirs = original("wsj", espnet, settings, work / "espnet_wsj", path)
    lists = [f"{name}/{file}" for name in WSJ_SETS for file in LISTS]
    compare("wsj", theirs, data, [*lists, "local/other_text/text", "nlsyms.txt"])


def benchmark_swbd(tree: Path, work: Path, espnet: Path | None, path: str) -> None:
    """Prepare Switchboard, and compare with the original where there is one."""
    data = ours("swbd", ["--swbd", str(tree)], work / "ours_swbd", path)
    if espnet is None:
        return
    theirs = original("swbd", espnet, f"SWBD={tree}\n", work / "espnet_swbd", path)
    lists = [f"{name}/{file}" for name in SWBD_SETS for file in (*LISTS, "segments")]
    compare("swbd", theirs, data, [*lists, "eval2000/stm", "eval2000/glm"])


def main(argv: Sequence[str] | None = None) -> None:
    """Make the trees that are not there, prepare them, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="directory for trees and output (about 1 GB)")
    parser.add_argument("--espnet_root", type=Path, help="an ESPnet checkout to run beside")
    parser.add_argument("--wsj_utterances", type=int, default=37416)
    parser.add_argument("--wsj_lm_sentences", type=int, default=1_600_000)
    parser.add_argument("--swbd_conversations", type=int, default=2438)
    parser.add_argument("--swbd_turns", type=int, default=52, help="of each side")
    options = parser.parse_args(argv)
    work = options.work.resolve()
    path = decoder_path(work)
    make_trees(options, work / "wsj", work / "swbd")
    benchmark_wsj(work / "wsj", work, options.espnet_root, path)
    benchmark_swbd(work / "swbd", work, options.espnet_root, path)


if __name__ == "__main__":
    main()
