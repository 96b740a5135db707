"""One recording, in the one form that everything after it understands."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Samples per second of every utterance (the rate of the encoder and of both recognizers)."""


def no_samples() -> Samples:
    """Return an empty signal."""
    return np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Recorded:
    """Sound as the source holds it: no filter, no choice of channels.

    Parameters
    ----------
    samples : np.ndarray, shape (n, channels), float32
    rate : int, Hz
    """

    samples: Samples
    rate: int


@dataclass(frozen=True, eq=False)
class Utterance:
    """One recording at 16 kHz.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        What was said.
    ambient : np.ndarray, shape (m,), float32 in [-1, 1], 16 kHz
        The room without the speaker: recorded before them at a microphone, empty for a file,
        whose profile is taken from its own non-speech parts.
    source : str
        File name, or "microphone".
    device : str
        Name of the microphone; empty for a file.
    source_rate : int, Hz
        The rate it was captured or stored at, before resampling.
    original : callable or None
        Returns the sound at that rate with all its channels; see `recorded`.
    """

    samples: Samples
    ambient: Samples = field(default_factory=no_samples)
    source: str = ""
    device: str = ""
    source_rate: int = SAMPLE_RATE
    original: Callable[[], Recorded] | None = None

    @property
    def seconds(self) -> float:
        """Length of the recording in seconds."""
        return len(self.samples) / SAMPLE_RATE

    def changed(self, **fields: Any) -> Self:
        """Return the recording with other sound, which its source does not hold."""
        return replace(self, original=None, **fields)

    def recorded(self) -> Recorded:
        """Return the sound at the source's own rate and with its channels.

        A file is decoded again for it. Where there is no source, it is `samples`.

        Raises
        ------
        NoSuchFile, UnusableRecording
            If the file has gone or was changed meanwhile.
        """
        if self.original is None:
            return Recorded(self.samples[:, np.newaxis], SAMPLE_RATE)
        return self.original()
