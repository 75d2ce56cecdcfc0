"""Word errors of eval2000 by the rules of the Hub5 evaluations.

Both parts, Switchboard and CallHome.

hubscr (SCTK) applies them: spelling variants of the glm, hesitations, fragments, optional words.
Its alignments are left as sets of their own beside ``eval2000`` (``eval2000_hub5``,
``eval2000_hub5_swbd``, ``eval2000_hub5_callhm``), as ref.trn and hyp.trn, so that every table of
experiments and cascades has the three columns. Without hubscr the two parts are plain word errors
(``eval2000_swbd``, ``eval2000_callhm``), and a message says so.

    python3 -m espnet_topdown.corpora.hub5 --data data/eval2000 exp/asr_train
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from espnet_topdown.corpora.lists import read_lines, write_lines
from espnet_topdown.errors import TopdownError
from espnet_topdown.results.scoring import Score, write_result

SET = "eval2000"
PARTS = {
    "": "",
    "_swbd": "sw_",
    "_callhm": "en_",
}  # ending of the set's name -> how its files' names begin
_UTTERANCE = re.compile(r"((?:sw|en)_\d+)-([AB])_(\d+)-(\d+)\)\s*$")
# Words that the reference has as optional: getting them right gains nothing, so that hypotheses go
# without.
_HESITATIONS = frozenset("UH UM EH MM HM AH HUH HA ER OOF HEE ACH EEE EW".split())
_NON_SPEECH = re.compile(r"\[NOISE|LAUGHTER|VOCALIZED-NOISE\]|<UNK>")
_ALIGNED = re.compile(r'([CSDI]),(?:"([^"]*)")?,(?:"([^"]*)")?,[^:]*')
_TOTALS = re.compile(r"Percent Total Error\s*=.*\(\s*(\d+)\)|Ref\. words\s*=\s*\(\s*(\d+)\)")


def find_hubscr() -> str | None:
    """The path of hubscr.pl: on PATH, or where Debian's sctk keeps it."""
    return shutil.which("hubscr.pl") or shutil.which("hubscr.pl", path="/usr/lib/sctk/bin")


def ctm_lines(trn: Iterable[str]) -> list[str]:
    """Hypotheses as ctm.

    Upper case, the words of a segment spread evenly over it, without what is not scored.

    Args:
        trn: lines ``words<tab>(sw_4390-A-sw_4390-A_000031-000144)``; the last two numbers are 10 ms
            units.

    Raises:
        TopdownError: an id does not say file, side and times.
    """
    lines = []
    for line in trn:
        match = _UTTERANCE.search(line)
        if not match:
            raise TopdownError(
                f"no eval2000 utterance (sw_4390-A_000031-000144 or the like): {line!r}"
            )
        file, side, start, end = match[1], match[2], int(match[3]), int(match[4])
        words = line[: line.rindex("(")].upper().split()
        step = (end - start) // max(1, len(words))
        for n, word in enumerate(words):
            length = step if n + 1 < len(words) else end - start - step * n
            if not (word in _HESITATIONS or word.endswith("-") or _NON_SPEECH.search(word)):
                lines.append(
                    f"{file} {side} {(start + step * n) / 100:.2f} {length / 100:.2f}  {word}"
                )
    return lines


