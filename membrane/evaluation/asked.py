"""Phrases that an utterance is checked for: the words that were said, and others.

The others are what a replayed recording, or a prompt misheard, would be to a login.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from membrane.phrase.matching import DIGIT_WORDS, is_digits
from membrane.phrase.prompts import prompt_words

RIGHT = "right"
FALSE = {
    "other": "other words",
    "changed": "one word changed",
    "more": "one word more",
    "fewer": "one word fewer",
}
"""Kinds of phrases that were not said."""


class Asked(NamedTuple):
    """A phrase that somebody may have been asked to say.

    Parameters
    ----------
    kind : str
        `RIGHT` or a key of `FALSE`.
    words : str
    """

    kind: str
    words: str


def asked_about(
    phrases: Sequence[str], known: Sequence[str], *, seed: int = 0
) -> list[tuple[Asked, ...]]:
    """Return the phrases that each of several utterances is checked for.

    ``other`` is another of the phrases, of the same number of words where there is one, else of
    the nearest. A word that is changed or added is another digit among digits, else one that
    prompts are made of or that another phrase holds. ``fewer`` is missing for a single word.

    Parameters
    ----------
    phrases : sequence of str
        What was said, normalised.
    known : sequence of str
        The words that may be asked for besides digits.
    seed : int, not negative
        What an utterance is checked for depends on its words, its place, and the other phrases.
    """
    distinct = [phrase.split() for phrase in sorted(set(phrases))]
    return [
        _asked(phrase.split(), distinct, known, np.random.default_rng([seed, place]))
        for place, phrase in enumerate(phrases)
    ]


def candidates(phrases: Sequence[str]) -> list[str]:
    """Return the words that prompts are made of and those of the phrases, each once."""
    return sorted({*prompt_words(), *(word for phrase in phrases for word in phrase.split())})


def _asked(
    said: list[str],
    phrases: Sequence[list[str]],
    known: Sequence[str],
    chance: np.random.Generator,
) -> tuple[Asked, ...]:
    known = DIGIT_WORDS if is_digits(said) else known
    place = int(chance.integers(len(said)))
    gap = int(chance.integers(len(said) + 1))
    other = _nearest(said, phrases, chance)
    changed = [*said[:place], *_another(known, said[place], chance), *said[place + 1 :]]
    more = [*said[:gap], *_another(known, "", chance), *said[gap:]]
    fewer = [*said[:place], *said[place + 1 :]]
    false = {"other": other, "changed": changed, "more": more, "fewer": fewer}
    made = [Asked(kind, " ".join(words)) for kind, words in false.items() if words]
    return (Asked(RIGHT, " ".join(said)), *made)


def _nearest(
    said: list[str], phrases: Sequence[list[str]], chance: np.random.Generator
) -> list[str]:
    """Return another phrase, of digits for digits; empty if there is none."""
    others = [
        phrase for phrase in phrases if phrase != said and is_digits(phrase) == is_digits(said)
    ]
    least = min((abs(len(phrase) - len(said)) for phrase in others), default=0)
    nearest = [phrase for phrase in others if abs(len(phrase) - len(said)) == least]
    return nearest[chance.integers(len(nearest))] if nearest else []


def _another(words: Sequence[str], word: str, chance: np.random.Generator) -> list[str]:
    """Return one of the words that does not sound like a word, in a list."""
    from membrane.phrase.recognizers.pocketsphinx import pronunciations

    while True:
        other = words[int(chance.integers(len(words)))]
        # No ear tells words of one pronunciation apart.
        if other != word and set(pronunciations(other)).isdisjoint(pronunciations(word)):
            return [other]
