"""Utterances that training can use: stage 4. The others are named, with the reason."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.grouping import grouped
from espnet_topdown.recipe.datadir import SHOWN, copy_set, write_table
from espnet_topdown.recipe.frames import Shortest
from espnet_topdown.text_files import read_table

DROPPED = "dropped"  # file of a set's utterances that were left out

REASONS = ("too short", "too long", "without text")


class LeftOut(NamedTuple):
    """Why an utterance is left out, one of `REASONS`, and its seconds."""

    reason: str
    seconds: float


def keep_usable(
    source: Path,
    target: Path,
    *,
    rate: int,
    shortest_s: float,
    longest_s: float,
    needed: Shortest | None = None,
) -> str:
    """Write the utterances of a formatted set that have text and are neither short nor long.

    Those left out stand with the reason in the target's `DROPPED`.

    Args:
        source: the set (stage 3).
        target: the set that is left (stage 4).
        rate: samples per second.
        shortest_s: what has as many seconds or fewer is left out.
        longest_s: what has as many seconds or more is left out.
        needed: by the encoder; None where that is not known.

    Returns:
        What was kept and what was not, for the log; and what was kept and is too short to be
        trained on.

    Raises:
        TopdownError: nothing is left.
    """
    samples = {u: int(n) for u, n in read_table(source / "utt2num_samples").items()}
    text = read_table(source / "text")
    audio = read_table(source / "wav.scp")
    bounds = int(shortest_s * rate), int(longest_s * rate)
    left_out = _judge(samples, text, bounds, rate)
    rows = {u: f"{reason} {seconds:.2f} s" for u, (reason, seconds) in left_out.items()}
    kept = {u: length for u, length in samples.items() if u not in rows}
    # Written first: it is wanted most where nothing is left.
    write_table(target / DROPPED, rows)
    by_reason: dict[str, Sequence[str]] = dict.fromkeys(REASONS, ())
    by_reason |= grouped(left_out, lambda utterance: left_out[utterance].reason)
    counts = [f"{len(utterances)} {reason}" for reason, utterances in by_reason.items()]
    summary = f"{source}: {len(samples)} utterances, {', '.join(counts)}: {len(kept)} kept"
    details = _named(by_reason, left_out, target / DROPPED)
    if not kept:
        raise TopdownError(
            f"{summary}: none is left; see --min_wav_duration and --max_wav_duration{details}"
        )
    copy_set(source, target, kept)
    write_table(target / "utt2num_samples", kept)
    write_table(target / "wav.scp", {utterance: audio[utterance] for utterance in kept})
    (target / "feats_type").write_text("raw\n")
    return summary + details + _note_on_short(kept, needed, rate)


def _note_on_short(samples: Mapping[str, int], needed: Shortest | None, rate: int) -> str:
    """A line on utterances that ESPnet's encoder would refuse in training; else nothing."""
    if needed is None:
        return ""
    short = [utterance for utterance, length in samples.items() if length < needed.samples]
    if not short:
        return ""
    named = [f"{utterance} ({samples[utterance] / rate:.2f} s)" for utterance in short]
    # What is as long as the bound is left out too.
    bound_s = (needed.samples - 0.5) / rate
    return (
        f"\n  note: {len(short)} of those kept have fewer than {needed.frames} frames; a batch of"
        f" such ends the training with ESPnet's TooShortUttError: {some_of(named, SHOWN)};"
        f" --min_wav_duration {bound_s:.5f} leaves them out"
    )


def _judge(
    samples: Mapping[str, int], text: Mapping[str, str], bounds: tuple[int, int], rate: int
) -> dict[str, LeftOut]:
    """What is to be left out, by utterance."""
    shortest, longest = bounds
    left_out = {}
    for utterance, length in samples.items():
        # The first that holds is the reason.
        rules = {
            "without text": not text.get(utterance),
            "too short": length <= shortest,
            "too long": length >= longest,
        }
        reasons = [reason for reason, holds in rules.items() if holds]
        if reasons:
            left_out[utterance] = LeftOut(reasons[0], length / rate)
    return left_out


def _named(
    by_reason: Mapping[str, Sequence[str]], left_out: Mapping[str, LeftOut], file: Path
) -> str:
    """A line for every reason with the first utterances that it holds for, then their file."""
    lines = []
    for reason, utterances in by_reason.items():
        named = [f"{utterance} ({left_out[utterance].seconds:.2f} s)" for utterance in utterances]
        if named:
            lines.append(f"\n  {reason}: {some_of(named, SHOWN)}")
    if lines:
        lines.append(f"\n  all of them: {file}")
    return "".join(lines)
