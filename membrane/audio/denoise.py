"""Denoising: take the sound of the room out of an utterance."""

import numpy as np

from membrane.audio.activity import CHUNK, Mask, Probabilities, spread
from membrane.audio.utterance import SAMPLE_RATE, Samples

SHORTEST_PROFILE_S = 0.25
"""Seconds of room that a noise profile needs; noisereduce fails below its window of 64 ms."""

SILENCE = 0.2
"""Only chunks that the detector is sure of, below this speech probability, are room."""

MARGIN = 2
"""Chunks (64 ms) next to speech that are not taken for room: breath, and the end of a word."""

LOUDEST_DB = 10.0
"""Decibels over the median chunk of the room up to which a chunk is room, too. The detector misses
some first words; one of them in the profile hid 8 dB of signal-to-noise ratio, and was taken out of
the rest. Noises as uneven as a ticking clock stay within 10 dB, mostly."""


def room_of(samples: Samples, probability: Probabilities, mask: Mask) -> Samples:
    """Return the parts of a recording in which nobody speaks.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
    probability : np.ndarray, shape (ceil(n / 512),), float32
        Speech probability of each chunk.
    mask : np.ndarray, shape (ceil(n / 512),), bool
        Which chunks are speech.

    Returns
    -------
    np.ndarray, shape (m,), float32, 16 kHz
        Empty where less than `SHORTEST_PROFILE_S` remains.
    """
    if not len(mask):
        return samples
    near_speech = np.convolve(mask, np.ones(2 * MARGIN + 1), mode="same")[: len(mask)] > 0
    quiet = (probability < SILENCE) & ~near_speech
    # The last chunk may be filled up with zeros that nobody recorded.
    quiet[len(samples) // CHUNK :] = False
    _drop_loud(quiet, samples)
    room = samples[spread(quiet, len(samples))]
    return room if len(room) >= SHORTEST_PROFILE_S * SAMPLE_RATE else room[:0]


def _drop_loud(quiet: Mask, samples: Samples) -> None:
    whole = samples[: len(samples) // CHUNK * CHUNK].reshape(-1, CHUNK)
    powers = np.mean(np.square(whole, dtype=np.float64), axis=1)
    room = quiet[: len(powers)]
    if room.any():
        room &= powers <= np.median(powers[room]) * 10 ** (LOUDEST_DB / 10)


def reduce_noise(samples: Samples, room: Samples) -> Samples:
    """Return the utterance with the room's noise taken out, by stationary spectral gating.

    Stationary gating with the profile of the room lowered the equal error rate in pink noise at
    10 dB from 8.6 to 3.8 %; the non-stationary kind only to 6.1 %.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
    room : np.ndarray, shape (m,), float32, 16 kHz, at least `SHORTEST_PROFILE_S`

    Returns
    -------
    np.ndarray, shape (n,), float32, 16 kHz
    """
    import noisereduce

    return np.asarray(
        noisereduce.reduce_noise(
            y=samples, sr=SAMPLE_RATE, y_noise=room, stationary=True, n_jobs=1
        ),
        dtype=np.float32,
    )
