import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.errors import EncoderMismatch, PoorQuality, StoreDamaged, UsageError
from membrane.voice.scoring import (
    METRICS,
    cosine_to_distance,
    distance_to_cosine,
    metric_named,
    similarities,
    similarity,
    top,
)


def unit_rows(count, dimension=256, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_similarities_are_the_cosines_with_every_row():
    gallery, probe = unit_rows(50), unit_rows(1, seed=1)[0]
    result = similarities(gallery, probe)
    expected = [float(row.astype(float) @ probe.astype(float)) for row in gallery]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32


def test_a_voice_is_wholly_similar_to_itself():
    voice = unit_rows(1)[0]
    assert similarity(voice, voice) == pytest.approx(1)


def test_a_gallery_may_be_empty():
    assert similarities(unit_rows(0), unit_rows(1)[0]).shape == (0,)


def test_a_gallery_may_be_memory_mapped(tmp_path):
    np.save(tmp_path / "gallery.npy", unit_rows(20))
    mapped = np.load(tmp_path / "gallery.npy", mmap_mode="r")
    result = similarities(mapped, unit_rows(20)[7])
    assert result.argmax() == 7
    assert type(result) is np.ndarray


def test_vectors_of_another_encoder_are_never_compared():
    with pytest.raises(EncoderMismatch):
        similarities(unit_rows(3), unit_rows(1, dimension=192)[0])


def test_a_probe_that_is_not_a_number_is_refused():
    with pytest.raises(PoorQuality):
        similarities(unit_rows(3), np.full(256, np.nan, np.float32))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_voiceprint_that_is_not_a_number_is_named(broken):
    gallery = unit_rows(5)
    gallery[3, 100] = broken
    with pytest.raises(StoreDamaged, match="voiceprint 3 "):
        similarities(gallery, unit_rows(1, seed=1)[0])


def test_voiceprints_too_large_to_be_summed_are_refused_without_a_warning():
    with pytest.raises(StoreDamaged, match="voiceprint 0 "):
        similarities(np.full((2, 256), 1e38, np.float32), np.full(256, 1 / 16, np.float32))


def test_the_distance_is_the_length_of_the_difference():
    one, other = unit_rows(2).astype(float)
    assert cosine_to_distance(one @ other) == pytest.approx(np.linalg.norm(one - other))


def test_rounding_past_one_is_no_distance():
    assert cosine_to_distance(1.0000001) == 0


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@given(cosine=st.floats(-1, 1))
def test_a_metric_and_back_is_the_same_similarity(metric, cosine):
    assert metric.to_similarity(metric.from_similarity(cosine)) == pytest.approx(cosine, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@given(pair=st.tuples(st.floats(-1, 1), st.floats(-1, 1)))
def test_a_metric_says_which_way_is_more_alike(metric, pair):
    less, more = (metric.from_similarity(cosine) for cosine in sorted(pair))
    assert less <= more if metric.name == "cosine" else less >= more


def test_a_distance_of_none_is_a_cosine_of_one():
    assert (distance_to_cosine(0), distance_to_cosine(2)) == (1, -1)


def test_an_unknown_metric_is_a_usage_error_that_names_the_known_ones():
    assert metric_named("euclidean") is METRICS["euclidean"]
    with pytest.raises(UsageError, match="cosine, euclidean"):
        metric_named("manhattan")


@given(
    scores=st.lists(st.floats(-1, 1, width=32), max_size=30),
    n=st.integers(-1, 35),
)
def test_top_is_the_head_of_the_sorted_scores(scores, n):
    values = np.array(scores, dtype=np.float32)
    best = top(values, n)
    np.testing.assert_array_equal(values[best], np.sort(values)[::-1][: max(0, n)])
    assert len(set(best.tolist())) == len(best)


def test_equal_scores_keep_their_order():
    assert top(np.array([0.5, 0.9, 0.5, 0.9], np.float32), 4).tolist() == [1, 3, 0, 2]
