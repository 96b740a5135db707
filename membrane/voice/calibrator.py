"""Fitting a calibration: how similar honest comparisons are, and how similar strangers are.

Speakers outside the fit decide which circumstances the calibration uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError
from membrane.voice.ratio import LIMITS, MEASURES, Circumstances, Flags, Floats, Influence, Line

Indices = npt.NDArray[np.int32]

RIDGE = 1e-7
"""Penalty on the squared weights of standardised features. It keeps them finite if the classes do
not overlap, and is far too small to matter if they do."""

RANGE_PERCENT = (1, 99)
"""Percentiles of a measure that bound its influence, so that outliers do not widen its range."""

CHOICES: tuple[tuple[str, ...], ...] = ((), MEASURES[:1], MEASURES[:2], MEASURES)
"""Sets of measures to try. Each has one measure more."""

WORTHWHILE = 0.01
"""Share of the cost that another measure must save to be used."""

LEAST_SPEAKERS = 4
"""Least number for cross-validation: with two under test, two remain to tell apart."""


class LogisticCalibrator:
    """Weighted logistic regression from similarity to log-likelihood ratio.

    The fit minimises the cross-entropy of both classes. The prior, not their sizes, sets their
    weights. Each measure enters alone and times the similarity.

    Parameters
    ----------
    measures : sequence of {"speech", "snr", "enrolled"}
        Circumstances that the line depends on.
    prior : float, in (0, 1)
        Probability of an honest comparison for which the fit is best.

    Attributes
    ----------
    line_ : Line
        It strictly increases with the similarity in all circumstances. An interaction that would
        reverse the line within the range of its measure is left out.

    References
    ----------
    Brümmer and du Preez, "Application-independent evaluation of speaker detection", Computer
    Speech and Language 2006; Brümmer, FoCal toolkit.
    """

    def __init__(self, measures: Sequence[str] = ("speech", "snr"), *, prior: float = 0.01) -> None:
        self.measures = measures
        self.prior = prior

    def fit(
        self, similarities: Floats, same: Flags, circumstances: Circumstances
    ) -> LogisticCalibrator:
        """Fit the line.

        Parameters
        ----------
        similarities : np.ndarray, shape (t,)
            Similarity of each comparison.
        same : np.ndarray, shape (t,), bool
            Whether both recordings are of one person.
        circumstances : Circumstances
            Arrays of shape (t,).

        Raises
        ------
        UsageError
            If a measure or the prior does not exist, comparisons of one kind are missing or not
            numbers, or similarity says nothing about who is speaking.
        """
        alike, flags = np.asarray(similarities, np.float64), np.asarray(same, bool)
        self._require_usable(alike, flags, circumstances)
        influences = [_seen(measure, circumstances) for measure in self.measures]
        interacting = list(self.measures)
        while True:
            line = self._fitted(alike, flags, circumstances, influences, interacting)
            if line.least_slope > 0:
                self.line_ = line
                return self
            if not interacting:
                raise UsageError(
                    "in these recordings one person is not more alike than two: check the names "
                    "of the speakers"
                )
            # Drop the one that bends the slope most within its range.
            bend = {one.measure: one.slopes[1] - one.slopes[0] for one in line.influences}
            interacting.remove(max(interacting, key=lambda measure: bend[measure]))

    def llr(self, similarities: float | Floats, circumstances: Circumstances) -> Floats:
        """Return log-likelihood ratios (natural log), as `Line.llr` does."""
        return self.line_.llr(similarities, circumstances)

    def _require_usable(self, alike: Floats, same: Flags, circumstances: Circumstances) -> None:
        if not (set(self.measures) <= set(MEASURES) and 0 < self.prior < 1):
            raise UsageError(
                f"a calibration has measures among {', '.join(MEASURES)} and a prior between 0 "
                "and 1: choose those"
            )
        if not (same.any() and (~same).any()):
            raise UsageError(
                "a calibration needs comparisons of one person and of two: give two speakers or "
                "more, with several recordings each"
            )
        columns = [alike, *(circumstances.of(measure) for measure in self.measures)]
        if any(column.shape != same.shape or np.isnan(column).any() for column in columns) or (
            np.isinf(alike).any()
        ):
            raise UsageError("a similarity, its speech or its noise is missing: leave it out")

    def _fitted(
        self,
        alike: Floats,
        same: Flags,
        circumstances: Circumstances,
        influences: Sequence[Influence],
        interacting: Sequence[str],
    ) -> Line:
        score = _Standardised.of(alike)
        features = [
            _Standardised.of(influence.feature(circumstances.of(influence.measure)))
            for influence in influences
        ]
        times = [
            feature.values * score.values if influence.measure in interacting else 0 * alike
            for influence, feature in zip(influences, features, strict=True)
        ]
        columns = [np.ones_like(alike), score.values, *(one.values for one in features), *times]
        every = np.stack(columns, axis=1)
        used = every.any(axis=0)
        weights = np.zeros(every.shape[1])
        weights[used] = _regression(every[:, used], same, self.prior)
        return _line(weights, score, features, influences)


@dataclass(frozen=True, eq=False)
class _Standardised:
    """A column with mean 0 and standard deviation 1, or zeros if it is constant."""

    values: Floats
    mean: float
    spread: float

    @classmethod
    def of(cls, column: Floats) -> _Standardised:
        if column.min() == column.max():  # where rounding would leave a tiny spread
            return cls(np.zeros_like(column), float(column[0]), 1.0)
        mean, spread = float(column.mean()), float(column.std())
        return cls((column - mean) / spread, mean, spread)


def _seen(measure: str, circumstances: Circumstances) -> Influence:
    """Return the influence of a measure over the range that was seen, its weights still 0."""
    values = np.clip(circumstances.of(measure), *LIMITS[measure])
    low, high = np.percentile(values, RANGE_PERCENT)
    return Influence(measure, float(low), float(high), weight=0.0, interaction=0.0)


def _regression(columns: Floats, same: Flags, prior: float) -> Floats:
    """Return the weights of a prior-weighted logistic regression; the first is not penalised."""
    from scipy.optimize import minimize
    from scipy.special import expit

    importance = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
    offset, sign = np.log(prior / (1 - prior)), np.where(same, 1.0, -1.0)
    penalty = np.full(columns.shape[1], RIDGE)
    penalty[0] = 0.0

    def cost(weights: Floats) -> tuple[float, Floats]:
        margin = sign * (columns @ weights + offset)
        gradient = columns.T @ (-sign * importance * expit(-margin)) + penalty * weights
        value = importance @ np.logaddexp(0, -margin) + penalty @ weights**2 / 2
        return float(value), gradient

    def curvature(weights: Floats) -> Floats:
        margin = columns @ weights + offset
        share = importance * expit(margin) * expit(-margin)
        return np.asarray(columns.T @ (columns * share[:, np.newaxis]) + np.diag(penalty))

    found = minimize(
        cost,
        np.zeros(columns.shape[1]),
        jac=True,
        hess=curvature,
        method="trust-exact",
        options={"gtol": 1e-10},
    )
    return np.asarray(found.x, dtype=np.float64)


def _line(
    weights: Floats,
    score: _Standardised,
    features: Sequence[_Standardised],
    influences: Sequence[Influence],
) -> Line:
    """Return the line of weights that belong to standardised columns."""
    slope = weights[1] / score.spread
    intercept = weights[0] - slope * score.mean
    fitted = []
    alone, times = np.split(weights[2:] / np.tile([one.spread for one in features], 2), 2)
    for influence, feature, weight, product in zip(influences, features, alone, times, strict=True):
        interaction = product / score.spread
        weight_here = weight - interaction * score.mean
        slope -= interaction * feature.mean
        intercept -= weight_here * feature.mean
        fitted.append(replace(influence, weight=float(weight_here), interaction=float(interaction)))
    return Line(float(intercept), float(slope), tuple(fitted))


# ---- Which circumstances a calibration should know of, judged on speakers it was not fitted on


def ratio_cost(llrs: Floats, same: Flags) -> float:
    """Return Cllr, the cost of log-likelihood ratios, in bits: 0 is perfect, 1 says nothing.

    Brümmer and du Preez 2006: the mean of ``log2(1 + exp(-llr))`` over honest comparisons and of
    ``log2(1 + exp(llr))`` over strangers', averaged.
    """
    honest = np.logaddexp(0, -llrs[same]).mean()
    strangers = np.logaddexp(0, llrs[~same]).mean()
    return float((honest + strangers) / (2 * np.log(2)))


def cross_validated_llr(  # noqa: PLR0913, PLR0917 - the columns of a table of comparisons
    calibrator: Callable[[], LogisticCalibrator],
    similarities: Floats,
    same: Flags,
    circumstances: Circumstances,
    enrolled_speakers: Indices,
    probe_speakers: Indices,
    *,
    folds: int = 5,
    seed: int = 0,
) -> Floats:
    """Return log-likelihood ratios from calibrators fitted without either speaker.

    Parameters
    ----------
    calibrator : callable
        Returns a new calibrator.
    similarities, same, circumstances
        As in `LogisticCalibrator.fit`.
    enrolled_speakers, probe_speakers : np.ndarray, shape (t,), int
        Speakers in one numbering.
    folds : int
        Number of groups of speakers.

    Returns
    -------
    np.ndarray, shape (t,), float64
        Each comparison is tested by a calibrator fitted without the groups of its speakers.

    Raises
    ------
    UsageError
        If there are fewer than `LEAST_SPEAKERS` speakers, or a fold leaves nothing to fit.
    """
    fold_of = _dealt(np.concatenate([enrolled_speakers, probe_speakers]), folds, seed)
    groups = np.sort(np.stack([fold_of[enrolled_speakers], fold_of[probe_speakers]], axis=1))
    llrs = np.full(len(similarities), np.nan)
    for one, other in np.unique(groups, axis=0):
        tested = (groups == (one, other)).all(axis=1)
        known = np.asarray(~np.isin(groups, (one, other)).any(axis=1))
        fitted = calibrator().fit(similarities[known], same[known], circumstances.where(known))
        llrs[tested] = fitted.llr(similarities[tested], circumstances.where(tested))
    return llrs


def _dealt(speakers: Indices, folds: int, seed: int) -> Indices:
    """Return the fold of every speaker number, dealt out evenly and at random."""
    present = np.random.default_rng(seed).permutation(np.unique(speakers))
    if len(present) < LEAST_SPEAKERS:
        raise UsageError(
            f"{len(present)} speakers are too few to fit on some and test on others: "
            f"give {LEAST_SPEAKERS} or more"
        )
    fold_of = np.zeros(int(speakers.max(initial=-1)) + 1, np.int32)
    fold_of[present] = np.arange(len(present)) % min(folds, len(present))
    return fold_of


class Choice(NamedTuple):
    """Which measures a calibration should have, and why.

    Parameters
    ----------
    measures : tuple of str
        The set to use.
    costs : tuple of (tuple of str, float)
        Every set that was tried, and its cross-validated Cllr in bits.
    """

    measures: tuple[str, ...]
    costs: tuple[tuple[tuple[str, ...], float], ...]


def choose_measures(  # noqa: PLR0913 - the columns of a table of comparisons
    similarities: Floats,
    same: Flags,
    circumstances: Circumstances,
    enrolled_speakers: Indices,
    probe_speakers: Indices,
    *,
    prior: float = 0.01,
    folds: int = 5,
    seed: int = 0,
) -> Choice:
    """Choose the measures that help with speakers outside the fit.

    A larger set wins if it lowers the cross-validated Cllr by more than `WORTHWHILE` of the cost of
    the best smaller one.

    Parameters
    ----------
    similarities, same, circumstances, enrolled_speakers, probe_speakers, folds, seed
        As in `cross_validated_llr`.
    prior : float
        As in `LogisticCalibrator`.

    Raises
    ------
    UsageError
        As `cross_validated_llr`.
    """
    costs: list[tuple[tuple[str, ...], float]] = []
    chosen, least = CHOICES[0], np.inf
    for measures in CHOICES:
        llrs = cross_validated_llr(
            partial(LogisticCalibrator, measures, prior=prior),
            similarities,
            same,
            circumstances,
            enrolled_speakers,
            probe_speakers,
            folds=folds,
            seed=seed,
        )
        cost = ratio_cost(llrs, same)
        costs.append((measures, cost))
        if cost < least * (1 - WORTHWHILE):
            chosen, least = measures, cost
    return Choice(chosen, tuple(costs))
