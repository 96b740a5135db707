"""Wording: how a measured number is written wherever a person reads it.

Conventions
-----------
A rate is a fraction in the code and per cent on the page. As many decimals are written as its
distance from the nearer of 0 and 100 % needs: 12.3 %, 3.42 %, 0.034 %, 99.62 %. What is not zero is
never written as zero: ``<0.001 %``. What could not be computed is a dash.
"""

from __future__ import annotations

from math import isfinite, isinf, isnan

from membrane.evaluation.intervals import Estimate
from membrane.evaluation.metrics import MEASURES

MISSING = "–"
"""Stands for what could not be computed: no trial of that kind, or too few."""

UNITS = {"rate": " %", "bits": " bit"}

STEPS = (0.1, 0.001)
"""Distances from 0 and 100 %, as fractions, below each of which one more decimal is written."""

BOUND_STEPS = (0.01, 0.0001)
"""The same for the ends of an interval, which need one digit less."""


def as_text(key: str, estimate: Estimate) -> str:
    """Return a measure as a person reads it, such as ``"3.42 % (1.2 to 6.8)"``.

    Parameters
    ----------
    key : str
        As in `metrics.MEASURES`.
    estimate : Estimate
    """
    kind = MEASURES[key].kind
    if isnan(estimate.value):
        return MISSING
    text = f"{_number(estimate.value, kind)}{UNITS.get(kind, '')}"
    if isnan(estimate.low) or isnan(estimate.high):
        return text
    low, high = (_number(bound, kind, BOUND_STEPS) for bound in (estimate.low, estimate.high))
    return f"{text} ({low} to {high})"


def percent(rate: float) -> str:
    """Return a rate, a fraction, as ``"3.42 %"``."""
    return MISSING if isnan(rate) else f"{_number(rate, 'rate')} %"


def of_a_thousand(estimate: Estimate) -> str:
    """Return how many of 1,000 attempts a rate makes, such as ``"about 34 (12 to 68)"``."""
    if isnan(estimate.value):
        return "an unknown number"
    about = f"about {_count(estimate.value)}"
    if isnan(estimate.low) or isnan(estimate.high):
        return about
    return f"{about} ({_count(estimate.low)} to {_count(estimate.high)})"


def _number(value: float, kind: str, steps: tuple[float, float] = STEPS) -> str:
    if isinf(value):
        return "∞" if value > 0 else "-∞"
    if kind != "rate":
        text = f"{value:.3f}"
        return text if text.strip("-0.") else text.removeprefix("-")
    distance = min(abs(value), abs(1 - value))
    return _near(100 * value, 1 + sum(distance < step for step in steps))


def _near(per_cent: float, decimals: int) -> str:
    """Round, but never to 0 or 100 what is neither."""
    if per_cent in {0, 100}:
        return f"{per_cent:.0f}"
    least = 10.0**-decimals
    if 0 < per_cent < least / 2:
        return f"<{least:.{decimals}f}"
    if 100 - least / 2 <= per_cent < 100:
        return f">{100 - least:.{decimals}f}"
    return f"{per_cent:.{decimals}f}"


def _count(rate: float) -> str:
    count = 1000 * rate
    if not isfinite(count) or count == 0 or count >= 10:
        return f"{count:,.0f}"
    return "<0.1" if count < 0.05 else f"{count:.1f}".removesuffix(".0")
