import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.voice.encoder import Embedding
from membrane.voice.normalisation import Cohort, normalisation_named
from membrane.voice.projection import Projected, Projection, projected_cohort

KEY = bytes(range(32))


def voices(count, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, 256)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Deaf:
    """An encoder that returns what it was given."""

    name = "deaf"
    dimension = 256
    denoise_below_db = 20.0
    hears_recorded = False

    def __init__(self, embedding):
        self.embedding = embedding

    def embed(self, samples):
        return self.embedding


@pytest.fixture(scope="module")
def projection():
    return Projection.of(KEY, "first")


def test_a_projection_is_orthonormal(projection):
    np.testing.assert_allclose(projection.matrix @ projection.matrix.T, np.eye(256), atol=1e-13)


def test_the_same_key_and_epoch_give_the_same_projection_on_every_machine(projection):
    # Worked out apart, by Gram and Schmidt: another numpy or processor must not lock anybody out.
    expected = [0.032158626, 0.073629643, 0.039405218, -0.112981599]
    np.testing.assert_allclose(projection.matrix[0, :4], expected, atol=1e-9)
    np.testing.assert_allclose(projection.matrix[255, 255], 0.012392808, atol=1e-9)
    np.testing.assert_array_equal(Projection.of(KEY, "first").matrix, projection.matrix)


def test_the_numbers_that_it_is_drawn_from_are_normal():
    from membrane.voice.projection import _normals

    numbers = _normals(KEY, "first").ravel()
    assert abs(numbers.mean()) < 4 / 256
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2) / 256
    # The share beyond 1.96 is 5 %: 65,536 numbers know it to 0.1 %.
    assert abs((np.abs(numbers) > 1.96).mean() - 0.05) < 0.004
    halves = numbers.reshape(2, -1)
    assert abs((halves[0] * halves[1]).mean()) < 4 / np.sqrt(halves.shape[1])


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20))
@settings(max_examples=10, deadline=None)
def test_similarities_are_kept_within_a_hundred_thousandth(key, epoch):
    before = voices(50)
    after = Projection.of(key, epoch).turn(before)
    assert after.dtype == np.float32
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=1e-5)


def test_what_is_turned_back_is_what_it_was(projection):
    before = voices(9)
    np.testing.assert_allclose(projection.back(projection.turn(before)), before, atol=1e-6)
    np.testing.assert_allclose(projection.turn(before[3]), projection.turn(before)[3], atol=1e-7)


def test_more_voices_than_are_turned_at_once_are_turned_alike(projection, monkeypatch):
    before = voices(25)
    whole = projection.turn(before)
    monkeypatch.setattr("membrane.voice.projection.BLOCK", 10)
    np.testing.assert_allclose(projection.turn(before), whole, atol=1e-7)


def test_nobody_is_turned_into_nobody(projection):
    assert projection.turn(np.zeros((0, 256), np.float32)).shape == (0, 256)


@pytest.mark.parametrize(
    "other", [Projection.of(KEY[::-1], "first"), Projection.of(KEY, "second")], ids=["key", "epoch"]
)
def test_a_voice_under_another_key_or_epoch_is_like_a_strangers(projection, other):
    people = voices(500)
    alike = np.sum(projection.turn(people) * other.turn(people), axis=1)
    # Of two unrelated directions in 256 dimensions: 0 give or take 1/16.
    assert np.abs(alike).max() < 0.3
    assert abs(alike.std() - 1 / 16) < 0.02
    raw = np.sum(projection.turn(people) * people, axis=1)
    assert np.abs(raw).max() < 0.3


def test_turning_over_to_another_epoch_is_turning_anew(projection):
    second = Projection.of(KEY, "second")
    people = voices(20)
    over = projection.to(second)
    assert over.epoch == "second"
    np.testing.assert_allclose(over.turn(projection.turn(people)), second.turn(people), atol=1e-6)


def test_a_projected_encoder_turns_the_voice_and_its_parts(projection):
    spans_s = np.array([[start, start + 1.6] for start in range(4)])
    heard = Embedding(voices(1)[0], voices(4, seed=1), spans_s)
    encoder = Deaf(heard)
    projected = Projected(encoder, projection)
    turned = projected.embed(np.zeros(16_000, np.float32))
    np.testing.assert_allclose(projection.back(turned.vector), heard.vector, atol=1e-6)
    np.testing.assert_allclose(projection.back(turned.partials), heard.partials, atol=1e-6)
    np.testing.assert_array_equal(turned.spans_s, spans_s)
    for member in ("name", "dimension", "denoise_below_db", "hears_recorded"):
        assert getattr(projected, member) == getattr(encoder, member)


@pytest.mark.parametrize("name", ["none", "centre", "as-norm"])
def test_normalised_similarities_are_kept_with_the_projected_cohort(projection, name):
    cohort = Cohort.of(voices(80, seed=5) + np.float32(0.05))
    gallery, probe = voices(30), voices(1, seed=3)[0]
    before = normalisation_named(name, "any", cohort=cohort).similarities(gallery, probe)
    turned = normalisation_named(name, "any", cohort=projected_cohort(cohort, projection))
    after = turned.similarities(projection.turn(gallery), projection.turn(probe))
    np.testing.assert_allclose(after, before, atol=1e-4 if name == "as-norm" else 1e-5)
