import numpy as np
import pytest

from membrane.audio.utterance import SAMPLE_RATE


@pytest.fixture(scope="session")
def noise_of():
    """Return noise of a given power: ``noise_of("pink", samples, dbfs)``, each time the same."""

    def make(colour, length, level_dbfs):
        spectrum = np.fft.rfft(np.random.default_rng(2026).normal(size=length))
        if colour == "pink":
            spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
        noise = np.fft.irfft(spectrum, length)
        return (noise / power(noise) ** 0.5 * 10 ** (level_dbfs / 20)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def tone():
    """Return a sine of 440 Hz and half of full scale, one second long."""

    def make(rate=SAMPLE_RATE, frequency=440, seconds=1.0):
        times = np.arange(int(rate * seconds)) / rate
        return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)

    return make


def power(samples):
    return float(np.mean(np.square(samples, dtype=np.float64)))
