"""Material of hums that differ by speaker, so that no file is decoded; never write into it."""

from functools import cache

import numpy as np

from membrane.training.material import Material, Speaker, Spoken


@cache
def hum(hertz, seconds, level=0.1):
    """A tone with harmonics, at 16 kHz."""
    at = np.arange(round(16_000 * seconds)) / 16_000
    tone = sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 6))
    return (level * tone).astype(np.float16)


def voice(number, seconds=2.0, utterances=3, corpus="made"):
    """A speaker whose utterances are of one pitch each, and whose silences are as long as words."""
    spoken = [hum(80 + 20 * number + one, seconds) for one in range(utterances)]
    pause = np.zeros(8_000, np.float16)
    return Speaker(
        f"{corpus}/{number:03d}",
        corpus,
        tuple(Spoken(np.concatenate([one, pause, one]), one) for one in spoken),
    )


@cache
def material(speakers=6, noises=2, rooms=1, **options):
    """As many speakers, noises and rooms."""
    chance = np.random.default_rng(0)
    noise = [0.1 * chance.standard_normal(16_000) for _ in range(noises)]
    room = np.array([1.0, 0.0, 0.0, 0.5, 0.25], np.float32)
    return Material(
        tuple(voice(number, **options) for number in range(speakers)),
        tuple(one.astype(np.float16) for one in noise),
        (room,) * rooms,
    )
