"""Wall Street Journal (LDC93S6A/B, LDC94S13A/B) to Kaldi data directories, without network.

The corpora are directories of discs. File lists, transcripts and audio headers are checked before
anything is written. What is in a set is wsj_discs', transcript rules are wsj_text's, audio is
sphere's.

    python3 -m espnet_topdown.corpora.wsj --wsj0 LDC93S6B --wsj1 LDC94S13B --output data
"""

import functools
import logging
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from espnet_topdown.corpora import sphere, wsj_discs, wsj_text
from espnet_topdown.corpora.audio import AudioCheck, name_of, sound_files
from espnet_topdown.corpora.command import add_options, run_command
from espnet_topdown.corpora.faults import Faults
from espnet_topdown.corpora.kaldi_dir import DataDir
from espnet_topdown.corpora.lists import write_lines
from espnet_topdown.errors import Parser, TopdownError
from espnet_topdown.files import replacing

SAMPLE_RATE = 16000
BOTH = " or ".join(wsj_discs.LDC.values())
# Training, development and test; the others are there for whoever names them.
RECIPE_SETS = ("train_si284", "test_dev93", "test_eval92")
LM_TEXT = "13-32.1/wsj1/doc/lng_modl/lm_train/np_data"


def read_texts(files: Iterable[str], dots: Mapping[str, Path], faults: Faults) -> dict[str, str]:
    """The normalised transcripts of `files` by utterance id; one without any is a fault.

    Args:
        files: audio files.
        dots: ``.dot`` file by the 6 characters with which its utterances begin.
        faults: takes what cannot be read.
    """
    read = functools.cache(lambda dot: _read_dot(dot, faults))
    texts = {}
    for path in files:
        utterance = name_of(path)
        prefix = utterance[:6]
        if prefix not in dots:
            kind = f"{BOTH}: no transcript file on any disc for"
            faults.add(kind, f"{path} (expected {prefix}00.dot)")
            continue
        transcript = read(dots[prefix]).get(utterance)
        if transcript is None:
            faults.add(f"{BOTH}: no transcript in its .dot file for", f"{path} ({dots[prefix]})")
        else:
            texts[utterance] = wsj_text.normalize(transcript)
    return texts


def _read_dot(path: Path, faults: Faults) -> dict[str, str]:
    try:
        transcripts, complaints = wsj_text.read_dot(path)
    except TopdownError as error:
        transcripts, complaints = {}, [str(error)]
    for complaint in complaints:
        faults.add(f"{BOTH}: transcripts cannot be read", complaint)
    return transcripts


def read_sets(discs: wsj_discs.Discs, check: AudioCheck, faults: Faults) -> dict[str, DataDir]:
    """The lists of every set.

    Raises:
        TopdownError: as `wsj_discs.read_indices`, or audio is compressed and no decoder installed.
    """
    files = wsj_discs.read_indices(discs, faults) | wsj_discs.scan_audio(discs)
    every = sorted(set().union(*files.values()))
    # Other processes look at the audio while the transcripts are read here.
    findings = check.begin(every, SAMPLE_RATE, 1)
    texts = read_texts(every, wsj_discs.find_transcripts(discs), faults)
    sound = sound_files(BOTH, findings(), faults)
    return {name: _data_dir(paths, texts, sound) for name, paths in files.items()}


def _data_dir(
    paths: Iterable[str], texts: Mapping[str, str], sound: Mapping[str, str | None]
) -> DataDir:
    """The lists of a set with these audio files."""
    by_id = {name_of(path): path for path in paths}
    has_sph2pipe = sphere.has_sph2pipe()
    audio = {
        utterance: sphere.wav_entry(path, sound[path], sph2pipe=has_sph2pipe)
        for utterance, path in by_id.items()
        if path in sound
    }
    return DataDir(
        audio=audio,
        text={utterance: texts[utterance] for utterance in by_id if utterance in texts},
        speaker={utterance: utterance[:3] for utterance in by_id},
    )


def prepare(options: Namespace) -> None:
    """Write every set, ``nlsyms.txt`` and ``local/other_text/text`` under ``options.output``.

    Raises:
        TopdownError: the corpus is incomplete or inconsistent; no set has been written then.
    """
    discs = wsj_discs.find_discs(options.wsj0, options.wsj1)
    faults = Faults(options.faults)
    with (
        replacing(options.output / "local/other_text/text", durable=False) as lm_text,
        AudioCheck(options.audio_check) as check,
    ):
        # Begun first, as it takes longest.
        sentences = check.pool.submit(wsj_text.write_lm_text, discs.file(LM_TEXT), lm_text)
        sets = read_sets(discs, check, faults)
        faults.settle()
        for name in RECIPE_SETS:
            if not sets[name].utterances():
                raise TopdownError(
                    f"{BOTH}: no utterance of {name} has both audio and transcript; nothing was"
                    " written"
                )
        logging.info("language-model text: %d sentences", sentences.result())
    for name, lists in sets.items():
        if lists.utterances():
            _write(name, lists, options.output)
        else:
            logging.warning("%s: not written, as no utterance has audio and transcript", name)
    symbols = wsj_text.non_linguistic_symbols(sets["train_si284"].text.values())
    write_lines(options.output / "nlsyms.txt", symbols)


def _write(name: str, lists: DataDir, output: Path) -> None:
    count = lists.write(output / name)
    logging.info("%s: %d utterances", name, count)
    expected = wsj_discs.EXPECTED[name]
    if expected is not None and count != expected:
        logging.warning("%s: the full corpus has %d utterances, found %d", name, expected, count)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare WSJ from the command line."""
    parser = Parser(
        "python3 -m espnet_topdown.corpora.wsj", description="WSJ to Kaldi data directories"
    )
    for corpus, names in wsj_discs.LDC.items():
        parser.add_argument(f"--{corpus}", default="", help=f"directory of {names}")
    add_options(parser)
    run_command(prepare, parser.parse_args(argv))


if __name__ == "__main__":
    main()