def run_hubscr(
    hubscr: str, data: Path, directory: Path, ctm: list[str]
) -> list[tuple[str, str, str]]:
    """hubscr's alignments of `ctm` with the references.

    Args:
        hubscr: path of hubscr.pl, which has its companions beside it.
        data: directory with ``stm`` and ``glm``.
        directory: gets ``hyp.ctm`` and hubscr's reports.
        ctm: hypotheses.

    Returns:
        (id, reference, hypothesis) of every segment, words as aligned.

    Raises:
        TopdownError: stm or glm are missing, hubscr fails, or its alignments and its totals
            disagree.
    """
    for name in ("stm", "glm"):
        if not (data / name).is_file():
            raise TopdownError(f"hub5 scoring needs {data / name}; prepare the data (stage 1)")
    write_lines(directory / "hyp.ctm", ctm)
    binaries = str(Path(hubscr).parent)
    command = [
        hubscr,
        "-p",
        binaries,
        "-V",
        "-l",
        "english",
        "-h",
        "hub5",
        "-g",
        str(data / "glm"),
        "-r",
        str(data / "stm"),
        str(directory / "hyp.ctm"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    (directory / "score.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        raise TopdownError(f"hubscr failed; see {directory / 'score.log'}")
    return read_alignments(directory / "hyp.ctm.filt.sgml")


def read_alignments(sgml: Path) -> list[tuple[str, str, str]]:
    """(id, reference, hypothesis) of every segment in sclite's sgml report.

    An optional word left out is right.
    """
    segments, name = [], ""
    for line in read_lines(sgml):
        if line.startswith("<PATH "):
            name = line.split('id="(', 1)[1].split(")", 1)[0]
        elif not line.startswith("<"):
            pairs = [(r, r if kind == "C" else h) for kind, r, h in _ALIGNED.findall(line)]
            sides = zip(*pairs, strict=True) if pairs else ((), ())
            segments.append(
                (name, *(" ".join(word.strip("()") for word in side if word) for side in sides))
            )
    return segments


def score(scored: Path, data: Path) -> dict[str, Score]:
    """Score one decoded eval2000 and leave the parts as sets beside it.

    Args:
        scored: ``EXP/DECODING/eval2000/score_wer`` with ref.trn and hyp.trn.
        data: directory with ``stm`` and ``glm``.

    Returns:
        set -> score.

    Raises:
        TopdownError: as `run_hubscr`, or the sets made do not have hubscr's totals.
    """
    hubscr = find_hubscr()
    sets = scored.parent.parent
    if not hubscr:
        parts = {ending: prefix for ending, prefix in PARTS.items() if ending}
        return {
            f"{SET}{e}": _write_plain(scored, sets / f"{SET}{e}/score_wer", p)
            for e, p in parts.items()
        }
    segments = run_hubscr(
        hubscr, data, scored / "scoring", ctm_lines(read_lines(scored / "hyp.trn"))
    )
    scores = {
        f"{SET}_hub5{e}": _write_set(segments, sets / f"{SET}_hub5{e}/score_wer", p)
        for e, p in PARTS.items()
    }
    totals = "\n".join(read_lines(scored / "scoring/hyp.ctm.filt.dtl"))
    expected = sorted(int(a or b) for a, b in _TOTALS.findall(totals))
    found = sorted(_counts(scores[f"{SET}_hub5"]))
    if found != expected:
        raise TopdownError(
            f"hubscr counts errors and words as {expected}, {sets / SET}_hub5 has {found}: not the"
            " same"
        )
    return scores


def _counts(score: Score) -> tuple[int, int]:
    """(errors, reference words)."""
    return sum(u.errors for u in score.utterances), sum(u.words for u in score.utterances)


def _write_set(segments: Iterable[tuple[str, str, str]], directory: Path, prefix: str) -> Score:
    chosen = [segment for segment in segments if segment[0].startswith(prefix)]
    write_lines(directory / "ref.trn", (f"{reference}\t({name})" for name, reference, _ in chosen))
    write_lines(
        directory / "hyp.trn", (f"{hypothesis}\t({name})" for name, _, hypothesis in chosen)
    )
    return write_result(directory)


def _write_plain(scored: Path, directory: Path, prefix: str) -> Score:
    for name in ("ref.trn", "hyp.trn"):
        write_lines(
            directory / name, (line for line in read_lines(scored / name) if f"({prefix}" in line)
        )
    return write_result(directory)


def main(arguments: list[str] | None = None) -> int:
    """Score every decoded eval2000 of an experiment."""
    parser = argparse.ArgumentParser(description="eval2000 by the hub5 rules")
    parser.add_argument(
        "--data", type=Path, default=Path("data") / SET, help="directory with stm and glm"
    )
    parser.add_argument(
        "exp", type=Path, help="experiment directory, decoded and scored (stages 12 and 13)"
    )
    options = parser.parse_args(arguments)
    if not find_hubscr():
        print(
            "hubscr.pl (SCTK; Debian package sctk) is not installed: plain word errors instead of"
            " the hub5 rules"
        )
    try:
        if not options.exp.is_dir():
            raise TopdownError(
                f"no directory {options.exp}; give an experiment that was decoded and scored"
            )
        decoded = sorted(options.exp.glob(f"*/{SET}/score_wer"))
        if not decoded:
            print(
                f"found no {options.exp}/*/{SET}/score_wer: {SET} was not decoded, so nothing is"
                " scored by the hub5 rules"
            )
        for scored in decoded:
            for name, counts in score(scored, options.data).items():
                errors, words = _counts(counts)
                rate = 100 * errors / max(1, words)
                print(
                    f"{scored.parent.parent.name}/{name}: {rate:.1f} % ({errors} of {words} words)"
                )
    except TopdownError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
