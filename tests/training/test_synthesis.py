import numpy as np
import pytest

from membrane.training import synthesis
from membrane.training.synthesis import (
    bursts,
    coloured,
    in_room,
    measured_response,
    simulated_response,
    tonal,
    uneven,
)

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


def response(seed):
    return simulated_response(np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_simulated_room_sends_the_voice_first_and_then_an_echo_that_fades(seed):
    room = response(seed)
    assert room.dtype == np.float32
    assert room[0] == 1
    assert 0.1 * 16_000 - 1 <= len(room) <= 0.8 * 16_000
    early, late = np.split(room[1:], [len(room) // 2])
    assert np.sum(late**2) < np.sum(early**2)


def test_rooms_differ_and_depend_on_chance_alone():
    np.testing.assert_array_equal(response(1), response(1))
    assert len({len(response(seed)) for seed in range(10)}) > 5


def test_a_voice_in_a_room_is_as_loud_as_before_and_not_delayed():
    samples = np.zeros(16_000, np.float32)
    samples[4_000] = 0.5
    heard = in_room(samples, response(2))
    assert heard.shape == samples.shape
    assert heard.dtype == np.float32
    assert np.argmax(np.abs(heard)) == 4_000
    assert np.linalg.norm(heard) == pytest.approx(np.linalg.norm(samples), rel=1e-4)


def test_silence_stays_silent_in_any_room():
    assert not in_room(np.zeros(1_000, np.float32), response(3)).any()


def test_a_measured_room_begins_with_its_direct_sound():
    recorded = np.array([0.0, 0.1, -0.5, 0.25] + [0.0] * 20_000, np.float32)
    measured = measured_response(recorded)
    np.testing.assert_allclose(measured[:2], [1.0, -0.5])
    assert len(measured) == 16_000
