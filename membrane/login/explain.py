"""Why a voice was accepted or refused: what its score is to be compared with, and what moved it.

Conventions
-----------
*Alike* is the similarity that the judge ranks people by: the cosine, or the cosine after the mean
of strangers was taken away. Where the judge uses AS-norm it is the latter, because a stranger of
the cohort would be among the voices closest to itself. *Stretches* are raw cosines, as they are
when they decide.

A *change* is a difference of natural log-likelihood ratios; its exponential is a factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np

from membrane.errors import ModelUnavailable
from membrane.store.voiceprint import EnrolledUtterance, mean_vector
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.ratio import MEASURES, Circumstances, ratio_as_number
from membrane.voice.scoring import similarities

if TYPE_CHECKING:
    from membrane.login.compare import Compared
    from membrane.login.examine import Examined
    from membrane.voice.calibration import Calibration
    from membrane.voice.judge import Judge
    from membrane.voice.voice import Voice, VoiceMatch

MORE_SPEECH_S = (0.5, 2.0)
"""What somebody is asked to say more, at least and at most: from a digit to some words."""

WORTH_SAYING = log(1.2)
"""Change below which it is not worth to ask for more speech."""


@dataclass(frozen=True)
class OwnSpread:
    """How alike the phrases of one enrolment are, each to the mean of the others.

    Parameters
    ----------
    phrases : int
        Two or more.
    least, median, most : float
        Similarities.
    """

    phrases: int
    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Strangers:
    """How alike the strangers of the cohort are to one voice.

    Parameters
    ----------
    count : int
        Their number.
    closest, median : float
        Similarities.
    as_alike : int
        How many of them are as alike as probe and person are.
    """

    count: int
    closest: float
    median: float
    as_alike: int


@dataclass(frozen=True)
class Stretch:
    """One stretch of the probe.

    Parameters
    ----------
    start_s, stop_s : float, seconds
        In the probe's speech: silences were cut before. The last may reach beyond its end.
    similarity : float
        Raw cosine to the voiceprint.
    enough : bool
        Whether it reaches the threshold.
    """

    start_s: float
    stop_s: float
    similarity: float
    enough: bool


@dataclass(frozen=True)
class Cost:
    """What one measure of the circumstances did to the score.

    Parameters
    ----------
    measure : {"speech", "snr", "enrolled"}
        Which measure.
    value : float
        Seconds or dB.
    best : float or None
        The best that the calibration has seen; None where it does not look at the measure.
    change : float or None
        How much higher the score of the same similarity would be at the best; negative where the
        same similarity would then count for less, as that of a stranger does.
    """

    measure: str
    value: float
    best: float | None
    change: float | None


@dataclass(frozen=True)
class Gain:
    """What more speech does to the scores of honest logins, as `membrane calibrate` measured it.

    Parameters
    ----------
    speech_s, more_s : float, seconds
        Net speech of this probe, and how much more.
    change : float
        Of the median score.
    """

    speech_s: float
    more_s: float
    change: float


@dataclass(frozen=True)
class Explanation:
    """Why a voice was accepted or refused.

    Parameters
    ----------
    verdict : str
        What decided, in plain words.
    normalisation : {"none", "centre"}
        What *alike* went through.
    alike : float or None
        How alike probe and person are; None where it is withheld.
    own : OwnSpread or None
        None where there are no two phrases, or it is withheld.
    strangers, strangers_of_person : Strangers or None
        Those of the cohort beside the probe, and beside the person (or the first recording); None
        where there is no cohort, or they are withheld.
    stretches : tuple of Stretch
        Empty where they are withheld.
    stretch_threshold : float
        The least that each stretch may be.
    costs : tuple of Cost
        Empty where a threshold of one's own decides. That of the enrolment may be withheld.
    gain : Gain or None
        None where nothing was measured, or the measured gain is small.
    withheld : bool
        Whether all that would tell a person from the decoy of an unknown name was left out.
    """

    verdict: str
    normalisation: str
    alike: float | None
    own: OwnSpread | None
    strangers: Strangers | None
    strangers_of_person: Strangers | None
    stretches: tuple[Stretch, ...]
    stretch_threshold: float
    costs: tuple[Cost, ...]
    gain: Gain | None
    withheld: bool

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as plain values, ready for a JSON encoder."""
        plain = asdict(self)
        for name in ("stretches", "costs"):
            plain[name] = list(plain[name])
        return plain


def explanation_of(
    match: VoiceMatch,
    compared: Compared,
    examined: Examined,
    *,
    voice: Voice,
    withhold: bool = False,
) -> Explanation:
    """Explain a comparison of voices.

    Parameters
    ----------
    match : VoiceMatch
        What was decided.
    compared : Compared
        What the probe was compared with.
    examined : Examined
        The probe.
    voice : Voice
        By which it was decided.
    withhold : bool
        Leave out what would tell a person from the decoy of an unknown name: how alike they are
        to the probe, its stretches, their own phrases and strangers, and how much they said when
        they were enrolled. (The similarity and the same without what all voices share are enough
        to find out how much of the latter a voiceprint has; a decoy has less.)
    """
    probe, judge = examined.embedding.vector, voice.judge
    ranking = judge.ranking
    alike = float(ranking.similarities(compared.vector[np.newaxis], probe)[0])
    stretches = () if withhold else _stretches(match, compared.vector, examined.embedding)
    circumstances = examined.circumstances(compared.speech_s)
    words_pass = examined.words is None or examined.words.accepted
    explanation = Explanation(
        verdict=_verdict(match, stretches, words_pass=words_pass),
        normalisation=ranking.name,
        alike=alike,
        own=_own_spread(judge, compared.phrases),
        strangers=_strangers(judge, probe, alike),
        strangers_of_person=_strangers(judge, compared.vector, alike),
        stretches=stretches,
        stretch_threshold=match.stretch_threshold,
        costs=_costs(judge, compared.vector, probe, circumstances),
        gain=_gain(judge, examined.prepared.quality.speech_s),
        withheld=withhold,
    )
    return _withheld(explanation) if withhold else explanation


