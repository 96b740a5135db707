"""Which circumstances a calibration should know of: judged on speakers it was not fitted on."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError
from membrane.voice.calibrator import LogisticCalibrator
from membrane.voice.ratio import MEASURES, Circumstances

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int32]

CHOICES: tuple[tuple[str, ...], ...] = ((), MEASURES[:1], MEASURES[:2], MEASURES)
"""Sets of measures that are tried, each with one more."""

WORTHWHILE = 0.01
"""Share of the cost that another measure must save to be taken."""


LEAST_SPEAKERS = 4
"""For cross-validation: where two are tested, two remain to be told apart."""


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
    """Return log-likelihood ratios from calibrators that knew neither speaker.

    Parameters
    ----------
    calibrator : callable
        Makes one that is not fitted yet.
    similarities, same, circumstances
        As in `LogisticCalibrator.fit`.
    enrolled_speakers, probe_speakers : np.ndarray, shape (t,), int
        Speakers in one numbering.
    folds : int
        Groups that the speakers are dealt into.
    seed : int

    Returns
    -------
    np.ndarray, shape (t,), float64
        A comparison of speakers of two groups is tested by a calibrator fitted without both.

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
    """Choose the measures that help with speakers who were not fitted on.

    A larger set is taken where it lowers the cross-validated Cllr by more than `WORTHWHILE` of
    what the best smaller one costs.

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
    costs = []
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
        costs.append((measures, ratio_cost(llrs, same)))
    chosen, least = costs[0]
    for measures, cost in costs[1:]:
        if cost < least * (1 - WORTHWHILE):
            chosen, least = measures, cost
    return Choice(chosen, tuple(costs))
