"""Decoded sets counted as sclite counts them.

Files are read at the edge, in `read_pairs`; what counts takes values and gives a
`espnet_topdown.results.score.Score`. That nothing is counted twice is
`espnet_topdown.results.cache`'s part.
"""

import logging
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path

import numpy as np

from espnet_topdown.errors import TopdownError, some_of
from espnet_topdown.files import write_text
from espnet_topdown.grouping import grouped
from espnet_topdown.recognise import but
from espnet_topdown.results.alignment import align, is_tie, middle
from espnet_topdown.results.alternatives import chosen
from espnet_topdown.results.outside import read_outside
from espnet_topdown.results.score import Reference, Score
from espnet_topdown.results.trn import Transcript, read_trn

METRICS = ("wer", "cer", "ter")
Pair = tuple[Transcript, Transcript]  # reference, hypothesis
SetKey = tuple[str, str, str]  # inference directory, data set, metric


def score(pairs: Sequence[Pair]) -> Score:
    """Error counts, equal to those of ``sclite -i rm``."""
    counts = [_count(ref, hyp) for ref, hyp in pairs]
    reference = Reference.of(ref for ref, _ in pairs)
    return Score(reference, np.array(counts, dtype=np.int32).reshape(-1, 5))


def alignments(pairs: Sequence[Pair]) -> dict[str, str]:
    """The alignment of every utterance, by id: that of another scorer, else sclite's (`align`)."""
    paths = {}
    for ref, hyp in pairs:
        outside = hyp.outside
        paths[ref.utterance] = (
            outside.path if outside else align(_scored_words(ref, hyp), hyp.tokens)
        )
    return paths


def _scored_words(ref: Transcript, hyp: Transcript) -> tuple[str, ...]:
    """The words that a hypothesis is scored against."""
    return chosen(ref.alternatives, hyp.tokens) if ref.alternatives else ref.tokens


def _count(ref: Transcript, hyp: Transcript) -> tuple[int, int, int, bool, int]:
    """Counts by kaldialign, and by sclite's preference where costs leave the number open."""
    import kaldialign

    outside = hyp.outside
    if outside:
        words = outside.correct + outside.substitutions + outside.deletions
        return outside.substitutions, outside.deletions, outside.insertions, False, words
    whole = _scored_words(ref, hyp)
    if whole == hyp.tokens:
        return 0, 0, 0, False, len(whole)
    ref_words, hyp_words = middle(whole, hyp.tokens)
    counts = kaldialign.edit_distance(ref_words, hyp_words, sclite_mode=True)
    substitutions, deletions, insertions = counts["sub"], counts["del"], counts["ins"]
    tie = is_tie(ref_words, hyp_words, substitutions, deletions, insertions)
    if tie:
        path = align(ref_words, hyp_words)
        substitutions, deletions, insertions = map(path.count, "SDI")
    return int(substitutions), int(deletions), int(insertions), tie, len(whole)


def read_references(ref: Path, *, case_sensitive: bool = False) -> dict[str, Transcript]:
    """The transcripts of a reference by utterance; those of words may have alternatives."""
    # Characters and subwords have no alternatives, whatever they look like.
    is_of_words = ref.parent.name not in ("score_cer", "score_ter")
    refs = read_trn(ref, case_sensitive=case_sensitive, alternatives=is_of_words)
    decoded = _decoded_ids(ref.parent.parent / "text")
    for name, transcript in refs.items():
        speaker = _speaker_before(name, decoded) or transcript.speaker
        refs[name] = replace(transcript, speaker=speaker)
    return refs


def _decoded_ids(text: Path) -> frozenset[str]:
    """Ids in the decoded text that the scores beside it are of; none where it cannot be read.

    There they stand alone; in trn files behind their speaker and a hyphen, of which both may have
    some themselves.
    """
    try:
        lines = text.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return frozenset()
    return frozenset(line.split(maxsplit=1)[0] for line in lines if line.strip())


def _speaker_before(name: str, utterances: Set[str]) -> str | None:
    """The speaker of ``speaker-utterance``, None where not one of `utterances` alone ends it."""
    hyphens = [place for place, letter in enumerate(name) if letter == "-"]
    speakers = [name[:place] for place in hyphens if name[place + 1 :] in utterances]
    return speakers[0] if len(speakers) == 1 else None


