import math
import warnings
from contextlib import suppress
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from membrane.errors import UsageError
from membrane.voice.calibrator import (
    RIDGE,
    LogisticCalibrator,
    choose_measures,
    cross_validated_llr,
    ratio_cost,
)
from membrane.voice.ratio import Circumstances


def drawn(honest, strangers, *, means=(0.8, 0.5), spread=0.08, seed=0):
    """Return similarities of which the true ratio is known: two normal distributions.

    With equal spreads it is ``(m1 - m0) / spread² * (x - (m0 + m1) / 2)``.
    """
    rng = np.random.default_rng(seed)
    same = np.arange(honest + strangers) < honest
    alike = np.where(same, *means) + spread * rng.standard_normal(len(same))
    return alike, same, around(len(same), seed)


def around(count, seed=0):
    rng = np.random.default_rng(seed + 1000)
    return Circumstances(
        rng.uniform(1, 10, count), rng.uniform(0, 40, count), rng.uniform(5, 30, count)
    )


@pytest.mark.parametrize("prior", [0.5, 0.01])
@pytest.mark.parametrize("counts", [(20_000, 20_000), (4_000, 60_000)])
def test_the_true_ratio_of_normal_similarities_is_found(prior, counts):
    alike, same, circumstances = drawn(*counts)
    line = LogisticCalibrator((), prior=prior).fit(alike, same, circumstances).line_
    slope = 0.3 / 0.08**2
    assert line.slope == pytest.approx(slope, rel=0.06)
    assert -line.intercept / line.slope == pytest.approx(0.65, abs=0.006)


def test_the_influence_of_the_circumstances_is_found():
    # The spread shrinks as speech grows; the true slope is the distance over the squared spread.
    alike, same, circumstances = drawn(60_000, 60_000, spread=1.0)
    spread = 0.05 + 0.1 / circumstances.speech_s
    alike = np.where(same, 0.8, 0.5) + spread * (alike - np.where(same, 0.8, 0.5))
    fitted = LogisticCalibrator(("speech",), prior=0.5).fit(alike, same, circumstances)
    for speech_s in (1.5, 3.0, 8.0):
        here = Circumstances(speech_s, 20.0, 10.0)
        slope = fitted.llr(1.0, here) - fitted.llr(0.0, here)
        assert slope == pytest.approx(0.3 / (0.05 + 0.1 / speech_s) ** 2, rel=0.25)
        assert -fitted.llr(0.0, here) / slope == pytest.approx(0.65, abs=0.01)


def design(alike, circumstances, measures):
    """Return the standardised columns that the model is linear in, from its definition."""
    kinds = {
        "speech": lambda: np.log(circumstances.speech_s),
        "snr": lambda: circumstances.snr_db,
        "enrolled": lambda: np.log(circumstances.enrolled_speech_s),
    }

    def standardised(column):
        return (column - column.mean()) / column.std()

    features = []
    for measure in measures:
        column = kinds[measure]()
        low, high = np.percentile(column, (1, 99))
        features.append(standardised(np.clip(column, low, high)))
    score = standardised(alike)
    return np.stack([score, *features, *(score * feature for feature in features)], axis=1)


@pytest.mark.parametrize("penalised", [True, False])
@pytest.mark.parametrize("measures", [(), ("speech",), ("speech", "snr", "enrolled")])
def test_scikit_learn_finds_the_same_ratios(measures, penalised):
    linear_model = pytest.importorskip("sklearn.linear_model")
    alike, same, circumstances = drawn(500, 3000)
    prior = 0.05
    weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
    columns = design(alike, circumstances, measures)
    reference = linear_model.LogisticRegression(
        C=1 / RIDGE if penalised else np.inf, tol=1e-10, max_iter=10_000
    )
    # Weights that add up to one count against the penalty as they do here.
    reference.fit(columns, same, sample_weight=weights)
    expected = reference.decision_function(columns) - np.log(prior / (1 - prior))
    fitted = LogisticCalibrator(measures, prior=prior).fit(alike, same, circumstances)
    found = fitted.llr(alike, circumstances)
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_calibration_improves_what_ratios_cost():
    alike, same, circumstances = drawn(2000, 20_000)
    unseen, unseen_same, elsewhere = drawn(2000, 20_000, seed=1)
    fitted = LogisticCalibrator(()).fit(alike, same, circumstances)
    calibrated = ratio_cost(fitted.llr(unseen, elsewhere), unseen_same)
    true = ratio_cost(0.3 / 0.08**2 * (unseen - 0.65), unseen_same)
    assert calibrated < ratio_cost(unseen, unseen_same) / 3
    assert calibrated == pytest.approx(true, rel=0.03)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    distance=st.floats(0.05, 0.6),
    effects=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
)
def test_more_alike_is_a_larger_ratio_under_all_circumstances(seed, distance, effects):
    alike, same, circumstances = drawn(200, 800, means=(0.5 + distance, 0.5), seed=seed)
    undisturbed = LogisticCalibrator(()).fit(alike, same, circumstances).line_.least_slope
    # Circumstances that may even turn around what a similarity says.
    alike = alike + np.where(same, effects[0], effects[1]) * np.log(circumstances.speech_s)
    alike += effects[2] * circumstances.snr_db / 40 * same
    calibrator = LogisticCalibrator(("speech", "snr", "enrolled"))
    try:
        fitted = calibrator.fit(alike, same, circumstances)
    except UsageError:
        # Without the circumstances, too, the similarity hardly says who is speaking.
        with suppress(UsageError):
            plain = LogisticCalibrator(()).fit(alike, same, circumstances)
            assert plain.line_.least_slope < 0.1 * undisturbed
        return
    assert fitted.line_.least_slope > 0
    llrs = fitted.llr(np.linspace(-1, 1, 9)[:, np.newaxis], circumstances)
    assert (np.diff(llrs, axis=0) > 0).all()


