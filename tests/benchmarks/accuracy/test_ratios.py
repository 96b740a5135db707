from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy.ratios import Measured, mean_of, measured, weights_of
from membrane.evaluation.intervals import upper_bound
from membrane.evaluation.metrics import ScoredTrials, det_curve, equal_error_rate

PEOPLE = 12
PROBES = 4


def scored(*, noise, seed=0, offset=0.0):
    """Return trials of everybody against four probes of everybody."""
    chance = np.random.default_rng(seed)
    enrolled = np.repeat(np.arange(PEOPLE), PEOPLE * PROBES)
    probes = np.tile(np.arange(PEOPLE * PROBES), PEOPLE)
    same = enrolled == probes // PROBES
    scores = same + noise * chance.standard_normal(len(same)) + offset
    nothing = np.zeros(len(same), bool)
    return ScoredTrials(scores, scores, nothing, same, enrolled, probes, enrolled, probes // PROBES)


@pytest.fixture
def bad():
    return scored(noise=0.6)


@pytest.fixture
def good():
    return scored(noise=0.3, seed=1)


def test_a_ratio_is_that_of_the_two_error_rates(good, bad):
    found = measured([good, bad], measure="EER", resamples=50)
    expected = equal_error_rate(det_curve(good.scores, good.same)) / equal_error_rate(
        det_curve(bad.scores, bad.same)
    )
    assert found.ratio().value == pytest.approx(expected)
    assert found.ratio().low < expected < found.ratio().high < 1
    assert found.difference().value == pytest.approx(found.values[0] - found.values[1])
    assert found.difference().high < 0


@pytest.mark.parametrize("measure", ["EER", "minDCF"])
def test_two_systems_that_are_the_same_but_for_their_scale_are_surely_equal(bad, measure):
    moved = replace(bad, scores=3 * bad.scores + 1)
    ratio = measured([bad, moved], measure=measure, resamples=20).ratio()
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1, 1, 1))


def test_the_third_system_is_compared_as_the_second_is(good, bad):
    found = measured([good, bad, good], measure="EER", resamples=20)
    assert found.ratio(2).value == 1
    assert found.ratio(1).value == measured([good, bad], measure="EER", resamples=20).ratio().value


def test_no_error_of_few_people_is_not_certain(bad):
    perfect = scored(noise=0.0)
    ratio = measured([perfect, bad], measure="EER", resamples=50).ratio()
    assert (ratio.low, ratio.value) == (0, 0)
    reference = equal_error_rate(det_curve(bad.scores, bad.same))
    assert ratio.high == pytest.approx(upper_bound(0, PEOPLE) / reference)


def test_where_neither_errs_there_is_no_ratio():
    perfect = scored(noise=0.0)
    found = measured([perfect, perfect], measure="EER", resamples=10)
    assert np.isnan(found.ratio().value)
    assert found.difference().value == 0


def test_where_only_the_reference_makes_no_error_the_ratio_is_infinite(bad):
    ratio = measured([bad, scored(noise=0.0)], measure="EER", resamples=10).ratio()
    assert ratio.value == np.inf


def test_a_trial_of_two_people_counts_as_often_as_both_were_drawn(bad):
    (weights,) = weights_of(bad, 1, seed=5)
    drawn = weights[bad.same][::PROBES]
    assert drawn.sum() == PEOPLE
    other = ~bad.same
    expected = drawn[bad.enrolled_speakers[other]] * drawn[bad.probe_speakers[other]]
    np.testing.assert_array_equal(weights[other], expected)


def test_resamples_are_the_same_for_the_same_seed(good, bad):
    one, other = (measured([good, bad], measure="EER", resamples=5).draws for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_mean_over_corpora_is_of_the_rates_not_of_the_ratios():
    one = Measured(np.array([0.01, 0.02]), np.array([[0.01, 0.02], [0.02, 0.03]]))
    other = Measured(np.array([0.0, 0.10]), np.array([[0.0, 0.10], [0.0, 0.12]]), most=0.3)
    mean = mean_of([one, other])
    assert mean.ratio().value == pytest.approx(0.005 / 0.06)
    assert mean.most == 0
    assert mean_of([other, other]).most == 0.3