def read_pairs(ref: Path, hyp: Path, *, case_sensitive: bool = False) -> list[Pair]:
    """Reference and hypothesis of every utterance, in the order of `ref`.

    Args:
        ref: a trn file.
        hyp: another, with the same utterances; sclite drops unmatched ones in silence.
        case_sensitive: sclite's ``-s``.

    Raises:
        TopdownError: a file cannot be read, the two do not hold the same utterances, or the
            reference has no word.
    """
    refs = read_references(ref, case_sensitive=case_sensitive)
    hyps = read_trn(hyp, case_sensitive=case_sensitive)
    _check_complete(hyp, hyps.keys(), ref, refs.keys())
    _check_complete(ref, refs.keys(), hyp, hyps.keys())
    if not any(transcript.tokens for transcript in refs.values()):
        raise TopdownError(
            f"{ref}: its transcripts hold no word, so there is no error rate; check the text"
        )
    outside = read_outside(hyp.parent, refs)
    if outside:
        hyps = {
            name: replace(transcript, outside=outside[name]) for name, transcript in hyps.items()
        }
    return [(transcript, hyps[name]) for name, transcript in refs.items()]


def _check_complete(path: Path, names: Set[str], other: Path, expected: Set[str]) -> None:
    missing = sorted(expected - names)
    if missing:
        raise TopdownError(
            f"{path}: {len(missing)} of the utterances in {other} are missing here"
            f" ({some_of(missing, 3)}); both files need the same utterances: decode and score again"
            " (stages 12 and 13)"
        )


def find_scores(exp: Path) -> dict[SetKey, tuple[Path, Path]]:
    """(ref.trn, hyp.trn) of every scored set of an experiment, sorted by their keys.

    ESPnet2's asr.sh scores test sets in ``<inference>/<set>/score_*`` and the valid set in
    ``<inference>/org/<set>/score_*``; the latter's name is given as ``org/<set>``.

    Raises:
        TopdownError: `exp` is no directory.
    """
    exp = Path(exp)
    if not exp.is_dir():
        raise TopdownError(
            f"{exp}: no such directory{but(exp)}; give an experiment that was trained, such as"
            " exp/asr_train_..."
        )
    scores: dict[SetKey, tuple[Path, Path]] = {}
    for metric in METRICS:
        for folder in (*exp.glob(f"*/*/score_{metric}"), *exp.glob(f"*/org/*/score_{metric}")):
            inference, *names = folder.relative_to(exp).parts[:-1]
            key = (inference, "/".join(names), metric)
            scores[key] = (folder / "ref.trn", folder / "hyp.trn")
    # Sorting is stable: the metrics of a set stay in the order of METRICS.
    return dict(sorted(scores.items(), key=lambda item: item[0][:2]))


def write_result(score_dir: Path, *, case_sensitive: bool = False) -> Score:
    """Score ref.trn against hyp.trn in `score_dir` and write result.txt beside them.

    It has the shape of sclite's summary, from which ESPnet2's show_asr_result.sh takes the
    ``Sum/Avg`` line.

    Raises:
        TopdownError: as `read_pairs`.
    """
    score_dir = Path(score_dir)
    pairs = read_pairs(score_dir / "ref.trn", score_dir / "hyp.trn", case_sensitive=case_sensitive)
    total = score(pairs)
    by_speaker = grouped(pairs, lambda pair: pair[0].speaker)
    rows = {speaker: score(spoken) for speaker, spoken in by_speaker.items()}
    # ESPnet2's show_asr_result.sh looks for a line of this name.
    rows["Sum/Avg"] = total
    width = max(map(len, rows))
    lines = [f"| {'SPKR':<{width}} | # Snt  # Wrd |  Corr    Sub    Del    Ins    Err  S.Err |"]
    for name, row in rows.items():
        sentences, words, *rates = row.columns()
        cells = " ".join(f"{rate:>6}" for rate in rates)
        lines.append(f"| {name:<{width}} | {sentences:>5} {words:>6} |{cells} |")
    case = "sensitive" if case_sensitive else "folded"
    notes = [f"Case {case}; {total.ties} alignment ties, settled as sclite does."]
    braces = _literal_braces(pairs)
    if braces:
        notes.append(
            f"Utterances with braces that are taken literally, where sclite would look for"
            f" alternatives or fail: {len(braces)} ({some_of(braces, 3)})."
        )
        logging.warning("%s: %s", score_dir, notes[-1])
    write_text(score_dir / "result.txt", "\n".join([*lines, "", *notes, ""]))
    return total


def _literal_braces(pairs: Sequence[Pair]) -> list[str]:
    """Ids of the utterances whose reference or hypothesis has braces that open no alternatives."""
    names = []
    for ref, hyp in pairs:
        literal = hyp.tokens if ref.alternatives else (*hyp.tokens, *ref.tokens)
        if "{" in "".join(literal):
            names.append(ref.utterance)
    return names
