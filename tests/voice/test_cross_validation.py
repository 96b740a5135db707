import math
from itertools import combinations_with_replacement

import numpy as np
import pytest

from membrane.errors import UsageError
from membrane.voice.calibrator import LogisticCalibrator
from membrane.voice.cross_validation import choose_measures, cross_validated_llr, ratio_cost
from membrane.voice.ratio import Circumstances


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
