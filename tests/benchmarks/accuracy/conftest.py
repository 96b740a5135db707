import numpy as np
import pytest


@pytest.fixture
def voiced():
    """Make a buzz at 120 Hz in a vocal tract of one resonance: ``voiced(700, seed=1)``."""

    def make(resonance_hz, *, seed, seconds=2.0):
        from scipy.signal import lfilter

        rate = 16_000
        chance = np.random.default_rng(seed)
        buzz = chance.normal(0, 0.1, int(seconds * rate))
        buzz[:: rate // 120] += 1.0
        pole = 0.97 * np.exp(2j * np.pi * resonance_hz / rate)
        spoken = lfilter([1.0], [1.0, -2 * pole.real, abs(pole) ** 2], buzz)
        return (0.3 * spoken / np.abs(spoken).max()).astype(np.float32)

    return make
