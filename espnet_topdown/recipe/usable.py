"""Utterances that training can use: stage 4. The others are named, with the reason."""

from collections.abc import Mapping
from pathlib import Path

from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.recipe.datadir import SHOWN, copy_set, write_table
from espnet_topdown.recipe.frames import Shortest
from espnet_topdown.text_files import read_table

DROPPED = "dropped"  # file of a set's utterances that were left out

Reasons = Mapping[str, Mapping[str, float]]  # reason -> utterance -> its seconds


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
    reasons = _judge(samples, text, bounds, rate)
    rows = {
        utterance: f"{reason} {seconds:.2f} s"
        for reason, lengths_s in reasons.items()
        for utterance, seconds in lengths_s.items()
    }
    kept = {u: length for u, length in samples.items() if u not in rows}
    # Written first: it is wanted most where nothing is left.
    write_table(target / DROPPED, rows)
    counts = [f"{len(lengths_s)} {reason}" for reason, lengths_s in reasons.items()]
    summary = f"{source}: {len(samples)} utterances, {', '.join(counts)}: {len(kept)} kept"
    details = _named(reasons, target / DROPPED)
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
) -> Reasons:
    """What is to be left out, by reason; an utterance has one."""
    shortest, longest = bounds
    reasons: dict[str, dict[str, float]] = {"too short": {}, "too long": {}, "without text": {}}
    for utterance, length in samples.items():
        if not text.get(utterance):
            reason = "without text"
        elif length <= shortest:
            reason = "too short"
        elif length >= longest:
            reason = "too long"
        else:
            continue
        reasons[reason][utterance] = length / rate
    return reasons


def _named(reasons: Reasons, file: Path) -> str:
    """A line for every reason with the first utterances that it holds for, then their file."""
    lines = []
    for reason, lengths_s in reasons.items():
        if lengths_s:
            named = [f"{utterance} ({seconds:.2f} s)" for utterance, seconds in lengths_s.items()]
            lines.append(f"\n  {reason}: {some_of(named, SHOWN)}")
    if lines:
        lines.append(f"\n  all of them: {file}")
    return "".join(lines)
