"""Metrics: how often a speaker verification system errs, from the scores of its trials.

Conventions
-----------
A larger score means more alike, and a trial is accepted where ``score >= threshold``. A *genuine*
trial compares a person with themself (``same`` is True), an *impostor* trial with somebody else.
Rates are fractions, costs have no unit, and information is in bits. Equal scores always fall on
the same side of a threshold, so a curve has a point for each *distinct* score, one step at most per
point, and one more point for accepting nothing.

The functions of a whole curve take optional `weights`: a trial of weight 2 counts as if it were
there twice, one of weight 0 as if it were not there. That is how `intervals` resamples speakers
without sorting the scores again (`Ranked`).

What cannot be computed is not-a-number: a rate of nothing, or an FNMR at an FMR that the impostor
trials are too few to show.

Metrics
-------
- `det_curve`: the false match rate (FMR) and false non-match rate (FNMR) at every threshold.
- `equal_error_rate`: where the two are equal.
- `min_detection_cost`: the normalised detection cost at its best threshold (minDCF).
- `llr_cost` and `min_llr_cost`: Cllr, and what of it remains after the best calibration.
- `at_fmr`: the threshold that a false match rate asks for, and the false non-match rate there.
- `decision_measures`: every rate of the decisions that were made, under the names of three
  communities.
- `Searches`: how often a search among all enrolled people finds the right one, and the wrong one.
- `Measurement`: all of these.

The terms are those of ISO/IEC 19795-1:2021, "Biometric performance testing and reporting".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from membrane.errors import UsageError

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ScoredTrials:
    """Trials that were scored; those of refused or unreadable recordings are not among them.

    Parameters
    ----------
    scores : np.ndarray, shape (t,), float64
        Log-likelihood ratios (natural log), or whatever the system under test gives; larger is
        more alike.
    similarities : np.ndarray, shape (t,), float64
        Raw cosines.
    accepted : np.ndarray, shape (t,), bool
        What `verify` would decide of the voice, at the threshold in use.
    same : np.ndarray, shape (t,), bool
        Whether both are the same person.
    enrolled, probes : np.ndarray, shape (t,), int32
        Index of the enrolled person, and of the probe.
    enrolled_speakers, probe_speakers : np.ndarray, shape (t,), int32
        Index of their speakers, in one numbering.
    """

    scores: Floats
    similarities: Floats
    accepted: Flags
    same: Flags
    enrolled: Indices
    probes: Indices
    enrolled_speakers: Indices
    probe_speakers: Indices

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: Flags) -> ScoredTrials:
        """Return some of the trials.

        Parameters
        ----------
        chosen : np.ndarray, shape (t,), bool
        """
        return ScoredTrials(*(getattr(self, field.name)[chosen] for field in fields(self)))


NAN = float("nan")


class Measure(NamedTuple):
    """What a measure is called, how it is shown, and what it says.

    Parameters
    ----------
    title : str
    kind : {"rate", "cost", "bits", "score"}
    meaning : str
        One sentence.
    """

    title: str
    kind: Literal["rate", "cost", "bits", "score"]
    meaning: str


MEASURES = {
    "eer": Measure(
        "equal error rate (EER)",
        "rate",
        "The rate at a threshold where strangers are accepted as often as the right person is"
        " refused: one number to compare systems by, not what happens at a login.",
    ),
    "min_dcf_01": Measure(
        "minDCF, 1 % genuine, normalised",
        "cost",
        "What the errors cost at the best threshold if 1 attempt in 100 is the right "
        "person's; 1 is the cost of a system that never lets anybody in.",
    ),
    "min_dcf_05": Measure(
        "minDCF, 5 % genuine, normalised",
        "cost",
        "The same if 1 attempt in 20 is the right person's.",
    ),
    "cllr": Measure(
        "Cllr",
        "bits",
        "How much is lost if scores are taken for log-likelihood ratios: 0 bit is perfect, "
        "and 1 bit is what a system costs that says nothing.",
    ),
    "min_cllr": Measure(
        "minCllr",
        "bits",
        "The same after the best possible calibration, so that the difference to Cllr is what"
        " calibration could still gain.",
    ),
    "fmr": Measure(
        "false match rate (FMR) at the threshold",
        "rate",
        "How often a stranger's voice is accepted at the threshold in use.",
    ),
    "fnmr": Measure(
        "false non-match rate (FNMR) at the threshold",
        "rate",
        "How often the right person's voice is refused at the threshold in use.",
    ),
    "fnmr_at_fmr_1": Measure(
        "FNMR at FMR 1 %",
        "rate",
        "How often the right person is refused if the threshold lets 1 stranger in 100 pass.",
    ),
    "fnmr_at_fmr_01": Measure(
        "FNMR at FMR 0.1 %",
        "rate",
        "How often the right person is refused if the threshold lets 1 stranger in 1,000 pass.",
    ),
    "threshold_at_fmr_1": Measure(
        "threshold for FMR 1 %",
        "score",
        "The score from which at most 1 stranger in 100 is accepted.",
    ),
    "threshold_at_fmr_01": Measure(
        "threshold for FMR 0.1 %",
        "score",
        "The score from which at most 1 stranger in 1,000 is accepted.",
    ),
    "rank_1": Measure(
        "identified at rank 1",
        "rate",
        "How often the right person is the most alike of all the enrolled, if the speaker is "
        "known to be one of them.",
    ),
    "rank_5": Measure(
        "identified within rank 5",
        "rate",
        "How often the right person is among the five most alike of the enrolled.",
    ),
    "tpir": Measure(
        "true positive identification rate",
        "rate",
        "How often a search that may also find nobody puts an enrolled speaker first and "
        "accepts them at the threshold in use.",
    ),
    "fpir": Measure(
        "false positive identification rate",
        "rate",
        "How often a search for somebody who is not enrolled finds anybody at the threshold "
        "in use.",
    ),
    "positive_accuracy": Measure(
        "positive accuracy",
        "rate",
        "The share of comparisons of one person that are accepted (the name in "
        "You-Only-Speak-Once), which is 1 - FNMR.",
    ),
    "negative_accuracy": Measure(
        "negative accuracy",
        "rate",
        "The share of comparisons of two people that are refused (the name in "
        "You-Only-Speak-Once), which is 1 - FMR.",
    ),
    "sensitivity": Measure(
        "sensitivity",
        "rate",
        "Positive accuracy, under the name that SpeechIdentity gives it.",
    ),
    "specificity": Measure(
        "specificity",
        "rate",
        "Negative accuracy, under the name that SpeechIdentity gives it.",
    ),
    "precision": Measure(
        "precision",
        "rate",
        "The share of accepted comparisons that were of one person, which depends on how many"
        " comparisons of two people were made.",
    ),
    "recall": Measure(
        "recall",
        "rate",
        "Positive accuracy, under the name that Membrane's first version gave it.",
    ),
    "accuracy": Measure(
        "accuracy",
        "rate",
        "The share of all comparisons that were decided rightly, of which most are of two "
        "people, so that it says little about the right person.",
    ),
}
"""Every measure by its key, in the order in which they are shown."""


def validate(
    scores: npt.ArrayLike, same: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> None:
    """Check that error rates can be computed of these trials.

    Parameters
    ----------
    scores : np.ndarray, shape (t,)
    same : np.ndarray, shape (t,), bool
    weights : np.ndarray, shape (t,), optional

    Raises
    ------
    UsageError
        If there are no trials, or of one kind only; if a score is not finite; if the shapes differ
        or a weight is negative.
    """
    values, flags = np.asarray(scores), np.asarray(same)
    counts = np.ones(values.shape) if weights is None else np.asarray(weights)
    if values.ndim != 1 or not values.shape == flags.shape == counts.shape:
        raise UsageError("scores, labels and weights differ in number: give one of each per trial")
    bad = int((~np.isfinite(values)).sum())
    kinds = flags.astype(bool)[counts > 0]
    wrong = {
        f"{bad} of {len(values)} scores are not finite numbers: leave them out": bad > 0,
        "a trial's weight is negative or not a number: use 0 or more": not (counts >= 0).all(),
        "there are no trials: an error rate needs some of both kinds": not len(kinds),
        "no trial compares a person with themself: an error rate needs both kinds": (
            not kinds.any()
        ),
        "no trial compares two different people: an error rate needs both kinds": kinds.all(),
    }
    for problem, found in wrong.items():
        if found:
            raise UsageError(problem)


@dataclass(frozen=True, eq=False)
class DetCurve:
    """Both error rates at every threshold that makes a difference.

    Parameters
    ----------
    thresholds : np.ndarray, shape (k + 1,)
        The distinct scores, increasing, then infinity: from accepting all to accepting nothing.
    fmr, fnmr : np.ndarray, shape (k + 1,)
        From 1 to 0, and from 0 to 1.
    genuine, impostor : np.ndarray, shape (k,)
        Weight of the trials of each kind at each distinct score.
    """

    thresholds: Floats
    fmr: Floats
    fnmr: Floats
    genuine: Floats
    impostor: Floats


@dataclass(frozen=True, eq=False)
class Ranked:
    """Trials that were sorted once, so that a curve for other weights is quick.

    Parameters
    ----------
    levels : np.ndarray, shape (k,)
        The distinct scores, increasing.
    cells : np.ndarray, shape (t,), int
        For each trial twice the place of its score in `levels`, plus 1 if it is genuine.
    """

    levels: Floats
    cells: npt.NDArray[np.intp]

    @classmethod
    def of(cls, scores: Floats, same: Flags) -> Ranked:
        """Sort trials."""
        levels, places = np.unique(np.asarray(scores, np.float64), return_inverse=True)
        return cls(levels, 2 * places + np.asarray(same, bool))

    def curve(self, weights: Floats | None = None) -> DetCurve:
        """Return the curve of the trials with these weights."""
        mass = np.bincount(self.cells, weights, 2 * len(self.levels)).reshape(-1, 2)
        present = mass.any(axis=1)
        impostor, genuine = mass[present].astype(np.float64).T
        return DetCurve(
            thresholds=np.append(self.levels[present], np.inf),
            fmr=np.append(np.cumsum(impostor[::-1])[::-1], 0.0) / impostor.sum(),
            fnmr=np.insert(np.cumsum(genuine), 0, 0.0) / genuine.sum(),
            genuine=genuine,
            impostor=impostor,
        )


def det_curve(scores: Floats, same: Flags, *, weights: Floats | None = None) -> DetCurve:
    """Return FMR and FNMR at every distinct score, and for accepting nothing.

    Parameters
    ----------
    scores : np.ndarray, shape (t,)
    same : np.ndarray, shape (t,), bool
    weights : np.ndarray, shape (t,), optional

    Raises
    ------
    UsageError
        As `validate`; so do all that take these parameters.

    References
    ----------
    A. Martin and others, "The DET curve in assessment of detection task performance", Eurospeech
    1997.
    """
    validate(scores, same, weights)
    return Ranked.of(scores, same).curve(weights)


def equal_error_rate(curve: DetCurve) -> float:
    """Return the rate at which FMR and FNMR are equal.

    The two rates are steps and rarely meet at a threshold. Between the two neighbouring points of
    the curve where FNMR - FMR changes its sign, both are interpolated linearly, on the curve's own
    straight segment. A threshold that decides between two points by lot attains every point of
    that segment; so equal scores alone give 0.5, a monotone map of the scores changes nothing, and
    neither does negating them together with the labels.

    The convex hull of the curve gives a rate as low or lower, that of the best calibration
    (N. Brümmer, "Measuring, refining and calibrating speaker and language information extracted
    from speech", thesis, Stellenbosch 2010). It is not used here: on few trials it is optimistic,
    and no login draws lots between two distant thresholds.

    Parameters
    ----------
    curve : DetCurve
    """
    difference = curve.fnmr - curve.fmr
    after = int(np.argmax(difference >= 0))
    ends = slice(after - 1, after + 1)
    return float(np.interp(0.0, difference[ends], curve.fmr[ends]))


def min_detection_cost(curve: DetCurve, *, p_target: float) -> float:
    """Return the least normalised detection cost of all thresholds.

    ``(p_target * FNMR + (1 - p_target) * FMR) / min(p_target, 1 - p_target)``: both errors cost 1,
    and 1 is the cost of a system that always gives the better constant answer.

    Parameters
    ----------
    curve : DetCurve
    p_target : float, in (0, 1)
        Share of genuine trials that is assumed.

    References
    ----------
    NIST 2018 Speaker Recognition Evaluation Plan (p_target 0.01 on telephone speech, 0.05 on that
    of videos).
    """
    costs = p_target * curve.fnmr + (1 - p_target) * curve.fmr
    return float(costs.min() / min(p_target, 1 - p_target))


def llr_cost(curve: DetCurve) -> float:
    """Return Cllr: what it costs to take the scores for log-likelihood ratios, in bits.

    Scores that say nothing (all 0) cost 1 bit, misleading ones more. The number means something
    only of natural-log likelihood ratios; it is computed of any scores, and of cosines it says
    that they are none.

    Parameters
    ----------
    curve : DetCurve

    References
    ----------
    N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", Computer
    Speech and Language 20, 2006.
    """
    ratios = curve.thresholds[:-1]
    missed = np.logaddexp(0, -ratios) @ curve.genuine / curve.genuine.sum()
    matched = np.logaddexp(0, ratios) @ curve.impostor / curve.impostor.sum()
    return float((missed + matched) / (2 * np.log(2)))


def min_llr_cost(curve: DetCurve) -> float:
    """Return minCllr: Cllr after the best increasing map of the scores, in bits.

    The map is found by pooling adjacent violators (isotonic regression of the labels on the
    scores); equal scores are one pool from the start. `llr_cost` less this is what calibration
    would save.

    Parameters
    ----------
    curve : DetCurve

    References
    ----------
    As `llr_cost`; that the map is the best for every prior: N. Brümmer and J. du Preez, "The PAV
    algorithm optimizes binary proper scoring rules", arXiv:1304.2331, 2013.
    """
    from scipy.optimize import isotonic_regression
    from scipy.special import xlogy

    genuine = curve.genuine / curve.genuine.sum()
    impostor = curve.impostor / curve.impostor.sum()
    both = genuine + impostor
    # Of equally many of both kinds, the share of genuine ones is the posterior of a ratio of 1.
    posterior = np.clip(isotonic_regression(genuine / both, weights=both).x, 0.0, 1.0)
    bits = xlogy(genuine, posterior).sum() + xlogy(impostor, 1 - posterior).sum()
    return float(-bits / (2 * np.log(2)))


def at_fmr(curve: DetCurve, fmr: float) -> tuple[float, float]:
    """Return the least score that, as the threshold, has at most this FMR, and the FNMR there.

    The threshold is infinity if no score has. Nothing is interpolated: the FNMR is what such a
    threshold does. Both are not-a-number where there are fewer than ``1 / fmr`` impostor trials:
    the first false match would exceed the level already, so that none of theirs says where it lies.

    Parameters
    ----------
    curve : DetCurve
    fmr : float, in (0, 1)

    Returns
    -------
    threshold, fnmr : float
    """
    if curve.impostor.sum() < 1 / fmr:
        return NAN, NAN
    place = int(np.argmax(curve.fmr <= fmr))
    return float(curve.thresholds[place]), float(curve.fnmr[place])


def curve_measures(curve: DetCurve) -> dict[str, float]:
    """Return the measures that need the scores alone, no decisions and no names.

    Parameters
    ----------
    curve : DetCurve
    """
    (threshold_1, fnmr_1), (threshold_01, fnmr_01) = at_fmr(curve, 0.01), at_fmr(curve, 0.001)
    return {
        "eer": equal_error_rate(curve),
        "min_dcf_01": min_detection_cost(curve, p_target=0.01),
        "min_dcf_05": min_detection_cost(curve, p_target=0.05),
        "cllr": llr_cost(curve),
        "min_cllr": min_llr_cost(curve),
        "fnmr_at_fmr_1": fnmr_1,
        "fnmr_at_fmr_01": fnmr_01,
        "threshold_at_fmr_1": threshold_1,
        "threshold_at_fmr_01": threshold_01,
    }


def decision_measures(
    accepted: Flags, same: Flags, *, weights: Floats | None = None
) -> dict[str, float]:
    """Return every rate of the decisions that were made; not-a-number where it is of nothing.

    Some rates have several names: what biometrics calls 1 - FNMR is *sensitivity* in medicine,
    *recall* in information retrieval, and *positive accuracy* in reports of some speaker
    verification projects; 1 - FMR is *specificity* and *negative accuracy*.

    Parameters
    ----------
    accepted, same : np.ndarray, shape (t,), bool
    weights : np.ndarray, shape (t,), optional

    Returns
    -------
    dict of str to float
        By the keys of `MEASURES`.
    """
    cells = 2 * np.asarray(same, int) + np.asarray(accepted, bool)
    told_apart, false_matches, missed, matched = np.bincount(cells, weights, 4).tolist()
    genuine, impostor = matched + missed, false_matches + told_apart
    sensitivity, specificity = _share(matched, genuine), _share(told_apart, impostor)
    return {
        "fmr": _share(false_matches, impostor),
        "fnmr": _share(missed, genuine),
        "positive_accuracy": sensitivity,
        "negative_accuracy": specificity,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "precision": _share(matched, matched + false_matches),
        "recall": sensitivity,
        "accuracy": _share(matched + told_apart, genuine + impostor),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


@dataclass(frozen=True, eq=False)
class Searches:
    """Each probe as a search among all the enrolled people that it was compared with.

    A person may be enrolled several times; the most alike of their voiceprints counts. Of people
    who are equally alike the right one comes last: a tie is no success.

    Parameters
    ----------
    speakers : np.ndarray, shape (p,), int
        Who speaks in each probe.
    ranks : np.ndarray, shape (p,), int
        Place of the speaker among the enrolled people, 1 the most alike, where they are among
        them.
    known : np.ndarray, shape (p,), bool
        Whether the speaker is among them; nowhere, unless every probe was compared with at least
        two people.
    others : np.ndarray, shape (p,), bool
        Whether anybody else is among them.
    own_accepted, other_accepted : np.ndarray, shape (p,), bool
        Whether a voiceprint of the speaker was accepted, and one of anybody else.
    """

    speakers: npt.NDArray[np.intp]
    ranks: npt.NDArray[np.intp]
    known: Flags
    others: Flags
    own_accepted: Flags
    other_accepted: Flags

    @classmethod
    def of(cls, scored: ScoredTrials) -> Searches:
        """Search with every probe."""
        _, first, probes = np.unique(scored.probes, return_index=True, return_inverse=True)
        own = np.full(len(first), -np.inf)  # the greatest score of each probe with its speaker
        np.maximum.at(own, probes[scored.same], scored.scores[scored.same])
        ahead = ~scored.same & (scored.scores >= own[probes])
        people = _people(probes, scored.enrolled_speakers, len(first))
        return cls(
            speakers=scored.probe_speakers[first].astype(np.intp),
            ranks=1 + _people(probes[ahead], scored.enrolled_speakers[ahead], len(first)),
            known=(own > -np.inf) & (people.min(initial=2) >= 2),
            others=_any(probes[~scored.same], len(first)),
            own_accepted=_any(probes[scored.same & scored.accepted], len(first)),
            other_accepted=_any(probes[~scored.same & scored.accepted], len(first)),
        )

    def measures(self, weights: Floats | None = None) -> dict[str, float]:
        """Return every rate of searches by its key in `MEASURES`.

        ``rank_1`` and ``rank_5`` (closed-set) and ``tpir`` (open-set) are of the probes whose
        speaker is among the enrolled that they were compared with; not-a-number unless every probe
        was compared with two people or more: a choice of one is none. ``fpir`` is how often anybody
        is accepted for a speaker who is not enrolled (open-set): every probe stands for such a
        speaker, with the voiceprints of its own left out.

        Parameters
        ----------
        weights : np.ndarray, shape (p,), optional
            How many times each probe counts.
        """

        def mean(right: Flags, counted: Flags) -> float:
            counts = counted.astype(np.float64) if weights is None else counted * weights
            return _share(float(right @ counts), float(counts.sum()))

        return {
            "rank_1": mean(self.ranks == 1, self.known),
            "rank_5": mean(self.ranks <= 5, self.known),
            "tpir": mean((self.ranks == 1) & self.own_accepted, self.known),
            "fpir": mean(self.other_accepted, self.others),
        }


def _any(probes: npt.NDArray[np.intp], count: int) -> Flags:
    """Return which probes occur."""
    return np.bincount(probes, minlength=count) > 0


def _people(
    probes: npt.NDArray[np.intp], people: npt.NDArray[np.int32], count: int
) -> npt.NDArray[np.intp]:
    """Return the number of different people beside each probe."""
    span = int(people.max(initial=0)) + 1
    pairs = np.unique(probes * span + people)
    return np.bincount(pairs // span, minlength=count)


@dataclass(frozen=True, eq=False)
class Measurement:
    """Trials that were sorted and searched once, so that measuring them reweighted is quick.

    Parameters
    ----------
    scored : ScoredTrials
    ranked : Ranked
    searches : Searches
    """

    scored: ScoredTrials
    ranked: Ranked
    searches: Searches

    @classmethod
    def of(cls, scored: ScoredTrials) -> Measurement:
        """Check, sort and search; raises as `validate`."""
        validate(scored.scores, scored.same)
        return cls(scored, Ranked.of(scored.scores, scored.same), Searches.of(scored))

    def measures(
        self, weights: Floats | None = None, probe_weights: Floats | None = None
    ) -> dict[str, float]:
        """Return every measure of `MEASURES` by its key.

        Parameters
        ----------
        weights : np.ndarray, shape (t,), optional
            Of the trials; some of each kind must have one.
        probe_weights : np.ndarray, shape (p,), optional
            Of the probes as searches.
        """
        scored = self.scored
        found = {
            **curve_measures(self.ranked.curve(weights)),
            **decision_measures(scored.accepted, scored.same, weights=weights),
            **self.searches.measures(probe_weights),
        }
        return {key: found[key] for key in MEASURES}
