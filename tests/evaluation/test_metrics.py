from fractions import Fraction
from itertools import pairwise
from math import inf, isnan, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.errors import UsageError
from membrane.evaluation import metrics
from membrane.evaluation.metrics import (
    MEASURES,
    Measurement,
    ScoredTrials,
    Searches,
    at_fmr,
    decision_measures,
    det_curve,
    equal_error_rate,
    llr_cost,
    min_detection_cost,
    min_llr_cost,
)

EXACT = 1e-12


def trials_of(genuine, impostor):
    """Scores and labels, in an order that helps nobody."""
    scores = np.array([*genuine, *impostor], np.float64)
    same = np.arange(len(scores)) < len(genuine)
    order = np.random.default_rng(1).permutation(len(scores))
    return scores[order], same[order]


def random_trials(seed, genuine=60, impostor=300, *, distinct=True):
    random = np.random.default_rng(seed)
    scores = np.append(random.normal(1.5, 1.0, genuine), random.normal(0.0, 1.0, impostor))
    same = np.arange(len(scores)) < genuine
    return (scores if distinct else np.round(scores, 1)), same


def scored_trials(scores, enrolled_speakers, probe_speakers, *, threshold=0.5, enrolled=None):
    """A matrix of scores, one row per voiceprint and one column per probe, as trials."""
    scores = np.asarray(scores, np.float64)
    rows, columns = (index.ravel().astype(np.int32) for index in np.indices(scores.shape))
    own, theirs = np.array(enrolled_speakers, np.int32), np.array(probe_speakers, np.int32)
    return ScoredTrials(
        scores=scores.ravel(),
        similarities=scores.ravel(),
        accepted=scores.ravel() >= threshold,
        same=own[rows] == theirs[columns],
        enrolled=rows,
        probes=columns,
        enrolled_speakers=own[rows],
        probe_speakers=theirs[columns],
    )


# Few distinct scores, so that hypothesis finds ties.
scores_lists = st.lists(st.integers(-6, 6), min_size=1, max_size=12)
both_kinds = st.tuples(scores_lists, scores_lists).map(lambda kinds: trials_of(*kinds))


def brute_force_rates(scores, same, threshold):
    """FMR and FNMR as their definitions say, in fractions."""
    fmr = Fraction(int((scores[~same] >= threshold).sum()), int((~same).sum()))
    fnmr = Fraction(int((scores[same] < threshold).sum()), int(same.sum()))
    return fmr, fnmr


def brute_force_eer(scores, same):
    """Where the lines between neighbouring thresholds meet the diagonal, in fractions."""
    points = [brute_force_rates(scores, same, at) for at in [*sorted(set(scores)), inf]]
    found = set()
    for (fmr, fnmr), (next_fmr, next_fnmr) in pairwise(points):
        before, after = fnmr - fmr, next_fnmr - next_fmr
        if before <= 0 <= after and before != after:
            share = -before / (after - before)
            found.add(fmr + share * (next_fmr - fmr))
    assert len(found) == 1
    return float(found.pop())


# The curve.


def test_the_curve_is_that_of_scikit_learn():
    from sklearn.metrics import roc_curve

    scores, same = random_trials(0, distinct=False)
    curve = det_curve(scores, same)
    fmr, tmr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    np.testing.assert_array_equal(curve.thresholds, thresholds[::-1])
    np.testing.assert_allclose(curve.fmr, fmr[::-1], rtol=0, atol=EXACT)
    np.testing.assert_allclose(curve.fnmr, 1 - tmr[::-1], rtol=0, atol=EXACT)


def test_the_curve_holds_every_point_of_scikit_learns_det_curve():
    from sklearn.metrics import det_curve as reference

    scores, same = random_trials(2, distinct=False)
    curve = det_curve(scores, same)
    ours = {(round(a, 12), round(b, 12)) for a, b in zip(curve.fmr, curve.fnmr, strict=True)}
    fmr, fnmr, _ = reference(same, scores)
    assert {(round(a, 12), round(b, 12)) for a, b in zip(fmr, fnmr, strict=True)} <= ours


