"""A file while it is being damaged, and where it is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from benchmarks.hostile_files.seeds import Seed

Chance = np.random.Generator
Thing = TypeVar("Thing")

HEADER = 200
"""Bytes at the beginning of a file in which most formats keep what they say of the rest."""

LONGEST_CUT = 4096
"""Bytes that one mutation takes, moves or fills at most."""


@dataclass
class Damage:
    """A file while it is being damaged.

    Parameters
    ----------
    content : bytearray
        What it holds by now.
    sound : Seed
        The valid file that it was.
    other : Seed
        Another valid file, mostly of the same kind.
    chance : np.random.Generator
    """

    content: bytearray
    sound: Seed
    other: Seed
    chance: Chance

    def place(self) -> int:
        """Return a place in the file; half of them are in the header, or near the beginning."""
        return place_in(len(self.content), self.chance)

    def span(self) -> slice:
        """Return a part of the file, of any length up to `LONGEST_CUT`."""
        start = self.place()
        return slice(start, start + int(self.chance.integers(1, LONGEST_CUT)))


def any_of(things: Sequence[Thing], chance: Chance) -> Thing:
    """Return one of several things."""
    return things[int(chance.integers(len(things)))]


def place_in(length: int, chance: Chance) -> int:
    """Return a place in a file of so many bytes."""
    reach = length if chance.random() < 0.5 else min(length, HEADER * 2 ** chance.integers(0, 5))
    return int(chance.integers(max(1, reach)))
