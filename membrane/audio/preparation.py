"""Preparation: from a raw utterance to what the encoder and the recognizer are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from membrane.audio import activity, denoise
from membrane.audio.level import at_level
from membrane.audio.quality import Quality, measure
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance

Denoising = Literal["auto", "always", "never"]

DENOISE_BELOW_DB = 25.0
"""`auto` takes noise out of recordings below this signal-to-noise ratio. Without added noise
(30 dB and more) denoising raises the equal error rate, from 2.0 to 3.0 %; in pink noise at 25 dB
it lowers it from 5.4 to 4.0 % (``benchmarks/denoising.py --part choose``)."""

VOICE_LEVEL_DBFS = -20.0
"""Root mean square at which the encoder is given every utterance. Its network hears how loud a
voice is: the same utterance at full scale was only 0.86 similar to itself, so that somebody who
leant forward was somebody else. At -30 dBFS, to which Resemblyzer raises quiet recordings only,
more honest people were refused."""

MARGIN_S = 0.25
"""Seconds kept before the first and after the last word: soft beginnings and endings."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An utterance that is ready to be judged.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz
        From just before the first word to just after the last, denoised if that was chosen.
    quality : Quality
        Of the raw recording.
    denoised : bool
    """

    samples: Samples
    quality: Quality
    denoised: bool


def prepare(utterance: Utterance, *, denoising: Denoising = "auto") -> Prepared:
    """Find the speech, measure its quality, and take out the noise.

    The noise profile is the room recorded before the person spoke; a file's is taken from its
    own non-speech parts.

    Parameters
    ----------
    utterance : Utterance
    denoising : {"auto", "always", "never"}
        ``auto`` denoises below `DENOISE_BELOW_DB`. Without a noise profile nothing is taken out.

    Raises
    ------
    ModelUnavailable
        If the voice activity detector is missing.
    """
    samples = utterance.samples
    probability = activity.probabilities(samples)
    mask = activity.speech_mask(probability)
    room = utterance.ambient
    if not len(room):
        room = denoise.room_of(samples, probability, mask)
    quality = measure(samples, mask, room)
    wanted = denoising == "always" or (
        denoising == "auto" and quality.speech_s > 0 and quality.snr_db < DENOISE_BELOW_DB
    )
    denoised = wanted and len(room) > 0
    if denoised:
        samples = denoise.reduce_noise(samples, room)
    return Prepared(_trim(samples, mask), quality, denoised)


def at_voice_level(samples: Samples) -> Samples:
    """Return the samples at `VOICE_LEVEL_DBFS`, for the encoder; peaks may go beyond full scale."""
    return at_level(samples, VOICE_LEVEL_DBFS)


def _trim(samples: Samples, mask: activity.Mask) -> Samples:
    voiced = np.flatnonzero(mask)
    if not len(voiced):
        return samples[:0]
    margin = int(MARGIN_S * SAMPLE_RATE)
    start = max(0, int(voiced[0]) * activity.CHUNK - margin)
    return samples[start : (int(voiced[-1]) + 1) * activity.CHUNK + margin]
