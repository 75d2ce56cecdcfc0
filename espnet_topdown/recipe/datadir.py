"""Kaldi data directories as tables: read, checked, thinned and written so that their files agree.

What the audio in ``wav.scp`` means is left to `espnet_topdown.recipe.audio`.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.files import write_text

# Carried along where a set has them.
EXTRA = ("spk2gender", "utt2lang", "utt2category", "stm", "glm")


def read_table(path: Path) -> dict[str, str]:
    """The lines of a Kaldi table in file order: first word -> the rest, "" where there is none.

    Raises:
        TopdownError: the file is missing or empty, or a first word stands on two lines.
    """
    if not path.is_file():
        raise TopdownError(
            f"asked for {path}, but there is no such file; run the stage that writes it"
        )
    table: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        separator = "\t" if "\t" in line else " "
        key, _, value = line.strip().partition(separator)
        if key in table:
            raise TopdownError(
                f"{path}:{number}: {key!r} is on an earlier line too; every id must be unique"
            )
        if key:
            table[key] = value.strip()
    if not table:
        raise TopdownError(f"{path} has no lines; run the stage that writes it")
    return table


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write a table sorted by key, as Kaldi's C locale sorts it."""
    lines = (f"{key} {table[key]}".rstrip() + "\n" for key in sorted(table))
    write_text(path, "".join(lines))


def speakers(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """The table spk2utt of a table utt2spk."""
    spk2utt: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(spk2utt[speaker]) for speaker in spk2utt}


def utterances(directory: Path) -> dict[str, str]:
    """The table utt2spk of a data directory, after a check that its files agree.

    Raises:
        TopdownError: text, utt2spk and the audio list (segments, else wav.scp) name different
            utterances.
    """
    audio = "segments" if (directory / "segments").exists() else "wav.scp"
    utt2spk = read_table(directory / "utt2spk")
    for name in ("text", audio):
        differing = sorted(utt2spk.keys() ^ read_table(directory / name).keys())
        if differing:
            raise TopdownError(
                f"{directory}: {name} and utt2spk name different utterances ({len(differing)} in"
                f" one only, first {', '.join(differing[:3])}); make them agree in local/data.sh"
            )
    return utt2spk


def copy_set(source: Path, target: Path, keep: Iterable[str] | None = None) -> None:
    """Copy text, utt2spk, spk2utt and the EXTRA files of a set.

    Args:
        source: the set.
        target: the directory of its copy.
        keep: utterances of text, utt2spk and spk2utt; None for all.
    """
    utt2spk = read_table(source / "utt2spk")
    text = read_table(source / "text")
    kept = sorted(utt2spk if keep is None else keep)
    owners = {utterance: utt2spk[utterance] for utterance in kept}
    write_table(target / "utt2spk", owners)
    write_table(target / "spk2utt", speakers(owners))
    write_table(target / "text", {utterance: text[utterance] for utterance in kept})
    for name in EXTRA:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def keep_usable(source: Path, target: Path, *, shortest: float, longest: float) -> str:
    """Write the utterances of a formatted set that have text and are neither short nor long.

    Args:
        source: the set (stage 3).
        target: the set that is left (stage 4).
        shortest: samples; what has as many or fewer is left out.
        longest: samples; what has as many or more is left out.

    Returns:
        What was kept, for the log.

    Raises:
        TopdownError: nothing is left.
    """
    lengths = {u: int(n) for u, n in read_table(source / "utt2num_samples").items()}
    text = read_table(source / "text")
    audio = read_table(source / "wav.scp")
    short = {utterance for utterance, samples in lengths.items() if samples <= shortest}
    long = {utterance for utterance, samples in lengths.items() if samples >= longest}
    empty = {utterance for utterance in lengths if not text.get(utterance)}
    kept = [utterance for utterance in lengths if utterance not in short | long | empty]
    summary = (
        f"{source}: {len(lengths)} utterances, {len(short)} too short, {len(long)} too long,"
        f" {len(empty)} without text"
    )
    if not kept:
        raise TopdownError(
            f"{summary}: none is left; see --min_wav_duration and --max_wav_duration"
        )
    copy_set(source, target, kept)
    write_table(target / "utt2num_samples", {utterance: lengths[utterance] for utterance in kept})
    write_table(target / "wav.scp", {utterance: audio[utterance] for utterance in kept})
    (target / "feats_type").write_text("raw\n")
    return f"{summary}: {len(kept)} kept"


def combine(sources: Iterable[Path], target: Path) -> None:
    """Write the union of data directories of one kind (all with segments, or all without)."""
    sources = list(sources)
    names = ["text", "utt2spk", "wav.scp"]
    if (sources[0] / "segments").exists():
        names.append("segments")
    for name in names:
        union: dict[str, str] = {}
        for source in sources:
            union |= read_table(source / name)
        write_table(target / name, union)
    write_table(target / "spk2utt", speakers(read_table(target / "utt2spk")))
