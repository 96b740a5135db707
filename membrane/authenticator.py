"""Enrol, verify, identify: the only place where evidence and voiceprints meet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from membrane.audio.utterance import Utterance
from membrane.decision import Candidate, Decision, VoiceMatch, explain
from membrane.errors import (
    Disagreement,
    EncoderMismatch,
    NameTaken,
    UsageError,
)
from membrane.evidence import Examined, Examiner
from membrane.phrase.matching import find_passphrase
from membrane.store.gallery import Gallery
from membrane.store.joblib_store import JoblibStore
from membrane.store.names import canonical_name, name_key
from membrane.store.voiceprint import (
    EnrolledUtterance,
    RecordedQuality,
    Voiceprint,
    mean_vector,
    utc_now,
)
from membrane.voice.encoder import Embedding, Vector
from membrane.voice.scoring import metric_named, similarities, similarity, top
from membrane.voice.thresholds import threshold_for

AGREEMENT = "enrolment"
"""Name of the threshold that the phrases of one enrolment must reach; it is lower than a login's,
because a single phrase is compared with few others, and an honest person should seldom be asked
again."""

STRETCH = "stretch"
"""Name of the threshold that every stretch of a probe must reach."""

INCOMPARABLE = np.float32(-2)
"""Stands for the similarity of voiceprints of another encoder: below every cosine."""


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


class Membrane(Examiner):
    """Voice login: enrol people, and tell whether somebody is who they say they are.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the settings file and the environment.
    """

    @cached_property
    def store(self) -> JoblibStore:
        """The voiceprint database."""
        return JoblibStore(self.settings.database_path)

    # ---- Enrolment

    def check_name_is_free(self, name: str) -> str:
        """Return the name as it would be stored.

        Raises
        ------
        InvalidName
            If nobody may have it.
        NameTaken
            If somebody has it.
        """
        canonical = canonical_name(name)
        if self.store.get(canonical) is not None:
            raise NameTaken(
                f"{canonical} is enrolled already: use --add for more phrases of the same person, "
                "or --replace"
            )
        return canonical

    def enroll(
        self,
        name: str,
        phrases: Sequence[Examined],
        *,
        passphrase: str = "",
        consent_at: str = "",
        replace_existing: bool = False,
    ) -> Enrolment:
        """Store a new person's voiceprint, the mean of the partials of all their phrases.

        Parameters
        ----------
        name : str
        phrases : sequence of Examined
        passphrase : str
            The person's own, as `check_passphrase` returns it; empty for fresh prompts.
        consent_at : str
            When the person agreed, ISO 8601; by default now.
        replace_existing : bool
            Take the place of somebody of that name.

        Raises
        ------
        InvalidName, NameTaken
        Disagreement
            If the phrases do not sound like one person.
        StoreError
            If the database cannot be read or written.
        """
        self._require_agreement(phrases)
        voiceprint = Voiceprint.of(
            name,
            self.encoder.name,
            [_enrolled(phrase) for phrase in phrases],
            passphrase=passphrase,
            consent_at=consent_at or utc_now(),
        )
        if replace_existing and self.store.get(voiceprint.name) is not None:
            self.store.replace(voiceprint)
        else:
            self.store.add(voiceprint)
        return Enrolment(voiceprint, self._sounds_like(voiceprint))

    def add_phrases(self, name: str, phrases: Sequence[Examined]) -> Enrolment:
        """Add more phrases to somebody who is enrolled.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        EncoderMismatch
            If they were enrolled with another encoder.
        Disagreement
            If the phrases do not sound like them.
        StoreError
            If the database cannot be read or written.
        """

        def extended(voiceprint: Voiceprint) -> Voiceprint:
            self._require_encoder(voiceprint)
            for phrase in phrases:
                self._require_alike(phrase, voiceprint.vector, voiceprint.name)
                voiceprint = voiceprint.with_utterance(_enrolled(phrase))
            return voiceprint

        voiceprint = self.store.update(name, extended)
        return Enrolment(voiceprint, self._sounds_like(voiceprint))

    def find_outlier(self, phrases: Sequence[Examined]) -> int | None:
        """Return the index of the phrase least like the others, if it is too unlike them.

        Each phrase is compared with the mean of the others.
        """
        if len(phrases) < 2:
            return None
        enrolled = [_enrolled(phrase) for phrase in phrases]
        alike = [
            similarity(mean_vector(enrolled[:i] + enrolled[i + 1 :]), phrase.embedding.vector)
            for i, phrase in enumerate(phrases)
        ]
        worst = int(np.argmin(alike))
        return worst if alike[worst] < self._agreement else None

    @property
    def _agreement(self) -> float:
        return threshold_for(self.encoder.name, AGREEMENT)

    def _require_agreement(self, phrases: Sequence[Examined]) -> None:
        if not phrases:
            raise UsageError("nobody can be enrolled without a recording: give one or more")
        outlier = self.find_outlier(phrases)
        if outlier is not None:
            raise Disagreement(
                f"{phrases[outlier].utterance.source} does not sound like the other phrases: "
                "record it again, or leave it out"
            )

    def _require_alike(self, phrase: Examined, vector: Vector, name: str) -> None:
        if similarity(vector, phrase.embedding.vector) < self._agreement:
            raise Disagreement(
                f"{phrase.utterance.source} does not sound like {name}: "
                "record it again, or enrol under another name"
            )

    def _sounds_like(self, voiceprint: Voiceprint) -> str:
        """Return who else of the database sounds like the same person."""
        gallery = self.store.gallery()
        alike = self._compare(gallery, voiceprint.vector)
        own = gallery.index_of(voiceprint.name)
        if own is not None:
            alike[own] = INCOMPARABLE
        best = int(np.argmax(alike)) if len(alike) else None
        if best is None or alike[best] < self.threshold:
            return ""
        return gallery.name(best)

    # ---- Decisions

    def verify(self, name: str, utterance: Utterance, *, expected: str = "") -> Decision:
        """Decide whether an utterance is the claimed person's, and says what was asked.

        An unknown name is compared with a decoy, so that it is answered like a wrong voice.

        Parameters
        ----------
        name : str
            Who the person says they are.
        utterance : Utterance
        expected : str
            The phrase asked for. By default the person's own passphrase; where there is none
            either, the words are not checked.

        Raises
        ------
        InvalidName, PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        claimed = canonical_name(name)
        voiceprint = self.store.get(claimed)
        person = secret = ""
        if voiceprint is not None:
            self._require_encoder(voiceprint)
            person, secret = voiceprint.name, voiceprint.passphrase
            vector = voiceprint.vector
        else:
            vector = _decoy(claimed)
        examined = self.examine(utterance, expected=expected or secret)
        if secret and not expected:
            examined = _without_secret(examined)
        match = self._voice_match(vector, examined.embedding)
        # Told by the name that was claimed: the one that is stored would say that there is one.
        return self._decide("verify", examined, match, claimed=claimed, person=person)

    def passphrase_owners(self, gallery: Gallery | None = None) -> dict[int, str]:
        """Return the passphrase of everybody who has one, by their row of the gallery.

        Raises
        ------
        UsageError
            If nobody has one.
        StoreError
        """
        gallery = self.store.gallery() if gallery is None else gallery
        owners = dict(gallery.passphrases())
        if not owners:
            raise UsageError("nobody has a passphrase: enrol with --phrase, or verify a name")
        return owners

    def verify_anyone(self, utterance: Utterance) -> Decision:
        """Find the person whose passphrase was said, then verify that the voice is theirs.

        Raises
        ------
        UsageError
            If nobody has a passphrase.
        PoorQuality, StoreError, Unavailable
        """
        gallery = self.store.gallery()
        owners = self.passphrase_owners(gallery)
        examined = self.examine(utterance)
        started = perf_counter()
        phrases = list(dict.fromkeys(owners.values()))
        found = find_passphrase(self.recognizer, examined.prepared.samples, phrases)
        examined.timings["words"] = perf_counter() - started
        alike = self._compare(gallery, examined.embedding.vector)
        for place, words in found:
            same = [person for person, phrase in owners.items() if phrase == phrases[place]]
            owner = gallery.voiceprint(max(same, key=lambda person: float(alike[person])))
            self._require_encoder(owner)
            return self._decide(
                "verify",
                _without_secret(replace(examined, words=words)),
                self._voice_match(owner.vector, examined.embedding),
                claimed=owner.name,
            )
        return replace(
            self._decide("verify", examined, None), reason="That is nobody's passphrase here."
        )

    def identify(self, utterance: Utterance, *, top_n: int = 5) -> Decision:
        """Rank everybody by how alike they sound; below the threshold it is nobody known.

        Parameters
        ----------
        utterance : Utterance
        top_n : int
            How many candidates to name.

        Raises
        ------
        PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        gallery = self.store.gallery()
        examined = self.examine(utterance)
        alike = self._compare(gallery, examined.embedding.vector)
        ranked = [person for person in top(alike, top_n) if alike[person] > INCOMPARABLE]
        candidates = tuple(
            Candidate(gallery.name(int(person)), float(alike[person])) for person in ranked
        )
        match = None
        if candidates:
            best = gallery.voiceprint(int(ranked[0]))  # checks the row that the decision rests on
            match = self._voice_match(best.vector, examined.embedding)
        decision = self._decide(
            "identify", examined, match, person=candidates[0].name if candidates else ""
        )
        return replace(decision, candidates=candidates)

    def compare(self, one: Utterance, other: Utterance) -> Decision:
        """Decide whether two recordings are of the same person; nobody need be enrolled.

        Raises
        ------
        PoorQuality, Unavailable
        """
        first, second = self.examine(one), self.examine(other)
        match = self._voice_match(first.embedding.vector, second.embedding)
        decision = self._decide("compare", second, match)
        return replace(decision, source=f"{one.source} {other.source}")

    def _compare(self, gallery: Gallery, probe: Vector) -> Vector:
        """Return the similarity of everybody to a probe; `INCOMPARABLE` where encoders differ."""
        if not len(gallery):
            return np.zeros(0, dtype=np.float32)
        same_encoder = gallery.made_by(self.encoder.name)
        if not same_encoder.any():
            raise EncoderMismatch(
                f"nobody was enrolled with the encoder {self.encoder.name}: "
                "choose the one they were enrolled with, or enrol again"
            )
        alike = similarities(gallery.matrix, probe)
        return np.where(same_encoder, alike, INCOMPARABLE)

    def _require_encoder(self, voiceprint: Voiceprint) -> None:
        if voiceprint.encoder != self.encoder.name:
            raise EncoderMismatch(
                f"{voiceprint.name} was enrolled with the encoder {voiceprint.encoder}, not "
                f"{self.encoder.name}: choose that one, or enrol again with --replace"
            )

    def _voice_match(self, vector: Vector, embedding: Embedding) -> VoiceMatch:
        """Compare a voiceprint with a whole probe, and with every stretch of it.

        Otherwise somebody could say the words and play any recording of the person after them.
        """
        metric = metric_named(self.settings.metric)
        alike = similarity(vector, embedding.vector)
        stretch = float(similarities(embedding.partials, vector).min())
        # Whoever lowers the threshold of the whole lowers that of its parts.
        least = min(threshold_for(self.encoder.name, STRETCH), self.threshold)
        return VoiceMatch(
            metric=metric.name,
            similarity=alike,
            value=metric.from_similarity(alike),
            threshold=metric.from_similarity(self.threshold),
            stretch=stretch,
            stretch_threshold=least,
            accepted=alike >= self.threshold and stretch >= least,
        )

    def _decide(
        self,
        command: str,
        examined: Examined,
        voice: VoiceMatch | None,
        *,
        claimed: str = "",
        person: str = "",
    ) -> Decision:
        words_pass = examined.words is None or examined.words.accepted
        accepted = voice is not None and voice.accepted and words_pass
        decision = Decision(
            command=command,
            accepted=accepted,
            reason="",
            voice=voice,
            quality=examined.prepared.quality,
            claimed=claimed,
            person=(person or claimed) if accepted else "",
            words=examined.words,
            denoised=examined.prepared.denoised,
            encoder=self.encoder.name,
            recognizer=self.recognizer.name if examined.words else "",
            security=self.settings.security,
            source=examined.utterance.source,
            timings=examined.timings,
        )
        return replace(decision, reason=explain(decision))


def _enrolled(phrase: Examined) -> EnrolledUtterance:
    partials = phrase.embedding.partials
    return EnrolledUtterance(
        vector=phrase.embedding.vector,
        norm=float(np.linalg.norm(partials.mean(axis=0))),
        partials=len(partials),
        recorded_at=utc_now(),
        quality=RecordedQuality(**asdict(phrase.prepared.quality)),
        source_rate=phrase.utterance.source_rate,
        device=phrase.utterance.device,
        source=phrase.utterance.source,
    )


def _without_secret(examined: Examined) -> Examined:
    """Return the evidence without a passphrase: it must not be told to whoever failed to say it."""
    words = examined.words and replace(examined.words, expected="", heard="")
    return replace(examined, words=words)


def _decoy(name: str) -> Vector:
    """Return the voiceprint of nobody, the same each time for the same name.

    Like a d-vector it has no negative numbers; the similarity to a real voice is 0.5 or so, as
    between strangers.
    """
    seed = int.from_bytes(hashlib.sha256(name_key(name).encode()).digest()[:8])
    numbers = np.random.default_rng(seed).random(256, dtype=np.float32)
    return numbers / np.float32(np.linalg.norm(numbers))
