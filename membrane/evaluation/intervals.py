"""Intervals: how sure an error rate is, by resampling speakers or from the binomial law.

Conventions
-----------
Trials that share a speaker err together, so that a thousand trials of ten people say little more
than ten people do. What is drawn anew is therefore *speakers*: as many as there are, with
replacement. A trial of two people counts as often as one was drawn times as often as the other; a
trial of one person as often as that person was drawn. A resample without trials of both kinds is
skipped. The interval lies between the 2.5th and the 97.5th percentile of the resamples, and is
widened to hold the value itself.

What is optimised on the trials that it is measured on (minDCF, minCllr) comes out too low, and
lower still on resamples, which repeat trials. Their mean less the value estimates by how much;
twice that is taken off both ends, once for the resamples and once for the value. It does not take
off enough where speakers differ much: of intervals of minDCF on 10 to 24 simulated speakers, 65 to
95 % held the true value (without the correction 30 to 58 %). Ten to forty speakers are few for
percentiles, too: of intervals of the other measures 82 to 91 % held the true value, not 95 %.

In identification the enrolled people stay, and the speakers of the probes are drawn.

A rate of exactly 0 or 1 is 0 or 1 in every resample too, as if it were certain. Its interval comes
from the binomial law instead: no error among n people, all of whose trials may depend on each
other, is compatible with rates of up to ``1 - 0.05 ** (1 / n)``, about 3 / n, the "rule of three".
A false match rate has more to go by: n is the number of different *pairs* of people, which is what
`membrane calibrate` counts, too. Pairs with one person in common are not quite independent. An
error more and the interval may be narrower than with none, because only errors can show how far
they come from few people.

Where the resamples do not differ, or more than half of them could not be measured, there is no
interval: it is not-a-number. With two speakers that is the rule.

References
----------
R. M. Bolle, N. K. Ratha and S. Pankanti, "Error analysis of pattern recognition systems: the
subsets bootstrap", Computer Vision and Image Understanding 93, 2004.
N. Poh, A. Martin and S. Bengio, "Performance generalization in biometric authentication using
joint user-specific and sample bootstraps", IEEE Transactions on Pattern Analysis and Machine
Intelligence 29, 2007.
B. Efron and R. J. Tibshirani, "An introduction to the bootstrap", Chapman and Hall 1993, chapter 10
(the estimate of bias).
T. A. Louis, "Confidence intervals for a binomial parameter after observing no successes", The
American Statistician 35, 1981 (the rule of three; also ISO/IEC 19795-1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor

import numpy as np

from membrane.evaluation.metrics import MEASURES, NAN, Floats, Measurement, ScoredTrials

LEVEL = 0.95
MOST_FAILED = 0.5
"""Share of resamples without a value, above which there is no interval."""

PAIRS = {"fmr", "negative_accuracy", "specificity"}
"""Rates of trials between two people: their binomial bound counts pairs of people."""

OPTIMISED = {"min_dcf_01", "min_dcf_05", "min_cllr"}
"""What is the least of its kind on the trials: too low, and never above 1."""

PROBES = {"fpir"}
"""Rates of probes of anybody; those of all other rates are of people compared with themselves."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; not-a-number where it could not be computed.

    Parameters
    ----------
    value, low, high : float
    """

    value: float
    low: float = NAN
    high: float = NAN


def clopper_pearson(errors: int, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact interval of a rate from independent trials; not-a-number if there are none.

    Parameters
    ----------
    errors, trials : int
    level : float, in (0, 1)

    Returns
    -------
    low, high : float

    References
    ----------
    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the
    case of the binomial", Biometrika 26, 1934.
    """
    inside = (1 + level) / 2
    # The lower end is that of the errors; the upper one of what was right, seen from 1.
    low = 1 - upper_bound(trials - errors, trials, level=inside)
    return low, upper_bound(errors, trials, level=inside)


