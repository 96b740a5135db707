from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.errors import UsageError
from membrane.evaluation.intervals import clopper_pearson, estimates, upper_bound
from membrane.evaluation.metrics import MEASURES, Measurement, ScoredTrials

EXACT = 1e-12


def trials_of(speakers, each=8, *, seed=0, apart=2.0, of_speaker=0.0, threshold=1.0):
    """Everybody's probes against everybody; a speaker's trials may lie higher or lower together."""
    random = np.random.default_rng(seed)
    enrolled, probes = (index.ravel() for index in np.indices((speakers, speakers * each)))
    same = enrolled == probes // each
    own = of_speaker * random.normal(size=speakers)
    noise = random.normal(size=len(same))
    scores = noise + same * (apart + own[enrolled]) + ~same * (own[enrolled] + own[probes // each])
    return scored_trials(scores, enrolled, probes, probes // each, threshold)


def scored_trials(scores, enrolled, probes, probe_speakers, threshold):
    return ScoredTrials(
        scores=scores,
        similarities=scores,
        accepted=scores >= threshold,
        same=enrolled == probe_speakers,
        enrolled=enrolled.astype(np.int32),
        probes=probes.astype(np.int32),
        enrolled_speakers=enrolled.astype(np.int32),
        probe_speakers=probe_speakers.astype(np.int32),
    )


# The binomial law.


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        # Both ends of 0 and n have a closed form.
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (0, 1, 0.0, 0.975),
        (1, 1, 0.025, 1.0),
        # One of two: p**2 + 2p(1 - p) = 0.025 from below, mirrored above.
        (1, 2, 1 - 0.975**0.5, 0.975**0.5),
    ],
)
def test_the_exact_interval_of_cases_with_a_closed_form(errors, trials, low, high):
    assert clopper_pearson(errors, trials) == pytest.approx((low, high), abs=EXACT)


@settings(deadline=None)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_exact_interval_is_that_of_scipys_binomial_test(case):
    from scipy.stats import binomtest

    errors, trials = case
    reference = binomtest(errors, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(errors, trials) == pytest.approx(tuple(reference), abs=1e-9)


def test_another_level_gives_another_interval():
    low, high = clopper_pearson(3, 100)
    wider_low, wider_high = clopper_pearson(3, 100, level=0.99)
    assert wider_low < low < 0.03 < high < wider_high


def test_no_trials_give_no_interval():
    assert all(isnan(end) for end in (*clopper_pearson(0, 0), upper_bound(0, 0)))


@pytest.mark.parametrize("people", [10, 300, 3000])
def test_the_bound_of_no_error_is_the_rule_of_three(people):
    bound = upper_bound(0, people)
    assert bound == pytest.approx(1 - 0.05 ** (1 / people), abs=EXACT)
    assert 2.5 / people < bound < 3 / people


def test_the_bound_of_nothing_but_errors_is_one():
    assert upper_bound(5, 5) == 1.0


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(0.01, 0.99))
def test_the_bound_covers_what_it_promises(trials, rate):
    from scipy.stats import binom

    counts = np.arange(trials + 1)
    below = np.array([upper_bound(int(count), trials) for count in counts]) < rate
    assert binom.pmf(counts[below], trials, rate).sum() <= 0.05 + EXACT


# Resampling speakers.


def test_every_measure_gets_its_value_and_an_interval_around_it():
    scored = trials_of(20)
    found = estimates(scored)
    values = Measurement.of(scored).measures()
    assert list(found) == list(MEASURES)
    for key, estimate in found.items():
        assert estimate.value == values[key]
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.low < estimate.high


def test_costs_stay_between_nothing_and_one():
    found = estimates(trials_of(4, apart=1.0))
    for key in ("min_dcf_01", "min_dcf_05", "min_cllr"):
        assert 0 <= found[key].low < found[key].high <= 1


def test_a_rate_stays_between_nothing_and_all():
    found = estimates(trials_of(6, apart=4.0))
    rates = [found[key] for key, measure in MEASURES.items() if measure.kind == "rate"]
    assert all(rate.low >= 0 and rate.high <= 1 for rate in rates if not isnan(rate.value))


def test_the_same_seed_gives_the_same_intervals():
    scored = trials_of(8)
    one, again, other = (estimates(scored, resamples=40, seed=seed) for seed in (5, 5, 6))
    assert repr(one) == repr(again)  # not-a-number equals nothing
    assert repr(one) != repr(other)


def test_the_order_of_the_trials_does_not_matter():
    scored = trials_of(8)
    order = np.random.default_rng(0).permutation(len(scored))
    found, shuffled = (estimates(one, resamples=40) for one in (scored, scored.where(order)))
    for key in found:
        ends = found[key].low, found[key].high
        assert (shuffled[key].low, shuffled[key].high) == pytest.approx(
            ends, abs=EXACT, nan_ok=True
        )


def test_a_resample_counts_trials_as_their_speakers_were_drawn():
    # Of three speakers one has every error: with n draws of them the FNMR is n / 3.
    scored = trials_of(3, each=4)
    scored.accepted[:] = ~scored.same | (scored.enrolled_speakers != 2)
    found = estimates(scored, resamples=400)["fnmr"]
    assert found.value == pytest.approx(1 / 3, abs=EXACT)
    assert (found.low, found.high) == pytest.approx((0, 2 / 3), abs=EXACT)


def test_pairs_count_as_the_product_of_their_draws():
    # Only speakers 0 and 1 match each other. Draws of (2, 1, 0) make 2 x 1 pairs, all matching;
    # without 0 or 1 none matches; (1, 1, 1) gives a third.
    scored = trials_of(3, each=1)
    ends = np.sort([scored.enrolled_speakers, scored.probe_speakers], axis=0)
    scored.accepted[:] = scored.same | ((ends[0] == 0) & (ends[1] == 1))
    found = estimates(scored, resamples=400)["fmr"]
    assert found.value == pytest.approx(1 / 3, abs=EXACT)
    assert (found.low, found.high) == pytest.approx((0, 1), abs=EXACT)


def test_a_person_compared_with_themself_counts_once_a_draw():
    # Impostor trials alone are right. Draws of (1, 1, 1) have 6 of 9 right, of (2, 1, 0) 4 of 7.
    scored = trials_of(3, each=1)
    scored.accepted[:] = False
    found = estimates(scored, resamples=100)["accuracy"]
    assert (found.low, found.high) == pytest.approx((4 / 7, 6 / 9), abs=EXACT)


def test_more_probes_of_the_same_speakers_do_not_make_a_rate_surer():
    few, many = (estimates(trials_of(10, each=each, of_speaker=2.0))["fnmr"] for each in (10, 100))
    assert many.high - many.low > 0.5 * (few.high - few.low)


def test_more_speakers_make_a_rate_surer():
    few, many = (
        estimates(trials_of(speakers, of_speaker=1.0), resamples=100)["eer"] for speakers in (8, 80)
    )
    assert many.high - many.low < 0.6 * (few.high - few.low)


def test_intervals_cover_the_true_rate_and_cost_of_speakers_who_differ():
    from scipy.stats import norm

    # A genuine score is normal around 4 with variance 1 + 1/4, of noise and speaker; an impostor
    # score around 0 with variance 1 + 1/4 + 1/4, of noise and two speakers.
    thresholds = np.linspace(-5, 10, 2000)
    missed, matched = norm.cdf((thresholds - 4) / 1.25**0.5), norm.sf(thresholds / 1.5**0.5)
    truth = {
        "fnmr": norm.cdf((2 - 4) / 1.25**0.5),
        "min_dcf_05": (0.05 * missed + 0.95 * matched).min() / 0.05,
    }
    covered = []
    for seed in range(50):
        scored = trials_of(16, each=5, seed=seed, apart=4.0, of_speaker=0.5, threshold=2.0)
        found = estimates(scored, resamples=100, seed=seed)
        covered.append([found[key].low <= true <= found[key].high for key, true in truth.items()])
    fnmr, min_dcf = np.mean(covered, axis=0)
    assert fnmr >= 0.8
    assert min_dcf >= 0.8


def test_intervals_from_trials_alone_would_not_cover_it():
    from scipy.stats import norm

    truth = norm.cdf((1.0 - 2.0) / 2**0.5)
    covered = []
    for seed in range(60):
        scored = trials_of(20, each=50, seed=seed, of_speaker=1.0)
        missed = scored.same & ~scored.accepted
        low, high = clopper_pearson(int(missed.sum()), int(scored.same.sum()))
        covered.append(low <= truth <= high)
    assert np.mean(covered) < 0.6


# Where resampling says nothing.


def test_no_error_is_bounded_by_the_number_of_people():
    found = estimates(trials_of(10, apart=50.0, threshold=25.0))
    of_people = 1 - 0.05 ** (1 / 10)
    for key in ("fnmr", "eer", "fpir", "fnmr_at_fmr_1"):
        assert (found[key].value, found[key].low) == (0.0, 0.0)
        assert found[key].high == pytest.approx(of_people, abs=EXACT)
    for key in ("sensitivity", "rank_1", "rank_5", "tpir", "precision", "accuracy"):
        assert (found[key].value, found[key].high) == (1.0, 1.0)
        assert found[key].low == pytest.approx(1 - of_people, abs=EXACT)


def test_no_false_match_is_bounded_by_the_number_of_pairs_of_people():
    found = estimates(trials_of(10, apart=50.0, threshold=25.0))
    assert found["fmr"].high == pytest.approx(1 - 0.05 ** (1 / 45), abs=EXACT)
    assert found["specificity"].low == pytest.approx(0.05 ** (1 / 45), abs=EXACT)


def test_a_cost_of_nothing_has_no_interval():
    found = estimates(trials_of(10, apart=50.0))["min_dcf_01"]
    assert found.value == 0.0
    assert isnan(found.low)
    assert isnan(found.high)


def test_two_speakers_have_no_interval_of_their_own():
    found = estimates(trials_of(2, apart=1.0))
    for key in ("eer", "cllr", "fnmr"):
        assert 0 < found[key].value < 1
        assert isnan(found[key].low)
        assert isnan(found[key].high)


def test_one_enrolled_person_and_strangers_leave_the_false_matches_measurable():
    scored = trials_of(12, of_speaker=1.0)
    found = estimates(scored.where(scored.enrolled == 0))
    assert found["fmr"].low < found["fmr"].value < found["fmr"].high
    assert isnan(found["rank_1"].value)
    assert isnan(found["rank_1"].high)


def test_what_has_no_value_has_no_interval():
    scored = trials_of(5, each=2)
    scored.accepted[:] = False
    found = estimates(scored)
    for key in ("precision", "fnmr_at_fmr_01"):
        assert (found[key].value, found[key].low, found[key].high) == pytest.approx(
            (nan, nan, nan), nan_ok=True
        )


def test_an_infinite_threshold_ends_an_interval():
    # A stranger of everybody who is the most alike of all: as soon as they count, nothing is left.
    scored = trials_of(30, each=2, apart=4.0)
    loud = ~scored.same & (scored.probe_speakers == 0)
    scored.scores[loud] = 99.0
    found = estimates(scored)["threshold_at_fmr_1"]
    assert (found.value, found.high) == (inf, inf)
    assert found.low < 10


def test_without_resamples_there_are_only_binomial_intervals():
    found = estimates(trials_of(10, apart=3.0, threshold=25.0), resamples=0)
    assert isnan(found["eer"].low)
    assert found["fmr"].high == pytest.approx(1 - 0.05 ** (1 / 45), abs=EXACT)


def test_trials_of_one_kind_are_refused():
    scored = trials_of(4)
    with pytest.raises(UsageError, match="no trial compares two different people"):
        estimates(scored.where(scored.same))


def test_a_hundred_thousand_trials_take_seconds():
    from time import process_time

    scored = trials_of(50, each=40)
    began = process_time()
    estimates(scored, resamples=50)
    assert process_time() - began < 10
