"""Kaldi data directories as tables.

Reading, checking, writing, and keeping their files in agreement.

What the audio in ``wav.scp`` means is left to `espnet_topdown.recipe.audio`.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_topdown.errors import TopdownError

EXTRA = (
    "spk2gender",
    "utt2lang",
    "utt2category",
    "stm",
    "glm",
)  # carried along where a set has them


def read_table(path: Path) -> dict[str, str]:
    """The lines of a Kaldi table.

    First word -> the rest of the line ("" where there is none), in file order.

    Raises:
        TopdownError: the file is missing or empty, or a first word stands on two lines.
    """
    if not path.is_file():
        raise TopdownError(
            f"asked for {path}, but there is no such file; run the stage that writes it"
        )
    table: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        key, _, value = (
            line.strip().partition(" ") if "\t" not in line else line.strip().partition("\t")
        )
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
    """Writes a table sorted by key, as Kaldi's C locale sorts it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{key} {table[key]}".rstrip() + "\n" for key in sorted(table))
    path.write_text("".join(lines), encoding="utf-8")


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
    """Copies text, utt2spk, spk2utt and the EXTRA files of a set, the first three for the
    utterances `keep` only.
    """
    utt2spk, text = read_table(source / "utt2spk"), read_table(source / "text")
    kept = sorted(utt2spk if keep is None else keep)
    write_table(target / "utt2spk", {u: utt2spk[u] for u in kept})
    write_table(target / "spk2utt", speakers({u: utt2spk[u] for u in kept}))
    write_table(target / "text", {u: text[u] for u in kept})
    for name in EXTRA:
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)


def combine(sources: Iterable[Path], target: Path) -> None:
    """Writes the union of data directories of one kind (all with segments, or all without)."""
    sources = list(sources)
    names = [
        "text",
        "utt2spk",
        "wav.scp",
        *(["segments"] if (sources[0] / "segments").exists() else []),
    ]
    for name in names:
        write_table(target / name, {k: v for s in sources for k, v in read_table(s / name).items()})
    write_table(target / "spk2utt", speakers(read_table(target / "utt2spk")))
