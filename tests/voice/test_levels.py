import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.errors import UsageError
from membrane.settings import SECURITY_LEVELS
from membrane.voice.levels import (
    LEVELS,
    extrapolated_threshold,
    fit_tail,
    pairs_needed,
    supported,
    threshold_at,
)


def test_every_security_level_has_a_rate():
    assert tuple(LEVELS) == SECURITY_LEVELS


@pytest.mark.parametrize(("pairs", "fmr"), [(299, 0.01), (2995, 0.001), (29_956, 0.0001)])
def test_a_rate_needs_three_pairs_for_each_of_its_parts(pairs, fmr):
    assert supported(pairs) <= fmr < supported(pairs - 1)


@given(fmr=st.floats(1e-6, 0.5))
def test_the_pairs_needed_support_the_rate_and_one_fewer_would_not(fmr):
    pairs = pairs_needed(fmr)
    assert supported(pairs) <= fmr * (1 + 1e-9)
    assert supported(pairs - 1) > fmr * (1 - 1e-9)


def test_the_bound_is_that_of_no_error_in_so_many_trials():
    # With a rate of that size, no error is seen with a probability of 5 %.
    assert (1 - supported(100)) ** 100 == pytest.approx(0.05)


def test_no_pairs_support_nothing():
    assert supported(0) == 1


@given(
    llrs=st.lists(st.floats(-50, 50), min_size=1, max_size=200),
    fmr=st.floats(0, 1),
)
def test_at_most_the_share_reaches_the_threshold_and_more_would_reach_any_lower_one(llrs, fmr):
    values = np.array(llrs)
    threshold = threshold_at(fmr, values)
    assert np.sum(values >= threshold) <= fmr * len(values) + 1e-9
    if math.isfinite(threshold):
        assert np.sum(values >= np.nextafter(threshold, -np.inf)) > fmr * len(values)


def test_rounding_costs_no_comparison():
    assert np.sum(np.arange(300.0) >= threshold_at(0.01, np.arange(300.0))) == 3


@pytest.mark.parametrize("llrs", [[], [1.0, np.nan]])
def test_without_comparisons_there_is_no_threshold(llrs):
    with pytest.raises(UsageError, match="give more speakers"):
        threshold_at(0.01, np.array(llrs))


@pytest.mark.parametrize("fmr", [1e-3, 1e-4, 1e-5])
def test_an_exponential_tail_is_found_within_sampling_error(fmr):
    # The ratio that a share fmr of an exponential distribution reaches is -scale * ln(fmr).
    scale, count = 2.0, 50_000
    llrs = np.random.default_rng(3).exponential(scale, count) - 10
    excesses = 0.01 * count
    # Standard error of the scale, times the way it is carried on, and that of the tail's start.
    allowed = 3 * scale * np.hypot(np.log(0.01 / fmr), 1) / np.sqrt(excesses)
    assert extrapolated_threshold(fmr, llrs) == pytest.approx(
        -scale * np.log(fmr) - 10, abs=allowed
    )


def test_a_tail_says_what_it_rests_on():
    tail = fit_tail(np.random.default_rng(0).exponential(1.0, 10_000))
    assert tail.share == 0.01
    assert tail.start == pytest.approx(-np.log(0.01), abs=0.4)
    assert tail.mean_excess == pytest.approx(1, abs=0.35)


def test_few_comparisons_have_a_wider_tail():
    assert fit_tail(np.random.default_rng(0).normal(size=600)).share == pytest.approx(0.05)


def test_a_rate_within_the_tail_is_counted():
    llrs = np.random.default_rng(0).normal(size=600)
    assert extrapolated_threshold(0.05, llrs) == threshold_at(0.05, llrs)


def test_a_safer_level_is_a_higher_threshold():
    llrs = np.random.default_rng(0).normal(size=5000)
    thresholds = [extrapolated_threshold(fmr, llrs) for fmr in LEVELS.values()]
    assert thresholds == sorted(set(thresholds))


def test_too_few_comparisons_have_no_tail():
    with pytest.raises(UsageError, match="give 300 or more"):
        fit_tail(np.arange(299.0))


def test_equal_comparisons_have_no_tail():
    with pytest.raises(UsageError, match="all equally alike"):
        fit_tail(np.zeros(1000))
