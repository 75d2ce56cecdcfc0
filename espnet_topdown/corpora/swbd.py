"""Switchboard-1 with the Mississippi State transcripts, and eval2000, to Kaldi data directories,
without network.

Audio stays at 8 kHz; the recipe's stage 3 resamples. Words are swbd_text's, the test set
eval2000's, Fisher fisher's.

    python3 -m espnet_topdown.corpora.swbd --swbd /corpora/switchboard --output data
"""

import logging
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from espnet_topdown.corpora import eval2000, fisher, sphere, swbd_text
from espnet_topdown.corpora.audio import AudioCheck, add_options, run_command, sound_files
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.corpora.lists import files_below, read_lines, write_lines
from espnet_topdown.errors import TopdownError

SAMPLE_RATE = 8000
CONVERSATIONS = (2435, 2438)  # on the DVDs and on the older CDs; the transcripts have all
TRANSCRIPTS = "swb_ms98_transcriptions"
MOST_REPEATS = 300
CHANNELS = {"A": 1, "B": 2}


@dataclass(frozen=True)
class Turn:
    """One transcribed stretch of one side of a conversation; times in units of 10 ms."""

    recording: str
    start: int
    end: int
    words: str

    @property
    def utterance(self) -> str:
        return f"{self.recording}_{self.start:06d}-{self.end:06d}"

    @property
    def segment(self) -> tuple[str, str, str]:
        return self.recording, f"{self.start / 100:.6g}", f"{self.end / 100:.6g}"


def find_sphere_files(directory: Path) -> dict[str, str]:
    """SPHERE files below `directory` by their name in lower case without ``.sph``."""
    return {
        path[path.rindex("/") + 1 : -4].lower(): path for path in files_below(directory, ".sph")
    }


def read_turns(path: Path) -> list[Turn]:
    """The turns of one ``*-trans.text`` file.

    Raises:
        TopdownError: a line is not ``sw2001A-ms98-a-0001 start end words``.
    """
    turns = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            name, start, end, *words = line.split()
            recording = f"sw0{name[2:6]}-{name[6]}"
            times = [int(100 * float(time) + 0.5) for time in (start, end)]
        except (ValueError, IndexError):
            raise TopdownError(
                f"LDC97S62: {path}, line {number}: expected 'sw2001A-ms98-a-0001 start end words',"
                f" found {line!r}"
            ) from None
        turns.append(Turn(recording, *times, " ".join(words)))
    return turns


def find_transcripts(corpus: Path, given: str) -> Path:
    """The directory of the Mississippi State transcripts.

    Raises:
        TopdownError: it is in none of the places where it may be, or has no dictionary.
    """
    places = (
        [Path(given)] if given else [corpus / "transcriptions" / TRANSCRIPTS, corpus / TRANSCRIPTS]
    )
    for place in places:
        if (place / "sw-ms98-dict.text").is_file():
            return place.resolve()
    raise TopdownError(
        f"no Mississippi State transcripts for LDC97S62: expected sw-ms98-dict.text in {places[0]}."
        " They are free (switchboard_word_alignments.tar.gz, openslr.org/5): unpack them there, or"
        " say where they are with --transcripts"
    )


def read_corpus(corpus: Path, transcripts: Path, check: AudioCheck, faults: Faults) -> DataDir:
    """Every transcribed turn of Switchboard-1, with acronyms as ``a._b._c.``.

    Args:
        corpus: LDC97S62.
        transcripts: directory with the dictionary and ``*/*/*-trans.text``.
        check: looks at the audio.
        faults: takes unusable audio, and conversations with transcripts but without audio, unless
            the release lacks them.

    Raises:
        TopdownError: there is no audio or no transcript at all, or a line that cannot be read.
    """
    files = find_sphere_files(corpus)
    if not files:
        raise TopdownError(f"LDC97S62: no .sph file below {corpus}")
    texts = sorted(transcripts.glob("*/*/*-trans.text"))
    if not texts:
        raise TopdownError(
            f"LDC97S62: no transcript {transcripts}/20/2001/sw2001A-ms98-a-trans.text or the like"
        )
    if len(files) not in CONVERSATIONS:
        logging.warning("LDC97S62 has 2435 or 2438 conversations, found %d", len(files))
    sound = sound_files("LDC97S62", check.begin(files.values(), SAMPLE_RATE, 2)(), faults)
    pipe = sphere.has_sph2pipe()
    audio = {
        f"{name}-{side}": sphere.wav_entry(path, sound[path], channel, sph2pipe=pipe)
        for name, path in files.items()
        if path in sound
        for side, channel in CHANNELS.items()
    }
    acronym = swbd_text.acronyms(read_lines(transcripts / "sw-ms98-dict.text"))
    text, segments, unheard = {}, {}, {}
    for path in texts:
        turns = read_turns(path)
        unheard |= {name: path for turn in turns if (name := turn.recording[:7]) not in files}
        for turn in turns:
            words = swbd_text.clean(turn.words)
            if words and turn.utterance not in text:
                text[turn.utterance] = swbd_text.expand(words, acronym)
                segments[turn.utterance] = turn.segment
    _settle_unheard(unheard, len(files), corpus, faults)
    silent = sorted(audio.keys() - {u[:9] for u in text})
    if silent:
        some = ", ".join(silent[:6]) + (", ..." if len(silent) > 6 else "")
        logging.warning(
            "LDC97S62: %d sides have audio but no transcript in %s: %s",
            len(silent),
            transcripts,
            some,
        )
    return DataDir(audio, text, {u: u[:9] for u in text}, segments)


