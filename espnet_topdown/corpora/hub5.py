"""Word errors of eval2000 and its two parts, Switchboard and CallHome, by the rules of hub5.

hubscr (SCTK) applies them: spelling variants of the glm, hesitations, fragments, optional words.
Its alignments are left as sets of their own beside ``eval2000`` (``eval2000_hub5``,
``eval2000_hub5_swbd``, ``eval2000_hub5_callhm``), as ref.trn and hyp.trn, so that every table of
experiments and cascades has the three columns. Without hubscr the two parts are plain word errors
(``eval2000_swbd``, ``eval2000_callhm``), and a message says so.

    python3 -m espnet_topdown.corpora.hub5 --data data/eval2000 exp/asr_train
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from espnet_topdown.corpora.hub5_sgml import Aligned, read_alignments
from espnet_topdown.corpora.lists import read_lines, write_lines
from espnet_topdown.errors import Parser, TopdownError, reported
from espnet_topdown.results.outside import write_outside
from espnet_topdown.results.score import Score, percent
from espnet_topdown.results.scoring import write_result

SET = "eval2000"
# Ending of a set's name -> how the names of its recordings begin.
PARTS = {"_swbd": "sw_", "_callhm": "en_"}
_UTTERANCE = re.compile(r"((?:sw|en)_\d+)-([AB])_(\d+)-(\d+)\)\s*$")
# Words that the reference has as optional: getting them right gains nothing, so hypotheses go
# without them.
_HESITATIONS = frozenset(
    ("UH", "UM", "EH", "MM", "HM", "AH", "HUH", "HA", "ER", "OOF", "HEE", "ACH", "EEE", "EW")
)
# Brackets, braces and semicolons are sclite's own marks (optional words, alternatives, comments).
# In a hypothesis they are letters like others, and wrong ones.
_LETTERS = str.maketrans({"(": "[", ")": "]", "{": "[", "}": "]", ";": ":"})
# As Kaldi's local/score.sh has it: the word LAUGHTER goes with or without its brackets.
_NON_SPEECH = re.compile(r"\[NOISE|LAUGHTER|VOCALIZED-NOISE\]|<UNK>")
_TOTALS = re.compile(r"(?:Percent Total Error\s*=.*|Ref\. words\s*=\s*)\(\s*(\d+)\)")


def find_hubscr() -> str | None:
    """The path of hubscr.pl: on PATH, or where Debian's sctk keeps it."""
    program = shutil.which("hubscr.pl") or shutil.which("hubscr.pl", path="/usr/lib/sctk/bin")
    # It is called from another directory, and PATH may have relative ones.
    return str(Path(program).absolute()) if program else None


def ctm_lines(trn: Iterable[str]) -> list[str]:
    """Hypotheses as ctm: upper case, spread evenly over their segment, without unscored words.

    sclite's own marks become other characters, so that it takes them for what was heard.

    Args:
        trn: lines ``words<tab>(sw_4390-A-sw_4390-A_000031-000144)``; the last two numbers are 10 ms
            units.

    Raises:
        TopdownError: an id does not say file, side and times.
    """
    lines = []
    for line in trn:
        utterance = _UTTERANCE.search(line)
        if not utterance:
            raise TopdownError(
                f"no eval2000 utterance (sw_4390-A_000031-000144 or the like): {line!r}"
            )
        recording, side = utterance[1], utterance[2]
        start, end = int(utterance[3]), int(utterance[4])
        words = line[: line.rindex("(")].upper().translate(_LETTERS).split()
        for word, at, length in _spread(words, start, end):
            if _is_scored(word):
                lines.append(f"{recording} {side} {at / 100:.2f} {length / 100:.2f}  {word}")
    return lines


def _spread(words: Sequence[str], start: int, end: int) -> list[tuple[str, int, int]]:
    """(word, start, length), the last word with what is left over."""
    step = (end - start) // max(1, len(words))
    begins = [start + step * n for n in range(len(words))]
    ends = [*begins[1:], end]
    placed = zip(words, begins, ends, strict=False)
    return [(word, at, to - at) for word, at, to in placed]


def _is_scored(word: str) -> bool:
    is_fragment = word.endswith("-")
    return not (is_fragment or word in _HESITATIONS or _NON_SPEECH.search(word))