def test_an_interaction_that_would_turn_the_line_around_is_left_out():
    alike, same, circumstances = drawn(4000, 4000)
    mirrored = np.where(circumstances.speech_s > 7, 1.3 - alike, alike)
    fitted = LogisticCalibrator(prior=0.5).fit(mirrored, same, circumstances)
    speech, snr = fitted.line_.influences
    assert speech.interaction == 0
    assert snr.interaction != 0


@pytest.mark.parametrize("measures", [(), ("speech", "snr")])
def test_classes_that_do_not_overlap_have_finite_ratios(measures):
    alike, same, circumstances = drawn(50, 500, means=(0.9, 0.1), spread=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = LogisticCalibrator(measures).fit(alike, same, circumstances)
    llrs = fitted.llr(alike, circumstances)
    assert llrs[same].min() > 3
    assert llrs[~same].max() < -3
    assert np.abs(llrs).max() < 100


def test_a_measure_that_never_changes_has_no_influence():
    alike, same, circumstances = drawn(500, 500)
    still = Circumstances(np.full(1000, 3.0), circumstances.snr_db, circumstances.snr_db)
    (speech,) = LogisticCalibrator(("speech",)).fit(alike, same, still).line_.influences
    assert (speech.weight, speech.interaction) == (0, 0)
    assert (speech.low, speech.high) == (3, 3)


def test_an_outlier_does_not_widen_the_range():
    alike, same, circumstances = drawn(500, 500)
    circumstances.speech_s[0] = 500.0
    (speech,) = LogisticCalibrator(("speech",)).fit(alike, same, circumstances).line_.influences
    assert speech.high < 10


def test_a_recording_without_any_noise_counts_as_the_cleanest():
    alike, same, circumstances = drawn(500, 500)
    circumstances.snr_db[::3] = np.inf
    (snr,) = LogisticCalibrator(("snr",)).fit(alike, same, circumstances).line_.influences
    assert snr.high == 40


def test_noise_beyond_what_can_be_told_apart_has_no_influence():
    alike, same, circumstances = drawn(500, 500)
    clean = Circumstances(
        circumstances.speech_s, circumstances.snr_db + 25, circumstances.enrolled_speech_s
    )
    (snr,) = LogisticCalibrator(("snr",)).fit(alike, same, clean).line_.influences
    assert 25 <= snr.low < snr.high == 40


def test_fitting_twice_is_the_same_and_changes_no_argument():
    alike, same, circumstances = drawn(300, 300)
    before = alike.copy()
    calibrator = LogisticCalibrator(["speech", "snr"])
    first = calibrator.fit(alike, same, circumstances).line_
    assert calibrator.fit(alike, same, circumstances).line_ == first
    assert calibrator.measures == ["speech", "snr"]
    np.testing.assert_array_equal(alike, before)


@pytest.mark.parametrize("same", [True, False])
def test_comparisons_of_one_kind_only_are_refused(same):
    with pytest.raises(UsageError, match="two speakers or more"):
        LogisticCalibrator().fit(np.arange(5.0), np.full(5, same), around(5))


def test_voices_that_are_less_alike_the_more_they_are_the_same_are_refused():
    alike, same, circumstances = drawn(100, 100, means=(0.4, 0.7))
    with pytest.raises(UsageError, match="check the names of the speakers"):
        LogisticCalibrator().fit(alike, same, circumstances)


@pytest.mark.parametrize(
    "calibrator",
    [LogisticCalibrator(("loudness",)), LogisticCalibrator(prior=0), LogisticCalibrator(prior=1)],
)
def test_a_measure_or_prior_that_does_not_exist_is_refused(calibrator):
    with pytest.raises(UsageError, match="speech, snr, enrolled"):
        calibrator.fit(*drawn(10, 10))


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_similarity_that_is_not_a_number_is_refused(number):
    alike, same, circumstances = drawn(10, 10)
    alike[3] = number
    with pytest.raises(UsageError, match="leave it out"):
        LogisticCalibrator().fit(alike, same, circumstances)


def test_circumstances_that_are_missing_are_refused_if_they_count():
    alike, same, circumstances = drawn(10, 10)
    circumstances.snr_db[3] = np.nan
    with pytest.raises(UsageError, match="leave it out"):
        LogisticCalibrator().fit(alike, same, circumstances)
    assert LogisticCalibrator(("enrolled",)).fit(alike, same, circumstances).line_.least_slope > 0


def test_columns_of_unequal_length_are_refused():
    alike, same, circumstances = drawn(10, 10)
    with pytest.raises(UsageError, match="leave it out"):
        LogisticCalibrator().fit(alike[1:], same, circumstances)


def trials(speakers=12, each=60, seed=0):
    """Return similarities, same, circumstances, enrolled and probe speakers of every pair."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(combinations_with_replacement(range(speakers), 2)), np.int32)
    pairs = np.repeat(pairs, each, axis=0)
    same = pairs[:, 0] == pairs[:, 1]
    alike = np.where(same, 0.8, 0.5) + 0.1 * rng.standard_normal(len(same))
    circumstances = Circumstances(*rng.uniform(1, 20, (3, len(same))))
    return alike, same, circumstances, pairs[:, 0], pairs[:, 1]


class Spy(LogisticCalibrator):
    """Notes which similarities it was fitted on and asked about."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def fit(self, similarities, same, circumstances):
        self.fitted = set(similarities.tolist())
        return super().fit(similarities, same, circumstances)

    def llr(self, similarities, circumstances):
        self.notes.append((self.fitted, set(similarities.tolist())))
        return super().llr(similarities, circumstances)


def test_nobody_is_tested_by_a_model_that_knows_them():
    alike, same, circumstances, enrolled, probes = trials()
    notes = []
    llrs = cross_validated_llr(lambda: Spy(notes), alike, same, circumstances, enrolled, probes)
    assert np.isfinite(llrs).all()
    place = {similarity: index for index, similarity in enumerate(alike.tolist())}
    for fitted, tested in notes:
        known = {who[place[one]] for one in fitted for who in (enrolled, probes)}
        for one in tested:
            assert enrolled[place[one]] not in known
            assert probes[place[one]] not in known
    assert sum(len(tested) for _, tested in notes) == len(alike)
    assert len(notes) == 15


def test_the_same_seed_deals_the_same_folds():
    columns = trials()
    runs = [cross_validated_llr(LogisticCalibrator, *columns, seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_four_speakers_are_enough_and_three_are_not():
    llrs = cross_validated_llr(LogisticCalibrator, *trials(4, 200))
    assert np.isfinite(llrs).all()
    with pytest.raises(UsageError, match="3 speakers are too few"):
        cross_validated_llr(LogisticCalibrator, *trials(3))


def test_the_numbers_of_speakers_need_not_be_consecutive():
    alike, same, circumstances, enrolled, probes = trials()
    near = cross_validated_llr(LogisticCalibrator, alike, same, circumstances, enrolled, probes)
    far = cross_validated_llr(
        LogisticCalibrator, alike, same, circumstances, enrolled * 7 + 3, probes * 7 + 3
    )
    np.testing.assert_array_equal(near, far)


def test_measures_that_say_nothing_are_not_chosen():
    choice = choose_measures(*trials())
    assert choice.measures == ()
    assert [measures for measures, _ in choice.costs] == [
        (),
        ("speech",),
        ("speech", "snr"),
        ("speech", "snr", "enrolled"),
    ]


def test_measures_that_help_are_chosen():
    alike, same, circumstances, enrolled, probes = trials()
    # Noise draws all similarities down, whoever speaks.
    alike = alike - 0.03 * (20 - circumstances.snr_db)
    measures, costs = choose_measures(alike, same, circumstances, enrolled, probes)
    assert measures == ("speech", "snr")
    assert dict(costs)[measures] < 0.7 * dict(costs)[()]


def test_ratios_that_say_nothing_cost_one_bit_and_certain_ones_nothing():
    same = np.array([True, False, False])
    assert ratio_cost(np.zeros(3), same) == pytest.approx(1)
    assert ratio_cost(np.array([99.0, -99, -99]), same) == pytest.approx(0)


def test_the_cost_of_ratios_is_the_mean_of_both_kinds():
    # Worked by hand: log2(1 + 1/3) for the honest comparison, log2(1 + 1/7) for the stranger's.
    cost = ratio_cost(np.log([3, 1 / 7]), np.array([True, False]))
    assert cost == pytest.approx((math.log2(4 / 3) + math.log2(8 / 7)) / 2)
