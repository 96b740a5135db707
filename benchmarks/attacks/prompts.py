"""Prompts that an old recording may meet, and how soon recordings hold all that can be asked."""

from __future__ import annotations

from math import comb, perm

import numpy as np

from benchmarks.attacks.tally import percentage, table
from membrane.phrase.matching import DIGIT_WORDS
from membrane.phrase.prompts import LENGTHS, prompt_words
from membrane.terminal.conversation import STRICT_LENGTHS

RECORDED = (1, 2, 3, 5, 10, 20, 50, 100, 200)
"""Recordings of earlier logins that an attacker may have."""


def changed(digits: str, count: int, chance: np.random.Generator) -> str:
    """Return a prompt that differs from some digits in so many places."""
    prompt = list(digits)
    for place in chance.choice(len(digits), count, replace=False):
        others = [digit for digit in "0123456789" if digit != digits[place]]
        prompt[place] = str(chance.choice(others))
    return "".join(prompt)


def exchanged(digits: str, chance: np.random.Generator) -> str:
    """Return the digits with two neighbours exchanged that are not the same."""
    unlike = [place for place in range(len(digits) - 1) if digits[place] != digits[place + 1]]
    if not unlike:
        raise ValueError(f"no two neighbours of {digits} differ")
    place = int(chance.choice(unlike))
    first, second = digits[place : place + 2]
    return digits[:place] + second + first + digits[place + 2 :]


def reordered(digits: str, chance: np.random.Generator) -> str:
    """Return the digits in a random other order."""
    order = digits
    while order == digits:
        order = "".join(chance.permutation(list(digits)))
    return order


def distance_shares(length: int) -> list[float]:
    """Return how likely a random prompt differs from given digits in 0, 1, 2 … places."""
    return [comb(length, places) * 9**places / 10**length for places in range(length + 1)]


def digits_covered(recordings: int, length: int) -> float:
    """Return how likely a random prompt can be pasted from recordings of other random prompts.

    That is the coupon collector's question (P. Erdős and A. Rényi, "On a classical problem of
    probability theory", 1961): by inclusion and exclusion over the digits that were never said.
    """
    heard = recordings * length
    figures = len(DIGIT_WORDS)
    return sum(
        share * _all_heard(distinct, lambda missing: (1 - missing / figures) ** heard)
        for distinct, share in _distinct_shares(length).items()
    )


def words_covered(recordings: int, length: int) -> float:
    """Return the same for prompts of words, none of them twice."""
    words = len(prompt_words())

    def unheard(missing: int) -> float:
        return float((comb(words - missing, length) / comb(words, length)) ** recordings)

    return _all_heard(length, unheard)


def _all_heard(distinct: int, unheard) -> float:
    """Return how likely all of some symbols were heard, by how likely so many of them were not."""
    return float(
        sum(
            (-1) ** missing * comb(distinct, missing) * unheard(missing)
            for missing in range(distinct + 1)
        )
    )


def _distinct_shares(length: int) -> dict[int, float]:
    """Return how likely a random prompt has so many different digits."""
    figures = len(DIGIT_WORDS)
    return {
        distinct: perm(figures, distinct) * _partitions(length, distinct) / figures**length
        for distinct in range(1, length + 1)
    }


def _partitions(length: int, parts: int) -> int:
    """Return in how many ways places can be shared by so many digits (Stirling, second kind)."""
    signed = ((-1) ** (parts - one) * comb(parts, one) * one**length for one in range(parts + 1))
    return sum(signed) // perm(parts)


def covering_table() -> str:
    """Return how likely the next prompt can be pasted, by the number of recordings."""
    kinds = {
        f"{LENGTHS['digits']} digits": lambda count: digits_covered(count, LENGTHS["digits"]),
        f"{STRICT_LENGTHS['digits']} digits (strict)": lambda count: digits_covered(
            count, STRICT_LENGTHS["digits"]
        ),
        f"{LENGTHS['words']} words": lambda count: words_covered(count, LENGTHS["words"]),
        f"{STRICT_LENGTHS['words']} words (strict)": lambda count: words_covered(
            count, STRICT_LENGTHS["words"]
        ),
    }
    rows = (
        [name, *(percentage(covered(count)) for count in RECORDED)]
        for name, covered in kinds.items()
    )
    return table(["prompt", *RECORDED], rows)