@settings(deadline=None)
@given(both_kinds)
def test_the_curve_counts_what_its_thresholds_let_through(trials):
    curve = det_curve(*trials)
    for place, threshold in enumerate(curve.thresholds):
        fmr, fnmr = brute_force_rates(*trials, threshold)
        assert (curve.fmr[place], curve.fnmr[place]) == (float(fmr), float(fnmr))


def test_the_curve_runs_from_accepting_all_to_accepting_nothing():
    curve = det_curve(*random_trials(3))
    assert (curve.fmr[0], curve.fnmr[0]) == (1.0, 0.0)
    assert (curve.fmr[-1], curve.fnmr[-1], curve.thresholds[-1]) == (0.0, 1.0, inf)


# The equal error rate.


@settings(deadline=None)
@given(both_kinds)
def test_the_equal_error_rate_is_that_of_the_definition(trials):
    assert equal_error_rate(det_curve(*trials)) == pytest.approx(
        brute_force_eer(*trials), abs=EXACT
    )


@pytest.mark.parametrize(
    ("genuine", "impostor", "rate"),
    [
        ([2, 3], [0, 1], 0.0),
        ([0, 1], [2, 3], 1.0),
        ([1, 1, 1], [1, 1], 0.5),
        ([1, 3], [0, 2], 0.5),
        # On the line from (FMR 1/2, FNMR 0) at 2 to (0, 1/3) at 3: r = 1/2 - 3r/2.
        ([2, 3, 4], [1, 2], 1 / 5),
    ],
)
def test_the_equal_error_rate_of_small_examples(genuine, impostor, rate):
    assert equal_error_rate(det_curve(*trials_of(genuine, impostor))) == pytest.approx(
        rate, abs=EXACT
    )


def test_the_equal_error_rate_is_where_the_roc_curve_of_scikit_learn_meets_the_diagonal():
    from scipy.optimize import brentq
    from sklearn.metrics import roc_curve

    scores, same = random_trials(4, distinct=False)
    fmr, tmr, _ = roc_curve(same, scores)
    # The way along both axes grows from point to point, so that it can stand for the place.
    along = fmr + tmr
    meets = brentq(lambda at: 1 - np.interp(at, along, tmr) - np.interp(at, along, fmr), 0, 2)
    assert equal_error_rate(det_curve(scores, same)) == pytest.approx(
        np.interp(meets, along, fmr), abs=1e-9
    )


def curve_numbers(scores, same):
    return (
        equal_error_rate(det_curve(scores, same)),
        min_detection_cost(det_curve(scores, same), p_target=0.01),
        min_detection_cost(det_curve(scores, same), p_target=0.05),
        min_llr_cost(det_curve(scores, same)),
    )


@settings(deadline=None)
@given(both_kinds, st.sampled_from([np.exp, np.arctan, lambda x: 3 * x - 7, lambda x: x**3]))
def test_only_the_order_of_the_scores_matters(trials, increasing):
    scores, same = trials
    assert curve_numbers(increasing(scores), same) == curve_numbers(scores, same)


@settings(deadline=None)
@given(both_kinds)
def test_negated_scores_of_swapped_kinds_swap_the_two_errors(trials):
    scores, same = trials
    curve, swapped = det_curve(scores, same), det_curve(-scores, ~same)
    np.testing.assert_allclose(swapped.fmr, curve.fnmr[::-1], rtol=0, atol=EXACT)
    np.testing.assert_allclose(swapped.fnmr, curve.fmr[::-1], rtol=0, atol=EXACT)
    for number in (equal_error_rate, llr_cost, min_llr_cost):
        assert number(swapped) == pytest.approx(number(curve), abs=EXACT)


@settings(deadline=None)
@given(both_kinds, st.randoms(use_true_random=False))
def test_the_order_of_the_trials_does_not_matter(trials, random):
    scores, same = trials
    order = list(range(len(scores)))
    random.shuffle(order)
    assert curve_numbers(scores[order], same[order]) == curve_numbers(scores, same)


# The detection cost.


