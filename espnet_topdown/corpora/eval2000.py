"""The Hub5 English evaluation of 2000 (LDC2002S09, LDC2002T43).

Segments, text, and references for scoring.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.corpora import sphere
from espnet_topdown.corpora.audio import AudioCheck, sound_files
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.corpora.lists import files_below, read_lines, write_lines
from espnet_topdown.errors import TopdownError

SAMPLE_RATE = 8000
FILES = 40
MARGIN_S = 0.1
IGNORED = "IGNORE_TIME_SEGMENT_"
_OPTIONAL = re.compile(r" \(%.*\)")
_NON_SPEECH = re.compile(r" <.*>")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class Evaluation:
    """The test set: lists for decoding, and the stm and glm lines for hubscr."""

    lists: DataDir
    stm: list[str]
    glm: list[str]


def read(speech: Path, transcripts: Path, check: AudioCheck, faults: Faults) -> Evaluation:
    """The evaluation set.

    Args:
        speech: ``hub5e_00`` of LDC2002S09, with ``english/*.sph`` and ``english/hub5e_00.pem``.
        transcripts: LDC2002T43, with ``reference/`` in it or one directory deeper.
        check: looks at the audio.
        faults: takes unusable audio, a number of files that is not `FILES`, and recordings without
            a file. What is skipped is in no list and not in the stm.

    Raises:
        TopdownError: a list is missing, or segments and references do not name the same utterances.
    """
    reference = find_reference(transcripts)
    files = {Path(path).stem.lower(): path for path in files_below(speech / "english", ".sph")}
    if len(files) != FILES:
        faults.add(
            f"LDC2002S09: expected {FILES} .sph files in {speech / 'english'}, found",
            str(len(files)),
        )
    sound = sound_files("LDC2002S09", check.begin(files.values(), SAMPLE_RATE, 2)(), faults)
    pipe = sphere.has_sph2pipe()
    audio = {
        f"{name}-{side}": sphere.wav_entry(path, sound[path], channel, sph2pipe=pipe)
        for name, path in files.items()
        if path in sound
        for side, channel in (("A", 1), ("B", 2))
    }
    stm = read_lines(reference / "hub5e00.english.000405.stm")
    times = _read_pem(speech / "english/hub5e_00.pem")
    texts = _read_stm(stm)
    _compare(sorted(times), sorted(u for u, _ in texts))
    for name in sorted(
        {recording.rpartition("-")[0] for recording, *_ in times.values()} - files.keys()
    ):
        faults.add(
            "LDC2002S09: hub5e_00.pem names recordings without an .sph file in"
            f" {speech / 'english'}",
            name,
        )
    text = {
        u: words
        for u, spoken in sorted(texts)
        if IGNORED not in spoken and (words := plain(spoken)).strip()
    }
    segments = {u: (r, f"{start:.2f}", f"{end:.2f}") for u, (r, start, end) in widen(times).items()}
    lists = DataDir(audio, text, {u: r for u, (r, _, _) in segments.items()}, segments)
    heard = [line for line in stm if ";;" in line or "-".join(line.split()[:2]) in audio]
    return Evaluation(
        lists, [mend(line) for line in heard], read_lines(reference / "en20000405_hub5.glm")
    )


def find_reference(transcripts: Path) -> Path:
    """The directory with stm and glm.

    Raises:
        TopdownError: it is not there.
    """
    for place in (transcripts / "2000_hub5_eng_eval_tr/reference", transcripts / "reference"):
        if (place / "hub5e00.english.000405.stm").is_file():
            return place
    raise TopdownError(
        f"LDC2002T43: no reference/hub5e00.english.000405.stm in {transcripts} or "
        f"{transcripts / '2000_hub5_eng_eval_tr'}"
    )


def utterance_id(recording: str, start_s: float, end_s: float) -> str:
    """The id of a segment; times are cut, not rounded, to 10 ms, as in the published lists."""
    return f"{recording}_{int(start_s * 100):06d}-{int(end_s * 100):06d}"


def _read_pem(path: Path) -> dict[str, tuple[str, float, float]]:
    """Segments by utterance id: (recording, start, end), times in seconds."""
    segments = {}
    for line in read_lines(path):
        if ";;" in line:
            continue
        try:
            name, side, _, start, end = line.split()[:5]
            times = float(start), float(end)
        except ValueError:
            raise TopdownError(
                f"LDC2002S09: {path}: expected 'en_4156 A speaker start end', found {line!r}"
            ) from None
        segments[utterance_id(f"{name}-{side}", *times)] = (f"{name}-{side}", *times)
    return segments


def _read_stm(lines: Iterable[str]) -> list[tuple[str, str]]:
    """(utterance id, words) of every stm line that is no comment."""
    texts = []
    for line in lines:
        if ";;" in line:
            continue
        fields = line.split()
        try:
            texts.append(
                (
                    utterance_id(f"{fields[0]}-{fields[1]}", float(fields[3]), float(fields[4])),
                    " ".join(fields[6:]),
                )
            )
        except (IndexError, ValueError):
            raise TopdownError(
                "LDC2002T43: expected 'en_4156 A speaker start end <labels> words' in the stm,"
                f" found {line!r}"
            ) from None
    return texts


def _compare(pem: list[str], stm: list[str]) -> None:
    if pem != stm:
        lone = sorted(set(pem) ^ set(stm)) or [u for u in stm if stm.count(u) > 1]
        raise TopdownError(
            "hub5e_00.pem (LDC2002S09) and the stm (LDC2002T43) do not name the same segments: "
            f"{len(lone)} are in one only, e.g. {', '.join(lone[:3])}"
        )


def widen(
    times: dict[str, tuple[str, float, float]], margin_s: float = MARGIN_S
) -> dict[str, tuple[str, float, float]]:
    """Segments with `margin_s` more at both ends, or half the gap to the neighbour where that is
    less.

    Args:
        times: utterance id -> (recording, start, end), seconds.
        margin_s: seconds; a start before 0 becomes 0. Segments that overlap keep the times at which
            they do.
    """
    by_recording: dict[str, list[str]] = {}
    for utterance in sorted(times):
        by_recording.setdefault(times[utterance][0], []).append(utterance)
    widened = {}
    for recording, utterances in by_recording.items():
        order = sorted(utterances, key=lambda u: times[u][1])
        starts = [times[u][1] for u in order]
        ends = [times[u][2] for u in order]
        for i, (end, start) in enumerate(zip(ends[:-1], starts[1:], strict=True)):
            if end > start:
                logging.warning(
                    "segments %s and %s overlap: their times stay", order[i], order[i + 1]
                )
                continue
            extra = min(margin_s, 0.5 * (start - end))
            ends[i], starts[i + 1] = end + extra, start - extra
        starts[0], ends[-1] = max(0.0, starts[0] - margin_s), ends[-1] + margin_s
        widened |= {u: (recording, s, e) for u, s, e in zip(order, starts, ends, strict=True)}
    return widened


def plain(words: str) -> str:
    """The reference of one segment as it stands in ``text``, for plain word error rates.

    Lower case; everything from the first ``(%`` to the last ``)``, and from the first ``<`` to the
    last ``>``, is left out, as in ESPnet's recipe; other brackets lose their marks. A blank may
    stay at the end.
    """
    words = _NON_SPEECH.sub("", _OPTIONAL.sub("", f" {words.lower()}"))
    return _BLANKS.sub(" ", words.replace("(", "").replace(")", "")).removeprefix(" ")


def mend(line: str) -> str:
    """A line of the stm without the slips that stop hubscr."""
    return line.replace("((", "(", 1).replace("<B_ASIDE>", "").replace("<E_ASIDE>", "")


def write_references(evaluation: Evaluation, directory: Path) -> None:
    """Write ``stm`` and ``glm`` for hub5."""
    write_lines(directory / "stm", evaluation.stm)
    write_lines(directory / "glm", evaluation.glm)
