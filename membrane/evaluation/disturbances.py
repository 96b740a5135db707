"""Disturbances: noise, other people's voices, a room's echo, and recordings that end early."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from membrane.audio import activity
from membrane.audio.files import read_utterance
from membrane.audio.utterance import SAMPLE_RATE, Samples, Utterance, no_samples
from membrane.errors import NoSuchFile, UnusableRecording, UsageError

AMBIENT = 2 * SAMPLE_RATE
"""Samples of noise before a probe: the two seconds of room that are recorded at a microphone."""

LEAST_AMBIENT = SAMPLE_RATE // 2
"""Samples of room that a cut probe must have had before its first word, or it has none: at a
microphone, too, half a second is the least."""

BABBLERS = 5
"""Voices that make a babble; of fewer each is still understood."""

INAUDIBLE = 1e-10
"""Power (-100 dBFS) below which a file is silent: 16-bit rounding alone is about there."""

FILES_IN_MEMORY = 64
"""Noises that each process keeps, so that long ones do not fill the memory."""

LOWEST_HZ = 20.0
"""Pink noise is flat below: nobody hears it, and the power would grow without end."""


def with_noise(utterance: Utterance, noise: Samples, snr_db: float) -> Utterance:
    """Return an utterance in noise, which is heard alone before.

    Parameters
    ----------
    utterance : Utterance
        Of n samples.
    noise : np.ndarray, shape (m + n,), float32, 16 kHz
        The first m samples become the ambient noise, the rest is added.
    snr_db : float, dB
        Mean power of the speech (where the detector hears any) over that of the added noise.

    Returns
    -------
    Utterance
        Quieter, with its ambient noise, where the sum would be clipped.
    """
    samples = utterance.samples
    before = len(noise) - len(samples)
    ratio = speech_power(samples) / power(noise[before:]) / 10 ** (snr_db / 10)
    scaled = noise * np.sqrt(ratio)
    scaled[before:] += samples
    whole = _unclipped(scaled)
    return utterance.changed(samples=whole[before:], ambient=whole[:before])


def in_room(utterance: Utterance, response: Samples) -> Utterance:
    """Return an utterance as it is heard in a room, its speech as loud as before.

    Parameters
    ----------
    utterance : Utterance
    response : np.ndarray, shape (m,), float32, 16 kHz
        The room's impulse response; its peak is the direct sound, and is not delayed.
    """
    from scipy.signal import fftconvolve

    samples = utterance.samples
    peak = int(np.argmax(np.abs(response)))
    echoing = fftconvolve(samples, response)[peak : peak + len(samples)]
    echoing = np.pad(echoing, (0, len(samples) - len(echoing)))
    voiced = _voiced(samples)
    gain = np.sqrt(power(samples[voiced]) / (power(echoing[voiced]) or 1.0))
    return utterance.changed(samples=_unclipped(echoing * gain))


def first_speech(utterance: Utterance, seconds: float) -> Utterance:
    """Return an utterance from its first word on, until it holds enough speech.

    Parameters
    ----------
    utterance : Utterance
    seconds : float, seconds
        Of net speech, as the quality gate counts it.

    Returns
    -------
    Utterance
        What was before the first word is the ambient noise, if it is `LEAST_AMBIENT` long. An
        utterance of less speech is returned as it is.
    """
    samples = utterance.samples
    voiced = np.flatnonzero(activity.speech_mask(activity.probabilities(samples)))
    wanted = max(1, round(seconds * SAMPLE_RATE / activity.CHUNK))
    if len(voiced) < wanted:
        return utterance
    start = int(voiced[0]) * activity.CHUNK
    stop = (int(voiced[wanted - 1]) + 1) * activity.CHUNK
    ambient = samples[:start] if start >= LEAST_AMBIENT else no_samples()
    return utterance.changed(samples=samples[start:stop], ambient=ambient)


def noise_from(files: Sequence[Path], length: int, chance: np.random.Generator) -> Samples:
    """Return a stretch of one of some noises, repeated if it is shorter.

    Parameters
    ----------
    files : sequence of Path
    length : int
        Samples.
    chance : np.random.Generator

    Raises
    ------
    UsageError
        If none can be read and heard.
    """
    for place in chance.permutation(len(files)):
        noise = _stretch(samples_of(files[place]), length, chance)
        if power(noise[AMBIENT:]) > INAUDIBLE:
            return noise
    raise UsageError(
        f"none of the {len(files)} noises can be heard ({files[0]} is the first): "
        "give a folder with others"
    )


def babble_from(files: Sequence[Path], length: int, chance: np.random.Generator) -> Samples:
    """Return a stretch of `BABBLERS` people who speak at once, equally loud.

    Parameters
    ----------
    files, length, chance
        As of `noise_from`, with speech in them.

    Raises
    ------
    UsageError
        If too few can be read and hold speech.
    """
    babble = np.zeros(length, np.float32)
    found = 0
    for place in chance.permutation(len(files)):
        loudness = _loudness(files[place])
        if loudness > INAUDIBLE:
            voice = _stretch(samples_of(files[place]), length, chance)
            babble += voice / np.float32(np.sqrt(loudness))
            found += 1
        if found == BABBLERS:
            return babble
    raise UsageError(
        f"babble needs {BABBLERS} recordings of other people, but only {found} can be used: "
        "give a folder with more"
    )


def response_from(files: Sequence[Path], chance: np.random.Generator) -> Samples:
    """Return the impulse response of one of some rooms.

    Raises
    ------
    UsageError
        If none can be read and heard.
    """
    for place in chance.permutation(len(files)):
        response = samples_of(files[place])
        if np.abs(response).max(initial=0) ** 2 > INAUDIBLE:
            return response
    raise UsageError(
        f"none of the {len(files)} room responses can be used ({files[0]} is the first): "
        "give a folder with others"
    )


def white_noise(length: int, chance: np.random.Generator) -> Samples:
    """Return noise of the same power at every frequency."""
    return chance.standard_normal(length, dtype=np.float32)


def pink_noise(length: int, chance: np.random.Generator) -> Samples:
    """Return noise whose power falls by 3 dB an octave, above `LOWEST_HZ`."""
    spectrum = np.fft.rfft(chance.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1 / SAMPLE_RATE)
    spectrum /= np.sqrt(np.maximum(hertz, LOWEST_HZ))
    noise = np.fft.irfft(spectrum, length).astype(np.float32)
    return noise / np.float32(np.sqrt(power(noise)))


def power(samples: Samples) -> float:
    """Return the mean power; nothing has none."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def speech_power(samples: Samples) -> float:
    """Return the mean power of the speech; of all where there is none."""
    return power(samples[_voiced(samples)])