@settings(deadline=None)
@given(both_kinds, st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_the_least_cost_is_the_least_of_all_thresholds(trials, p_target):
    costs = []
    for threshold in [*trials[0], inf]:
        fmr, fnmr = brute_force_rates(*trials, threshold)
        costs.append(p_target * fnmr + (1 - p_target) * fmr)
    expected = min(costs) / min(p_target, 1 - p_target)
    assert min_detection_cost(det_curve(*trials), p_target=p_target) == pytest.approx(
        expected, abs=EXACT
    )


@settings(deadline=None)
@given(both_kinds)
def test_the_normalised_cost_is_never_above_that_of_a_constant_answer(trials):
    assert 0 <= min_detection_cost(det_curve(*trials), p_target=0.01) <= 1


def test_the_cost_of_one_false_match_in_a_hundred():
    # At 2 all genuine trials match, and 1 of 100 impostors: 0.95 * 0.01 / 0.05. At 3: 1 of 10
    # missed, none matched: 0.05 * 0.1 / 0.05.
    trials = trials_of([2] + [3] * 9, [2] + [0] * 99)
    assert min_detection_cost(det_curve(*trials), p_target=0.05) == pytest.approx(0.1, abs=EXACT)
    # At p = 0.5: 0.5 * 0.01 / 0.5.
    assert min_detection_cost(det_curve(*trials), p_target=0.5) == pytest.approx(0.01, abs=EXACT)


# Cllr.


def test_scores_that_say_nothing_cost_one_bit():
    trials = trials_of([0.0] * 3, [0.0] * 5)
    assert llr_cost(det_curve(*trials)) == pytest.approx(1.0, abs=EXACT)
    assert min_llr_cost(det_curve(*trials)) == pytest.approx(1.0, abs=EXACT)


def test_cllr_is_the_formula_of_brummer_and_du_preez():
    # Ratios of 3 and 1 for the genuine, 1/7 for the impostor.
    trials = trials_of(np.log([3.0, 1.0]), np.log([1 / 7]))
    expected = 0.5 * (log2(1 + 1 / 3) + log2(1 + 1)) / 2 + 0.5 * log2(1 + 1 / 7)
    assert llr_cost(det_curve(*trials)) == pytest.approx(expected, abs=EXACT)


def test_cllr_of_enormous_ratios_is_finite():
    assert llr_cost(det_curve(*trials_of([-2000.0], [0.0]))) == pytest.approx(
        (2000 / np.log(2) + 1) / 2, rel=EXACT
    )


@settings(deadline=None)
@given(both_kinds)
def test_the_best_calibration_costs_no_more_than_the_scores_do(trials):
    assert (
        -EXACT <= min_llr_cost(det_curve(*trials)) <= min(1.0, llr_cost(det_curve(*trials))) + EXACT
    )


def test_separated_kinds_cost_nothing_after_calibration():
    assert min_llr_cost(det_curve(*trials_of([5, 6, 7], [1, 2, 3]))) == pytest.approx(
        0.0, abs=EXACT
    )


def test_pools_of_the_best_calibration_by_hand():
    # Pools are {1}, {2, 3} and {4}. Those of one kind cost nothing; in the middle one the ratio is
    # 1, which costs one bit for half of the genuine and for half of the impostor trials.
    assert min_llr_cost(det_curve(*trials_of([2, 4], [1, 3]))) == pytest.approx(0.5, abs=EXACT)


def test_the_best_calibration_is_that_of_scikit_learns_isotonic_regression():
    from sklearn.isotonic import IsotonicRegression

    scores, same = random_trials(5, distinct=False)
    posterior = IsotonicRegression().fit(scores, same.astype(float)).predict(scores)
    with np.errstate(divide="ignore"):
        ratios = np.log(posterior / (1 - posterior)) - np.log(same.sum() / (~same).sum())
    missed = np.logaddexp(0, -ratios[same]).mean()
    matched = np.logaddexp(0, ratios[~same]).mean()
    expected = (missed + matched) / (2 * np.log(2))
    assert min_llr_cost(det_curve(scores, same)) == pytest.approx(expected, abs=EXACT)


def test_true_log_likelihood_ratios_are_nearly_calibrated():
    # Normal ratios of variance 2m and mean +-m are their own likelihood ratios.
    random = np.random.default_rng(6)
    scores = np.append(random.normal(4, 8**0.5, 20_000), random.normal(-4, 8**0.5, 20_000))
    same = np.arange(40_000) < 20_000
    assert llr_cost(det_curve(scores, same)) - min_llr_cost(det_curve(scores, same)) < 0.005


# FNMR at an FMR.


def test_the_threshold_is_the_least_score_with_at_most_that_fmr():
    trials = trials_of([97.5, 98.0, 98.5, 200.0], range(100))
    assert at_fmr(det_curve(*trials), 0.01)[0] == 98.5
    assert at_fmr(det_curve(*trials), 0.01)[1] == 0.5
    assert at_fmr(det_curve(*trials), 0.02)[0] == 97.5
    assert at_fmr(det_curve(*trials), 0.02)[1] == 0.0


def test_tied_impostors_are_rejected_together():
    trials = trials_of([7.0, 9.0], [*range(98), 98.0, 98.0])
    assert at_fmr(det_curve(*trials), 0.01)[0] == inf
    assert at_fmr(det_curve(*trials), 0.01)[1] == 1.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=20, max_size=60), scores_lists)
