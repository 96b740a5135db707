"""Enrolment: whose voiceprint is stored, and who may add to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from membrane.audio.utterance import Utterance
from membrane.errors import Disagreement, EncoderMismatch, PoorQuality, Unavailable, UsageError
from membrane.login.claim import Claim
from membrane.login.compare import Compared
from membrane.login.examine import Examined, Examiner
from membrane.login.guard import Guard
from membrane.login.voices import Voices
from membrane.settings import Settings
from membrane.store.gallery import Gallery, Rows
from membrane.store.ownership import require_owner
from membrane.store.store import Store
from membrane.store.voiceprint import Voiceprint, mean_vector, utc_now
from membrane.voice.calibration import Circumstances
from membrane.voice.scoring import similarity
from membrane.voice.thresholds import threshold_for
from membrane.voice.voice import Voice

AGREEMENT = "enrolment"
"""Name of the threshold that the phrases of one enrolment must reach; it is lower than a login's,
because a single phrase is compared with few others, and an honest person should seldom be asked
again."""


@dataclass(frozen=True, eq=False)
class Enrolment:
    """A person who has been enrolled.

    Parameters
    ----------
    voiceprint : Voiceprint
        As it is stored now.
    also_known_as : str
        Somebody else of the database who sounds like the same person; empty if nobody does.
    """

    voiceprint: Voiceprint
    also_known_as: str


@dataclass(frozen=True, eq=False)
class Enroller:
    """Stores people, and adds to their voiceprints.

    Parameters
    ----------
    examiner : Examiner
        By the encoder of the settings.
    people : callable
        Returns everybody who is enrolled, in the space of `voices`.
    """

    settings: Settings
    store: Store
    guard: Guard
    voices: Voices
    examiner: Examiner
    people: Callable[[], Gallery]

    def enroll(
        self, made: Voiceprint, phrases: Sequence[Examined], *, replace_existing: bool
    ) -> Enrolment:
        """Store a new person, made of these phrases; see `Membrane.enroll`."""
        self._require_new(phrases)
        projection = self.voices.projection
        voiceprint = replace(
            made, consent_at=utc_now(), epoch=projection.epoch if projection else ""
        )
        replaced = self.store.get(voiceprint.name) if replace_existing else None
        if replaced is None:
            self.store.add(voiceprint)
        else:
            require_owner(self.store.path)
            voiceprint = replace(voiceprint, keep_until=made.keep_until or replaced.keep_until)
            self.store.replace(voiceprint)
            self.guard.forget(voiceprint.name)
            self.guard.record("replaced", replaced.id)
        self.guard.record("enrolled", voiceprint.id)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def add_phrases(
        self, person: Voiceprint, phrases: Sequence[Examined], *, keep_until: str
    ) -> Enrolment:
        """Add phrases to somebody enrolled; see `Membrane.add_phrases`."""
        voice = self.voices.of(person.encoder, whose=person.name)
        heard = [phrase.by(voice) for phrase in phrases]

        def extended(voiceprint: Voiceprint) -> Voiceprint:
            _require_encoder(voiceprint, person.encoder)
            for phrase in heard:
                _require_words(phrase, voiceprint)
                _require_let_in(phrase, voiceprint, voice)
            for phrase in heard:
                voiceprint = voiceprint.with_utterance(phrase.enrolled())
            return replace(voiceprint, keep_until=keep_until or voiceprint.keep_until)

        claim = Claim.to_be(person)
        with self.guard.attempt(claim, event="added") as attempt:
            self._require_new(heard, claim)
            voiceprint = self.store.update(person.name, extended)
            attempt.take_back()
        self.guard.record("added", voiceprint.id, phrases=len(heard))
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def reencode(self, person: Voiceprint, recordings: Sequence[Utterance]) -> Enrolment:
        """Make a voiceprint anew by the encoder in use; see `Membrane.reencode`."""
        encoder = self.examiner.voice.name
        if person.encoder == encoder:
            raise UsageError(
                f"{person.name} was enrolled with the encoder {person.encoder} already: "
                "leave out --reencode"
            )
        voice = self.voices.of(person.encoder, whose=person.name)
        phrases = [self.examiner.examine(one, enrolling=True) for one in recordings]
        probes = [replace(one, enrolling=False).by(voice) for one in phrases]

        def made_anew(voiceprint: Voiceprint) -> Voiceprint:
            _require_encoder(voiceprint, person.encoder)
            for probe in probes:
                _require_let_in(probe, voiceprint, voice)
            require_agreement(encoder, phrases)
            return voiceprint.reencoded(encoder, [one.enrolled() for one in phrases])

        with self.guard.attempt(Claim.to_be(person), event="encoded anew") as attempt:
            voiceprint = self.store.update(person.name, made_anew)
            attempt.take_back()
        self.guard.record("encoded anew", voiceprint.id, encoder=voiceprint.encoder)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def _require_new(self, phrases: Sequence[Examined], claim: Claim | None = None) -> None:
        """Refuse a recording that is there already: it says nothing new of a voice."""
        if self.settings.replay != "refuse":
            return
        for number, phrase in enumerate(phrases):
            others = [other.fingerprint for other in phrases[:number]]
            again = any(map(phrase.fingerprint.same_recording, others))
            if again or (claim is not None and self.guard.heard_before(claim, phrase.fingerprint)):
                raise Disagreement(
                    f"{phrase.utterance.source} was heard before: give another recording"
                )

    def _sounds_like(self, voiceprint: Voiceprint, phrases: Sequence[Examined]) -> str:
        """Return who else of the database sounds like the same person."""
        gallery = self.people()
        own = gallery.index_of(voiceprint.name)
        found = []
        for encoder, people in gallery.by_encoder().items():
            if own is not None:
                people[own] = False
            # Whoever is of an encoder that cannot run here keeps nobody from being enrolled.
            with suppress(Unavailable, PoorQuality):
                voice = self.voices.of(encoder, whose=voiceprint.name)
                vector = voiceprint.vector
                if encoder != voiceprint.encoder:
                    vector = mean_vector([one.by(voice).enrolled() for one in phrases])
                found += _double(gallery, people, replace(voiceprint, vector=vector), voice)
        return max(found, default=(0.0, ""))[1]


def find_outlier(encoder: str, phrases: Sequence[Examined]) -> int | None:
    """Return the index of the phrase least like the others, if it is too unlike them.

    Each phrase is compared with the mean of the others.
    """
    if len(phrases) < 2:
        return None
    enrolled = [phrase.enrolled() for phrase in phrases]
    alike = [
        similarity(mean_vector(enrolled[:i] + enrolled[i + 1 :]), phrase.embedding.vector)
        for i, phrase in enumerate(phrases)
    ]
    worst = int(np.argmin(alike))
    return worst if alike[worst] < threshold_for(encoder, AGREEMENT) else None


def require_agreement(encoder: str, phrases: Sequence[Examined]) -> None:
    """Refuse phrases that do not sound like one person.

    Raises
    ------
    UsageError
        If there are none.
    Disagreement
    """
    if not phrases:
        raise UsageError("nobody can be enrolled without a recording: give one or more")
    outlier = find_outlier(encoder, phrases)
    if outlier is not None:
        raise Disagreement(
            f"{phrases[outlier].utterance.source} does not sound like the other phrases: "
            "record it again, or leave it out"
        )


def _require_let_in(probe: Examined, voiceprint: Voiceprint, voice: Voice) -> None:
    if not Compared.of(voiceprint).match(probe, voice).accepted:
        raise Disagreement(
            f"{probe.utterance.source} does not sound like {voiceprint.name}: "
            "record it again, or enrol again with --replace"
        )


def _require_words(phrase: Examined, voiceprint: Voiceprint) -> None:
    # Without the words themselves: whoever does not know the passphrase must not learn it here.
    if phrase.words is not None and not phrase.words.accepted:
        raise Disagreement(
            f"{phrase.utterance.source} does not hold what {voiceprint.name} was to say: "
            "record it again"
        )


def _require_encoder(voiceprint: Voiceprint, encoder: str) -> None:
    if voiceprint.encoder != encoder:
        raise EncoderMismatch(
            f"{voiceprint.name} has been enrolled with the encoder {voiceprint.encoder} meanwhile: "
            "try again"
        )


def _double(
    gallery: Gallery, people: Rows, voiceprint: Voiceprint, voice: Voice
) -> list[tuple[float, str]]:
    """Return the score and the name of the most alike of some people, if that is enough."""
    best = voice.closest(gallery.matrix, people, voiceprint.vector, 1)
    if not best:
        return []
    other = gallery.voiceprint(best[0])
    circumstances = Circumstances(
        speech_s=Compared.of(voiceprint).speech_s,
        snr_db=float(np.median([one.quality.snr_db for one in voiceprint.utterances])),
        enrolled_speech_s=Compared.of(other).speech_s,
    )
    _, score = voice.score(other.vector, voiceprint.vector, circumstances)
    return [(score, other.name)] if score >= voice.judge.threshold else []
