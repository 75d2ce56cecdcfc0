"""A small corpus in the layout of Switchboard-1, eval2000 and Fisher's transcripts.

Sentences are made up, speech is tones: 8 kHz, two channels, mu-law. Every form of word that the
preparation knows is in it, the last conversations say "uh-huh" over and over, and the reference has
the slips that need mending.

    python3 tests/corpora/fake_swbd.py OUT [--conversations 2438 --turns 52 --tiny_audio]
"""

import argparse
import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from fake_audio import header, speak, write_sphere

RATE = 8000
_SENTENCE = "apple boats crossed deep fjords going home in June keeping low most nights over quiet"
WORDS = [*_SENTENCE.split(), "reefs"]
# Said at the beginning of every side. Forms of words, acronyms, silences and asides.
SPECIAL = (
    "[laughter-story] and [laughter-wo[rd]-]- so",
    "it [it'n/isn't] here [lem[guini]-/linguini]",
    "-[an]y way -[a]b[out]- five",
    "ab[solute]- trust ex[specially]-/especially] now",
    "{yuppiedom} ammu[n]it- them_1 them_1's",
    "I work at IBM and I B M",
    "the TV's on and CDs play",
    "A I and I said i and a",
    "I D card NAACP",
    "[silence] hello [SILENCE] [silence]",
    "[silence]",
    "<b_aside> come here <e_aside> yes",
    "[noise] [vocalized-noise] [laughter] right",
    "[noise]",
    "uh-huh",
    "bs ATM's s us",
    "<B_ASIDE> <E_ASIDE>",
    "don't e[ven]-",
)
DICTIONARY = (
    "#  word pronunciation",
    "",
    "I ay",
    "i ay",
    "a ax",
    "a ey",
    "IBM ay b iy eh m",
    "TV's t iy v iy z",
    "CDs s iy d iy z",
    "ATM's ey t iy eh m z",
    "bs b iy eh s",
    "s eh s",
    "us ah s",
    "story s t ao r iy",
    "{yuppiedom} y ah p iy d ax m",
    "[laughter-KP] k ey p iy",
)
# Words of the stm: the first needs mending, the last two give no text.
REFERENCE = (
    "((WELL I) THINK SO",
    "HE'S (%HESITATION) A <B_ASIDE> POLICE <E_ASIDE> OFFICER (%UH)",
    "DON'T KNOW (%UH) REALLY (%UM) NO",
    "YES (OF-) COURSE (NOT)",
    "TRUE <NOISE>",
    "(%HESITATION)",
    "IGNORE_TIME_SEGMENT_IN_SCORING",
)
STM_HEADER = (
    ';; CATEGORY "0" "" ""',
    ';; LABEL "O" "Overall" "Overall"',
    ';; LABEL "en" "CallHome" "CallHome"',
    ';; LABEL "sw" "Switchboard" "Switchboard"',
    ';; LABEL "en-F" "" ""',
    ';; LABEL "en-M" "" ""',
    ';; LABEL "sw-F" "" ""',
    ';; LABEL "sw-M" "" ""',
    ';; LABEL "F" "Female" "Female"',
    ';; LABEL "M" "Male" "Male"',
)
GLM = (
    ";; alternatives",
    "UH => %HESITATION / [ ] __ [ ]",
    "UM => %HESITATION / [ ] __ [ ]",
    "HE'S => {HE'S / HE IS} / [ ] __ [ ]",
)
TURN_S = 1.2
CONTRACTIONS = {
    "i'm": ("i am",),
    "he's": ("he is", "he has"),
    "they've": ("they have",),
    "don't": ("do not",),
    "you'd": ("you would", "you had"),
    "i'll": ("i will",),
    "that's": ("that is", "that has"),
}
SPOKEN = ("i", "he", "she", "it", "is", "we", "are", "you", "have", "had", "not", "do", "so", "yes")


def make_swbd(
    root: Path,
    conversations: int = 3,
    turns: int = 22,
    *,
    fisher: bool = False,
    tiny_audio: bool = False,
) -> Path:
    """Write the corpora below `root` and return it.

    Args:
        root: gets ``LDC97S62``, ``LDC2002S09``, ``LDC2002T43`` and, with `fisher`, ``LDC2004T19``
            and ``LDC2005T19``.
        conversations: two-channel files of Switchboard-1.
        turns: transcribed turns of each side, those of `SPECIAL` first.
        fisher: add two calls of Fisher.
        tiny_audio: zeros that take no room instead of speech.
    """
    draw = random.Random(0)
    corpus = root / "LDC97S62"
    transcripts = corpus / "transcriptions/swb_ms98_transcriptions"
    _write(transcripts / "sw-ms98-dict.text", DICTIONARY)
    for i in range(conversations):
        number = 2001 + i
        repeats = i >= max(conversations - 2, 1)
        sides = []
        for side in "AB":
            texts = list(SPECIAL)
            for _ in range(turns):
                texts.append("uh-huh" if repeats else " ".join(draw.choices(WORDS, k=4)))
            sides.append(texts[:turns])
            name = f"sw{number}{side}-ms98-a"
            path = transcripts / f"{number // 100}/{number}/{name}-trans.text"
            _write(path, _turns(name, sides[-1]))
        _write_audio(corpus / f"swb1_d{1 + i % 4}/data/sw0{number}.sph", sides, tiny_audio)
    _make_eval2000(root, tiny_audio)
    if fisher:
        _make_fisher(root)
    return root


