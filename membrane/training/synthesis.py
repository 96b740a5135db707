"""Synthetic sound: noises that all differ, and rooms to speak in."""

from __future__ import annotations

import numpy as np

from membrane.audio.level import at_level
from membrane.audio.utterance import SAMPLE_RATE, Samples

EXPONENTS = (-1.0, 2.2)
"""The power of coloured noise falls with the frequency to between these: from blue (-1) over white
(0) and pink (1) to nearly brown (2)."""

FLAT_BELOW_HZ = (20.0, 50.0, 100.0)
"""Below one of these coloured noise is flat, or rumble would be all of it."""

LOUDEST_PARTIAL_HZ = SAMPLE_RATE / 2

MAINS_HZ = (50.0, 60.0)
"""The mains of Europe and of America, which hum from every badly shielded cable."""

LOWEST_NOTE_HZ = 110.0


def coloured(length: int, chance: np.random.Generator) -> Samples:
    """Return noise of a random colour, sometimes uneven in frequency or in time.

    Parameters
    ----------
    length : int
        Samples.

    Returns
    -------
    np.ndarray, shape (length,), float32, 16 kHz
        Of mean power 1.
    """
    spectrum = np.fft.rfft(chance.standard_normal(length, dtype=np.float32))
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).astype(np.float32)
    exponent = chance.uniform(*EXPONENTS)
    gain = np.maximum(hertz, np.float32(chance.choice(FLAT_BELOW_HZ))) ** np.float32(-exponent / 2)
    if chance.random() < 0.4:
        gain = gain * uneven(hertz, 6.0, chance)
    noise = np.fft.irfft(spectrum * gain, length)
    if chance.random() < 0.35:
        noise *= _swell(length, chance)
    return _of_power_one(noise)


def tonal(length: int, chance: np.random.Generator) -> Samples:
    """Return a hum of many harmonics, or fading notes like music.

    Parameters
    ----------
    length : int
        Samples.

    Returns
    -------
    np.ndarray, shape (length,), float32, 16 kHz
        Of mean power 1.
    """
    return _of_power_one((_hum if chance.random() < 0.5 else _notes)(length, chance))


def bursts(length: int, chance: np.random.Generator) -> Samples:
    """Return short noises that start suddenly and fade, like doors, steps and dishes.

    Parameters
    ----------
    length : int
        Samples.

    Returns
    -------
    np.ndarray, shape (length,), float32, 16 kHz
        Of mean power 1, with a steady noise 26 dB below.
    """
    noise = np.zeros(length, np.float32)
    per_second = chance.uniform(0.5, 5.0)
    for _ in range(max(1, chance.poisson(length / SAMPLE_RATE * per_second))):
        start = chance.integers(length)
        burst = _burst(chance)[: length - start]
        noise[start : start + len(burst)] += burst * np.float32(chance.exponential())
    return _of_power_one(_of_power_one(noise) + 0.05 * coloured(length, chance))


def uneven(hertz: np.ndarray, spread_db: float, chance: np.random.Generator) -> np.ndarray:
    """Return a smooth random gain over frequency.

    Parameters
    ----------
    hertz : np.ndarray, shape (n,), Hz
        Frequencies to return a gain for.
    spread_db : float, dB
        Standard deviation of the gain at each of ten frequencies, on a logarithmic scale.

    Returns
    -------
    np.ndarray, shape (n,), float32
    """
    corners = np.geomspace(50.0, SAMPLE_RATE / 2, 10)
    gain_db = np.interp(hertz, corners, chance.normal(0.0, spread_db, len(corners)))
    return np.asarray(np.float32(10) ** (gain_db.astype(np.float32) / 20))


def _swell(length: int, chance: np.random.Generator) -> np.ndarray:
    """Return a gain that wanders from point to point, at 0.5 to 8 points a second."""
    places = max(4, int(length / SAMPLE_RATE * chance.uniform(0.5, 8.0)))
    at = np.linspace(0, places - 1, length)
    return np.exp(np.interp(at, np.arange(places), chance.normal(0, 0.9, places)))


