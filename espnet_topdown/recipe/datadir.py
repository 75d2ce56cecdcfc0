"""Kaldi data directories as tables: read, checked, thinned and written so that their files agree.

What the audio in ``wav.scp`` means is left to `espnet_topdown.recipe.audio`.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from espnet_topdown.errors import TopdownError, first_lines, some_of
from espnet_topdown.files import write_lines
from espnet_topdown.grouping import grouped
from espnet_topdown.text_files import read_table

# Carried along where a set has them.
EXTRA = ("spk2gender", "utt2lang", "utt2category", "stm", "glm")
SHOWN = 5  # utterances that a message names


def write_table(path: Path, table: Mapping[str, object]) -> None:
    """Write a table sorted by key, as Kaldi's C locale sorts it, whole or not at all."""
    write_lines(path, (f"{key} {table[key]}".rstrip() for key in sorted(table)))


def replace_table(path: Path, table: Mapping[str, object] | None) -> None:
    """`write_table`; None: an earlier run may have left one, which goes."""
    if table is None:
        path.unlink(missing_ok=True)
    else:
        write_table(path, table)


def speakers(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """The table spk2utt of a table utt2spk."""
    spk2utt = grouped(sorted(utt2spk), lambda utterance: utt2spk[utterance])
    return {speaker: " ".join(own) for speaker, own in spk2utt.items()}


def utterances(directory: Path, *, needs_text: bool = True) -> dict[str, str]:
    """The table utt2spk of a data directory, after a check that its files agree.

    Args:
        directory: the set.
        needs_text: whether it must have transcripts; a set that is only decoded may have none.

    Raises:
        TopdownError: an utterance has not one speaker, or an id that names a file elsewhere; a
            directory has the name of a file; or text, utt2spk and the audio list (segments, else
            wav.scp) name different utterances.
    """
    folders = [name for name in EXTRA if (directory / name).is_dir()]
    if folders:
        raise TopdownError(f"{directory}: {', '.join(folders)} must be a file, not a directory")
    utt2spk = read_table(directory / "utt2spk")
    speakerless = [
        f"{utterance}: {speaker!r}"
        for utterance, speaker in utt2spk.items()
        if len(speaker.split()) != 1
    ]
    refuse_some(speakerless, f"{directory}/utt2spk has lines without one speaker")
    # Audio is written to a file of this name; the path of a recording would be written over.
    outside = list(filter(_leads_outside, utt2spk))
    refuse_some(outside, f"{directory}/utt2spk has ids that are paths out of the set's own folder")
    names = ["segments" if (directory / "segments").exists() else "wav.scp"]
    if needs_text or (directory / "text").exists():
        names.append("text")
    for name in names:
        table = read_table(directory / name)
        without = sorted(utt2spk.keys() - table.keys())
        unknown = sorted(table.keys() - utt2spk)
        if table.keys() != utt2spk.keys():
            raise TopdownError(
                f"{directory}: {name} and utt2spk name different utterances:"
                f" {_some(without)} missing in {name}, {_some(unknown)} missing in utt2spk; make"
                " them agree in local/data.sh"
            )
    return utt2spk


def _leads_outside(utterance: str) -> bool:
    path = PurePath(utterance)
    return path.is_absolute() or ".." in path.parts


def _some(names: Sequence[str]) -> str:
    """How many there are, and the first by name: ``2 (a, b)``."""
    return f"{len(names)} ({some_of(names, SHOWN)})" if names else "none"


def refuse_some(faults: Sequence[str], title: str) -> None:
    """Raise `faults` of the same kind as one error, the first ones in full.

    Raises:
        TopdownError: there is a fault.
    """
    if faults:
        lines = "\n  ".join(first_lines(faults, SHOWN))
        raise TopdownError(
            f"{title} ({len(faults)}); mend them in local/data.sh, or leave these utterances out of"
            f" the set:\n  {lines}"
        )


def copy_set(source: Path, target: Path, keep: Iterable[str] | None = None) -> None:
    """Copy utt2spk, spk2utt, the EXTRA files of a set and, where it has transcripts, text.

    Args:
        source: the set.
        target: the directory of its copy.
        keep: utterances of text, utt2spk and spk2utt; None for all.
    """
    utt2spk = read_table(source / "utt2spk")
    kept = sorted(utt2spk if keep is None else keep)
    owners = {utterance: utt2spk[utterance] for utterance in kept}
    write_table(target / "utt2spk", owners)
    write_table(target / "spk2utt", speakers(owners))
    text = None
    if (source / "text").exists():
        words = read_table(source / "text")
        text = {utterance: words[utterance] for utterance in kept}
    replace_table(target / "text", text)
    for name in EXTRA:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def combine(sources: Iterable[Path], target: Path) -> None:
    """Write the union of data directories of one kind (all with segments, or all without)."""
    sources = list(sources)
    for name in ("text", "utt2spk", "wav.scp"):
        write_table(target / name, _union(sources, name))
    write_table(target / "spk2utt", speakers(read_table(target / "utt2spk")))
    has_segments = (sources[0] / "segments").exists()
    replace_table(target / "segments", _union(sources, "segments") if has_segments else None)


def _union(sources: Iterable[Path], name: str) -> dict[str, str]:
    union: dict[str, str] = {}
    for source in sources:
        union |= read_table(source / name)
    return union
