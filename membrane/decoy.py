"""The decoy: the voiceprint of nobody, for a name that nobody has."""

from __future__ import annotations

import hashlib

import numpy as np

from membrane.explanation import Compared
from membrane.store.names import name_key
from membrane.voice.normalisation import Cohort

SPEECH_S = (6.0, 10.0)
"""Net speech that a decoy is said to be made of: that of three prompts of six digits."""


def decoy(name: str, strangers: Cohort) -> Compared:
    """Return the voiceprint of nobody, the same each time for the same name.

    It is a random mixture of strangers around their mean, as far from it as they are, so that its
    similarities are those of a stranger.
    """
    seed = int.from_bytes(hashlib.sha256(name_key(name).encode()).digest()[:8])
    chance = np.random.default_rng(seed)
    count = len(strangers.vectors)
    weights = chance.normal(size=count).astype(np.float32) / np.float32(np.sqrt(count))
    mixed = strangers.mean + weights @ (strangers.vectors - strangers.mean)
    return Compared(mixed / np.linalg.norm(mixed), float(chance.uniform(*SPEECH_S)))
