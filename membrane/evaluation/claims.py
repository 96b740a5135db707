"""Claims: what somebody is asked to say, and whether it is what was said.

An utterance is one genuine claim, of the words that were said, and several false ones: what a
replayed recording, or a prompt misheard, would be to a login.
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
"""Kinds of false claims."""


class Claim(NamedTuple):
    """Words that are said to have been said.

    Parameters
    ----------
    kind : str
        `RIGHT` or a key of `FALSE`.
    words : str
    """

    kind: str
    words: str


def claims_about(
    phrases: Sequence[str], known: Sequence[str], *, seed: int = 0
) -> list[tuple[Claim, ...]]:
    """Return what is claimed about each of several phrases.

    ``other`` is another of the phrases, of the same number of words where there is one, else of
    the nearest. A word that is changed or added is another digit among digits, else one that
    prompts are made of or that another phrase holds. ``fewer`` is missing for a single word.

    Parameters
    ----------
    phrases : sequence of str
        What was said, normalised.
    known : sequence of str
        The words that may be claimed besides digits.
    seed : int, not negative
        What is claimed about a phrase depends on it, its place, and the other phrases.
    """
    distinct = [phrase.split() for phrase in sorted(set(phrases))]
    return [
        _claims(phrase.split(), distinct, known, np.random.default_rng([seed, place]))
        for place, phrase in enumerate(phrases)
    ]


def candidates(phrases: Sequence[str]) -> list[str]:
    """Return the words that prompts are made of and those of the phrases, each once."""
    return sorted({*prompt_words(), *(word for phrase in phrases for word in phrase.split())})


def _claims(
    said: list[str],
    phrases: Sequence[list[str]],
    known: Sequence[str],
    chance: np.random.Generator,
) -> tuple[Claim, ...]:
    words = DIGIT_WORDS if is_digits(said) else known
    place = int(chance.integers(len(said)))
    gap = int(chance.integers(len(said) + 1))
    other = _nearest(said, phrases, chance)
    changed = [*said[:place], *_another(words, said[place], chance), *said[place + 1 :]]
    more = [*said[:gap], *_another(words, "", chance), *said[gap:]]
    fewer = [*said[:place], *said[place + 1 :]]
    false = {"other": other, "changed": changed, "more": more, "fewer": fewer}
    made = [Claim(kind, " ".join(claimed)) for kind, claimed in false.items() if claimed]
    return (Claim(RIGHT, " ".join(said)), *made)


def _nearest(
    said: list[str], phrases: Sequence[list[str]], chance: np.random.Generator
) -> list[str]:
    """Return another phrase, of digits for digits; empty if there is none."""
    others = [
        phrase for phrase in phrases if phrase != said and is_digits(phrase) == is_digits(said)
    ]
    distances = [abs(len(phrase) - len(said)) for phrase in others]
    nearest = [
        phrase
        for phrase, distance in zip(others, distances, strict=True)
        if distance == min(distances)
    ]
    return nearest[chance.integers(len(nearest))] if nearest else []


def _another(words: Sequence[str], word: str, chance: np.random.Generator) -> list[str]:
    """Return one of the words that does not sound like a word, in a list."""
    while True:
        other = words[int(chance.integers(len(words)))]
        if other != word and not _sound_alike(other, word):
            return [other]


def _sound_alike(one: str, other: str) -> bool:
    """Return whether two words share a pronunciation, so that no ear could tell them apart."""
    from membrane.phrase.recognizers.pocketsphinx import pronunciations

    return not set(pronunciations(one)).isdisjoint(pronunciations(other))
