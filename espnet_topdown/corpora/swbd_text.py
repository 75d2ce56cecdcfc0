"""Switchboard-1 transcripts of Mississippi State.

Word forms, acronyms, and how often one sentence may occur.

Source of the rules: the annotation guide of the 1998 transcripts, and what Kaldi's and ESPnet's
Switchboard recipes make of them. The times and ids around the words are swbd's.
"""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping

# Pronunciations of the letters' names, in the phones of the Mississippi State dictionary.
LETTERS = dict(
    entry.split(" ", 1)
    for entry in (
        "A ey;B b iy;C s iy;D d iy;E iy;F eh f;G jh iy;H ey ch;I ay;J jh ey;K k ey;L eh l;M eh m;N"
        " eh n;O ow;P p iy;Q k y uw;R aa r;S eh s;T t iy;U y uw;V v iy;W d ah b ax l y uw;X eh k"
        " s;Y w ay;Z z iy"
    ).split(";")
)
# Acronyms that the dictionary lacks and that Kaldi's correction of it adds.
ADDED = ("NAACP", "NIT", "NTSC")
_SILENCE = re.compile(r"\s\[SILENCE\](\s|$)", re.IGNORECASE)
_ASIDE = re.compile(r"<[BE]_ASIDE>", re.IGNORECASE)
_INNER = r"\[[^\[\]]+\]"
# (form, what it becomes), applied in this order to one word.
_FORMS = tuple(
    (re.compile(form, re.ASCII | flags), result)
    for form, result, flags in (
        (r"^\[laughter-(.+)\](-?)$", r"\1\2", re.IGNORECASE),  # laughed word
        (r"^\[(.+)/.+\](-?)$", r"\1\2", 0),  # [said/meant]
        (rf"^-?{_INNER}(.+)$", r"-\1", 0),  # beginning not spoken
        (rf"^(.+){_INNER}-?$", r"\1-", 0),  # end not spoken
        (r"([^\[\]]+)\[.+\]$", r"\1", 0),  # an annotation left open
        (r"^\{(.+)\}$", r"\1", 0),  # coined word
        # The middle not spoken: neighbours and middle give way to the middle's last character and
        # "-". Hardly meant so, but what the published systems were trained on.
        (r"[a-z]\[[^\[\]]*([^\[\]])\][a-z]", r"\1-", re.IGNORECASE),
        (r"_\d$", "", 0),  # pronunciation variant
    )
)


@functools.cache
def map_word(word: str) -> str:
    """The plain form of one annotated word."""
    for form, result in _FORMS:
        word = form.sub(result, word, count=1)
    return word


def clean(words: str) -> list[str]:
    """The plain words of one transcript; silence and asides are dropped, other noises stay.

    Args:
        words: the transcript as it follows the times. Of two silences in a row the second stays, as
            in Kaldi.
    """
    return [map_word(word) for word in _ASIDE.sub("", _SILENCE.sub(r"\1", f" {words}")).split()]


def acronyms(dictionary: Iterable[str]) -> dict[str, str]:
    """Words that are spelled letter by letter, as ``a._b._c.``, found by their pronunciation.

    Args:
        dictionary: lines ``word phone phone...``; ``#`` starts a comment.
    """
    found = {}
    spelled = (
        f"{word} {' '.join(LETTERS[letter] for letter in word)}" for word in (*LETTERS, *ADDED)
    )
    for line in (*dictionary, *spelled):
        if line.startswith("#") or not line.strip():
            continue
        written, *phones = line.split()
        word = map_word(written)
        form = _spell(word, phones)
        if form:
            found[word] = form
    return found


def _spell(word: str, phones: list[str]) -> str:
    """The spelled form of `word`, "" where its pronunciation is not that of its letters."""
    match = re.fullmatch(r"([A-Za-z]+?)('s|s)?", word, re.ASCII)
    if not match or not phones:
        return ""
    letters, ending = match[1], match[2] or ""
    if word.endswith("s"):
        if phones[-1][-1] not in "sz":
            return ""
        phones = phones[:-1]
    if " ".join(phones) != " ".join(LETTERS[letter] for letter in letters.upper()):
        return ""
    return "._".join(letters.lower()) + "." + ending


def expand(words: list[str], acronym: Mapping[str, str]) -> str:
    """The sentence in lower case with acronyms written as ``a._b._c.``.

    "I" is a word, unless single capital letters stand next to it.
    """
    words = list(words)
    for position, word in enumerate(words):
        if word == "I":
            first = last = position
            while first > 0 and _is_letter(words[first - 1]):
                first -= 1
            while last + 1 < len(words) and _is_letter(words[last + 1]):
                last += 1
            if last > first:
                words[first : last + 1] = [acronym[w] for w in words[first : last + 1]]
    return " ".join(w if w in ("I", "i") else acronym.get(w, w) for w in words).lower()


def _is_letter(word: str) -> bool:
    return len(word) == 1 and "A" <= word <= "Z"


def unspell(sentence: str) -> str:
    """Acronyms as separate letters (``i._b._m.`` becomes ``i b m``), and ``them_1`` as ``them``."""
    return sentence.replace("._", " ").replace(".", "").replace("them_1", "them")


def without_repeats(texts: Mapping[str, str], most: int) -> list[str]:
    """The utterances that stay when sentences said at least `most` times are thinned to about that
    number.

    Args:
        texts: utterance id -> sentence, in the order in which Kaldi goes through them (sorted by
            id).
        most: the count from which on a sentence is thinned.

    Source: utils/data/remove_dup_utts.sh of Kaldi, with its own generator of random numbers.
    """
    sentences = {utterance: " ".join(text.split()) for utterance, text in texts.items()}
    counts = Counter(sentences.values())
    state, kept = 0, []
    for utterance, sentence in sentences.items():
        count = counts[sentence]
        if count >= most:
            state = (state + 103349) % 71147
            if state / 71147 >= most / count:
                continue
        kept.append(utterance)
    return kept
