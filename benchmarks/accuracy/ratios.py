"""How much less one system errs than others on the same trials, and how sure that is.

All systems are measured on the same resamples of the speakers, so that what is easy or hard for
all cancels. Speakers are drawn as `membrane.evaluation.intervals` draws them. Where the system
under test makes no error at all, resamples make none either; the rule of three over the speakers
bounds its rate instead. The bias of minDCF, which is the least of its kind on the trials that it is
measured on, is left in: it is much the same in numerator and denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.accuracy.systems import Floats
from membrane.evaluation.intervals import LEVEL, MOST_FAILED, Estimate, upper_bound
from membrane.evaluation.metrics import (
    ScoredTrials,
    det_curve,
    equal_error_rate,
    min_detection_cost,
)

MEASURES: dict[str, Callable[..., float]] = {
    "EER": equal_error_rate,
    "minDCF": partial(min_detection_cost, p_target=0.01),
}
"""By the name that tables show."""

RATES = ("EER",)
"""Those whose zero the rule of three bounds."""


@dataclass(frozen=True, eq=False)
class Measured:
    """A measure of several systems, on all trials and on resamples of the speakers.

    Parameters
    ----------
    values : np.ndarray, shape (k,)
        Of the system under test first, then of those it is held against.
    draws : np.ndarray, shape (n, k)
        Not-a-number where a resample had no trials of both kinds.
    most : float
        The greatest rate of the system under test that making no error is compatible with; 0 where
        it makes errors, or the measure is no rate.
    """

    values: Floats
    draws: Floats
    most: float = 0.0

    def ratio(self, to: int = 1) -> Estimate:
        """Return the first system's value over another's; not-a-number where both are 0."""
        return self._compared(_ratio, to)

    def difference(self, to: int = 1) -> Estimate:
        """Return the first system's value less another's."""
        return self._compared(np.subtract, to)

    def _compared(self, compare: Callable[..., Floats], to: int) -> Estimate:
        value = float(compare(self.values[0], self.values[to]))
        drawn = compare(self.draws[:, 0], self.draws[:, to])
        known = np.sort(drawn[~np.isnan(drawn)])
        if np.isnan(value) or len(known) <= MOST_FAILED * len(drawn):
            return Estimate(value)
        # Not interpolated: a ratio may be infinite.
        place = int((len(known) - 1) * (1 - LEVEL) / 2)
        low, high = float(known[place]), float(known[len(known) - 1 - place])
        if self.most:
            high = max(high, float(compare(self.most, self.values[to])))
        return Estimate(value, min(low, value), max(high, value))


def measured(
    systems: Sequence[ScoredTrials], *, measure: str, resamples: int, seed: int = 0
) -> Measured:
    """Return a measure of several systems on the same trials.

    Parameters
    ----------
    systems : sequence of ScoredTrials
        The same trials in the same order; the first is of the system under test.
    measure : str
        One of `MEASURES`.
    resamples, seed : int
    """
    function = MEASURES[measure]
    first = systems[0]
    values = np.array([function(det_curve(one.scores, first.same)) for one in systems])
    draws = np.full((resamples, len(systems)), np.nan)
    for row, weights in zip(draws, weights_of(first, resamples, seed), strict=True):
        kept = weights > 0
        same = first.same[kept]
        if same.any() and not same.all():
            row[:] = [
                function(det_curve(one.scores[kept], same, weights=weights[kept]))
                for one in systems
            ]
    people = len(np.unique(first.probe_speakers[first.same]))
    no_errors = measure in RATES and values[0] == 0
    return Measured(values, draws, upper_bound(0, people) if no_errors else 0.0)


def weights_of(scored: ScoredTrials, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each trial counts in each resample of the speakers."""
    chance = np.random.default_rng(seed)
    enrolled, probe = scored.enrolled_speakers, scored.probe_speakers
    people = np.union1d(enrolled, probe)
    for _ in range(resamples):
        drawn = np.bincount(chance.choice(people, len(people)), minlength=people[-1] + 1)
        times = np.where(enrolled == probe, drawn[probe], drawn[enrolled] * drawn[probe])
        yield times.astype(np.float64)


def mean_of(several: Sequence[Measured]) -> Measured:
    """Return the mean over corpora that were resampled as often."""
    values = np.mean([one.values for one in several], axis=0)
    draws = np.mean([one.draws for one in several], axis=0)
    return Measured(values, draws, 0.0 if values[0] else max(one.most for one in several))


def _ratio(tested: Floats, reference: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(tested, reference)
