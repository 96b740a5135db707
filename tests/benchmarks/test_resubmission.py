import itertools

import numpy as np
import pytest

from membrane.audio.fingerprint import fingerprint_of


@pytest.fixture(scope="module")
def voice(utterance_of):
    return utterance_of("clara", "login").samples


def test_every_disturbance_leaves_something_to_hear(voice, shared_speech):
    from benchmarks.resubmission import disturbances

    for name, disturb in disturbances().items():
        heard = disturb(voice)
        assert len(heard) > len(voice) * 0.8, name
        assert np.isfinite(heard).all(), name
        assert np.abs(heard).max() > 0.01, name


def test_another_tempo_keeps_pitch_and_shortens(shared_speech):
    from benchmarks.resubmission import at_tempo

    tone = np.sin(2 * np.pi * 500 * np.arange(32_000) / 16_000).astype(np.float32)
    faster = at_tempo(1.25)(tone)
    assert len(np.trim_zeros(faster)) == pytest.approx(32_000 / 1.25, rel=0.05)
    spectrum = np.abs(np.fft.rfft(faster[4_000:20_000]))
    assert np.argmax(spectrum) == pytest.approx(500, abs=5)


def test_sound_is_made_of_the_peaks_of_a_fingerprint(voice, shared_speech):
    from benchmarks.inversion import INVERSIONS

    one = fingerprint_of(voice)
    for make in INVERSIONS:
        made = make(one, np.random.default_rng(1))
        assert len(made) / 16_000 == pytest.approx(one.times_s[-1], abs=1)
        assert np.isfinite(made).all()
        assert made.std() > 0


def test_strings_of_the_same_digits_share_no_take(shared_speech):
    from benchmarks.resubmission import strings

    takes = [fingerprint_of(each) for each in next(strings("choose", 1))]
    assert len(takes) == 15
    assert not any(one.same_recording(other) for one, other in itertools.pairwise(takes))
