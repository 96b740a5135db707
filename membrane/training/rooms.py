"""Rooms: simulated impulse responses, and how speech sounds through one."""

from __future__ import annotations

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples

REVERBERATION_S = (0.1, 0.9)
"""Range of the time in which the echo falls by 60 dB: from a car to a large bare room."""

LONGEST_S = 0.8
"""Seconds of a simulated response: what comes later is 50 dB weaker than the voice."""

DECAY = 3 * np.log(10)
"""Amplitude falls by 60 dB, which is by ``exp(-DECAY)``, in the reverberation time (ISO 3382)."""

DIRECT_DB = (-3.0, 12.0)
"""Range of the power of the direct sound over that of the late echo, in dB."""

EARLY_S = (0.001, 0.05)
"""When single reflections of near walls come."""

EARLY_SPREAD = 0.2
"""Standard deviation of their amplitude, the direct sound's being 1."""


def simulated_response(chance: np.random.Generator) -> Samples:
    """Return the impulse response of a room that does not exist.

    The late echo is noise that decays exponentially (Moorer, About this reverberation business,
    1979), of the band that walls send back.

    Parameters
    ----------
    chance : np.random.Generator

    Returns
    -------
    np.ndarray, shape (n,), float32, 16 kHz
        The direct sound is its first sample, and 1.
    """
    decay_s = chance.uniform(*REVERBERATION_S)
    length = int(SAMPLE_RATE * min(decay_s, LONGEST_S))
    late = chance.standard_normal(length, dtype=np.float32)
    late *= np.exp(
        np.linspace(0, -DECAY * length / SAMPLE_RATE / decay_s, length, dtype=np.float32)
    )
    late = _between(late, chance.uniform(60.0, 300.0), chance.uniform(2_000.0, 7_500.0))
    direct = 10 ** (chance.uniform(*DIRECT_DB) / 20)
    response: Samples = late / (np.linalg.norm(late) * np.float32(direct))
    count = chance.integers(2, 9)
    first, last = (int(second * SAMPLE_RATE) for second in EARLY_S)
    places = chance.integers(first, min(length, last), count)
    np.add.at(response, places, chance.normal(0.0, EARLY_SPREAD, count).astype(np.float32))
    response[0] = 1.0
    return response


def measured_response(samples: Samples) -> Samples:
    """Return a recorded impulse response from its direct sound on.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
        With a peak that is not 0.

    Returns
    -------
    np.ndarray, shape (m,), float32, 16 kHz
        One second of it, the direct sound being its first sample, and 1.
    """
    peak = int(np.argmax(np.abs(samples)))
    return np.asarray(samples[peak : peak + SAMPLE_RATE] / samples[peak], np.float32)


def in_room(samples: Samples, response: Samples) -> Samples:
    """Return a signal as it is heard in a room, as loud as before.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
    response : np.ndarray, shape (m,), float32, 16 kHz
        The direct sound first.

    Returns
    -------
    np.ndarray, shape (n,), float32, 16 kHz
    """
    from scipy.signal import fftconvolve

    heard: Samples = fftconvolve(samples, response)[: len(samples)]
    loudness = np.linalg.norm(heard)
    if not loudness:
        return samples
    return np.asarray(heard * (np.linalg.norm(samples) / loudness), np.float32)


def _between(samples: Samples, lowest: float, highest: float) -> Samples:
    """Return what first-order filters leave between two frequencies, in Hz."""
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE).astype(np.float32)
    # The magnitude of first-order filters (Butterworth); noise has no phase to keep.
    gain = 1 / np.sqrt(1 + (hertz / np.float32(highest)) ** 2)
    gain *= hertz / np.hypot(hertz, np.float32(lowest))
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)), np.float32)
