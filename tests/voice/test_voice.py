from dataclasses import replace

import numpy as np
import pytest

from membrane.voice.encoder import Embedding
from membrane.voice.judge import Judge
from membrane.voice.scoring import metric_named
from membrane.voice.voice import Voice, VoiceMatch


class Remembering:
    """An encoder that returns the next of some embeddings."""

    name = "resemblyzer"
    dimension = 256
    denoise_below_db = 20.0

    def __init__(self, *embeddings):
        self.left = list(embeddings)

    def embed(self, _samples):
        return self.left.pop(0)


def heard(seed, partials):
    vectors = np.random.default_rng(seed).normal(size=(partials, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0)
    starts = np.arange(partials, dtype=float)
    return Embedding(mean / np.linalg.norm(mean), vectors, np.stack([starts, starts + 1.6], axis=1))


def voice_of(*embeddings):
    return Voice(Remembering(*embeddings), Judge("resemblyzer"), metric_named("cosine"))


SOUND = np.zeros(16_000, np.float32)


def test_one_sound_has_the_voice_that_the_encoder_hears():
    one = heard(0, 3)
    assert voice_of(one).embed([SOUND]) is one


def test_two_kinds_of_a_sound_have_the_stretches_of_both_at_their_times():
    one, other = heard(0, 3), heard(1, 2)
    both = voice_of(one, other).embed([SOUND, SOUND])
    np.testing.assert_array_equal(both.partials, np.concatenate([one.partials, other.partials]))
    np.testing.assert_array_equal(both.spans_s[:, 0], [0, 1, 2, 0, 1])
    mean = both.partials.mean(axis=0)
    np.testing.assert_allclose(both.vector, mean / np.linalg.norm(mean), atol=1e-6)


def test_the_most_alike_of_some_people_come_first_and_nobody_else_comes():
    probe = heard(0, 1).vector
    near, nearer = (
        (probe + weight * heard(1, 1).vector) / np.linalg.norm(probe + weight * heard(1, 1).vector)
        for weight in (0.5, 0.1)
    )
    gallery = np.stack([near, probe, nearer, heard(2, 1).vector]).astype(np.float32)
    among = np.array([True, False, True, True])
    assert voice_of().closest(gallery, among, probe, 2) == [2, 0]
    assert voice_of().closest(gallery, among, probe, 9) == [2, 0, 3]
    assert voice_of().closest(gallery, np.zeros(4, bool), probe, 2) == []


def test_a_part_of_another_voice_is_told_by_the_score_too():
    match = VoiceMatch("cosine", 0.91, 0.91, None, False, 0.4, 0.65, score=7.7, score_threshold=6.9)
    assert match.mixed
    assert not replace(match, score=6.0).mixed


@pytest.mark.parametrize(("metric", "value"), [("cosine", 0.91), ("euclidean", 0.42)])
def test_a_part_of_another_voice_is_told_by_a_threshold_of_ones_own(metric, value):
    nearer = 0.01 if metric == "cosine" else -0.01
    match = VoiceMatch(metric, 0.91, value, value - nearer, False, 0.4, 0.65)
    assert match.mixed
    assert not replace(match, threshold=value + nearer).mixed
    assert not replace(match, stretch=0.7).mixed


def test_a_match_is_worth_its_score_or_else_its_similarity():
    match = VoiceMatch("cosine", 0.91, 0.91, None, True, 0.8, 0.65, score=7.7, score_threshold=6.9)
    assert match.worth == 7.7
    assert replace(match, score=None).worth == 0.91
