import numpy as np
import pytest

from membrane.training import synthesis
from membrane.training.synthesis import bursts, coloured, tonal, uneven

KINDS = pytest.mark.parametrize("kind", [coloured, tonal, bursts])


@KINDS
@pytest.mark.parametrize("length", [1, 100, 16_001])
def test_noise_is_finite_as_long_as_asked_and_of_power_one(kind, length):
    for seed in range(8):
        noise = kind(length, np.random.default_rng(seed))
        assert noise.shape == (length,)
        assert noise.dtype == np.float32
        assert np.mean(np.square(noise, dtype=np.float64)) == pytest.approx(1, rel=1e-3)


@KINDS
def test_noise_depends_on_nothing_but_chance(kind):
    first, again, other = (kind(4000, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_coloured_noise_has_many_colours():
    def share_below_1_khz(seed):
        power = np.abs(np.fft.rfft(coloured(16_000, np.random.default_rng(seed)))) ** 2
        return power[:1000].sum() / power.sum()

    shares = [share_below_1_khz(seed) for seed in range(40)]
    assert min(shares) < 0.1
    assert max(shares) > 0.9


def test_no_harmonic_lies_beyond_half_the_sample_rate():
    weights = np.ones(25)
    tone = synthesis._harmonics(16_000, 1_900.0, weights, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(tone)) ** 2
    assert set(np.flatnonzero(power > power.max() / 100)) == {1_900, 3_800, 5_700, 7_600}


def test_an_uneven_gain_is_smooth_and_spreads_as_asked():
    hertz = np.linspace(0, 8_000, 800)
    gains = [uneven(hertz, 6.0, np.random.default_rng(seed)) for seed in range(200)]
    decibels = 20 * np.log10(np.array(gains))
    assert decibels[:, 5].std() == pytest.approx(6.0, rel=0.2)
    assert np.abs(np.diff(decibels, axis=1)).max() < 8


def test_bursts_leave_pauses():
    pauses = [
        np.mean(np.abs(bursts(32_000, np.random.default_rng(seed))) < 0.3) for seed in range(10)
    ]
    assert np.median(pauses) > 0.5
