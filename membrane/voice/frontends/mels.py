"""The mel spectrogram that the d-vector network was trained on, with numpy alone.

It is ``librosa.feature.melspectrogram`` 0.11 with the arguments that Resemblyzer 0.1.4 gives it
and librosa's defaults for the rest: linear power, no logarithm.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Samples

WINDOW = 400
"""Samples of a window: ``mel_window_length = 25`` ms (resemblyzer/hparams.py)."""

STEP = 160
"""Samples between windows: ``mel_window_step = 10`` ms (resemblyzer/hparams.py)."""

CHANNELS = 40
"""``mel_n_channels`` (resemblyzer/hparams.py)."""

LINEAR_BELOW_HZ = 1000.0
HZ_PER_MEL = 200.0 / 3.0
KNEE = LINEAR_BELOW_HZ / HZ_PER_MEL
LOG_STEP = np.log(6.4) / 27.0
"""Slaney's mel scale (Auditory Toolbox, 1998; ``librosa.mel_to_hz``): linear up to 1 kHz, then 27
steps for every factor of 6.4."""


def mel_to_hz(mels: np.ndarray) -> np.ndarray:
    """Return the frequencies, in Hz, of points on Slaney's mel scale."""
    above = LINEAR_BELOW_HZ * np.exp(LOG_STEP * (np.maximum(mels, KNEE) - KNEE))
    return np.where(mels < KNEE, HZ_PER_MEL * mels, above)


@cache
def filterbank() -> np.ndarray:
    """Return the weight of each frequency of the spectrum in each mel channel.

    Returns
    -------
    np.ndarray, shape (WINDOW // 2 + 1, CHANNELS), float32
        Triangles between 0 Hz and half the sample rate, each of unit area in Hz
        (``norm="slaney"`` of ``librosa.filters.mel``).
    """
    highest = KNEE + np.log(SAMPLE_RATE / 2 / LINEAR_BELOW_HZ) / LOG_STEP
    corners = mel_to_hz(np.linspace(0.0, highest, CHANNELS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * 2.0 / (right - left), np.float32)


@cache
def hann() -> np.ndarray:
    """Return the periodic Hann window, shape (WINDOW,), float32."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def mel_spectrogram(samples: Samples) -> np.ndarray:
    """Return the mel power spectrogram of a signal.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
        The signal.

    Returns
    -------
    np.ndarray, shape (1 + n // STEP, CHANNELS), float32
        Window ``t`` is centred on sample ``t * STEP``; beyond the ends there is silence.
    """
    padded = np.pad(samples, WINDOW // 2)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP]
    spectrum = np.fft.rfft(windows * hann(), axis=-1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power.astype(np.float32, copy=False) @ filterbank())
