"""Damaged files, each decided by two numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from benchmarks.hostile_files.checksums import flac_mended, ogg_mended
from benchmarks.hostile_files.damage import Chance, Damage, any_of
from benchmarks.hostile_files.mutations import MUTATIONS
from benchmarks.hostile_files.rewriting import REWRITINGS, header_mended, logins_mended
from benchmarks.hostile_files.seeds import SHARES, Seed
from benchmarks.hostile_files.stored import LOGINS, SEALED

MOST_MUTATIONS = 4

REWRITTEN = 0.4
"""Share of what Membrane keeps that is rewritten before its bytes are damaged, if at all."""

MENDED = 0.7
"""Share of the files with checksums in which they are right: in the others they stop the damage."""

STRANGER = 0.2
"""Share of the files that are spliced with one of any kind."""


@dataclass(frozen=True)
class Mutant:
    """A damaged file: its kind, what was done to it, what it holds, and what is beside it."""

    kind: str
    mutations: tuple[str, ...]
    content: bytes
    beside: dict[str, bytes]


def mutant(seeds: dict[str, list[Seed]], seed: int, number: int) -> Mutant:
    """Return the file that the two numbers decide."""
    chance = np.random.default_rng([seed, number])
    kind = _any_kind(chance)
    other = _any_kind(chance) if chance.random() < STRANGER else kind
    sound = any_of(seeds[kind], chance)
    damage = Damage(bytearray(sound.content), sound, any_of(seeds[other], chance), chance)
    rewritten = kind in REWRITINGS and chance.random() < REWRITTEN
    fewest = 0 if rewritten else 1
    chosen = [any_of(MUTATIONS, chance) for _ in range(chance.integers(fewest, MOST_MUTATIONS + 1))]
    if rewritten:
        chosen.insert(0, REWRITINGS[kind])
    for mutation in chosen:
        mutation(damage)
    if chance.random() < MENDED:
        _mend(damage)
    return Mutant(
        kind, tuple(mutation.__name__ for mutation in chosen), bytes(damage.content), sound.beside
    )


def _any_kind(chance: Chance) -> str:
    limits = list(accumulate(SHARES.values()))
    return list(SHARES)[int(np.searchsorted(limits, chance.uniform(0, limits[-1])))]


def _mend(damage: Damage) -> None:
    """Make the checksums right, without which a decoder would not look at the damage."""
    if damage.sound.kind in {"OGG", "OPUS"}:
        ogg_mended(damage.content)
    elif damage.sound.kind == "FLAC" and len(damage.content) == len(damage.sound.content):
        flac_mended(damage.content, damage.sound.frames)
    elif damage.sound.kind == SEALED:
        header_mended(damage.content)
    elif damage.sound.kind == LOGINS:
        logins_mended(damage.content)
