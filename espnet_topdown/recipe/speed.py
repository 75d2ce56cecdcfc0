"""Speed perturbation of a training set, stage 2; the audio itself is changed in stage 3."""

from collections.abc import Sequence
from pathlib import Path

from espnet_topdown.corpora.kaldi_dir import TO_THE_END
from espnet_topdown.errors import TopdownError
from espnet_topdown.recipe import audio, datadir
from espnet_topdown.recipe.segments import Segment, read_segments
from espnet_topdown.text_files import read_table

SLOWEST, FASTEST = 0.1, 10.0  # beyond is no speech, and no number as sox's command has it


def perturb(train: Path, factors: Sequence[float]) -> Path:
    """Write data/TRAIN_spF of each factor but 1, and the union with data/TRAIN, data/TRAIN_sp.

    Ids of a factor other than 1 get ``spF-``. The audio is not touched: wav.scp names it with sox's
    ``speed`` at the end.

    Returns:
        the directory of the union.

    Raises:
        TopdownError: there is no factor, or one is out of range or there twice.
    """
    names = [f"{factor:g}" for factor in factors]
    in_range = all(SLOWEST <= factor <= FASTEST for factor in factors)
    if not (names and in_range) or len(set(names)) < len(names):
        raise TopdownError(
            f"asked for the speeds '{' '.join(names)}'; give different factors of {SLOWEST:g} to"
            f" {FASTEST:g}, such as --speed_perturb_factors '0.9 1.0 1.1'"
        )
    parts = []
    for factor in factors:
        if factor == 1:
            parts.append(train)
            continue
        target = train.with_name(f"{train.name}_sp{factor:g}")
        _write_at_speed(train, target, factor)
        parts.append(target)
    union = train.with_name(f"{train.name}_sp")
    datadir.combine(parts, union)
    return union


def _write_at_speed(source: Path, target: Path, factor: float) -> None:
    prefix = f"sp{factor:g}-"
    text = read_table(source / "text")
    utt2spk = read_table(source / "utt2spk")
    recordings = read_table(source / "wav.scp")
    owners = {prefix + utterance: prefix + speaker for utterance, speaker in utt2spk.items()}
    faster = {prefix + name: audio.faster(value, factor) for name, value in recordings.items()}
    datadir.write_table(target / "text", {prefix + u: words for u, words in text.items()})
    datadir.write_table(target / "utt2spk", owners)
    datadir.write_table(target / "spk2utt", datadir.speakers(owners))
    datadir.write_table(target / "wav.scp", faster)
    cuts = None
    if (source / "segments").exists():
        segments = read_segments(source)
        cuts = {prefix + u: prefix + _cut_at_speed(cut, factor) for u, cut in segments.items()}
    datadir.replace_table(target / "segments", cuts)


def _cut_at_speed(cut: Segment, factor: float) -> str:
    """``RECORDING START END`` with times of the faster recording."""
    end = "-1" if cut.end_s == TO_THE_END else f"{cut.end_s / factor:.6f}"
    return f"{cut.recording} {cut.start_s / factor:.6f} {end}"
