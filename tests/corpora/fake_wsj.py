"""A small corpus in the disc layout of WSJ (LDC93S6B, LDC94S13B): made-up words, tones as speech.

Every rule of the transcripts, every index file, the wrong disc id of the Nov'93 index and the
speaker that is left out are in it; the numbers of utterances are wrong on purpose.

    python3 tests/corpora/fake_wsj.py OUT [--utterances 37416 --tiny_audio]
"""

import argparse
import gzip
import random
from pathlib import Path

from fake_audio import header, speak, write_sphere

RATE = 16000
_SENTENCE = "amber birds carry dusty envelopes from gentle hills into jovial kitchens like merry"
WORDS = [*_SENTENCE.split(), "neighbours"]
# utterance id -> transcript as in a .dot file. Ids say where they belong, see SETS.
TRANSCRIPTS = {
    "011c0201": r"Seven ,COMMA quiet rivers don\'t sleep .PERIOD",
    "011c0202": (
        r"[lip_smack] A *plain* walk [<door_slam] took [door_slam>] ten \.POINT five minutes"
    ),
    "01ac0301": r"[tape_noise/] Grey [/tape_noise] clouds ~ came . back late",
    "401c0201": r"This speaker is left out",
    "20bc0301": r"<And> then they <didn\'t> count --DASH nine %PERCENT I\. B\. of it",
    "46kc0301": r"green [loud_breath] lamps foo[x/] glow",
    "46kc0302": r"word:with:colons a-b-c -DASH --DASHES <two words> [not a noise] [odd[noise]end]",
    "46lc0301": r"Prices rose \%PERCENT .POINT point",
    "4k0c0301": r"the small dog sings",
    "4k0c030a": r"[loud_breath] such new boats as A\. B\. made can sail [door_slam]",
    "4k1c0301": r"four cups of tea",
    "4k2c0301": r".",  # nothing but a pause; not in the index
    "4k3c0201": r"five thousand words suffice",
    "440c0401": r"eight evening readers met",
    "440c0402": r"nobody heard it [<cross_talk]",
    "441c0401": r"six small mice ran home",
    "442c0201": r"short and closed",
    "4oac0201": r"a hub test \.POINT one",
    "4obc0201": r"a small hub test",
}
# (disc, directory, disc and directory of the transcripts, ids)
SETS = (
    (
        "11-1.1",
        "wsj0/si_tr_s",
        "11-13.1/wsj0/transcrp/dots/si_tr_s",
        ("011c0201", "011c0202", "01ac0301"),
    ),
    ("11-2.1", "wsj0/si_tr_s", "11-13.1/wsj0/transcrp/dots/si_tr_s", ("401c0201", "20bc0301")),
    (
        "11-13.1",
        "wsj0/si_et_20",
        "11-13.1/wsj0/transcrp/dots/si_et_20",
        ("440c0401", "440c0402", "441c0401"),
    ),
    ("11-14.1", "wsj0/si_et_05", "11-14.1/wsj0/transcrp/dots/si_et_05", ("442c0201",)),
    ("13-1.1", "wsj1/si_tr_s", "13-34.1/wsj1/trans/wsj1/si_tr_s", ("46kc0301", "46kc0302")),
    ("13-2.1", "wsj1/si_tr_s", "13-34.1/wsj1/trans/wsj1/si_tr_s", ("46lc0301",)),
    (
        "13-16.1",
        "wsj1/si_dt_20",
        "13-34.1/wsj1/trans/wsj1/si_dt_20",
        ("4k0c0301", "4k0c030a", "4k1c0301", "4k2c0301"),
    ),
    ("13-16.1", "wsj1/si_dt_05", "13-34.1/wsj1/trans/wsj1/si_dt_05", ("4k3c0201",)),
    ("13-33.1", "wsj1/si_et_h1/wsj64k", "13-33.1/wsj1/si_et_h1/wsj64k", ("4oac0201",)),
    ("13-33.1", "wsj1/si_et_h2/wsj5k", "13-33.1/wsj1/si_et_h2/wsj5k", ("4obc0201",)),
)
_NVP = "11-13.1/wsj0/doc/indices/test/nvp"
# index file -> (directories listed, end of each entry, disc id and a blank after it where the true
# id is not written)
INDICES = {
    "11-13.1/wsj0/doc/indices/train/tr_s_wv1.ndx": (
        ("11-1.1/wsj0/si_tr_s", "11-2.1/wsj0/si_tr_s"),
        ".wv1",
        None,
    ),
    f"{_NVP}/si_et_20.ndx": (("11-13.1/wsj0/si_et_20",), "", None),
    f"{_NVP}/si_et_05.ndx": (("11-14.1/wsj0/si_et_05",), "", None),
    "13-34.1/wsj1/doc/indices/si_tr_s.ndx": (
        ("13-1.1/wsj1/si_tr_s", "13-2.1/wsj1/si_tr_s"),
        ".wv1",
        None,
    ),
    "13-34.1/wsj1/doc/indices/h1_p0.ndx": (("13-16.1/wsj1/si_dt_20",), ".wv1", None),
    "13-34.1/wsj1/doc/indices/h2_p0.ndx": (("13-16.1/wsj1/si_dt_05",), ".wv1", None),
    "13-32.1/wsj1/doc/indices/wsj1/eval/h1_p0.ndx": (
        ("13-33.1/wsj1/si_et_h1/wsj64k",),
        ".wv1",
        "13_32_1",
    ),
    "13-32.1/wsj1/doc/indices/wsj1/eval/h2_p0.ndx": (
        ("13-33.1/wsj1/si_et_h2/wsj5k",),
        ".wv1",
        "13_32_1",
    ),
}
UNLISTED = ("4k2c0301",)
UNDERSCORES = str.maketrans("-.", "__")
LM_TEXT = {
    "87": "<s>\nTHE first Line of made up news ,COMMA\n</s>\n",
    "88": "a second one isn't long\n<p.5>\nthird\n",
    "89": "the last\nwords 'quoted' and \"more\"\n",
}
SPEAKER_FILES = (
    "11-13.1/wsj0/doc",
    "13-32.1/wsj1/doc/evl_spok",
    "13-34.1/wsj1/doc/dev_spok",
    "13-34.1/wsj1/doc/train",
)


