"""One recording, in the one form that everything after it understands."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000
"""Samples per second of every utterance (the rate of the encoder and of both recognizers)."""


def no_samples() -> Samples:
    """Return an empty signal."""
    return np.zeros(0, dtype=np.float32)


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
    """

    samples: Samples
    ambient: Samples = field(default_factory=no_samples)
    source: str = ""
    device: str = ""
    source_rate: int = SAMPLE_RATE

    @property
    def seconds(self) -> float:
        """Length of the recording in seconds."""
        return len(self.samples) / SAMPLE_RATE
