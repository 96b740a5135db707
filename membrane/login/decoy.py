"""The decoy: an invented voiceprint, used when the claimed name is unknown."""

from __future__ import annotations

import numpy as np

from membrane.login.compare import Compared
from membrane.store.names import keyed_number
from membrane.voice.normalisation import Cohort

SPEECH_S = (6.0, 10.0)
"""Net speech that a decoy is said to be made of: that of three prompts of six digits."""


def decoy(name: str, strangers: Cohort, *, secret: bytes) -> Compared:
    """Return the voiceprint of nobody, the same each time for the same name.

    It is a random mixture of strangers around their mean, as far from it as they are, so that its
    similarities are those of a stranger.

    Parameters
    ----------
    strangers : Cohort
        Of the encoder that made it, so to speak.
    secret : bytes
        Of the database: whoever does not know it cannot foretell a decoy.
    """
    chance = np.random.default_rng(keyed_number(secret, name, purpose="decoy"))
    count = len(strangers.vectors)
    weights = chance.normal(size=count).astype(np.float32) / np.float32(np.sqrt(count))
    mixed = strangers.mean + weights @ (strangers.vectors - strangers.mean)
    return Compared(mixed / np.linalg.norm(mixed), float(chance.uniform(*SPEECH_S)))
