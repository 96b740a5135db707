"""Enrol, verify, identify: the only place where evidence and voiceprints meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from membrane.audio.utterance import Utterance
from membrane.decision import Candidate, Decision, VoiceMatch, explain
from membrane.decoy import decoy
from membrane.errors import (
    Disagreement,
    EncoderMismatch,
    NameTaken,
    UnknownName,
    UsageError,
)
from membrane.evidence import Examined, Examiner
from membrane.explanation import Compared, Explanation, explanation_of
from membrane.phrase.matching import find_passphrase
from membrane.settings import Settings
from membrane.store.gallery import Gallery
from membrane.store.joblib_store import JoblibStore
from membrane.store.names import canonical_name
from membrane.store.voiceprint import (
    EnrolledUtterance,
    RecordedQuality,
    Voiceprint,
    mean_vector,
    utc_now,
)
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Vector
from membrane.voice.judge import RATIO
from membrane.voice.scoring import metric_named, similarities, similarity, top
from membrane.voice.thresholds import threshold_for

AGREEMENT = "enrolment"
"""Name of the threshold that the phrases of one enrolment must reach; it is lower than a login's,
because a single phrase is compared with few others, and an honest person should seldom be asked
again."""

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
    explains : bool
        Give the decisions of `verify`, `verify_anyone` and `compare` an explanation: for whoever
        owns the database. Told to whoever logs in, it would help them to sound like the person.
    """

    def __init__(self, settings: Settings | None = None, *, explains: bool = False) -> None:
        super().__init__(settings)
        self.explains = explains

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
        alike = self._rank(gallery, voiceprint.vector)
        own = gallery.index_of(voiceprint.name)
        if own is not None:
            alike[own] = INCOMPARABLE
        best = int(np.argmax(alike)) if len(alike) else None
        if best is None or alike[best] <= INCOMPARABLE:
            return ""
        other = gallery.voiceprint(best)
        circumstances = Circumstances(
            speech_s=Compared.of(voiceprint).speech_s,
            snr_db=float(np.median([one.quality.snr_db for one in voiceprint.utterances])),
            enrolled_speech_s=Compared.of(other).speech_s,
        )
        _, score = self._score(other.vector, voiceprint.vector, circumstances)
        return other.name if score >= self.judge.threshold else ""

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
            compared = Compared.of(voiceprint)
        else:
            compared = decoy(claimed, self.judge.strangers)
        examined = self.examine(utterance, expected=expected or secret)
        if secret and not expected:
            examined = _without_secret(examined)
        # Told by the name that was claimed: the one that is stored would say that there is one.
        return self._verified(
            examined, compared, claimed=claimed, person=person, nobody=voiceprint is None
        )

    def explain(self, name: str, utterance: Utterance) -> Decision:
        """Judge a recording by the voice alone, and say all that is known of why.

        Parameters
        ----------
        name : str
            Somebody enrolled.
        utterance : Utterance

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled: this is for whoever owns the database.
        InvalidName, PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        voiceprint = self.store.get(canonical_name(name))
        if voiceprint is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        self._require_encoder(voiceprint)
        examined, compared = self.examine(utterance), Compared.of(voiceprint)
        match = self._voice_match(compared, examined)
        decision = self._decide("verify", examined, match, claimed=voiceprint.name)
        return replace(
            decision,
            explanation=explanation_of(match, compared, examined, judge=self.judge),
        )

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
        alike = self._rank(gallery, examined.embedding.vector)
        for place, words in found:
            same = [person for person, phrase in owners.items() if phrase == phrases[place]]
            owner = gallery.voiceprint(max(same, key=lambda person: float(alike[person])))
            self._require_encoder(owner)
            heard = _without_secret(replace(examined, words=words))
            return self._verified(heard, Compared.of(owner), claimed=owner.name)
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
        alike = self._rank(gallery, examined.embedding.vector)
        ranked = [int(person) for person in top(alike, top_n) if alike[person] > INCOMPARABLE]
        # Reading a voiceprint checks the row that the decision rests on.
        people = [gallery.voiceprint(person) for person in ranked]
        matches = [self._voice_match(Compared.of(who), examined) for who in people]
        candidates = tuple(
            Candidate(who.name, match.similarity, match.score)
            for who, match in zip(people, matches, strict=True)
        )
        match = matches[0] if matches else None
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
        compared = Compared(first.embedding.vector, first.prepared.quality.speech_s)
        match = self._voice_match(compared, second)
        decision = self._decide("compare", second, match)
        return replace(
            decision,
            source=f"{one.source} {other.source}",
            explanation=self._explanation(match, compared, second),
        )

    def _rank(self, gallery: Gallery, probe: Vector) -> Vector:
        """Return how alike everybody is to a probe; `INCOMPARABLE` where encoders differ."""
        if not len(gallery):
            return np.zeros(0, dtype=np.float32)
        same_encoder = gallery.made_by(self.encoder.name)
        if not same_encoder.any():
            raise EncoderMismatch(
                f"nobody was enrolled with the encoder {self.encoder.name}: "
                "choose the one they were enrolled with, or enrol again"
            )
        alike = self.judge.ranking.similarities(gallery.matrix, probe)
        return np.where(same_encoder, alike, INCOMPARABLE)

    def _require_encoder(self, voiceprint: Voiceprint) -> None:
        if voiceprint.encoder != self.encoder.name:
            raise EncoderMismatch(
                f"{voiceprint.name} was enrolled with the encoder {voiceprint.encoder}, not "
                f"{self.encoder.name}: choose that one, or enrol again with --replace"
            )

    def _score(
        self, vector: Vector, probe: Vector, circumstances: Circumstances
    ) -> tuple[float, float]:
        """Return how alike a voiceprint and a probe are, and what that is worth."""
        alike = similarity(vector, probe)
        normalised = self.judge.normalisation.similarities(vector[np.newaxis], probe)
        scores = self.judge.scores(np.array([alike]), normalised.astype(np.float64), circumstances)
        return alike, float(scores[0])

    def _verified(
        self,
        examined: Examined,
        compared: Compared,
        *,
        claimed: str,
        person: str = "",
        nobody: bool = False,
    ) -> Decision:
        match = self._voice_match(compared, examined)
        # A decoy is as like somebody, now and then, as a stranger is.
        match = replace(match, accepted=match.accepted and not nobody)
        # Whoever sounds like nobody must not learn whether there is somebody of that name.
        withhold = not (match.accepted or match.mixed)
        explanation = self._explanation(match, compared, examined, withhold=withhold)
        decision = self._decide("verify", examined, match, claimed=claimed, person=person)
        return replace(decision, explanation=explanation)

    def _explanation(
        self, match: VoiceMatch, compared: Compared, examined: Examined, *, withhold: bool = False
    ) -> Explanation | None:
        if not self.explains:
            return None
        return explanation_of(match, compared, examined, judge=self.judge, withhold=withhold)

    def _voice_match(self, compared: Compared, examined: Examined) -> VoiceMatch:
        """Compare a voiceprint with a whole probe, and with every stretch of it.

        Otherwise somebody could say the words and play any recording of the person after them.
        """
        metric = metric_named(self.settings.metric)
        embedding, quality = examined.embedding, examined.prepared.quality
        circumstances = Circumstances(quality.speech_s, quality.snr_db, compared.speech_s)
        alike, score = self._score(compared.vector, embedding.vector, circumstances)
        stretch = float(similarities(embedding.partials, compared.vector).min())
        calibrated = self.judge.unit == RATIO
        threshold = self.judge.threshold
        return VoiceMatch(
            metric=metric.name,
            similarity=alike,
            value=metric.from_similarity(alike),
            threshold=None if calibrated else metric.from_similarity(threshold),
            score=score if calibrated else None,
            score_threshold=threshold if calibrated else None,
            stretch=stretch,
            stretch_threshold=self.judge.stretch_threshold,
            accepted=bool(self.judge.accepts(np.array(score), np.array(stretch))),
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
