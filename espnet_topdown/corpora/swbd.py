"""Switchboard-1 (Mississippi State transcripts) and eval2000 to Kaldi data directories, no network.

Audio stays at 8 kHz; the recipe's stage 3 resamples. Words are swbd_text's, the test set
eval2000's, Fisher fisher's.

    python3 -m espnet_topdown.corpora.swbd --swbd /corpora/switchboard --output data
"""

import logging
import math
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from espnet_topdown.corpora import eval2000, fisher, swbd_text
from espnet_topdown.corpora.audio import AudioCheck, conversation_sides, lengths_s, sphere_files
from espnet_topdown.corpora.command import add_options, run_command
from espnet_topdown.corpora.disc_names import DiscNames
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir, segment_fault
from espnet_topdown.corpora.lists import files_below, numbered_entries, read_lines, write_lines
from espnet_topdown.errors import Parser, TopdownError, some_of

SAMPLE_RATE = 8000
CONVERSATIONS = (2435, 2438)  # on the DVDs and on the older CDs; the transcripts have all
TRANSCRIPTS = "swb_ms98_transcriptions"
DICTIONARY = "sw-ms98-dict.text"
MOST_REPEATS = 300
_NAME = re.compile(r"sw(\d{4})([AB])-", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Turn:
    """One transcribed stretch of one side of a conversation, e.g. ``sw02001-A``; times in 10 ms."""

    recording: str
    start: int
    end: int
    words: str

    @property
    def conversation(self) -> str:
        """``sw02001``."""
        return self.recording.partition("-")[0]

    @property
    def utterance(self) -> str:
        """``sw02001-A_000098-001156``."""
        return f"{self.recording}_{self.start:06d}-{self.end:06d}"

    @property
    def segment(self) -> tuple[str, str, str]:
        """Recording, start and end, in seconds, as they are printed."""
        return self.recording, f"{self.start / 100:.6g}", f"{self.end / 100:.6g}"

    def fault(self, audio_s: float) -> str:
        """Why there is nothing to cut out of `audio_s` seconds, "" where there is."""
        fault = segment_fault(self.start / 100, self.end / 100, audio_s)
        return f"{self.utterance} {fault}" if fault else ""


def read_turns(path: Path) -> list[Turn]:
    """The turns of one ``*-trans.text`` file.

    Raises:
        TopdownError: a line is not ``sw2001A-ms98-a-0001 start end words``.
    """
    turns = []
    for number, line in numbered_entries(path):
        try:
            turns.append(_read_turn(line))
        except ValueError:
            raise TopdownError(
                f"LDC97S62: {path}, line {number}: expected 'sw2001A-ms98-a-0001 start end words',"
                f" found {line!r}"
            ) from None
    return turns


def _read_turn(line: str) -> Turn:
    name, start_s, end_s, *words = line.split()
    named = _NAME.match(name)
    if named is None:
        raise ValueError(name)
    conversation, side = named.groups()
    return Turn(
        recording=f"sw0{conversation}-{side.upper()}",
        start=int(100 * float(start_s) + 0.5),
        end=int(100 * float(end_s) + 0.5),
        words=" ".join(words),
    )


def find_transcripts(corpus: Path, given: str) -> Path:
    """The directory of the Mississippi State transcripts.

    Raises:
        TopdownError: it is in none of the places where it may be, or has no dictionary.
    """
    on_disk = DiscNames()
    wanted = (f"transcriptions/{TRANSCRIPTS}", TRANSCRIPTS)
    places = [Path(on_disk.actual(corpus, name)) for name in wanted]
    if given:
        # The archive has a directory of that name, which people name or its parent.
        places = [Path(given), Path(given) / TRANSCRIPTS]
    for place in places:
        if Path(on_disk.actual(place, DICTIONARY)).is_file():
            return place.resolve()
    raise TopdownError(
        f"no Mississippi State transcripts for LDC97S62: expected {DICTIONARY} in {places[0]}."
        " They are free (switchboard_word_alignments.tar.gz, openslr.org/5): unpack them there, or"
        " say where they are with --transcripts"
    )


def read_corpus(corpus: Path, transcripts: Path, check: AudioCheck, faults: Faults) -> DataDir:
    """Every transcribed turn of Switchboard-1, with acronyms as ``a._b._c.``.

    Args:
        corpus: LDC97S62.
        transcripts: directory with the dictionary and, at any depth, ``*-trans.text``.
        check: looks at the audio.
        faults: takes unusable audio, turns outside their audio, and conversations with
            transcripts but without audio, unless the release lacks them.

    Raises:
        TopdownError: there is no audio or no transcript at all, a line that cannot be read, or two
            files of one name.
    """
    files = sphere_files("LDC97S62", corpus)
    if not files:
        raise TopdownError(f"LDC97S62: no .sph file below {corpus}")
    paths = sorted(map(Path, files_below(transcripts, "-trans.text")))
    if not paths:
        raise TopdownError(
            f"LDC97S62: no transcript {transcripts}/20/2001/sw2001A-ms98-a-trans.text or the like"
        )
    if len(files) not in CONVERSATIONS:
        logging.warning("LDC97S62 has 2435 or 2438 conversations, found %d", len(files))
    audio = conversation_sides("LDC97S62", files, SAMPLE_RATE, check, faults)
    dictionary = Path(DiscNames().actual(transcripts, DICTIONARY))
    acronym = swbd_text.acronyms(read_lines(dictionary))
    seconds = lengths_s(audio, files) if check.how != "none" else {}
    text: dict[str, str] = {}
    segments = {}
    without_audio = {}
    transcribed = set()
    for path in paths:
        for turn in read_turns(path):
            transcribed.add(turn.recording)
            if turn.conversation not in files:
                without_audio[turn.conversation] = path
            words = swbd_text.clean(turn.words)
            fault = turn.fault(seconds.get(turn.conversation, math.inf))
            if not words:
                continue
            if fault:
                faults.add("LDC97S62: turns outside their audio", f"{path}: {fault}")
            elif turn.utterance not in text:
                text[turn.utterance] = swbd_text.expand(words, acronym)
                segments[turn.utterance] = turn.segment
    speaker = {utterance: recording for utterance, (recording, _, _) in segments.items()}
    _judge_missing_audio(without_audio, len(files), corpus, faults)
    _tell_missing_transcripts(sorted(audio.keys() - transcribed), transcripts)
    return DataDir(audio=audio, text=text, speaker=speaker, segments=segments)


def _judge_missing_audio(
    transcripts: Mapping[str, Path], files: int, corpus: Path, faults: Faults
) -> None:
    """Say so where a release is known to lack as many conversations; others are faults.

    Args:
        transcripts: conversation without audio -> a transcript of it.
        files: number of audio files.
        corpus: where audio was looked for.
        faults: takes what no release lacks.
    """
    # The DVDs have three conversations less than the transcripts.
    lacking = max(CONVERSATIONS) - files if files in CONVERSATIONS else 0
    kind = f"LDC97S62: transcripts without an audio file (sw0NNNN.sph) below {corpus}"
    for name, path in transcripts.items():
        if len(transcripts) > lacking:
            faults.add(kind, f"{name}.sph ({path})")
        else:
            logging.warning(
                "%s: %s (%s); left out, as releases with %d files lack %d",
                kind,
                f"{name}.sph",
                path,
                files,
                lacking,
            )


def _tell_missing_transcripts(sides: Sequence[str], transcripts: Path) -> None:
    if not sides:
        return
    logging.warning(
        "LDC97S62: sides with audio but without a transcript in %s (%d): %s",
        transcripts,
        len(sides),
        some_of(sides, 6),
    )


def split(corpus: DataDir, dev_size: int) -> tuple[DataDir, DataDir]:
    """The training set, thinned of repeats, and the development set, the first `dev_size`.

    Raises:
        TopdownError: nothing would be left for training.
    """
    order = corpus.utterances()
    if not 0 < dev_size < len(order):
        raise TopdownError(
            f"train_dev_size {dev_size} leaves no training data: LDC97S62 as found has {len(order)}"
            " utterances; give a smaller --train_dev_size, at least 1"
        )
    rest = {utterance: corpus.text[utterance] for utterance in order[dev_size:]}
    kept = swbd_text.without_repeats(rest, MOST_REPEATS)
    return _unspelled(corpus.subset(kept)), _unspelled(corpus.subset(order[:dev_size]))


def _unspelled(lists: DataDir) -> DataDir:
    text = {u: swbd_text.unspell(sentence) for u, sentence in lists.text.items()}
    return replace(lists, text=text)


@dataclass(frozen=True)
class Corpora:
    """Where the corpora are: Switchboard-1, and speech and references of eval2000."""

    root: Path
    switchboard: Path
    speech: Path
    references: Path


def find_corpora(given: str) -> Corpora:
    """The corpora below the directory `given`, their names in any case.

    Raises:
        TopdownError: it is not given or lacks one of them; all that is missing is named together.
    """
    wanted = "set SWBD in db.sh to the parent directory of LDC97S62, LDC2002S09 and LDC2002T43"
    if not given:
        raise TopdownError(f"SWBD is not set: {wanted}")
    root = Path(given).absolute()
    names = ("LDC97S62", "LDC2002S09/hub5e_00/english", "LDC2002T43")
    on_disk = DiscNames()
    places = [Path(on_disk.actual(root, name)) for name in names]
    absent = [f"no directory {place}" for place in places if not place.is_dir()]
    if absent:
        raise TopdownError(f"SWBD={given} is incomplete ({wanted}):\n  " + "\n  ".join(absent))
    switchboard, english, references = places
    return Corpora(root, switchboard, english, references)


def prepare(options: Namespace) -> None:
    """Write train_nodup, train_dev, eval2000 and ``lm_train.txt`` under ``options.output``.

    Raises:
        TopdownError: a corpus is incomplete or inconsistent; no set has been written then.
    """
    corpora = find_corpora(options.swbd)
    faults = Faults(options.faults)
    conversations = fisher.find_transcripts(corpora.root)
    transcripts = find_transcripts(corpora.switchboard, options.transcripts)
    with AudioCheck(options.audio_check) as check:
        test = eval2000.read(corpora.speech, corpora.references, check, faults)
        corpus = read_corpus(corpora.switchboard, transcripts, check, faults)
    faults.settle()
    nodup, dev = split(corpus, options.train_dev_size)
    if not nodup.utterances():
        raise TopdownError(
            "LDC97S62: no utterance for training has both audio and transcript; nothing was written"
        )
    eval2000.require_parts(test.lists)
    write_lines(options.output / "lm_train.txt", fisher.lm_lines(conversations, nodup.text))
    sets = {"train_nodup": nodup, "train_dev": dev, "eval2000": test.lists}
    for name, lists in sets.items():
        logging.info("%s: %d utterances", name, lists.write(options.output / name))
    eval2000.write_references(test, options.output / "eval2000")


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare Switchboard from the command line."""
    parser = Parser(
        "python3 -m espnet_topdown.corpora.swbd",
        description="Switchboard-1 and eval2000 to Kaldi data directories",
    )
    parser.add_argument(
        "--swbd",
        default="",
        help="directory of LDC97S62, LDC2002S09, LDC2002T43 and, for the language model,"
        " LDC2004T19 and LDC2005T19 (Fisher)",
    )
    parser.add_argument(
        "--transcripts",
        default="",
        help=f"{TRANSCRIPTS}, where it is not in LDC97S62/transcriptions",
    )
    parser.add_argument(
        "--train_dev_size", type=int, default=4000, help="utterances of train_dev (default: 4000)"
    )
    add_options(parser)
    run_command(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    main()
