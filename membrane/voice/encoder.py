"""The contract of every encoder, and the list of encoders.

A new encoder is one module with a class that has the members of `Encoder`, and a line in
`ENCODERS`. Vectors of different encoders are never compared, so each voiceprint carries the name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError

Vector = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Embedding:
    """The voice of one utterance.

    Parameters
    ----------
    vector : np.ndarray, shape (dimension,), float32, unit length
        The mean of `partials`, each counting as much as the encoder says, divided by its length.
    partials : np.ndarray, shape (n, dimension), float32, each of unit length
        The voice of each stretch of the utterance, in order.
    spans_s : np.ndarray, shape (n, 2), float64, seconds
        Start and end of each stretch in the speech: silences were cut before. The last may reach
        beyond its end. Empty where it does not matter.
    """

    vector: Vector
    partials: Vector
    spans_s: Seconds = field(default_factory=lambda: np.zeros((0, 2)))


class Encoder(Protocol):
    """Utterance to d-vector."""

    @property
    def name(self) -> str:
        """Name of the encoder, stored with every voiceprint that it made."""

    @property
    def dimension(self) -> int:
        """Length of its vectors."""

    @property
    def denoise_below_db(self) -> float:
        """Signal-to-noise ratio, in dB, below which it needs denoised sound.

        Minus infinity for an encoder that learnt to hear through noise: denoised sound is
        unlike the sound it was trained on.
        """

    @property
    def hears_recorded(self) -> bool:
        """Whether it hears the sound as the source holds it, a `Recorded`.

        If not, it gets the speech at 16 kHz and one level, denoised if it asks for that.
        """

    def embed(self, sound: Any) -> Embedding:
        """Return the voice of an utterance.

        Parameters
        ----------
        sound : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz; or Recorded
            As `hears_recorded` says.

        Raises
        ------
        PoorQuality
            If no speech is left to take a voice from.
        Unavailable
            If the encoder or its model cannot be used here.
        """


ENCODERS = {
    "membrane": ("membrane.voice.encoders.membrane", "RobustEncoder"),
    "resemblyzer": ("membrane.voice.encoders.resemblyzer", "DVectorEncoder"),
}
"""Encoder name to the module and class that implement it (imported only when asked for)."""


@cache
def load_encoder(name: str) -> Encoder:
    """Return the encoder of that name. The whole process shares one.

    Raises
    ------
    UsageError
        If there is no such encoder.
    Unavailable
        If it cannot run here.
    """
    if name not in ENCODERS:
        raise UsageError(f"no encoder is called {name!r}: choose from {', '.join(ENCODERS)}")
    module, class_name = ENCODERS[name]
    return cast(Encoder, getattr(import_module(module), class_name)())
