"""Switchboard-1's words: their forms, acronyms, and how often one sentence may occur.

Source of the rules: the annotation guide of the 1998 transcripts, and what Kaldi's and ESPnet's
Switchboard recipes make of them. The times and ids around the words are swbd's.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

# Pronunciations of the letters' names, in the phones of the Mississippi State dictionary.
LETTERS = {
    "A": "ey",
    "B": "b iy",
    "C": "s iy",
    "D": "d iy",
    "E": "iy",
    "F": "eh f",
    "G": "jh iy",
    "H": "ey ch",
    "I": "ay",
    "J": "jh ey",
    "K": "k ey",
    "L": "eh l",
    "M": "eh m",
    "N": "eh n",
    "O": "ow",
    "P": "p iy",
    "Q": "k y uw",
    "R": "aa r",
    "S": "eh s",
    "T": "t iy",
    "U": "y uw",
    "V": "v iy",
    "W": "d ah b ax l y uw",
    "X": "eh k s",
    "Y": "w ay",
    "Z": "z iy",
}
# Acronyms that the dictionary lacks and that Kaldi's correction of it adds.
ADDED = ("NAACP", "NIT", "NTSC")
_SILENCE = re.compile(r"\s\[SILENCE\](\s|$)", re.IGNORECASE)
_ASIDE = re.compile(r"<[BE]_ASIDE>", re.IGNORECASE)
_INNER = r"\[[^\[\]]+\]"
# (form, what it becomes, flags), applied in this order to one word.
_FORMS = (
    # Laughed word.
    (r"^\[laughter-(.+)\](-?)$", r"\1\2", re.IGNORECASE),
    # [said/meant].
    (r"^\[(.+)/.+\](-?)$", r"\1\2", 0),
    # Beginning not spoken.
    (rf"^-?{_INNER}(.+)$", r"-\1", 0),
    # End not spoken.
    (rf"^(.+){_INNER}-?$", r"\1-", 0),
    # An annotation left open.
    (r"([^\[\]]+)\[.+\]$", r"\1", 0),
    # Coined word.
    (r"^\{(.+)\}$", r"\1", 0),
    # The middle not spoken: neighbours and middle give way to the middle's last character and "-".
    # Hardly meant so, but what the published systems were trained on.
    (r"[a-z]\[[^\[\]]*([^\[\]])\][a-z]", r"\1-", re.IGNORECASE),
    # Pronunciation variant.
    (r"_\d$", "", 0),
)
_RULES = [(re.compile(form, re.ASCII | flags), result) for form, result, flags in _FORMS]
# Kaldi's own generator of random numbers (utils/data/remove_dup_utts.sh).
_STEP, _MODULUS = 103349, 71147


@functools.cache
def map_word(word: str) -> str:
    """The plain form of one annotated word."""
    for form, result in _RULES:
        word = form.sub(result, word, count=1)
    return word


def clean(words: str) -> list[str]:
    """The plain words of one transcript; silence and asides are dropped, other noises stay.

    Args:
        words: the transcript as it follows the times. Of two silences in a row the second stays, as
            in Kaldi.
    """
    heard = _ASIDE.sub("", _SILENCE.sub(r"\1", f" {words}"))
    return list(map(map_word, heard.split()))


def acronyms(dictionary: Iterable[str]) -> dict[str, str]:
    """Words that are pronounced letter by letter, with their form ``a._b._c.``.

    Args:
        dictionary: lines ``word phone phone...``; ``#`` starts a comment.
    """
    added = [f"{word} {_phones(word)}" for word in (*LETTERS, *ADDED)]
    spelled = {}
    for line in (*dictionary, *added):
        if line.startswith("#") or not line.strip():
            continue
        written, *phones = line.split()
        word = map_word(written)
        form = _spell(word, phones)
        if form:
            spelled[word] = form
    return spelled


def _phones(letters: str) -> str:
    return " ".join(LETTERS[letter] for letter in letters)


def _spell(word: str, phones: list[str]) -> str:
    """The spelled form of `word`, "" where its pronunciation is not that of its letters."""
    match = re.fullmatch(r"([A-Za-z]+?)((?:'?s)?)", word, re.ASCII)
    if match is None:
        return ""
    letters, ending = match.groups()
    sound = r" \S*[sz]" if word.endswith("s") else ""
    if not re.fullmatch(_phones(letters.upper()) + sound, " ".join(phones)):
        return ""
    return "._".join(letters.lower()) + "." + ending


def expand(words: Sequence[str], acronym: Mapping[str, str]) -> str:
    """The sentence in lower case with acronyms written as ``a._b._c.``.

    "I" is a word, unless a single capital letter stands next to it.
    """
    spelled = []
    befores = ["", *words]
    afters = [*words[1:], ""]
    for before, word, after in zip(befores, words, afters, strict=False):
        beside_a_letter = _is_letter(before) or _is_letter(after)
        is_pronoun = word == "i" or (word == "I" and not beside_a_letter)
        spelled.append(word if is_pronoun else acronym.get(word, word))
    return " ".join(spelled).lower()


def _is_letter(word: str) -> bool:
    return len(word) == 1 and "A" <= word <= "Z"


def unspell(sentence: str) -> str:
    """Acronyms as separate letters (``i._b._m.`` becomes ``i b m``), and ``them_1`` as ``them``."""
    return sentence.replace("._", " ").replace(".", "").replace("them_1", "them")


def without_repeats(texts: Mapping[str, str], most: int) -> list[str]:
    """The utterances that stay when sentences said too often are thinned to about `most`.

    Source: utils/data/remove_dup_utts.sh of Kaldi.

    Args:
        texts: utterance id -> sentence, in the order in which Kaldi goes through them (sorted by
            id).
        most: the count from which on a sentence is thinned.
    """
    sentences = {utterance: " ".join(text.split()) for utterance, text in texts.items()}
    counts = Counter(sentences.values())
    kept = []
    state = 0
    for utterance, sentence in sentences.items():
        count = counts[sentence]
        if count >= most:
            state = (state + _STEP) % _MODULUS
            if state / _MODULUS >= most / count:
                continue
        kept.append(utterance)
    return kept
