"""What every recognizer shares: phrases in one form, transcripts compared."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from membrane.errors import UsageError
from membrane.phrase.recognizer import PhraseMatch, Recognizer

DIGIT_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The spoken forms of the figures 0 to 9."""

SOUND_ALIKES = {
    "oh": "zero",
    "o": "zero",
    "won": "one",
    "to": "two",
    "too": "two",
    "for": "four",
    "fore": "four",
    "ate": "eight",
}
"""Words that a transcript may hold for a digit because they sound the same (or mean the same)."""

LEAST_AGREEMENT = 0.8
"""Share of words that must be right in a transcript: one of five or more may be wrong."""

LEAST_STRICT_AGREEMENT = 1.0
"""The same for ``--security strict``: every word."""


def normalise(text: str) -> str:
    """Return a phrase as it is spoken: lower case, no punctuation, figures as digit words.

    Figures of any script are spoken one by one ("4711" is "four seven one one"). An apostrophe
    inside a word belongs to it.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Words with one space between them; empty if there are none.
    """
    folded = (
        unicodedata.normalize("NFKC", text)
        .casefold()
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    spoken = "".join(_spoken(character) for character in folded)
    words = (word.strip("'") for word in unicodedata.normalize("NFC", spoken).split())
    return " ".join(word for word in words if word)


def _spoken(character: str) -> str:
    if character == "'" or unicodedata.category(character)[0] in "LM":
        return character
    figure = unicodedata.digit(character, None)
    return " " if figure is None else f" {DIGIT_WORDS[figure]} "


def is_digits(words: Sequence[str]) -> bool:
    """Return whether there are words and all of them are digits."""
    return bool(words) and all(word in DIGIT_WORDS for word in words)


def word_errors(expected: Sequence[str], heard: Sequence[str]) -> int:
    """Return the least number of words to insert, remove or replace (Levenshtein 1966)."""
    costs = np.arange(len(heard) + 1)
    for number, word in enumerate(expected, start=1):
        previous, costs[0] = costs.copy(), number
        for position, other in enumerate(heard, start=1):
            costs[position] = min(
                previous[position - 1] + (word != other),
                previous[position] + 1,
                costs[position - 1] + 1,
            )
    return int(costs[-1])


def match_transcript(expected: str, heard: str, *, strict: bool = False) -> PhraseMatch:
    """Judge a free transcript against the phrase that was asked for.

    Where digits were asked for, words that sound like a digit count as the digit.

    Parameters
    ----------
    expected : str
        The phrase asked for, normalised or not.
    heard : str
        What a recognizer wrote down.
    strict : bool
        Every word must be right; else one of five or more may be wrong.

    Returns
    -------
    PhraseMatch
        Its score is 1 − word errors / words asked for, at least 0.
    """
    asked, found = normalise(expected).split(), normalise(heard).split()
    if is_digits(asked):
        found = [SOUND_ALIKES.get(word, word) for word in found]
    score = max(0.0, 1.0 - word_errors(asked, found) / len(asked)) if asked else 0.0
    threshold = LEAST_STRICT_AGREEMENT if strict else LEAST_AGREEMENT
    accepted = score >= threshold
    problem = "" if accepted else "other words" if found else "not speech"
    return PhraseMatch(
        expected=" ".join(asked),
        heard=" ".join(found),
        accepted=accepted,
        score=score,
        threshold=threshold,
        problem=problem,
    )


def spoken_words(recognizer: Recognizer, phrase: str) -> list[str]:
    """Return the words of a phrase, all of which the recognizer knows.

    Raises
    ------
    UsageError
        If there are none, or the recognizer does not know one.
    """
    words = normalise(phrase).split()
    if not words:
        raise UsageError("the phrase holds no word: give one that can be spoken")
    if unknown := recognizer.unknown_words(phrase):
        raise UsageError(f"the recognizer does not know {', '.join(unknown)}: choose other words")
    return words