@lru_cache(FILES_IN_MEMORY)
def samples_of(path: Path) -> Samples:
    """Return a noise, read once; nothing where it cannot be read."""
    try:
        return read_utterance(path).samples
    except (NoSuchFile, UnusableRecording):
        return no_samples()


@lru_cache(None)
def _loudness(path: Path) -> float:
    """Return the mean power of the speech in a file."""
    samples = samples_of(path)
    return power(samples[_spoken(samples)])


def _spoken(samples: Samples) -> activity.Mask:
    return activity.spread(activity.speech_mask(activity.probabilities(samples)), len(samples))


def _voiced(samples: Samples) -> activity.Mask:
    """Return where the speech is; everywhere where there is none."""
    mask = _spoken(samples)
    return mask if mask.any() else ~mask


def _stretch(samples: Samples, length: int, chance: np.random.Generator) -> Samples:
    """Return a stretch from a random place, going on at the beginning after the end."""
    if not len(samples):
        return np.zeros(length, np.float32)
    spare = len(samples) - length
    start = chance.integers(spare + 1 if spare >= 0 else len(samples))
    stretch: Samples = np.take(samples, np.arange(start, start + length), mode="wrap")
    return stretch


def _unclipped(samples: Samples) -> Samples:
    peak = max(1.0, float(np.abs(samples).max(initial=0)))
    return np.asarray(samples / peak, np.float32)