def make_contractions(data: Path, scored: Path, segments: int, *, speech: int, errors: int) -> None:
    """Write an stm and a glm with contractions, and what a system heard, half of it wrongly.

    Args:
        data: gets ``stm`` and ``glm``.
        scored: gets ``ref.trn`` and ``hyp.trn``.
        segments: a multiple of 80.
        speech: seed of what was said.
        errors: seed of the system.
    """
    said, heard = random.Random(speech), random.Random(errors)
    stm, references, hypotheses = list(STM_HEADER[:4]), [], []
    for recording in [f"en_{4100 + i}" for i in range(20)] + [f"sw_{4300 + i}" for i in range(20)]:
        for side in "AB":
            for n in range(segments // 80):
                words = said.choices([*SPOKEN, *CONTRACTIONS], k=said.randint(1, 16))
                shown = " ".join([*words, *said.choices(["", "(%UH)"], [9, 1])]).upper()
                label = f"{2 * n:.2f} {2 * n + 1.9:.2f} <O,{recording[:2]}>"
                stm.append(f"{recording} {side} {recording}_{side} {label}  {shown}")
                name = f"{recording}-{side}_{200 * n:06d}-{200 * n + 190:06d}"
                references.append(f"{' '.join(words)}\t({recording}-{side}-{name})")
                noisy = " ".join(_misheard(words, heard))
                hypotheses.append(f"{noisy}\t({recording}-{side}-{name})")
    rules = []
    for word, spellings in CONTRACTIONS.items():
        alternatives = " / ".join([word, *spellings]).upper()
        rules.append(f"{word.upper()} => {{{alternatives}}} / [ ] __ [ ]")
    _write(data / "stm", stm)
    _write(data / "glm", [*GLM[:3], *rules])
    _write(scored / "ref.trn", references)
    _write(scored / "hyp.trn", hypotheses)


def _misheard(words: Iterable[str], draw: random.Random) -> Iterator[str]:
    for word in words:
        luck = draw.random()
        if luck > 0.42 or luck < 0.12:
            yield draw.choice((word, *CONTRACTIONS.get(word, ())))
        if luck < 0.3:
            yield draw.choice(SPOKEN)


def _turns(name: str, texts: Iterable[str]) -> Iterator[str]:
    for n, text in enumerate(texts):
        start, end = n * TURN_S, (n + 1) * TURN_S - 0.1
        yield f"{name}-{n + 1:04d} {start:.6f} {end:.6f} {text}"


def _make_eval2000(root: Path, tiny_audio: bool) -> None:
    english = root / "LDC2002S09/hub5e_00/english"
    pem, stm = [";; a comment"], list(STM_HEADER)
    for i in range(40):
        name = f"en_{4100 + i}" if i < 20 else f"sw_{4300 + i}"
        for side in "AB":
            for n, words in enumerate(REFERENCE[: 2 + (i % 2) * 5]):
                start, end = 0.05 + n * TURN_S, (n + 1) * TURN_S - (0.04 if n % 2 else 0.3)
                pem.append(f"{name} {side} unknown_speaker {start:.2f} {end:.2f}")
                label = f"<O,{name[:2]},{'FM'[i % 2]},{name[:2]}-{'FM'[i % 2]}>"
                stm.append(f"{name} {side} {name}_{side} {start:.2f} {end:.2f} {label}  {words}")
        _write_audio(
            english / f"{name}.sph", [["well i think so"]] * 2, tiny_audio, seconds=7 * TURN_S
        )
    _write(english / "hub5e_00.pem", pem)
    reference = root / "LDC2002T43/2000_hub5_eng_eval_tr/reference"
    _write(reference / "hub5e00.english.000405.stm", stm)
    _write(reference / "en20000405_hub5.glm", GLM)


def _make_fisher(root: Path) -> None:
    lines = (
        "",
        "1.10 2.35 A: so [laugh] the topic is",
        "2.40 3.00 B: oh",
        "3.05 4.70 B: i._b._m. [lipsmack] yeah",
        "4.80 5.00 A: ((what))",
        "5.10 5.20 A: i",
    )
    for corpus, part, call in (
        ("LDC2004T19", "p1", "fe_03_00002"),
        ("LDC2005T19", "p2", "fe_03_05851"),
    ):
        _write(
            root / corpus / f"fe_03_{part}_tran/data/trans/000/{call}.txt",
            (f"# {call}.sph", "# Transcribed at the LDC", *lines),
        )


def _write_audio(
    path: Path, sides: list[list[str]], tiny: bool, seconds: float | None = None
) -> None:
    length = int((seconds or len(sides[0]) * TURN_S) * RATE)
    if tiny:
        path.parent.mkdir(parents=True, exist_ok=True)
        start = header(length, 2, RATE, "ulaw")
        path.write_bytes(start)
        # A hole: the file has its size, but takes no room.
        os.truncate(path, len(start) + 2 * length)
        return
    samples = np.zeros((length, 2), dtype=np.int16)
    for channel, texts in enumerate(sides):
        for n, text in enumerate(texts):
            tones = speak(text[:18], RATE)
            start = int(n * TURN_S * RATE)
            tones = tones[: length - start]
            samples[start : start + len(tones), channel] = tones
    write_sphere(path, samples, RATE, "ulaw")


def _write(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--conversations", type=int, default=3)
    parser.add_argument("--turns", type=int, default=22)
    parser.add_argument("--fisher", action="store_true")
    parser.add_argument("--tiny_audio", action="store_true")
    options = parser.parse_args()
    print(
        make_swbd(
            options.root,
            options.conversations,
            options.turns,
            fisher=options.fisher,
            tiny_audio=options.tiny_audio,
        )
    )
