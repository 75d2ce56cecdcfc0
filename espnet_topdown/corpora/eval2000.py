"""The Hub5 English evaluation of 2000 (LDC2002S09, LDC2002T43): lists, and stm for scoring."""

import itertools
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.corpora.audio import AudioCheck, conversation_sides, lengths_s, sphere_files
from espnet_topdown.corpora.disc_names import DiscNames, is_blank
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir, segment_fault
from espnet_topdown.corpora.lists import read_lines, write_lines
from espnet_topdown.errors import TopdownError
from espnet_topdown.grouping import grouped

SAMPLE_RATE = 8000
FILES = 40
MARGIN_S = 0.1
PEM = "hub5e_00.pem"
STM = "hub5e00.english.000405.stm"
GLM = "en20000405_hub5.glm"
IGNORED = "IGNORE_TIME_SEGMENT_"
_COMMENT = ";;"
_PEM_LINE = "en_4156 A speaker start end"
_STM_EXPECTED = f"LDC2002T43: expected '{_PEM_LINE} <labels> words' in the stm"
# Both reach to the last bracket of a line, as in ESPnet's recipe.
_OPTIONAL = re.compile(r" \(%.*\)")
_NON_SPEECH = re.compile(r" <.*>")
_BLANKS = re.compile(r"\s+")


class Segment(NamedTuple):
    """A stretch of one side of a conversation, e.g. ``en_4156-A``."""

    recording: str
    start_s: float
    end_s: float

    @property
    def utterance(self) -> str:
        """Its id; times are cut, not rounded, to 10 ms, as in the published lists."""
        start, end = int(self.start_s * 100), int(self.end_s * 100)
        return f"{self.recording}_{start:06d}-{end:06d}"


@dataclass(frozen=True)
class Evaluation:
    """The test set: lists for decoding, and the stm and glm lines for hubscr."""

    lists: DataDir
    stm: list[str]
    glm: list[str]


def read(english: Path, transcripts: Path, check: AudioCheck, faults: Faults) -> Evaluation:
    """The evaluation set.

    Args:
        english: that directory of LDC2002S09's ``hub5e_00``, with ``*.sph`` and ``hub5e_00.pem``.
        transcripts: LDC2002T43, with ``reference/`` in it or one directory deeper.
        check: looks at the audio.
        faults: takes unusable audio, a number of files that is not `FILES`, recordings without a
            file, and segments outside their audio. What is skipped is in no list and not in the
            stm.

    Raises:
        TopdownError: a list is missing, or segments and references do not name the same utterances.
    """
    reference = find_reference(transcripts)
    names = DiscNames()
    files = sphere_files("LDC2002S09", english)
    if len(files) != FILES:
        kind = f"LDC2002S09: expected {FILES} .sph files in {english}, found"
        faults.add(kind, str(len(files)))
    audio = conversation_sides("LDC2002S09", files, SAMPLE_RATE, check, faults)
    stm = read_lines(Path(names.actual(reference, STM)))
    pem = Path(names.actual(english, PEM))
    read = _read_segments(read_lines(pem), f"LDC2002S09: {pem}: expected '{_PEM_LINE}'")
    segments = {segment.utterance: segment for segment, _ in read}
    read = _read_segments(stm, _STM_EXPECTED)
    # The first of the words are the labels.
    references = [(segment.utterance, " ".join(words[1:])) for segment, words in read]
    _require_same(segments, [utterance for utterance, _ in references])
    conversations = {segment.recording.rpartition("-")[0] for segment in segments.values()}
    for name in sorted(conversations - files.keys()):
        faults.add(f"LDC2002S09: {PEM} names recordings without an .sph file in {english}", name)
    wide = widen(segments)
    seconds = lengths_s(audio, files) if check.how != "none" else {}
    for utterance, fault in _outside(segments, wide, seconds).items():
        faults.add("LDC2002S09: segments outside their audio", f"{pem}: {utterance} {fault}")
        del wide[utterance]
    # What is skipped leaves the stm too: hubscr would count its words as deletions.
    heard = [line for line in stm if _is_comment(line) or _is_heard(line, wide, audio)]
    return Evaluation(
        lists=_data_dir(audio, wide, references),
        stm=list(map(mend, heard)),
        glm=read_lines(Path(names.actual(reference, GLM))),
    )


def require_parts(lists: DataDir) -> None:
    """Refuse a test set of which nothing is left, or nothing of one of its parts.

    Raises:
        TopdownError: there is no utterance of Switchboard, or none of CallHome.
    """
    utterances = lists.utterances()
    for part, prefix in (("Switchboard", "sw_"), ("CallHome", "en_")):
        if not any(utterance.startswith(prefix) for utterance in utterances):
            raise TopdownError(
                f"LDC2002S09, LDC2002T43: no utterance of {part} (eval2000) has both audio and"
                " reference; nothing was written"
            )


def find_reference(transcripts: Path) -> Path:
    """The directory with stm and glm.

    Raises:
        TopdownError: it is not there.
    """
    names = DiscNames()
    for place in ("2000_hub5_eng_eval_tr/reference", "reference"):
        stm = Path(names.actual(transcripts, f"{place}/{STM}"))
        if stm.is_file():
            return stm.parent
    raise TopdownError(
        f"LDC2002T43: no reference/{STM} in {transcripts} or"
        f" {transcripts / '2000_hub5_eng_eval_tr'}"
    )