def _hum(length: int, chance: np.random.Generator) -> np.ndarray:
    choices = (*MAINS_HZ, chance.uniform(25.0, 200.0))
    weights = chance.exponential(1 / np.arange(1, chance.integers(4, 26)))
    return _harmonics(length, float(chance.choice(choices)), weights, chance)


def _notes(length: int, chance: np.random.Generator) -> np.ndarray:
    rest = noise = np.zeros(length)
    while len(rest):
        part, rest = np.split(rest, [int(SAMPLE_RATE * chance.uniform(0.1, 0.6))])
        fading = np.exp(-np.arange(len(part)) / SAMPLE_RATE * chance.uniform(0.0, 8.0))
        for _ in range(chance.integers(1, 4)):
            note = LOWEST_NOTE_HZ * 2 ** (chance.integers(36) / 12)
            harmonics = np.arange(1, chance.integers(2, 10))
            weights = chance.uniform(0.0, 1.0, len(harmonics)) / harmonics
            part += fading * _harmonics(len(part), note, weights, chance)
    return noise


def _harmonics(
    length: int, hertz: float, weights: np.ndarray, chance: np.random.Generator
) -> np.ndarray:
    """Return the sum of a tone's harmonics, each of random phase.

    Powers of one rotation give the harmonics without computing a sine for each.
    """
    heard = weights[: int(LOUDEST_PARTIAL_HZ / hertz)]
    phases = np.exp(2j * np.pi * chance.random(len(heard)))
    rotation = np.exp(2j * np.pi * hertz / SAMPLE_RATE * np.arange(length))
    return np.imag(np.polynomial.polynomial.polyval(rotation, [0, *(heard * phases)]))


def _burst(chance: np.random.Generator) -> Samples:
    length = max(64, int(SAMPLE_RATE * 10 ** chance.uniform(-2.5, -0.3)))
    fading = np.exp(-np.linspace(0.0, chance.uniform(1.0, 6.0), length, dtype=np.float32))
    return coloured(length, chance) * fading


def _of_power_one(noise: np.ndarray) -> Samples:
    return at_level(noise.astype(np.float32, copy=False), 0.0)


# ---- Rooms: simulated impulse responses, and how speech sounds through one


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
    1979), in the band that walls reflect.

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
    direct = np.float32(10 ** (chance.uniform(*DIRECT_DB) / 20))
    response = np.asarray(late / (np.linalg.norm(late) * direct), np.float32)
    count = chance.integers(2, 9)
    first, last = (int(second * SAMPLE_RATE) for second in EARLY_S)
    places = chance.integers(first, min(length, last), count)
    np.add.at(response, places, chance.normal(0.0, EARLY_SPREAD, count).astype(np.float32))
    response[0] = 1.0
    return response


def measured_response(samples: Samples) -> Samples:
    """Return a recorded impulse response, starting at its direct sound.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
        With a peak that is not 0.

    Returns
    -------
    np.ndarray, shape (m,), float32, 16 kHz
        One second of it. The direct sound is the first sample, and 1.
    """
    peak = int(np.argmax(np.abs(samples)))
    return np.asarray(samples[peak : peak + SAMPLE_RATE] / samples[peak], np.float32)


def in_room(samples: Samples, response: Samples) -> Samples:
    """Return a signal as it sounds in a room, at the same loudness.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
        The signal.
    response : np.ndarray, shape (m,), float32, 16 kHz
        The direct sound first.

    Returns
    -------
    np.ndarray, shape (n,), float32, 16 kHz
    """
    from scipy.signal import fftconvolve

    heard = fftconvolve(samples, response)[: len(samples)]
    loudness = np.linalg.norm(heard)
    if not loudness:
        return samples
    return np.asarray(heard * (np.linalg.norm(samples) / loudness), np.float32)


def _between(samples: Samples, lowest: float, highest: float) -> Samples:
    """Return the band between two frequencies, in Hz, after first-order filters."""
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE).astype(np.float32)
    # The magnitude of first-order filters (Butterworth); noise has no phase to keep.
    gain = 1 / np.sqrt(1 + (hertz / np.float32(highest)) ** 2)
    gain *= hertz / np.hypot(hertz, np.float32(lowest))
    return np.asarray(np.fft.irfft(np.fft.rfft(samples) * gain, len(samples)), np.float32)
