"""Intervals: how sure an error rate is, by resampling speakers or from the binomial law."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; not-a-number where it could not be computed.

    Parameters
    ----------
    value, low, high : float
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