def _withheld(explanation: Explanation) -> Explanation:
    costs = tuple(cost for cost in explanation.costs if cost.measure != "enrolled")
    return replace(
        explanation, alike=None, own=None, strangers=None, strangers_of_person=None, costs=costs
    )


def _verdict(match: VoiceMatch, stretches: Sequence[Stretch], *, words_pass: bool) -> str:
    """Return what decided, and by how much."""
    if match.accepted and not words_pass:
        return "The voice was good enough; the words were not."
    unlike = sum(not stretch.enough for stretch in stretches)
    if match.mixed:
        were = "was" if unlike == 1 else "were"
        return f"The whole was good enough; {unlike} of {len(stretches)} stretches {were} not."
    said = _margin(match)
    if unlike and not match.accepted:
        are = "is" if unlike == 1 else "are"
        said += f" {unlike} of {len(stretches)} stretches {are} not alike enough either."
    return said if words_pass else f"{said} The words were wrong, too."


def _margin(match: VoiceMatch) -> str:
    if match.score is None or match.score_threshold is None:
        return f"The similarity is {'' if match.accepted else 'not '}enough."
    factor = ratio_as_number(abs(match.score - match.score_threshold))
    if match.accepted:
        return f"The ratio is {factor} times what is needed."
    return f"The ratio falls short by a factor of {factor}."


def _own_spread(judge: Judge, phrases: Sequence[EnrolledUtterance]) -> OwnSpread | None:
    counted = [phrase for phrase in phrases if phrase.weight > 0]
    if len(counted) < 2:
        return None
    others = [mean_vector(counted[:i] + counted[i + 1 :]) for i in range(len(counted))]
    alike = [
        float(judge.ranking.similarities(other[np.newaxis], phrase.vector)[0])
        for other, phrase in zip(others, counted, strict=True)
    ]
    return OwnSpread(len(counted), min(alike), float(np.median(alike)), max(alike))


def _strangers(judge: Judge, voice: Vector, alike: float) -> Strangers | None:
    try:
        cohort = judge.strangers
    except ModelUnavailable:
        return None  # a judge that needs none was not stopped by that, either
    theirs = judge.ranking.matrix(cohort.vectors, voice[np.newaxis])[:, 0]
    return Strangers(
        count=len(theirs),
        closest=float(theirs.max()),
        median=float(np.median(theirs)),
        as_alike=int(np.count_nonzero(theirs >= alike)),
    )


def _stretches(match: VoiceMatch, vector: Vector, probe: Embedding) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(
            start_s=round(float(start_s), 2),
            stop_s=round(float(stop_s), 2),
            similarity=float(one),
            enough=bool(one >= match.stretch_threshold),
        )
        for (start_s, stop_s), one in zip(
            probe.spans_s, similarities(probe.partials, vector), strict=True
        )
    )


def _costs(
    judge: Judge, vector: Vector, probe: Vector, circumstances: Circumstances
) -> tuple[Cost, ...]:
    if judge.cosine is not None:
        return ()
    line = judge.calibration.line
    alike = float(judge.normalisation.similarities(vector[np.newaxis], probe)[0])
    best = {influence.measure: influence.high for influence in line.influences}
    return tuple(
        Cost(
            measure=measure,
            value=float(circumstances.of(measure)),
            best=best.get(measure),
            change=_change(judge.calibration, alike, circumstances, measure, best[measure])
            if measure in best
            else None,
        )
        for measure in MEASURES
    )


def _change(
    calibration: Calibration,
    alike: float,
    circumstances: Circumstances,
    measure: str,
    best: float,
) -> float:
    """Return what the best of one measure would add to the score of a similarity."""
    values = {name: circumstances.of(name) for name in MEASURES}
    improved = Circumstances(*(np.asarray(best) if n == measure else v for n, v in values.items()))
    now, then = (calibration.llr(alike, one) for one in (circumstances, improved))
    return float(then - now)


def _gain(judge: Judge, speech_s: float) -> Gain | None:
    """Return what more speech does to honest logins, if that was measured and is worth saying.

    Between the lengths that were measured the median score is interpolated on the logarithm of
    the seconds, as the calibration itself takes them; beyond them nothing is said, so
    that less is asked for near the longest.
    """
    if judge.cosine is not None or len(judge.calibration.gains) < 2:
        return None
    seconds, scores = np.array(judge.calibration.gains).T
    least_s, most_s = MORE_SPEECH_S
    # In halves of a second, as a person would say it.
    more_s = np.floor(2 * min(most_s, seconds[-1] - speech_s)) / 2
    if speech_s < seconds[0] or more_s < least_s:
        return None
    now, then = np.interp(np.log([speech_s, speech_s + more_s]), np.log(seconds), scores)
    change = float(then - now)
    return Gain(speech_s, float(more_s), change) if change >= WORTH_SAYING else None
