import numpy as np
import pytest

from membrane.audio.level import at_level
from membrane.audio.utterance import no_samples


@pytest.mark.parametrize("level_dbfs", [-40.0, -20.0, 0.0])
def test_a_signal_is_brought_to_a_level(level_dbfs):
    hiss = np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32)
    power = np.mean(np.square(at_level(hiss, level_dbfs), dtype=np.float64))
    assert 10 * np.log10(power) == pytest.approx(level_dbfs, abs=0.01)
    assert at_level(hiss, level_dbfs).dtype == np.float32


def test_silence_stays_silent_and_nothing_stays_nothing():
    assert not at_level(np.zeros(100, np.float32), -20.0).any()
    assert len(at_level(no_samples(), -20.0)) == 0


@pytest.mark.parametrize("least", [5e-41, 1e-30, 1e-20])
def test_what_is_too_small_to_be_sound_stays_as_it_is(least):
    samples = np.full(100, least, np.float32)
    np.testing.assert_array_equal(at_level(samples, -20), samples)
