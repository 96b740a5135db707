"""Calibrating: from trials of known speakers to scores that mean something, and thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from membrane.errors import UsageError
from membrane.evaluation.conditions import Condition
from membrane.evaluation.corpora.labels import counted
from membrane.evaluation.evaluation import Listen, hear_trials, probes_in
from membrane.evaluation.intervals import Estimate, estimates
from membrane.evaluation.metrics import Floats, ScoredTrials
from membrane.evaluation.scoring import Comparisons, Voiceprints, compare, pooled, score
from membrane.evaluation.trials import Trials
from membrane.evaluation.voices import Heard
from membrane.voice.calibration import Calibration
from membrane.voice.calibrator import (
    Choice,
    LogisticCalibrator,
    choose_measures,
    cross_validated_llr,
)
from membrane.voice.levels import (
    COUNTED,
    EXTRAPOLATED,
    LEVELS,
    Threshold,
    extrapolated_threshold,
    pairs_needed,
    supported,
    threshold_at,
)
from membrane.voice.normalisation import Normalisation
from membrane.voice.voice import Voice

LEAST_DIFFERENCE_S = 0.3
"""Net speech by which two cuts of a probe differ at least, or one of them was not cut."""


@dataclass(frozen=True, eq=False)
class HeardTrials:
    """Trials whose recordings have been heard, in some conditions.

    Parameters
    ----------
    trials : Trials
    voiceprints : Voiceprints
    probes : dict of str to list of Heard
        By the name of the condition.
    """

    trials: Trials
    voiceprints: Voiceprints
    probes: Mapping[str, Sequence[Heard]]

    @classmethod
    def of(
        cls,
        trials: Trials,
        listen: Listen,
        conditions: Sequence[Condition],
        *,
        enrolling: bool = True,
    ) -> HeardTrials:
        """Hear what is enrolled as it is, and every probe in every condition."""
        heard = hear_trials(trials, listen, conditions, enrolling=enrolling)
        return cls(
            trials,
            Voiceprints.of(trials, heard, enrolling=enrolling),
            {one.name: probes_in(one, trials, heard) for one in conditions},
        )

    def compare(self, normalisation: Normalisation) -> dict[str, Comparisons]:
        """Compare every pair, in each condition by name."""
        return {
            name: compare(self.trials, self.voiceprints, probes, normalisation)
            for name, probes in self.probes.items()
        }

    def scored(self, voice: Voice, normalisation: Normalisation) -> ScoredTrials:
        """Return the scores and decisions of a voice, of all conditions."""
        return score(pooled(list(self.compare(normalisation).values())), voice)


def pairs_of_speakers(compared: Comparisons) -> int:
    """Return how many different pairs of two people were compared."""
    ends = np.stack([compared.enrolled_speakers, compared.probe_speakers])[:, ~compared.same]
    return len(np.unique(np.sort(ends, axis=0), axis=1).T)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, and what it changes.

    Parameters
    ----------
    calibration : Calibration
    choice : Choice
        Which circumstances it looks at, and why.
    pairs : int
        Different pairs of two people.
    before, after : dict of str to Estimate
        Measures of the trials reported on, with what was in use before and with this calibration.
    reported_on : str
        Whose trials those are.
    """

    calibration: Calibration
    choice: Choice
    pairs: int
    before: Mapping[str, Estimate]
    after: Mapping[str, Estimate]
    reported_on: str


@dataclass(frozen=True)
class Goal:
    """What a calibration shall reach.

    Parameters
    ----------
    level : {"convenient", "balanced", "strict"}
        The security level that must be reached.
    fmr : float or None
        What it shall mean, a rate; by default what it always means.
    extrapolate : bool
        Take levels that the trials cannot show from the fitted model.
    """

    level: str = "balanced"
    fmr: float | None = None
    extrapolate: bool = False

    @property
    def levels(self) -> dict[str, float]:
        """Every security level and its false match rate, the one that must be reached first."""
        rates = {**LEVELS, self.level: self.fmr or LEVELS[self.level]}
        return {self.level: rates.pop(self.level), **rates}


