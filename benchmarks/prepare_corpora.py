"""Time and memory of preparing WSJ and Switchboard at full size, on fake trees with tiny audio.

With --espnet_root the original scripts of that checkout prepare the same trees; every list is
compared byte by byte.

    python3 benchmarks/prepare_corpora.py /tmp/prepare --espnet_root ~/espnet
"""

import argparse
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/corpora"))
from fake_swbd import make_swbd  # noqa: E402
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
LISTS = ("text", "utt2spk", "spk2utt", "wav.scp")
UPSAMPLING = (  # ESPnet's wav.scp of 202301; ours leaves it to stage 3
    " sox -R -t wav - -t wav - rate 16000 dither | "
)


def timed(name: str, command: list[str], directory: Path, path: str) -> None:
    """Run `command` in `directory` and print its wall time and the peak memory of its largest
    process.
    """
    environment = os.environ | {
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C",
        "IRSTLM": "none",
    }
    with open(directory / "log", "w") as log:
        done = subprocess.run(
            ["/usr/bin/time", "-f", "%e s wall, %U s user, %S s system, %M kB", *command],
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


def ours(corpus: str, arguments: list[str], work: Path, path: str) -> Path:
    """Prepare with this package, with and without reading the header of every audio file."""
    for check in ("none", "header"):
        shutil.rmtree(
            work, ignore_errors=True
        )  # as `original` does: to replace a large list costs a flush
        work.mkdir(parents=True)
        command = [
            sys.executable,
            "-m",
            f"espnet_topdown.corpora.{corpus}",
            *arguments,
            "--audio_check",
            check,
        ]
        timed(f"{corpus}, ours, --audio_check {check}", command, work, path)
    return work / "data"


def original(corpus: str, espnet: Path, settings: str, work: Path, path: str) -> Path:
    """Prepare with the checkout's local/data.sh."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    template = espnet / "egs2/TEMPLATE/asr1"
    for name in ("utils", "scripts", "pyscripts"):
        (work / name).symlink_to(template / name)
    shutil.copytree(espnet / f"egs2/{corpus}/asr1/local", work / "local")
    (work / "db.sh").write_text(settings)
    (work / "cmd.sh").write_text("")
    (work / "path.sh").write_text('export PATH="$PWD/utils:$PATH"\n')
    script = work / "local/data.sh"
    script.write_text(
        re.sub(r"^fisher_dir=.*", "fisher_dir=", script.read_text(), flags=re.MULTILINE)
    )
    speakers = work / "data/local/data/wsj0-train-spkrinfo.txt"  # else it is fetched from the net
    speakers.parent.mkdir(parents=True)
    speakers.write_text("".join(f"s{i} F\n" for i in range(134)))
    timed(f"{corpus}, ESPnet's scripts", ["bash", "local/data.sh"], work, path)
    return work / "data"


def compare(name: str, first: Path, second: Path, files: Iterable[str]) -> None:
    """Print whether the files below both directories are the same, byte by byte."""
    differing = []
    for file in files:
        theirs = first.joinpath(file).read_text(errors="surrogateescape").replace(UPSAMPLING, "")
        if theirs != second.joinpath(file).read_text(errors="surrogateescape"):
            differing.append(file)
    print(
        f"{name}:"
        f" {'all lists are the same' if not differing else 'DIFFERENT: ' + ', '.join(differing)}",
        flush=True,
    )


def pad_dictionary(dictionary: Path, patch: Path) -> None:
    """Spread the lines of the fake `dictionary` over so many lines that the original's `patch` can
    be applied.
    """
    fixed: dict[int, str] = {}
    for line in patch.read_text().splitlines():
        command = re.match(r"(\d+)(?:,(\d+))?[acd]", line)
        if command:
            at, last = int(command[1]), int(command[2] or command[1])
        elif line.startswith("<"):
            fixed[at] = line[2:]
            at += 1
    free = (n for n in range(1, 40000) if n not in fixed)
    for line in dictionary.read_text().splitlines():
        if not line.startswith("#"):
            fixed[next(free)] = line
    dictionary.write_text("".join(f"{fixed.get(n, '#')}\n" for n in range(1, max(39000, last) + 1)))


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


def main() -> None:
    """Make the trees that are not there, prepare them, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, help="directory for trees and output (about 1 GB)")
    parser.add_argument("--espnet_root", type=Path, help="an ESPnet checkout to run beside")
    parser.add_argument("--wsj_utterances", type=int, default=37416)
    parser.add_argument("--wsj_lm_sentences", type=int, default=1_600_000)
    parser.add_argument("--swbd_conversations", type=int, default=2438)
    parser.add_argument("--swbd_turns", type=int, default=52, help="of each side")
    options = parser.parse_args()
    work = options.work.resolve()
    path = decoder_path(work)
    if not (work / "wsj").is_dir():
        make_wsj(
            work / "wsj",
            options.wsj_utterances,
            lm_sentences=options.wsj_lm_sentences,
            tiny_audio=True,
        )
    if not (work / "swbd").is_dir():
        make_swbd(work / "swbd", options.swbd_conversations, options.swbd_turns, tiny_audio=True)
        if options.espnet_root:
            pad_dictionary(
                work / "swbd/LDC97S62/transcriptions/swb_ms98_transcriptions/sw-ms98-dict.text",
                options.espnet_root / "egs2/swbd/asr1/local/dict.patch",
            )
    roots = [work / "wsj/LDC93S6B", work / "wsj/LDC94S13B"]
    wsj = ours("wsj", ["--wsj0", str(roots[0]), "--wsj1", str(roots[1])], work / "ours_wsj", path)
    swbd = ours("swbd", ["--swbd", str(work / "swbd")], work / "ours_swbd", path)
    if options.espnet_root:
        theirs = original(
            "wsj",
            options.espnet_root,
            f"WSJ0={roots[0]}\nWSJ1={roots[1]}\n",
            work / "espnet_wsj",
            path,
        )
        compare(
            "wsj",
            theirs,
            wsj,
            [
                *(f"{s}/{name}" for s in WSJ_SETS for name in LISTS),
                "local/other_text/text",
                "nlsyms.txt",
            ],
        )
        theirs = original(
            "swbd", options.espnet_root, f"SWBD={work / 'swbd'}\n", work / "espnet_swbd", path
        )
        sets = ("train_nodup", "train_dev", "eval2000")
        compare(
            "swbd",
            theirs,
            swbd,
            [
                *(f"{s}/{name}" for s in sets for name in (*LISTS, "segments")),
                "eval2000/stm",
                "eval2000/glm",
            ],
        )


if __name__ == "__main__":
    main()