def upper_bound(errors: int, trials: int, *, level: float = LEVEL) -> float:
    """Return the one-sided exact bound: the greatest rate that so few errors are compatible with.

    Parameters
    ----------
    errors, trials : int
        Of independent trials; not-a-number if there are none.
    level : float, in (0, 1)
    """
    from scipy.stats import beta

    if not trials:
        return NAN
    return float(beta.ppf(level, errors + 1, trials - errors)) if errors < trials else 1.0


def estimates(scored: ScoredTrials, *, resamples: int = 200, seed: int = 0) -> dict[str, Estimate]:
    """Return every measure of all trials, with its interval over resamples of the speakers.

    Parameters
    ----------
    scored : ScoredTrials
        What was accepted stands in it: a login asks for more than a score at the threshold.
    resamples : int
        0 gives the binomial intervals only.
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    dict of str to Estimate
        By the keys of `metrics.MEASURES`.

    Raises
    ------
    UsageError
        As `metrics.validate`.
    """
    measurement = Measurement.of(scored)
    values = measurement.measures()
    rows = list(_resampled(measurement, resamples, np.random.default_rng(seed)))
    failed = [NAN] * (resamples - len(rows))
    return {
        key: estimate_of(
            value,
            _interval(np.array([row[key] for row in rows] + failed), key, value),
            _independent(scored, key) if MEASURES[key].kind == "rate" else 0,
        )
        for key, value in values.items()
    }


def _resampled(
    measurement: Measurement, resamples: int, random: np.random.Generator
) -> Iterator[dict[str, float]]:
    """Yield the measures of each resample of the speakers that has trials of both kinds."""
    scored = measurement.scored
    own = scored.enrolled_speakers == scored.probe_speakers
    count = 1 + max(scored.enrolled_speakers.max(), scored.probe_speakers.max())
    people = np.union1d(scored.enrolled_speakers, scored.probe_speakers)
    other = np.where(own, count, scored.probe_speakers)
    for _ in range(resamples):
        drawn = np.bincount(random.choice(people, len(people)), minlength=count + 1).astype(float)
        drawn[count] = 1.0  # stands for the second person of a trial that has only one
        weights = drawn[scored.enrolled_speakers] * drawn[other]
        kinds = scored.same[weights > 0]
        if kinds.any() and not kinds.all():
            yield measurement.measures(weights, drawn[measurement.searches.speakers])


def _interval(values: Floats, key: str, value: float) -> tuple[float, float]:
    """Return the interval that the values of all resamples make around that of all trials."""
    known = np.sort(values[~np.isnan(values)])
    if len(known) <= MOST_FAILED * len(values) or known[0] == known[-1]:
        return NAN, NAN
    # Not interpolated: a threshold may be infinite.
    place = floor((len(known) - 1) * (1 - LEVEL) / 2)
    ends = known[[place, -1 - place]]
    if key in OPTIMISED:
        ends = np.clip(ends - 2 * (known.mean() - value), 0.0, 1.0)
    return float(ends[0]), float(ends[1])


def _independent(scored: ScoredTrials, key: str) -> int:
    """Return how many people, or pairs of them, a rate is of."""
    if key in PROBES:
        return len(np.unique(scored.probe_speakers))
    if key in PAIRS:
        enrolled, probe = scored.enrolled_speakers.astype(np.int64), scored.probe_speakers
        pairs = np.maximum(enrolled, probe) << 32 | np.minimum(enrolled, probe)
        return len(np.unique(pairs[~scored.same]))
    return len(np.unique(scored.probe_speakers[scored.same]))


def estimate_of(value: float, interval: tuple[float, float], independent: int) -> Estimate:
    """Return a value with its interval; with the binomial one, too, where it is 0 or 1.

    Parameters
    ----------
    value : float
    interval : (float, float)
        Of resamples, which show nothing where all of them are 0 or 1.
    independent : int
        Of how many people, or pairs of them, a rate is; 0 for what is no rate.
    """
    low, high = interval
    if np.isnan(value):
        return Estimate(value)
    if independent and value in {0.0, 1.0}:
        bound = upper_bound(0, independent)
        low, high = (np.fmin(low, 1 - bound), 1.0) if value else (0.0, np.fmax(high, bound))
    return Estimate(value, float(np.minimum(low, value)), float(np.maximum(high, value)))