def disc_path(root: Path, relative: str) -> Path:
    """Where ``disc/rest`` lies below `root`."""
    return root / ("LDC93S6B" if relative.startswith("11-") else "LDC94S13B") / relative


def make_wsj(
    root: Path,
    utterances: int = 0,
    *,
    lm_sentences: int = 0,
    shorten: bool = False,
    tiny_audio: bool = False,
) -> tuple[Path, Path]:
    """Write the corpus and return its two roots.

    Args:
        root: where ``LDC93S6B`` and ``LDC94S13B`` go.
        utterances: size of train_si284, 0 for the 7 of the table; more are made up from `WORDS`.
        lm_sentences: sentences of language-model text to add to those of `LM_TEXT`.
        shorten: compress the audio of disc 13-1.1.
        tiny_audio: 10 ms instead of speech.
    """
    transcripts, places = dict(TRANSCRIPTS), {(d, f, t): list(ids) for d, f, t, ids in SETS}
    _enlarge(transcripts, places, utterances - 7)
    for (disc, folder, dots), ids in places.items():
        texts: dict[str, list[str]] = {}
        for utterance in ids:
            audio = disc_path(root, f"{disc}/{folder}/{utterance[:3]}/{utterance}.wv1")
            text = transcripts[utterance]
            _write_audio(audio, text, shorten=shorten and disc == "13-1.1", tiny=tiny_audio)
            texts.setdefault(utterance[:6], []).append(f"{text} ({utterance})\n")
        for prefix, lines in texts.items():
            _write(disc_path(root, f"{dots}/{prefix[:3]}/{prefix}00.dot"), "".join(lines))
    for index, (folders, suffix, wrong) in INDICES.items():
        lines = [f";; File: {Path(index).name}\n", ";;\n"]
        for (disc, folder, _), ids in places.items():
            if f"{disc}/{folder}" not in folders:
                continue
            begin = f"{wrong}: " if wrong else f"{disc.translate(UNDERSCORES)}:"
            for utterance in ids:
                if utterance not in UNLISTED:
                    lines.append(f"{begin}{folder}/{utterance[:3]}/{utterance}{suffix}\n")
        _write(disc_path(root, index), "".join(lines))
    draw = random.Random(1)
    for year, text in LM_TEXT.items():
        path = disc_path(root, f"13-32.1/wsj1/doc/lng_modl/lm_train/np_data/{year}/w{year}_001.z")
        path.parent.mkdir(parents=True, exist_ok=True)
        sentences = [text]
        for _ in range(lm_sentences // len(LM_TEXT)):
            sentences.append(" ".join(draw.choices(WORDS, k=23)) + "\n")
        path.write_bytes(gzip.compress("".join(sentences).encode(), compresslevel=1))
    for folder in SPEAKER_FILES:
        path = disc_path(root, f"{folder}/spkrinfo.txt")
        _write(path, "; ID Sex\n46K F 40\n440 M 30\n--- - --\n")
    return root / "LDC93S6B", root / "LDC94S13B"


def _enlarge(transcripts: dict[str, str], places: dict, more: int) -> None:
    """Add `more` training utterances, 120 a speaker, 40 a session."""
    draw = random.Random(0)
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    for i in range(max(0, more)):
        speaker, rest = divmod(i, 120)
        session, number = divmod(rest, 40)
        utterance = (
            f"5{digits[speaker // 36]}{digits[speaker % 36]}c0{session}"
            f"{digits[number // 36]}{digits[number % 36]}"
        )
        transcripts[utterance] = (
            " ".join(draw.choices(WORDS, k=17)) + r" .PERIOD [loud_breath] isn\'t"
        )
        places[SETS[5 if speaker % 2 else 0][:3]].append(utterance)


def _write_audio(path: Path, text: str, *, shorten: bool, tiny: bool) -> None:
    if tiny:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(header(160, 1, RATE, "pcm") + bytes(320))
    else:
        write_sphere(path, speak(text, RATE), RATE, shorten=shorten)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--utterances", type=int, default=0)
    parser.add_argument("--tiny_audio", action="store_true")
    options = parser.parse_args()
    print(*make_wsj(options.root, options.utterances, tiny_audio=options.tiny_audio))