def test_no_lesser_score_keeps_the_level(impostor, genuine):
    scores, same = trials_of(genuine, impostor)
    at = at_fmr(det_curve(scores, same), 0.05)[0]
    assert (scores[~same] >= at).mean() <= 0.05
    assert all((scores[~same] >= lesser).mean() > 0.05 for lesser in scores[scores < at])
    assert at_fmr(det_curve(scores, same), 0.05)[1] == pytest.approx((scores[same] < at).mean())


def test_too_few_impostors_say_nothing_of_a_level():
    assert isnan(at_fmr(det_curve(*trials_of([5], range(99))), 0.01)[1])
    assert isnan(at_fmr(det_curve(*trials_of([5], range(99))), 0.01)[0])
    assert at_fmr(det_curve(*trials_of([500], range(100))), 0.01)[1] == 0.0


# Weights.


@settings(deadline=None)
@given(both_kinds, st.data())
def test_a_weight_is_a_repetition(trials, data):
    scores, same = trials
    whole = st.lists(st.integers(0, 3), min_size=len(scores), max_size=len(scores))
    weights = np.array(data.draw(whole.filter(lambda found: some_of_both(same, found))))
    repeated = np.repeat(scores, weights), np.repeat(same, weights)
    curve, expected = det_curve(scores, same, weights=weights), det_curve(*repeated)
    for number in (equal_error_rate, llr_cost, min_llr_cost):
        assert number(curve) == pytest.approx(number(expected), abs=EXACT)
    at = pytest.approx(at_fmr(expected, 0.3), abs=EXACT, nan_ok=True)
    assert at_fmr(curve, 0.3) == at
    cost = min_detection_cost(curve, p_target=0.05)
    assert cost == pytest.approx(min_detection_cost(expected, p_target=0.05), abs=EXACT)
    np.testing.assert_array_equal(curve.thresholds, expected.thresholds)
    np.testing.assert_allclose(curve.fmr, expected.fmr, rtol=0, atol=EXACT)


def some_of_both(same, weights):
    return any(same[np.array(weights) > 0]) and any(~same[np.array(weights) > 0])


# Decisions.


def test_every_rate_of_the_decisions_by_hand():
    counts = (8, 2, 4, 86)  # matched, missed, matched falsely, told apart
    same, accepted = (
        np.repeat(kinds, counts)
        for kinds in ([True, True, False, False], [True, False, True, False])
    )
    found = decision_measures(accepted, same)
    assert found["fnmr"] == pytest.approx(0.2, abs=EXACT)
    assert found["fmr"] == pytest.approx(4 / 90, abs=EXACT)
    assert found["precision"] == pytest.approx(8 / 12, abs=EXACT)
    assert found["accuracy"] == pytest.approx(94 / 100, abs=EXACT)
    for name in ("sensitivity", "recall", "positive_accuracy"):
        assert found[name] == pytest.approx(0.8, abs=EXACT)
    for name in ("specificity", "negative_accuracy"):
        assert found[name] == pytest.approx(86 / 90, abs=EXACT)