def run_hubscr(hubscr: str, data: Path, directory: Path, ctm: Iterable[str]) -> list[Aligned]:
    """The alignments that hubscr makes of `ctm` with the references.

    Args:
        hubscr: path of hubscr.pl, which has its companions beside it.
        data: directory with ``stm`` and ``glm``.
        directory: gets ``hyp.ctm`` and hubscr's reports.
        ctm: hypotheses.

    Returns:
        every segment.

    Raises:
        TopdownError: stm or glm are missing, or hubscr fails.
    """
    write_lines(directory / "hyp.ctm", ctm)
    for name in ("stm", "glm"):
        if not (data / name).is_file():
            raise TopdownError(f"hub5 scoring needs {data / name}; prepare the data (stage 1)")
        # hubscr writes beside the stm, where other scorings may run and the data be read-only.
        shutil.copyfile(data / name, directory / name)
    command = [hubscr, "-p", str(Path(hubscr).parent), "-V", "-l", "english", "-h", "hub5"]
    # Names without directories: hubscr hands them to a shell, to which blanks would part them.
    command += ["-g", "glm", "-r", "stm", "hyp.ctm"]
    done = subprocess.run(command, cwd=directory, capture_output=True, check=False)
    (directory / "score.log").write_bytes(done.stdout + done.stderr)
    if done.returncode:
        raise TopdownError(
            f"hubscr failed; see {directory / 'score.log'}, and the ends of *.filt beside it"
        )
    return read_alignments(directory / "hyp.ctm.filt.sgml", directory / "stm.filt")


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
    if hubscr:
        return _score_by_hubscr(hubscr, scored, data)
    sets = scored.parent.parent
    return {
        f"{SET}{ending}": _write_plain(scored, sets / f"{SET}{ending}" / "score_wer", prefix)
        for ending, prefix in PARTS.items()
    }


def _score_by_hubscr(hubscr: str, scored: Path, data: Path) -> dict[str, Score]:
    _tell_marks(scored / "hyp.trn")
    ctm = ctm_lines(read_lines(scored / "hyp.trn"))
    segments = run_hubscr(hubscr, data, scored / "scoring", ctm)
    sets = scored.parent.parent
    whole = f"{SET}_hub5"
    scores = {}
    for ending, prefix in {"": "", **PARTS}.items():
        name = f"{whole}{ending}"
        scores[name] = _write_aligned(segments, sets / name / "score_wer", prefix)
    totals = "\n".join(read_lines(scored / "scoring/hyp.ctm.filt.dtl"))
    expected = sorted(map(int, _TOTALS.findall(totals)))
    counted = sorted([scores[whole].errors, scores[whole].words])
    if counted != expected:
        raise TopdownError(
            f"hubscr counts errors and words as {expected}, {sets / whole} has {counted}: not the"
            " same"
        )
    return scores


def _write_aligned(segments: Iterable[Aligned], directory: Path, prefix: str) -> Score:
    chosen = [segment for segment in segments if segment.name.startswith(prefix)]
    write_lines(directory / "ref.trn", (_trn(s.reference, s.name) for s in chosen))
    write_lines(directory / "hyp.trn", (_trn(s.hypothesis, s.name) for s in chosen))
    write_outside(directory, {segment.name: segment.outcome for segment in chosen})
    return write_result(directory)


def _trn(words: Iterable[str], name: str) -> str:
    return f"{' '.join(words)}\t({name})"


def _write_plain(scored: Path, directory: Path, prefix: str) -> Score:
    for name in ("ref.trn", "hyp.trn"):
        lines = [line for line in read_lines(scored / name) if f"({prefix}" in line]
        write_lines(directory / name, lines)
    return write_result(directory)


def _tell_marks(trn: Path) -> None:
    """Say how many hypotheses hold marks of sclite's."""
    spoken = [line[: line.rfind("(")] for line in read_lines(trn)]
    marked = sum(words != words.translate(_LETTERS) for words in spoken)
    if marked:
        print(f"{trn}: ( ) {{ }} ; are taken as heard, and as errors (utterances: {marked})")


def score_experiment(exp: Path, data: Path) -> None:
    """Score every decoded eval2000 of an experiment and print a line for each set.

    Raises:
        TopdownError: there is no such experiment, or as `score`.
    """
    if not exp.is_dir():
        raise TopdownError(f"no directory {exp}; give an experiment that was decoded and scored")
    decoded = sorted(exp.glob(f"*/{SET}/score_wer"))
    if not decoded:
        print(
            f"found no {exp}/*/{SET}/score_wer: {SET} was not decoded, so nothing is scored by the"
            " hub5 rules"
        )
    for scored in decoded:
        for name, total in score(scored, data).items():
            rate = percent(total.errors, total.words)
            counts = f"{total.errors} of {total.words} words"
            print(f"{scored.parent.parent.name}/{name}: {rate} % ({counts})")


def main(argv: Sequence[str] | None = None) -> None:
    """Score every decoded eval2000 of an experiment."""
    parser = Parser(
        "python3 -m espnet_topdown.corpora.hub5", description="eval2000 by the hub5 rules"
    )
    parser.add_argument(
        "--data", type=Path, default=Path("data") / SET, help="directory with stm and glm"
    )
    parser.add_argument(
        "exp", type=Path, help="experiment directory, decoded and scored (stages 12 and 13)"
    )
    options = parser.parse_args(argv)
    if not find_hubscr():
        print(
            "hubscr.pl (SCTK; Debian package sctk) is not installed: plain word errors instead of"
            " the hub5 rules"
        )
    with reported():
        score_experiment(options.exp, options.data)


if __name__ == "__main__":
    main()
