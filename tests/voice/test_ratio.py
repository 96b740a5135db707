import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.voice.ratio import Circumstances, Influence, Line, ratio_as_number, ratio_in_words

LINE = Line(
    intercept=-40.0,
    slope=60.0,
    influences=(
        Influence("speech", low=1.0, high=10.0, weight=3.0, interaction=-5.0),
        Influence("snr", low=5.0, high=35.0, weight=-0.2, interaction=0.3),
    ),
)


def test_the_ratio_is_a_line_whose_height_and_slope_the_circumstances_change():
    circumstances = Circumstances(speech_s=math.e, snr_db=20.0, enrolled_speech_s=9.0)
    expected = -40 + 60 * 0.7 + 3 - 5 * 0.7 - 0.2 * 20 + 0.3 * 20 * 0.7
    assert float(LINE.llr(0.7, circumstances)) == pytest.approx(expected)


def test_every_comparison_has_its_own_circumstances_or_all_share_one():
    alike = np.array([0.5, 0.7, 0.9])
    shared = LINE.llr(alike, Circumstances(2.0, 20.0, 9.0))
    own = LINE.llr(alike, Circumstances(*(np.full(3, value) for value in (2.0, 20.0, 9.0))))
    np.testing.assert_array_equal(shared, own)
    assert own.dtype == np.float64


@pytest.mark.parametrize(
    ("beyond", "end"),
    [
        ((100.0, 20.0), (10.0, 20.0)),
        ((0.0, 20.0), (1.0, 20.0)),
        ((5.0, math.inf), (5.0, 35.0)),
        ((5.0, -30.0), (5.0, 5.0)),
    ],
)
def test_what_lies_beyond_the_range_that_was_seen_counts_as_its_end(beyond, end):
    assert LINE.llr(0.7, Circumstances(*beyond, 9.0)) == LINE.llr(0.7, Circumstances(*end, 9.0))


@given(
    pair=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    speech_s=st.floats(0, 1e6),
    snr_db=st.floats(-100, 100),
)
def test_more_alike_is_never_a_smaller_ratio(pair, speech_s, snr_db):
    less, more = sorted(pair)
    circumstances = Circumstances(speech_s, snr_db, 1.0)
    assert LINE.llr(less, circumstances) <= LINE.llr(more, circumstances)
    if more - less > 1e-9:
        assert LINE.llr(less, circumstances) < LINE.llr(more, circumstances)


@given(speech_s=st.floats(0, 100), snr_db=st.floats(-20, 60))
def test_the_least_slope_is_that_under_the_least_favourable_circumstances(speech_s, snr_db):
    circumstances = Circumstances(speech_s, snr_db, 1.0)
    slope = LINE.llr(1.0, circumstances) - LINE.llr(0.0, circumstances)
    assert slope >= LINE.least_slope - 1e-9
    worst = Circumstances(10.0, 5.0, 1.0)
    assert LINE.llr(1.0, worst) - LINE.llr(0.0, worst) == pytest.approx(LINE.least_slope)


def test_circumstances_can_be_chosen_from():
    every = Circumstances(np.arange(4.0), np.arange(4.0) + 10, np.arange(4.0) + 20)
    some = every.where(np.array([True, False, True, False]))
    assert some.speech_s.tolist() == [0, 2]
    assert some.snr_db.tolist() == [10, 12]
    assert some.enrolled_speech_s.tolist() == [20, 22]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (2345, "2,300 times likelier yours than a stranger's"),
        (9.96, "10 times likelier yours than a stranger's"),
        (1.5, "1.5 times likelier yours than a stranger's"),
        (1.04, "as likely a stranger's as yours"),
        (1, "as likely a stranger's as yours"),
        (1 / 1.04, "as likely a stranger's as yours"),
        (1 / 14, "14 times likelier a stranger's than yours"),
        (1e6, "1,000,000 times likelier yours than a stranger's"),
        (2e6, "more than a million times likelier yours than a stranger's"),
        (1e-9, "more than a million times likelier a stranger's than yours"),
    ],
)
def test_a_ratio_is_said_as_a_person_would(ratio, words):
    assert ratio_in_words(math.log(ratio)) == words


@pytest.mark.parametrize(
    ("ratio", "number"), [(1000, "1,000"), (9.96, "10"), (0.0714, "0.071"), (1e-7, "less than")]
)
def test_a_ratio_is_a_number_of_two_digits(ratio, number):
    assert ratio_as_number(math.log(ratio)).startswith(number)


@given(llr=st.floats(allow_nan=False))
def test_every_ratio_can_be_said(llr):
    assert "stranger" in ratio_in_words(llr)