def test_the_rates_of_the_decisions_are_those_of_scikit_learn():
    from sklearn.metrics import accuracy_score, precision_score, recall_score

    scores, same = random_trials(7)
    accepted = scores >= 1.0
    found = decision_measures(accepted, same)
    assert found["precision"] == pytest.approx(precision_score(same, accepted), abs=EXACT)
    assert found["recall"] == pytest.approx(recall_score(same, accepted), abs=EXACT)
    assert found["specificity"] == pytest.approx(recall_score(~same, ~accepted), abs=EXACT)
    assert found["accuracy"] == pytest.approx(accuracy_score(same, accepted), abs=EXACT)


def test_precision_is_not_a_number_where_nothing_was_accepted():
    found = decision_measures(np.zeros(4, bool), np.array([True, True, False, False]))
    assert isnan(found["precision"])
    assert found["accuracy"] == 0.5


def test_what_was_decided_counts_and_not_what_the_score_would_decide():
    scored = scored_trials([[0.9, 0.1], [0.2, 0.8]], [0, 1], [0, 1])
    scored.accepted[:] = False
    found = Measurement.of(scored).measures()
    assert (found["fnmr"], found["fmr"]) == (1.0, 0.0)


# Searches.


def test_ranks_and_alarms_by_hand():
    # Voiceprints of 0, 1 and 2; probes of 0, 1, 2 and of a stranger, 3.
    scored = scored_trials(
        [[0.9, 0.6, 0.1, 0.2], [0.6, 0.5, 0.2, 0.3], [0.1, 0.2, 0.3, 0.7]], [0, 1, 2], [0, 1, 2, 3]
    )
    searches = Searches.of(scored)
    assert searches.known.tolist() == [True, True, True, False]
    assert searches.ranks[:3].tolist() == [1, 2, 1]
    assert searches.measures()["rank_1"] == pytest.approx(2 / 3, abs=EXACT)
    assert searches.measures()["rank_5"] == 1.0
    # The probe of 1 is accepted but second; that of 2 is first but rejected.
    assert searches.measures()["tpir"] == pytest.approx(1 / 3, abs=EXACT)
    # 0 as 1 (0.6), 1 as 0 (0.6), the stranger as 2 (0.7); nobody for 2.
    assert searches.measures()["fpir"] == pytest.approx(3 / 4, abs=EXACT)


def test_the_best_of_a_persons_voiceprints_counts_and_others_count_as_people():
    # Two voiceprints of person 0, two of person 1; both of person 1 are ahead of the worse of 0.
    scored = scored_trials([[0.1], [0.7], [0.8], [0.9], [0.0]], [0, 0, 1, 1, 2], [0])
    assert Searches.of(scored).ranks.tolist() == [2]


def test_a_tie_is_no_success():
    searches = Searches.of(scored_trials([[0.7, 0.7], [0.7, 0.7]], [0, 1], [0, 1]))
    assert searches.measures()["rank_1"] == 0.0
    assert searches.ranks.tolist() == [2, 2]


def test_a_choice_of_one_person_is_no_identification():
    scored = scored_trials([[0.9, 0.2], [0.8, 0.1], [0.1, 0.7]], [0, 0, 1], [0, 1])
    only_own = scored.where((scored.probes == 1) | scored.same)
    assert isnan(Searches.of(only_own).measures()["rank_1"])
    assert isnan(Searches.of(only_own).measures()["tpir"])
    assert Searches.of(scored).measures()["rank_1"] == 1.0


