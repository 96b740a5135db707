import numpy as np

from benchmarks.accuracy.mfcc import COEFFICIENTS, mfcc
from membrane.voice.frontends.mels import filterbank


def written_out(samples, window):
    """Return the coefficients of one window from the sums of the textbook."""
    piece = np.pad(samples.astype(float), 200)[window * 160 : window * 160 + 400]
    n = np.arange(400)
    piece = piece * (0.5 - 0.5 * np.cos(2 * np.pi * n / 400))
    power = [abs(np.sum(piece * np.exp(-2j * np.pi * k * n / 400))) ** 2 for k in range(201)]
    logs = np.log(np.array(power) @ filterbank() + 1e-10)
    channel = np.arange(40)
    return [
        np.sqrt(2 / 40) * np.sum(logs * np.cos(np.pi * order * (channel + 0.5) / 40))
        for order in range(1, COEFFICIENTS + 1)
    ]


def test_the_coefficients_are_those_of_the_textbook(voiced):
    samples = voiced(700, seed=0, seconds=0.5)
    found = mfcc(samples)
    assert found.shape == (1 + len(samples) // 160, COEFFICIENTS)
    for window in (0, 7, 25):
        np.testing.assert_allclose(found[window], written_out(samples, window), atol=2e-3)


def test_a_louder_voice_has_the_same_coefficients(voiced):
    samples = voiced(700, seed=0)
    np.testing.assert_allclose(mfcc(samples), mfcc(samples / 4), atol=1e-2)


def test_digital_silence_has_finite_coefficients():
    assert np.isfinite(mfcc(np.zeros(1600, np.float32))).all()
