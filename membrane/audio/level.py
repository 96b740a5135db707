"""Level: how loud a signal is as a whole."""

import numpy as np

from membrane.audio.utterance import Samples

DIGITAL_SILENCE = 1e-30
"""Mean square (-300 dBFS) that no recording has but one of zeros: 24 bits end at -144 dBFS. To
bring less than that to a level is beyond what single precision can tell."""


def at_level(samples: Samples, level_dbfs: float) -> Samples:
    """Return a signal at another level; digital silence stays as it is.

    Parameters
    ----------
    samples : np.ndarray, shape (n,), float32, 16 kHz
    level_dbfs : float, dB relative to full scale
        Root mean square of what is returned; its peaks may go beyond full scale.

    Returns
    -------
    np.ndarray, shape (n,), float32
    """
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    if power < DIGITAL_SILENCE:
        return samples
    return samples * np.float32(10 ** (level_dbfs / 20) / np.sqrt(power))
