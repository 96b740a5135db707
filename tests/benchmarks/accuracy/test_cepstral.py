from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.accuracy.cepstral import MeanCepstra, Mixtures

pytest.importorskip("sklearn")


@pytest.fixture
def two_voices(voiced):
    """Two people with resonances at 700 and 900 Hz; the probes are one of each, in this order."""
    enrolments = [[voiced(hz, seed=seed) for seed in (1, 2, 3)] for hz in (700, 900)]
    background = [voiced(hz, seed=4) for hz in (500, 600, 800, 1000)]
    probes = [voiced(hz, seed=5, seconds=1.0) for hz in (700, 900)]
    corpus = SimpleNamespace(enrolments=enrolments, background_sounds=background)
    return SimpleNamespace(corpus=corpus, probes=probes)


@pytest.mark.parametrize(
    "system", [Mixtures(background=False), Mixtures(background=True), MeanCepstra()]
)
def test_each_voice_is_most_like_its_own_enrolment(two_voices, system):
    scores = system.scores(two_voices)
    assert scores.shape == (2, 2)
    np.testing.assert_array_equal(scores.argmax(axis=0), [0, 1])


def test_the_background_takes_the_same_off_every_speaker(two_voices):
    raw = Mixtures(background=False).scores(two_voices)
    less = Mixtures(background=True).scores(two_voices)
    np.testing.assert_allclose(raw[0] - raw[1], less[0] - less[1])
    assert not np.allclose(raw, less)