def _settle_unheard(unheard: dict[str, Path], count: int, corpus: Path, faults: Faults) -> None:
    """Conversations without audio, name -> a transcript.

    Told where a release is known to lack as many, else faults.
    """
    lacking = max(CONVERSATIONS) - count if count in CONVERSATIONS else 0
    for name, path in unheard.items():
        kind = f"LDC97S62: no audio file {name}.sph below {corpus} for the transcript"
        if len(unheard) > lacking:
            faults.add(kind, str(path))
        else:
            logging.warning(
                "%s %s; left out, as releases with %d files lack %d", kind, path, count, lacking
            )


def split(corpus: DataDir, dev_size: int) -> tuple[DataDir, DataDir]:
    """train_nodup and train_dev.

    The first `dev_size` utterances are for development, the rest is thinned.

    Raises:
        TopdownError: nothing would be left for training.
    """
    order = corpus.utterances()
    if not 0 < dev_size < len(order):
        raise TopdownError(
            f"train_dev_size {dev_size} leaves no training data: LDC97S62 as found has {len(order)}"
            " utterances; give a smaller --train_dev_size, at least 1"
        )
    rest = swbd_text.without_repeats({u: corpus.text[u] for u in order[dev_size:]}, MOST_REPEATS)
    return tuple(_unspelled(corpus.subset(part)) for part in (rest, order[:dev_size]))


def _unspelled(part: DataDir) -> DataDir:
    text = {u: swbd_text.unspell(sentence) for u, sentence in part.text.items()}
    return DataDir(part.audio, text, part.speaker, part.segments)


def find_root(given: str) -> Path:
    """The directory that holds the corpora.

    Raises:
        TopdownError: it is not given or lacks one of them; all that is missing is named together.
    """
    wanted = "set SWBD in db.sh to the parent directory of LDC97S62, LDC2002S09 and LDC2002T43"
    if not given:
        raise TopdownError(f"SWBD is not set: {wanted}")
    root = Path(given).absolute()
    absent = [
        f"no directory {root / name}"
        for name in ("LDC97S62", "LDC2002S09/hub5e_00/english", "LDC2002T43")
        if not (root / name).is_dir()
    ]
    if absent:
        raise TopdownError(f"SWBD={given} is incomplete ({wanted}):\n  " + "\n  ".join(absent))
    return root


def prepare(options: Namespace) -> None:
    """Write train_nodup, train_dev, eval2000 and ``lm_train.txt`` under ``options.output``.

    Raises:
        TopdownError: a corpus is incomplete or inconsistent; no set has been written then.
    """
    root = find_root(options.swbd)
    faults = Faults(options.faults)
    conversations = fisher.find_transcripts(root)
    transcripts = find_transcripts(root / "LDC97S62", options.transcripts)
    with AudioCheck(options.audio_check) as check:
        test = eval2000.read(root / "LDC2002S09/hub5e_00", root / "LDC2002T43", check, faults)
        corpus = read_corpus(root / "LDC97S62", transcripts, check, faults)
    faults.settle()
    nodup, dev = split(corpus, options.train_dev_size)
    if not nodup.utterances():
        raise TopdownError(
            "LDC97S62: no utterance for training has both audio and transcript; nothing was written"
        )
    if not test.lists.utterances():
        raise TopdownError(
            "LDC2002S09, LDC2002T43: no utterance has both audio and reference; nothing was written"
        )
    write_lines(options.output / "lm_train.txt", fisher.lm_lines(conversations, nodup.text))
    for name, part in (("train_nodup", nodup), ("train_dev", dev), ("eval2000", test.lists)):
        logging.info("%s: %d utterances", name, part.write(options.output / name))
    eval2000.write_references(test, options.output / "eval2000")


def main(arguments: list[str] | None = None) -> int:
    """Prepare Switchboard from the command line."""
    parser = ArgumentParser(description="Switchboard-1 and eval2000 to Kaldi data directories")
    parser.add_argument(
        "--swbd",
        default="",
        help=(
            "directory of LDC97S62, LDC2002S09, LDC2002T43 and, for the "
            "language model, LDC2004T19 and LDC2005T19 (Fisher)"
        ),
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
    return run_command(prepare, parser.parse_args(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
