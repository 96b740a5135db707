from math import inf, nan

import numpy as np
import pytest

from benchmarks.accuracy import verdicts
from benchmarks.accuracy.ratios import Measured
from benchmarks.accuracy.verdicts import Bar, Line, line_of
from membrane.evaluation.intervals import Estimate

ALL_ALIKE = np.ones((20, 1))


def line(low, value, high, most=0.7):
    return Line("clean, EER", "a corpus", ("", ""), Estimate(value, low, high), most)


@pytest.mark.parametrize(
    ("interval", "verdict", "would_meet"),
    [
        ((0.3, 0.5, 0.7), "met", True),
        ((0.3, 0.5, 0.8), "cannot be told", True),
        ((0.6, 0.8, 0.9), "cannot be told", False),
        ((0.71, 0.8, 0.9), "not met", False),
        ((0.71, 0.8, inf), "not met", False),
        ((nan, nan, nan), "cannot be told", False),
    ],
)
def test_a_bar_is_met_or_not_only_where_the_whole_interval_says_so(interval, verdict, would_meet):
    found = line(*interval)
    assert (found.verdict, found.would_meet) == (verdict, would_meet)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.02, -0.01, -0.001), "met"),
        ((-0.01, 0.0, 0.01), "met"),
        ((-0.01, 0.01, 0.02), "met"),
        ((0.001, 0.01, 0.02), "not met"),
    ],
)
def test_no_worse_beyond_the_interval_is_a_bar_of_its_own(interval, verdict):
    assert line(*interval, most=0).verdict == verdict


def test_only_the_easiest_corpus_in_quiet_is_held_to_be_no_worse():
    found = Measured(np.array([0.02, 0.04, 0.02]), ALL_ALIKE * [0.02, 0.04, 0.02])
    assert line_of("", "librispeech", found, Bar("clean", 0.7)).most == 0
    assert line_of("", "librispeech", found, Bar("gsm", 0.6)).most == 0.6
    other = line_of("", "speechocean762", found, Bar("clean", 0.7))
    assert (other.most, other.compared.value, other.verdict) == (0.7, 0.5, "met")
    assert other.to_denoised.value == 1
    assert other.values == ("2.00 %", "4.00 %")


def test_a_row_has_a_cell_for_every_heading():
    table = verdicts.table_of([line(0.3, 0.5, 0.8), line(-0.1, 0.0, 0.1, most=0)], "new", "old")
    widths = {row.count("|") for row in table.splitlines()}
    assert len(widths) == 1
    assert "| **0.50 (0.30–0.80)** | 0.7 | cannot be told |" in table
    assert "| **+0.000 (-0.100 to +0.100)** | no worse | met |" in table


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(nan), "–"),
        (Estimate(inf), "∞"),
        (Estimate(0.5), "0.50"),
        (Estimate(0.5, 0.25, inf), "0.50 (0.25–∞)"),
    ],
)
def test_a_ratio_is_shown_with_what_is_known_of_it(estimate, shown):
    assert verdicts.ratio_shown(estimate) == shown


def test_the_summary_counts_the_verdicts():
    lines = [line(0.3, 0.5, 0.6), line(0.3, 0.5, 0.9), line(0.8, 0.85, 0.9)]
    assert verdicts.summary(lines) == (
        "Of 3 lines: met 1, not met 1, cannot be told 1. By the values alone 2 would be met."
    )