def calibrate(  # noqa: PLR0913 (each is a choice of its own)
    choosing: HeardTrials,
    before: Voice,
    goal: Goal,
    normalisation: Normalisation,
    *,
    reporting: HeardTrials | None = None,
    resamples: int = 200,
    provenance: Mapping[str, Any] | None = None,
) -> Calibrated:
    """Fit scores to trials, choose thresholds, and measure what they change.

    Parameters
    ----------
    choosing : HeardTrials
        Trials to fit to.
    before : Voice
        What is in use now.
    goal : Goal
    normalisation : Normalisation
        What similarities go through from now on.
    reporting : HeardTrials or None
        Trials of other speakers to report on; by default those of `choosing`, each scored by a fit
        that saw neither of its two speakers.
    resamples : int
        Of the speakers, for the intervals.
    provenance : dict, optional

    Raises
    ------
    UsageError
        If the trials cannot show the rate asked for.
    """
    by_condition = choosing.compare(normalisation)
    compared = pooled(list(by_condition.values()))
    pairs = pairs_of_speakers(compared)
    _require_support(goal, pairs)
    choice = choose_measures(**_columns(compared), **_ends(compared))
    fitted = LogisticCalibrator(choice.measures).fit(**_columns(compared))
    scores = fitted.llr(compared.alike.normalised, compared.circumstances)
    calibration = Calibration(
        encoder=before.judge.encoder,
        normalisation=normalisation.name,
        line=fitted.line_,
        thresholds=_thresholds(goal, scores[~compared.same], pairs),
        gains=_gains(by_condition, fitted),
        provenance=provenance or {},
    )
    judge = replace(before.judge, given=calibration, level=goal.level, cosine=None, normalise="")
    after = replace(before, judge=judge)
    if reporting is None:
        rescored = _scored_unseen(compared, choice, after)
    else:
        rescored = reporting.scored(after, normalisation)
    judged = (reporting or choosing).scored(before, before.judge.normalisation)
    return Calibrated(
        calibration=calibration,
        choice=choice,
        pairs=pairs,
        before=estimates(judged, resamples=resamples),
        after=estimates(rescored, resamples=resamples),
        reported_on=(
            "the same trials, each scored without its two speakers"
            if reporting is None
            else "speakers that were held back"
        ),
    )


def _scored_unseen(compared: Comparisons, choice: Choice, voice: Voice) -> ScoredTrials:
    """Return the trials, each scored by a fit that saw neither of its two speakers."""
    calibrator = partial(LogisticCalibrator, choice.measures)
    scores = cross_validated_llr(calibrator, **_columns(compared), **_ends(compared))
    accepted = voice.judge.accepts(scores, compared.alike.stretches)
    return replace(score(compared, voice), scores=scores, accepted=accepted)


def _columns(compared: Comparisons) -> dict[str, Any]:
    return {
        "similarities": compared.alike.normalised,
        "same": compared.same,
        "circumstances": compared.circumstances,
    }


def _ends(compared: Comparisons) -> dict[str, Any]:
    return {
        "enrolled_speakers": compared.enrolled_speakers,
        "probe_speakers": compared.probe_speakers,
    }


def _require_support(goal: Goal, pairs: int) -> None:
    wanted = goal.levels[goal.level]
    if supported(pairs) > wanted and not goal.extrapolate:
        raise UsageError(
            f"{counted(pairs, 'pair')} of speakers can show a false match rate of "
            f"{supported(pairs):.2%}, not {wanted:.2%} ({pairs_needed(wanted):,} pairs): "
            "give more speakers, a higher --fmr, or --extrapolate to take it from the fitted model"
        )


def _thresholds(goal: Goal, impostors: Floats, pairs: int) -> dict[str, Threshold]:
    """Return the threshold of every level that is supported, or extrapolated if asked for."""
    found = {}
    for level, fmr in goal.levels.items():
        counts = supported(pairs) <= fmr
        if counts or goal.extrapolate:
            llr = (threshold_at if counts else extrapolated_threshold)(fmr, impostors)
            support = COUNTED if counts else EXTRAPOLATED
            found[level] = Threshold(llr, fmr, support, trials=len(impostors), pairs=pairs)
    return found


def _gains(
    by_condition: Mapping[str, Comparisons], fitted: LogisticCalibrator
) -> tuple[tuple[float, float], ...]:
    """Return median speech and median score of honest trials, for each length probes were cut to.

    Only probes that were cut to every one of these lengths count, so that nothing else differs.
    """
    cut = [part for name, part in by_condition.items() if name.endswith(" s")]
    speech = [_by_pair(part, part.circumstances.of("speech")) for part in cut]
    everywhere = set(speech[0]).intersection(*speech[1:]) if speech else set()
    longer = [
        pair
        for pair in everywhere
        if min(np.diff(sorted(one[pair] for one in speech)), default=1.0) >= LEAST_DIFFERENCE_S
    ]
    if not longer:
        return ()
    medians = []
    for part, seconds in zip(cut, speech, strict=True):
        scores = _by_pair(part, fitted.llr(part.alike.normalised, part.circumstances))
        both = np.median([(seconds[pair], scores[pair]) for pair in longer], axis=0).tolist()
        medians.append((round(both[0], 2), round(both[1], 3)))
    return tuple(sorted(medians))


def _by_pair(part: Comparisons, values: Floats) -> dict[tuple[int, int], float]:
    """Return the values of honest trials by who is enrolled and which probe it is."""
    columns = (part.enrolled, part.probes, values)
    honest = zip(*(column[part.same].tolist() for column in columns), strict=True)
    return {(enrolled, probe): value for enrolled, probe, value in honest}
