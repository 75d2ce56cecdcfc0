"""The table ``segments`` of a data directory: stretches of recordings, refused where they are none.

How they are cut out is left to `espnet_topdown.recipe.formats`.
"""

from pathlib import Path
from typing import NamedTuple

from espnet_topdown.corpora.kaldi_dir import segment_fault
from espnet_topdown.recipe.datadir import refuse_some
from espnet_topdown.text_files import read_table


class Segment(NamedTuple):
    """A stretch of a recording.

    Attributes:
        recording: its id in wav.scp.
        start_s: seconds from its beginning.
        end_s: likewise, or `kaldi_dir.TO_THE_END`.
    """

    recording: str
    start_s: float
    end_s: float


def read_segments(directory: Path) -> dict[str, Segment]:
    """The table segments of a data directory.

    Raises:
        TopdownError: lines that are not ``UTTERANCE RECORDING START END``, stretches that are none,
            or recordings that wav.scp lacks; all together.
    """
    path = directory / "segments"
    recordings = read_table(directory / "wav.scp")
    segments, faults = {}, []
    for utterance, value in read_table(path).items():
        try:
            recording, start, end = value.split()
            segment = Segment(recording, float(start), float(end))
        except ValueError:
            faults.append(f"{utterance}: expected RECORDING START END, found {value!r}")
            continue
        fault = segment_fault(segment.start_s, segment.end_s)
        if recording not in recordings:
            fault = f"is cut from {recording!r}, which wav.scp lacks"
        if fault:
            faults.append(f"{utterance}: {fault}")
        segments[utterance] = segment
    refuse_some(faults, f"{path} has lines of which no audio can be cut")
    return segments
