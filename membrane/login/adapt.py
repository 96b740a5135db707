"""Adaptation: a login that is beyond doubt renews an ageing voiceprint.

Voices change, and a voiceprint does not. Where the owner of the database wants it (``--adapt``),
a login joins the enrolled utterances. What keeps anybody from walking the voiceprint to their own
voice, one login after another:

- A login must be far above what even `strict` asks for, in words, voice and sound (`may_adapt`).
- It is held against the voiceprint as it was *enrolled*, never against what earlier logins made
  of it: no chain of small steps leads away.
- All adapted utterances together weigh at most as much as the enrolled ones (`adapted`): the
  voiceprint never moves further than half of the way to a voice that was taken for the person's.
- At most `MOST_ADAPTED` of them are kept, and one is added in `AGEING` at most.
- They are marked, and leaving them out gives the enrolled vector again, bit for bit
  (`without_adaptation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from membrane.audio.quality import Quality
from membrane.login.decision import Decision
from membrane.store.voiceprint import EnrolledUtterance, Voiceprint, mean_vector, utc_now
from membrane.voice.voice import VoiceMatch

MARGIN = 2.0
"""By how much the log-likelihood ratio must be above the threshold of `strict`, in natural
logarithms. From `balanced` to `strict` strangers become ten times rarer, and the shipped thresholds
rise by 2.6 (`resemblyzer`) and 3.3 (`membrane`). If that tail goes on as it begins, one stranger's
comparison in 40,000 or fewer is above this. Of honest logins with six digits 7 to 22 % are, and 6
to 7 % of short sentences, of speakers that this was chosen on: enough, because one in weeks is."""

STRETCH_MARGIN = 0.05
"""By how much the cosine of the least similar stretch must be above its threshold, which one in a
hundred strangers' stretches reaches: a login that nearly failed there is not beyond doubt. No
honest login that `MARGIN` let pass was lost to it."""

LEAST_SPEECH_S = 2.0
"""Seconds of net speech: six digits are hardly ever shorter, and what is kept should be no worse
than the phrases of an enrolment."""

LEAST_SNR_DB = 25.0
"""Decibels above the noise: below it a recording may be denoised, and what would be learnt is the
room and what denoising left."""

MOST_CLIPPED = 0.005
"""Share of clipped speech: a quarter of what a login may have."""

AGEING = timedelta(days=14)
"""Since the last change of the voiceprint. A voice changes in months and years; and whoever is let
in by luck must be so five times in ten weeks to have moved it as far as it goes."""

MOST_ADAPTED = 5
"""Adapted utterances that are kept: at one in two weeks, the last ten weeks."""


@dataclass(frozen=True)
class Login:
    """What a login showed.

    Parameters
    ----------
    anchored : VoiceMatch
        Of the same recording, with the voiceprint as it was enrolled (`without_adaptation`).
    strict : float or None
        The least log-likelihood ratio that `strict` accepts; None where the calibration does not
        reach it.
    """

    decision: Decision
    anchored: VoiceMatch
    strict: float | None


def may_adapt(voiceprint: Voiceprint, login: Login, now: datetime) -> bool:
    """Return whether a login may renew a voiceprint.

    Parameters
    ----------
    voiceprint : Voiceprint
        As it is stored.
    now : datetime
        With its time zone.
    """
    decision = login.decision
    return (
        decision.command == "verify"
        and decision.accepted
        and decision.encoder == voiceprint.encoder
        and decision.words is not None
        and decision.words.accepted
        and _is_beyond_doubt(login)
        and _is_clear(decision.quality)
        and _is_ageing(voiceprint, now)
    )


def adapted(voiceprint: Voiceprint, utterance: EnrolledUtterance) -> Voiceprint:
    """Return a voiceprint that a login has renewed.

    Parameters
    ----------
    utterance : EnrolledUtterance
        What was heard at the login, by the encoder of the voiceprint.

    Raises
    ------
    UsageError
        If no enrolled utterance counts.
    """
    enrolled = without_adaptation(voiceprint).utterances
    renewing = [one for one in voiceprint.utterances if one.adapted]
    renewing.append(replace(utterance, adapted=True))
    kept = renewing[-MOST_ADAPTED:]
    return _made_of(voiceprint, (*enrolled, *_bounded(kept, _length(enrolled))))


def without_adaptation(voiceprint: Voiceprint) -> Voiceprint:
    """Return a voiceprint as it was enrolled; the same one if no login has renewed it.

    Raises
    ------
    UsageError
        If no enrolled utterance counts.
    """
    enrolled = tuple(one for one in voiceprint.utterances if not one.adapted)
    if len(enrolled) == len(voiceprint.utterances):
        return voiceprint
    return _made_of(voiceprint, enrolled)


def _is_beyond_doubt(login: Login) -> bool:
    """Return whether the voice is far above what is enough; one's own threshold tells no doubt."""
    match = login.anchored
    if match.score is None or login.strict is None:
        return False
    return (
        match.score >= login.strict + MARGIN
        and match.stretch >= match.stretch_threshold + STRETCH_MARGIN
    )


def _is_clear(quality: Quality) -> bool:
    return (
        quality.speech_s >= LEAST_SPEECH_S
        and quality.snr_db >= LEAST_SNR_DB
        and quality.clipped <= MOST_CLIPPED
    )


def _is_ageing(voiceprint: Voiceprint, now: datetime) -> bool:
    try:
        return now - datetime.fromisoformat(voiceprint.updated_at) >= AGEING
    except (TypeError, ValueError):  # no date, or one without its time zone
        return False


def _bounded(
    renewing: Sequence[EnrolledUtterance], enrolled_length: float
) -> list[EnrolledUtterance]:
    """Let each of some utterances add at most its share of what the enrolled ones add."""
    share = enrolled_length / MOST_ADAPTED
    return [
        replace(one, weight=min(1.0, share / float(np.linalg.norm(one.partial_sum))))
        for one in renewing
    ]


def _length(utterances: Sequence[EnrolledUtterance]) -> float:
    total = sum((one.weight * one.partial_sum for one in utterances), np.zeros(1))
    return float(np.linalg.norm(total))


def _made_of(voiceprint: Voiceprint, utterances: tuple[EnrolledUtterance, ...]) -> Voiceprint:
    return replace(
        voiceprint, vector=mean_vector(utterances), utterances=utterances, updated_at=utc_now()
    )
