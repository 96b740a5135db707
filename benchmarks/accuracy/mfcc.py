"""Mel-frequency cepstral coefficients, what speakers were told apart by before networks.

Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
recognition", IEEE Trans. ASSP 28 (1980): the cosine transform of the logarithm of a mel spectrum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from membrane.audio.utterance import Samples
from membrane.voice.frontends.mels import mel_spectrogram

Floats = npt.NDArray[np.float64]

COEFFICIENTS = 20
"""Cepstral coefficients 1 to 20; the one before them is the loudness, which is not the speaker's.
With 13, or without the mean, or with slopes, the mixtures were no better on speakers of
speechocean762 that are not held back; they were worse when pauses were left out."""

FLOOR = 1e-10
"""Power of a mel channel below which nothing is told apart: digital silence has no logarithm."""


def mfcc(samples: Samples) -> Floats:
    """Return the cepstral coefficients of a recording.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32 in [-1, 1], 16 kHz

    Returns
    -------
    np.ndarray, shape (1 + n // 160, COEFFICIENTS), float64
        One row for each 10 ms, pauses included.
    """
    from scipy.fft import dct

    mels = mel_spectrogram(samples).astype(np.float64)
    cepstra: Floats = dct(np.log(mels + FLOOR), type=2, norm="ortho", axis=1)
    return cepstra[:, 1 : COEFFICIENTS + 1]
