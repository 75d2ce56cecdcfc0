"""A Kaldi data directory as a value: the lists of one set, in agreement and written sorted.

Which utterances belong to a set is the business of the corpus modules.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from espnet_topdown.corpora.lists import write_lines
from espnet_topdown.grouping import grouped

Value = TypeVar("Value")
TO_THE_END = -1.0  # as a segment's end
# What Kaldi's extract-segments cuts off; times are rounded, and recordings end early.
MAX_OVERSHOOT_S = 0.5


def segment_fault(start_s: float, end_s: float, audio_s: float = math.inf) -> str:
    """Why nothing can be cut out of a recording between two times, "" where it can.

    An end less than `MAX_OVERSHOOT_S` behind the recording's is none: it is cut off there.

    Source: Kaldi's featbin/extract-segments.cc, which passes such segments over with a warning.

    Args:
        start_s: seconds from the recording's beginning.
        end_s: likewise, or `TO_THE_END`.
        audio_s: the recording's length in seconds, where it is known.
    """
    start, end, audio = f"{start_s:g}", f"{end_s:g}", f"{audio_s:g}"
    # The first that holds is the fault.
    rules = (
        (not math.isfinite(start_s + end_s), f"{start} to {end} are no times in seconds"),
        (start_s < 0, f"begins at {start} s, before its recording"),
        (start_s >= audio_s, f"begins at {start} s, but its recording has {audio} s"),
        (end_s != TO_THE_END and end_s <= start_s, f"ends at {end} s, but begins at {start} s"),
        (end_s >= audio_s + MAX_OVERSHOOT_S, f"ends at {end} s, but its recording has {audio} s"),
    )
    return next((fault for holds, fault in rules if holds), "")


@dataclass(frozen=True)
class DataDir:
    """The lists of one set.

    Args:
        audio: recording id -> entry of ``wav.scp`` (a path, or a command that ends in ``|``).
        text: utterance id -> transcript, "" where nothing was said.
        speaker: utterance id -> speaker id, which must be a prefix of the utterance id.
        segments: utterance id -> (recording id, start, end), times in seconds as they are to be
            printed; None where every utterance is a recording of its own.
    """

    audio: Mapping[str, str]
    text: Mapping[str, str]
    speaker: Mapping[str, str]
    segments: Mapping[str, tuple[str, str, str]] | None = None

    def utterances(self) -> list[str]:
        """Sorted ids of the utterances that have audio, transcript and speaker."""
        spoken = self.text.keys() & self.speaker.keys()
        return sorted(u for u in spoken if self._recording(u) in self.audio)

    def _recording(self, utterance: str) -> str | None:
        """What an utterance is cut out of, or itself where nothing is cut; None: not known."""
        if self.segments is None:
            return utterance
        recording, *_ = self.segments.get(utterance, [None])
        return recording

    def subset(self, utterances: Collection[str]) -> "DataDir":
        """The same set with only `utterances`; recordings that no utterance needs are dropped."""
        recordings = set(map(self._recording, utterances))
        segments = None
        if self.segments is not None:
            segments = _only(utterances, self.segments)
        return DataDir(
            audio={name: entry for name, entry in self.audio.items() if name in recordings},
            text=_only(utterances, self.text),
            speaker=_only(utterances, self.speaker),
            segments=segments,
        )

    def write(self, directory: Path) -> int:
        """Write text, utt2spk, spk2utt, wav.scp and, where utterances are cut out, segments.

        Only utterances that are complete are written, and only recordings that they use.

        Returns:
            the number of utterances written.
        """
        kept = self.utterances()
        whole = self.subset(kept)
        # Speakers come sorted too, as each is a prefix of its utterances.
        spk2utt = grouped(kept, lambda utterance: whole.speaker[utterance])
        tables = {
            "text": whole.text,
            "utt2spk": whole.speaker,
            "spk2utt": {speaker: " ".join(own) for speaker, own in spk2utt.items()},
            "wav.scp": dict(sorted(whole.audio.items())),
        }
        for name, table in tables.items():
            # Where nothing was said, no blank either.
            lines = (f"{key} {value}" if value else key for key, value in table.items())
            write_lines(directory / name, lines)
        if whole.segments is None:
            # An earlier preparation may have left some.
            (directory / "segments").unlink(missing_ok=True)
        else:
            cuts = [" ".join([utterance, *whole.segments[utterance]]) for utterance in kept]
            write_lines(directory / "segments", cuts)
        return len(kept)


def _only(utterances: Iterable[str], table: Mapping[str, Value]) -> dict[str, Value]:
    """The rows of `utterances`, in their order."""
    return {utterance: table[utterance] for utterance in utterances}
