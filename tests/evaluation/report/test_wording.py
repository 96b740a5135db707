from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from membrane.evaluation.intervals import Estimate
from membrane.evaluation.report.wording import MISSING, as_text, of_a_thousand, percent


def test_a_rate_is_shown_in_per_cent_with_its_interval():
    assert as_text("eer", Estimate(0.0342, 0.012, 0.068)) == "3.42 % (1.2 to 6.8)"


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.0, "0 %"),
        (0.00000001, "<0.001 %"),
        (0.00034, "0.034 %"),
        (0.0011, "0.11 %"),
        (0.0861, "8.61 %"),
        (0.2304, "23.0 %"),
        (0.9962, "99.62 %"),
        (0.9999999, ">99.999 %"),
        (1.0, "100 %"),
        (nan, "–"),
    ],
)
def test_a_rate_has_the_decimals_that_it_needs(rate, text):
    assert percent(rate) == text
    assert as_text("fmr", Estimate(rate)) == text


def test_the_ends_of_an_interval_have_a_digit_less():
    assert as_text("fmr", Estimate(0.0011, 0.0004, 0.0023)) == "0.11 % (0.04 to 0.23)"
    assert as_text("fnmr", Estimate(0.23, 0.17, 0.3)) == "23.0 % (17.0 to 30.0)"
    assert as_text("fmr", Estimate(0.0, 0.0, 0.06)) == "0 % (0 to 6.0)"


def test_bits_name_their_unit_and_costs_have_none():
    assert as_text("cllr", Estimate(0.3421, 0.21, 0.48)) == "0.342 bit (0.210 to 0.480)"
    assert as_text("min_dcf_01", Estimate(0.3421, 0.21, 0.48)) == "0.342 (0.210 to 0.480)"


def test_what_could_not_be_computed_is_a_dash():
    assert as_text("eer", Estimate(nan)) == MISSING
    assert as_text("cllr", Estimate(nan, 0.1, 0.2)) == MISSING
    assert as_text("eer", Estimate(0.0342, nan, 0.068)) == "3.42 %"


def test_a_threshold_that_no_score_reaches_is_infinite():
    assert as_text("threshold_at_fmr_1", Estimate(inf, 2.0, inf)) == "∞ (2.000 to ∞)"
    assert as_text("threshold_at_fmr_1", Estimate(-inf)) == "-∞"


def test_there_is_no_negative_zero():
    assert as_text("threshold_at_fmr_1", Estimate(-0.0001)) == "0.000"


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.034, 0.012, 0.068), "about 34 (12 to 68)"),
        (Estimate(0.0011, 0.0004, 0.0023), "about 1.1 (0.4 to 2.3)"),
        (Estimate(0.0, 0.0, 0.004), "about 0 (0 to 4)"),
        (Estimate(0.00001, 0.0, 1.0), "about <0.1 (0 to 1,000)"),
        (Estimate(0.5), "about 500"),
        (Estimate(nan), "an unknown number"),
    ],
)
def test_a_rate_is_told_as_a_number_of_a_thousand_attempts(estimate, text):
    assert of_a_thousand(estimate) == text


@given(st.floats(0, 1))
def test_no_rate_is_rounded_to_never_or_always(rate):
    text = percent(rate)
    assert (text == "0 %") == (rate == 0)
    assert text != "100 %" or 100 * rate == 100
    assert abs(float(text.strip("<> %")) / 100 - rate) <= 0.0005


@given(st.floats())
def test_any_number_can_be_shown(value):
    assert as_text("cllr", Estimate(value, value, value))
    assert as_text("eer", Estimate(value, value, value))
    assert of_a_thousand(Estimate(value, value, value))
