"""Partials: the overlapping stretches of an utterance that an encoder hears one by one.

Cut as the Resemblyzer 0.1.4 package does, because its network was trained on such stretches;
`make parity` holds both against each other.
"""

from __future__ import annotations

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples
from membrane.errors import PoorQuality
from membrane.voice.encoder import Seconds
from membrane.voice.frontends.mels import STEP
from membrane.voice.frontends.trimming import raise_volume, trim_silences

PARTIAL_FRAMES = 160
"""Mel frames of a partial, 1.6 s: ``partials_n_frames`` (resemblyzer/hparams.py)."""

PARTIALS_PER_SECOND = 1.3
"""``rate`` of ``VoiceEncoder.embed_utterance``."""

LEAST_COVERAGE = 0.75
"""Share of the last partial that must be sound: ``min_coverage`` of ``embed_utterance``."""

AT_ONCE = 32
"""Partials that go through a network at once, so that an hour needs no more memory than 25 s."""

NO_SPEECH = "I heard no speech: speak closer to the microphone, or somewhere quieter"


def speech_of(samples: Samples) -> Samples:
    """Return what an encoder hears of an utterance: loud enough, without its long silences.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        The utterance.

    Returns
    -------
    np.ndarray, shape (m,), float32
        Never empty.

    Raises
    ------
    PoorQuality
        If no speech is left, or there are numbers that are not finite.
    """
    if not np.isfinite(samples).all():
        raise PoorQuality("the recording holds numbers that are not finite: record it again")
    speech = trim_silences(raise_volume(samples))
    if not len(speech):
        raise PoorQuality(NO_SPEECH)
    return speech


def spans_of(sample_count: int, per_second: float = PARTIALS_PER_SECOND) -> Seconds:
    """Return start and end of what `partial_starts` returns, shape (n, 2), seconds."""
    starts = np.array(partial_starts(sample_count, per_second))
    return np.stack([starts, starts + PARTIAL_FRAMES], axis=1) * (STEP / SAMPLE_RATE)


def partial_starts(sample_count: int, per_second: float = PARTIALS_PER_SECOND) -> range:
    """Return the first mel frame of each partial, as ``VoiceEncoder.compute_partial_slices``.

    Parameters
    ----------
    sample_count : int
        Length of the trimmed utterance in samples at 16 kHz.
    per_second : float
        Partials that start in each second.

    Returns
    -------
    range
        At least one start. The last partial may reach beyond the end, into silence.
    """
    frames = -(-(sample_count + 1) // STEP)
    step = round(SAMPLE_RATE / per_second / STEP)
    starts = range(0, max(1, frames - PARTIAL_FRAMES + step + 1), step)
    covered = sample_count / STEP - starts[-1]
    return starts[:-1] if covered < LEAST_COVERAGE * PARTIAL_FRAMES and len(starts) > 1 else starts
