"""What was said in the sets of a study, and what its experiments heard there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_topdown.errors import TopdownError
from espnet_topdown.plan.plan import BASE
from espnet_topdown.results.outside import Outside
from espnet_topdown.results.score import TIE, WORDS
from espnet_topdown.results.scoring import Pair, alignments, find_scores, read_pairs, score
from espnet_topdown.results.trn import Transcript, speaker_of
from espnet_topdown.study.contrasts import transcript
from espnet_topdown.study.records import Texts

# A line of a corpus's list of recordings: an utterance, and the names of those it was made of.
_NAMED = re.compile(r"^(\S+) (.*)$", re.MULTILINE)


@dataclass
class Spoken:
    """What was said in the sets of a study, as their references have it.

    Args:
        texts: set -> utterance -> text, in the case that it has there.
        speakers: set -> utterance -> who speaks, where the utterance's name alone does not tell.
    """

    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    speakers: dict[str, dict[str, str]] = field(default_factory=dict)

    def speaker(self, name: str, utterance: str) -> str:
        """Who speaks an utterance of the set `name`."""
        return self.speakers.get(name, {}).get(utterance) or speaker_of(utterance)


def read_heard(
    experiment: Path, spoken: Spoken
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Outside]]]:
    """What an experiment heard on each set that it was scored on.

    Args:
        experiment: directory, decoded and scored.
        spoken: what is known of the sets; what is not there yet is added.

    Returns:
        the hypotheses that differ from their reference, and the counts of the utterances that the
        set's own scorer, or its alternatives, count otherwise than the texts alone would be.

    Raises:
        TopdownError: a set has other references than before, or lacks an utterance.
    """
    hypotheses, counted = {}, {}
    for (inference, dataset, metric), (ref, hyp) in find_scores(experiment).items():
        if metric != "wer":
            continue
        pairs = read_pairs(ref, hyp, case_sensitive=True)
        name = f"{inference}/{dataset}"
        refs = {said.utterance: _text(said) for said, _ in pairs}
        if spoken.texts.setdefault(name, refs) != refs:
            raise TopdownError(
                f"{ref} differs from {BASE}'s references; decode and score {experiment} again"
            )
        spoken.speakers[name] = {
            said.utterance: said.speaker
            for said, _ in pairs
            if said.speaker != speaker_of(said.utterance)
        }
        heard = {said.utterance: _text(other) for said, other in pairs}
        hypotheses[name] = {u: text for u, text in heard.items() if text != refs[u]}
        otherwise = _counted_otherwise(read_pairs(ref, hyp), refs, heard)
        if otherwise:
            counted[name] = otherwise
    return hypotheses, counted


def _counted_otherwise(pairs: Sequence[Pair], refs: Texts, heard: Texts) -> dict[str, Outside]:
    """Utterance -> its counts, where they are not those of the two texts alone."""
    plain = [
        (
            transcript(said.utterance, refs[said.utterance], said.speaker),
            transcript(said.utterance, heard[said.utterance], said.speaker),
        )
        for said, _ in pairs
    ]
    found = {}
    for (said, other), own, alone in zip(
        pairs, score(pairs).counts, score(plain).counts, strict=True
    ):
        substitutions, deletions, insertions, _, words = map(int, own)
        if [*own[:TIE], words] == [*alone[:TIE], alone[WORDS]]:
            continue
        (path,) = alignments([(said, other)]).values()
        correct = words - substitutions - deletions
        found[said.utterance] = Outside(correct, substitutions, deletions, insertions, path)
    return found


def _text(said: Transcript) -> str:
    # A word that is a tag alone (";tag") leaves an empty token: no text shows it, counts may.
    return " ".join(filter(None, said.tokens))


def read_recordings(spoken: Spoken) -> dict[str, dict[str, tuple[str, ...]]]:
    """Data set -> utterance -> the recordings that it was made of, where a corpus tells them."""
    recordings = {}
    for name, texts in spoken.texts.items():
        dataset = name.rpartition("/")[2]
        path = Path("data") / dataset / "recordings"
        if not path.exists():
            continue
        of_utterances = dict(_NAMED.findall(path.read_text(encoding="utf-8")))
        # Scored utterances are called SPEAKER-UTTERANCE.
        scored = {each: each.removeprefix(f"{spoken.speaker(name, each)}-") for each in texts}
        missing = sorted({*scored.values()} - of_utterances.keys())
        if missing:
            raise TopdownError(
                f"{path} has no line for {missing[0]}; prepare the data and decode again"
            )
        recordings[dataset] = {
            each: tuple(of_utterances[utterance].split(" ")) for each, utterance in scored.items()
        }
    return recordings