def test_weights_of_probes_repeat_searches():
    searches = Searches.of(scored_trials([[0.9, 0.6], [0.6, 0.5]], [0, 1], [0, 1]))
    weights = np.array([3.0, 1.0])
    assert searches.measures(weights)["rank_1"] == 0.75
    assert searches.measures(weights)["tpir"] == 0.75
    assert searches.measures(weights)["fpir"] == 1.0


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_ranks_are_those_of_sorting(seed):
    random = np.random.default_rng(seed)
    scores = random.integers(0, 5, (6, 8))
    owners, speakers = [0, 1, 2, 3, 0, 1], random.integers(0, 4, 8).tolist()
    searches = Searches.of(scored_trials(scores, owners, speakers))
    for probe, speaker in enumerate(speakers):
        best = [
            max(scores[row, probe] for row in range(6) if owners[row] == one) for one in range(4)
        ]
        ahead = [one for one in range(4) if one != speaker and best[one] >= best[speaker]]
        assert searches.ranks[probe] == 1 + len(ahead)


# All of them.


def random_scored(seed=0, speakers=12, each=10):
    random = np.random.default_rng(seed)
    probes = np.repeat(np.arange(speakers), each)
    same = np.arange(speakers)[:, None] == probes
    return scored_trials(random.normal(0, 1, same.shape) + 2 * same, range(speakers), probes)


def test_all_measures_are_returned_by_their_keys():
    scored = random_scored()
    found = Measurement.of(scored).measures()
    assert list(found) == list(MEASURES)
    trials = scored.scores, scored.same
    assert found["eer"] == equal_error_rate(det_curve(*trials))
    assert found["min_dcf_01"] == min_detection_cost(det_curve(*trials), p_target=0.01)
    assert found["min_dcf_05"] == min_detection_cost(det_curve(*trials), p_target=0.05)
    assert found["cllr"] == llr_cost(det_curve(*trials))
    assert found["min_cllr"] == min_llr_cost(det_curve(*trials))
    assert found["fnmr_at_fmr_1"] == at_fmr(det_curve(*trials), 0.01)[1]
    assert found["threshold_at_fmr_01"] == at_fmr(det_curve(*trials), 0.001)[0]
    assert found["rank_5"] == Searches.of(scored).measures()["rank_5"]
    assert found["fmr"] == (scored.accepted & ~scored.same).sum() / (~scored.same).sum()


def test_every_measure_has_a_title_of_its_own_and_a_known_kind():
    assert len({measure.title for measure in MEASURES.values()}) == len(MEASURES)
    assert {measure.kind for measure in MEASURES.values()} == {"rate", "cost", "bits", "score"}
    found = Measurement.of(random_scored()).measures()
    rates = [found[key] for key, measure in MEASURES.items() if measure.kind == "rate"]
    assert all(0 <= rate <= 1 for rate in rates)


# Bad input.


@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([], [], "there are no trials: an error rate needs some of both kinds"),
        ([1.0, 2.0], [True, True], "no trial compares two different people: an error rate needs"),
        ([1.0, 2.0], [False, False], "no trial compares a person with themself: an error rate"),
        ([1.0, np.nan], [True, False], "1 of 2 scores are not finite numbers: leave them out"),
        ([1.0, -np.inf], [True, False], "1 of 2 scores are not finite numbers: leave them out"),
        ([1.0, 2.0, 3.0], [True, False], "scores, labels and weights differ in number"),
        ([[1.0, 2.0]], [[True, False]], "scores, labels and weights differ in number"),
    ],
)
@pytest.mark.parametrize("number", [det_curve, metrics.validate])
def test_trials_without_error_rates_are_named(number, scores, same, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        number(np.array(scores, float), np.array(same, bool))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [1.0, np.nan]])
def test_weights_below_nothing_are_refused(weights):
    with pytest.raises(UsageError, match="a trial's weight is negative or not a number"):
        det_curve(np.array([1.0, 2.0]), np.array([True, False]), weights=np.array(weights))


def test_weights_that_leave_one_kind_are_refused():
    with pytest.raises(UsageError, match="no trial compares two different people"):
        det_curve(np.array([1.0, 2.0]), np.array([True, False]), weights=np.array([1.0, 0.0]))


def test_measures_of_one_kind_of_trial_are_refused():
    scored = random_scored()
    with pytest.raises(UsageError, match="no trial compares a person with themself"):
        Measurement.of(scored.where(~scored.same)).measures()