def _read_segments(lines: Iterable[str], expected: str) -> Iterator[tuple[Segment, list[str]]]:
    """The segment of every line that is no comment, and the words behind its times.

    Args:
        lines: of a pem or an stm.
        expected: what to say where a line is none.
    """
    for line in itertools.filterfalse(_is_comment, lines):
        try:
            name, side, _, start, end, *words = line.split()
            segment = Segment(f"{name}-{side}", float(start), float(end))
        except ValueError:
            raise TopdownError(f"{expected}, found {line!r}") from None
        yield segment, words


def _is_comment(line: str) -> bool:
    return _COMMENT in line or is_blank(line)


def _is_heard(stm_line: str, segments: Collection[str], audio: Collection[str]) -> bool:
    ((segment, _),) = _read_segments([stm_line], _STM_EXPECTED)
    return segment.utterance in segments and segment.recording in audio


def _outside(
    segments: Mapping[str, Segment], wide: Mapping[str, Segment], seconds: Mapping[str, float]
) -> dict[str, str]:
    """Why nothing can be cut out for an utterance, of those for which it is so.

    Args:
        segments: by utterance, as the pem has them.
        wide: the same as they are cut out.
        seconds: conversation -> length of its audio, where that is known.
    """
    faults = {}
    for utterance, (recording, start_s, end_s) in segments.items():
        audio_s = seconds.get(recording.rpartition("-")[0], math.inf)
        cut = wide[utterance]
        # By its own times too: with a margin a segment may seem to end behind its start.
        fault = segment_fault(start_s, end_s) or segment_fault(cut.start_s, cut.end_s, audio_s)
        if fault:
            faults[utterance] = fault
    return faults


def _require_same(segments: Iterable[str], references: list[str]) -> None:
    """Refuse segments and references that are not one to one.

    Raises:
        TopdownError: an utterance is in one only, or has two references.
    """
    pem, stm = sorted(segments), sorted(references)
    if pem == stm:
        return
    lone = sorted(set(pem) ^ set(stm))
    twice = [utterance for utterance in stm if stm.count(utterance) > 1]
    named, where = (lone, "one only") if lone else (twice, "the stm twice")
    raise TopdownError(
        f"{PEM} (LDC2002S09) and the stm (LDC2002T43) do not name the same segments:"
        f" {len(named)} are in {where}, e.g. {', '.join(named[:3])}"
    )


def _data_dir(
    audio: Mapping[str, str],
    wide: Mapping[str, Segment],
    references: Iterable[tuple[str, str]],
) -> DataDir:
    """The lists for decoding; what has no word, or is not to be scored, gets no text."""
    scored = {utterance: plain(said) for utterance, said in references if IGNORED not in said}
    text = {utterance: words for utterance, words in scored.items() if words.strip()}
    return DataDir(
        audio=audio,
        text=text,
        speaker={utterance: segment.recording for utterance, segment in wide.items()},
        segments={u: (s.recording, f"{s.start_s:.2f}", f"{s.end_s:.2f}") for u, s in wide.items()},
    )


def widen(segments: Mapping[str, Segment], margin_s: float = MARGIN_S) -> dict[str, Segment]:
    """Segments with a margin at both ends, or half the gap to the neighbour where that is less.

    Args:
        segments: by utterance id.
        margin_s: seconds; a start before 0 becomes 0. Segments that overlap keep the times at which
            they do.
    """
    # Sorting is stable: of one start, segments stand by their ids.
    by_start = sorted(sorted(segments), key=lambda utterance: segments[utterance].start_s)
    by_recording = grouped(by_start, lambda utterance: segments[utterance].recording)
    widened = {}
    for order in by_recording.values():
        between = [
            _margin_between(segments[left], segments[right], margin_s)
            for left, right in itertools.pairwise(order)
        ]
        margins = itertools.pairwise([margin_s, *between, margin_s])
        for utterance, (before, after) in zip(order, margins, strict=True):
            recording, start_s, end_s = segments[utterance]
            widened[utterance] = Segment(recording, max(0.0, start_s - before), end_s + after)
    return widened


def _margin_between(left: Segment, right: Segment, margin_s: float) -> float:
    gap_s = right.start_s - left.end_s
    if gap_s < 0:
        logging.warning(
            "segments %s and %s overlap: their times stay", left.utterance, right.utterance
        )
        return 0.0
    return min(margin_s, 0.5 * gap_s)


def plain(words: str) -> str:
    """The reference of one segment as it stands in ``text``, for plain word error rates.

    Lower case; everything from the first ``(%`` to the last ``)``, and from the first ``<`` to the
    last ``>``, is left out, as in ESPnet's recipe; other brackets lose their marks. A blank may
    stay at the end.
    """
    words = _OPTIONAL.sub("", f" {words.lower()}")
    words = _NON_SPEECH.sub("", words)
    words = words.replace("(", "").replace(")", "")
    return _BLANKS.sub(" ", words).removeprefix(" ")


def mend(line: str) -> str:
    """A line of the stm without the slips that stop hubscr."""
    return line.replace("((", "(", 1).replace("<B_ASIDE>", "").replace("<E_ASIDE>", "")


def write_references(evaluation: Evaluation, directory: Path) -> None:
    """Write ``stm`` and ``glm`` for hub5."""
    write_lines(directory / "stm", evaluation.stm)
    write_lines(directory / "glm", evaluation.glm)
