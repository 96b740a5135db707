"""Thresholds for the security levels: how rarely strangers pass, and what that rests on.

Conventions
-----------
Scores are natural log-likelihood ratios; a comparison is accepted where its ratio reaches the
threshold. *FMR* is the false match rate, the share of comparisons of two people that are accepted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from membrane.errors import UsageError
from membrane.voice.ratio import Floats

LEVELS = {"convenient": 0.01, "balanced": 0.001, "strict": 0.0001}
"""The false match rate that each security level aims at."""

COUNTED, EXTRAPOLATED = "counted", "extrapolated"

TAIL = 0.01
"""Share of strangers' comparisons, the most similar ones, that a tail is fitted to."""

LARGEST_TAIL = 0.1
"""Largest share of the tail, used for few comparisons. More would not be a tail any more."""

LEAST_EXCESSES = 30
"""Fewest comparisons to fit a tail to: its mean is then known to about 18 %."""


@dataclass(frozen=True)
class Threshold:
    """The least log-likelihood ratio that a security level accepts.

    Parameters
    ----------
    llr : float
        Accept at this ratio or higher.
    fmr : float
        False match rate that it aims at.
    support : {"counted", "extrapolated"}
        Whether it was counted from comparisons or comes from a fitted tail.
    trials, pairs : int
        Number of comparisons of strangers behind it, and of pairs of speakers among them.
    """

    llr: float
    fmr: float
    support: str
    trials: int
    pairs: int


def supported(pairs: int) -> float:
    """Return the lowest false match rate that this many pairs of speakers can show.

    This is the 95 % upper bound if no pair is confused, ``1 - 0.05 ** (1 / pairs)``
    (Clopper and Pearson, Biometrika 1934): about ``3 / pairs``, the "rule of three" of ISO/IEC
    19795-1. Pairs share speakers, so they are not independent: this is a minimum, not a
    guarantee.

    Parameters
    ----------
    pairs : int
        Pairs of two speakers, each counted once whatever the number of their comparisons.
    """
    return 1.0 if pairs < 1 else -math.expm1(math.log(0.05) / pairs)


def pairs_needed(fmr: float) -> int:
    """Return how many pairs of speakers a false match rate needs to be supported."""
    return math.ceil(math.log(0.05) / math.log1p(-fmr))


def threshold_at(fmr: float, impostor_llrs: Floats) -> float:
    """Return the lowest threshold that at most this share of strangers' comparisons reaches.

    Parameters
    ----------
    fmr : float, in [0, 1]
        Largest share of strangers' comparisons that may reach it.
    impostor_llrs : np.ndarray, shape (n,)
        Ratios of strangers' comparisons.

    Raises
    ------
    UsageError
        If there are no comparisons, or one is not a number.
    """
    descending = _descending(impostor_llrs)
    # Makes 0.01 of 300 come to 3 despite rounding.
    passing = math.floor(fmr * len(descending) + 1e-9)
    if passing >= len(descending):
        return -math.inf
    return float(np.nextafter(descending[passing], np.inf))


@dataclass(frozen=True)
class Tail:
    """An exponential tail: the most similar of strangers' comparisons.

    Parameters
    ----------
    start : float
        Ratio at which it starts.
    share : float
        Share of all comparisons that lie above it.
    mean_excess : float
        How far above it they lie, on average.
    """

    start: float
    share: float
    mean_excess: float

    def threshold(self, fmr: float) -> float:
        """Return the ratio that a share `fmr`, smaller than `share`, reaches."""
        return self.start + self.mean_excess * math.log(self.share / fmr)


def fit_tail(impostor_llrs: Floats) -> Tail:
    """Fit an exponential tail to the excesses over a high quantile.

    Peaks over a threshold (Pickands, Annals of Statistics 1975; Coles, "An Introduction to
    Statistical Modeling of Extreme Values", 2001) with shape 0; the maximum-likelihood scale is
    then the mean excess. The quantile is that of `TAIL`, or lower where fewer than
    `LEAST_EXCESSES` comparisons would lie above it.

    Parameters
    ----------
    impostor_llrs : np.ndarray, shape (n,)
        Ratios of strangers' comparisons.

    Raises
    ------
    UsageError
        If there are too few comparisons, or the most alike ones are all equal.
    """
    descending = _descending(impostor_llrs)
    excesses = max(math.ceil(TAIL * len(descending)), LEAST_EXCESSES)
    least = math.ceil(LEAST_EXCESSES / LARGEST_TAIL)
    if len(descending) < least:
        raise UsageError(
            f"{len(descending)} comparisons of strangers have no tail to extrapolate: "
            f"give {least} or more"
        )
    start = float(descending[excesses])
    mean_excess = float(np.mean(descending[:excesses] - start))
    if mean_excess <= 0:
        raise UsageError("the most alike strangers are all equally alike: give more recordings")
    return Tail(start, excesses / len(descending), mean_excess)


def extrapolated_threshold(fmr: float, impostor_llrs: Floats) -> float:
    """Return the threshold for a false match rate that is too small to be counted.

    The threshold assumes that the tail of `fit_tail` continues as it begins, which no comparison
    has shown. If the rate is not smaller than the tail's share, comparisons are counted instead.

    Parameters
    ----------
    fmr : float, in (0, 1]
        The false match rate.
    impostor_llrs : np.ndarray, shape (n,)
        Ratios of strangers' comparisons.

    Raises
    ------
    UsageError
        As `fit_tail`.
    """
    tail = fit_tail(impostor_llrs)
    return tail.threshold(fmr) if fmr < tail.share else threshold_at(fmr, impostor_llrs)


def _descending(llrs: Floats) -> Floats:
    values = np.asarray(llrs, dtype=np.float64)
    if not len(values) or np.isnan(values).any():
        raise UsageError("no threshold without comparisons of strangers: give more speakers")
    return np.sort(values)[::-1]
