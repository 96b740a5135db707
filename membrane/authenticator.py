"""Enrol, verify, identify: the only place where evidence and voiceprints meet."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from time import perf_counter

import numpy as np

from membrane.audio.utterance import Utterance
from membrane.comparison import Comparer
from membrane.decision import Candidate, Decision, VoiceMatch, explain
from membrane.decoy import decoy
from membrane.errors import (
    Disagreement,
    EncoderMismatch,
    NameTaken,
    PoorQuality,
    Unavailable,
    UnknownName,
    UsageError,
)
from membrane.evidence import Examined
from membrane.explanation import Compared, Explanation, explanation_of
from membrane.phrase.matching import find_passphrase
from membrane.settings import Settings
from membrane.store.gallery import Gallery, Rows
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
from membrane.voice.scoring import similarity
from membrane.voice.thresholds import threshold_for

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


class Membrane(Comparer):
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

    def serving(self, name: str) -> Membrane:
        """Return the Membrane of somebody's encoder, to preload; this one if nobody is of the name.

        Raises
        ------
        InvalidName, EncoderMismatch, StoreError
        """
        voiceprint = self.store.get(canonical_name(name))
        if voiceprint is None:
            return self
        return self.by(voiceprint.encoder, whose=voiceprint.name)

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
        replace_existing: bool = False,
    ) -> Enrolment:
        """Store a new person's voiceprint, the mean of the partials of all their phrases.

        Parameters
        ----------
        name : str
        phrases : sequence of Examined
        passphrase : str
            The person's own, as `check_passphrase` returns it; empty for fresh prompts.
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
        made = Voiceprint.of(name, self.encoder.name, [_enrolled(phrase) for phrase in phrases])
        voiceprint = replace(made, passphrase=passphrase, consent_at=utc_now())
        if replace_existing and self.store.get(voiceprint.name) is not None:
            self.store.replace(voiceprint)
        else:
            self.store.add(voiceprint)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def add_phrases(self, name: str, phrases: Sequence[Examined]) -> Enrolment:
        """Add more phrases to somebody who is enrolled, by the encoder they were enrolled with.

        Parameters
        ----------
        name : str
        phrases : sequence of Examined
            By this Membrane.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        EncoderMismatch
            If the encoder that they were enrolled with cannot run here.
        Disagreement
            If the phrases do not sound like them.
        StoreError
            If the database cannot be read or written.
        """
        person = self._known(name)
        judging = self.by(person.encoder, whose=person.name)
        heard = [self._heard_by(person.encoder, phrase) for phrase in phrases]

        def extended(voiceprint: Voiceprint) -> Voiceprint:
            _require_encoder(voiceprint, person.encoder)
            for phrase in heard:
                judging._require_alike(phrase, voiceprint.vector, voiceprint.name)
                voiceprint = voiceprint.with_utterance(_enrolled(phrase))
            return voiceprint

        voiceprint = self.store.update(name, extended)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def reencode(self, name: str, recordings: Sequence[Utterance]) -> Enrolment:
        """Make somebody's voiceprint anew with this encoder, out of recordings that were kept.

        Name, passphrase, consent and the date of the enrolment stay.

        Parameters
        ----------
        name : str
        recordings : sequence of Utterance
            Each must be let in by the voiceprint that there is.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        UsageError
            If the voiceprint is of this encoder already, or there is no recording.
        PoorQuality
            If a recording cannot be judged.
        Disagreement
            If one does not sound like the person, by the encoder that they were enrolled with, or
            like the others; then nothing is changed.
        EncoderMismatch
            If that encoder cannot run here.
        StoreError
            If the database cannot be read or written.
        """
        person = self._known(name)
        if person.encoder == self.encoder.name:
            raise UsageError(
                f"{person.name} was enrolled with the encoder {person.encoder} already: "
                "leave out --reencode"
            )
        judging = self.by(person.encoder, whose=person.name)
        phrases = [self.examine(one, enrolling=True) for one in recordings]
        probes = [self._heard_by(person.encoder, replace(one, enrolling=False)) for one in phrases]

        def made_anew(voiceprint: Voiceprint) -> Voiceprint:
            _require_encoder(voiceprint, person.encoder)
            for probe in probes:
                judging._require_let_in(probe, voiceprint)
            self._require_agreement(phrases)
            return voiceprint.reencoded(self.encoder.name, [_enrolled(one) for one in phrases])

        voiceprint = self.store.update(name, made_anew)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def _known(self, name: str) -> Voiceprint:
        person = self.store.get(canonical_name(name))
        if person is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        return person

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

    def _require_let_in(self, probe: Examined, voiceprint: Voiceprint) -> None:
        if not self._voice_match(Compared.of(voiceprint), probe).accepted:
            raise Disagreement(
                f"{probe.utterance.source} does not sound like {voiceprint.name}: "
                "leave it out, or enrol again with --replace"
            )

    def _sounds_like(self, voiceprint: Voiceprint, phrases: Sequence[Examined]) -> str:
        """Return who else of the database sounds like the same person."""
        gallery = self.store.gallery()
        own = gallery.index_of(voiceprint.name)
        found = []
        for encoder, people in gallery.by_encoder().items():
            if own is not None:
                people[own] = False
            # Whoever is of an encoder that cannot run here keeps nobody from being enrolled.
            with suppress(Unavailable, PoorQuality):
                judging = self.by(encoder, whose=voiceprint.name)
                vector = voiceprint.vector
                if encoder != voiceprint.encoder:
                    vector = _vector_of([self._heard_by(encoder, one) for one in phrases])
                found += judging._double(gallery, people, replace(voiceprint, vector=vector))
        return max(found, default=(0.0, ""))[1]

    def _double(
        self, gallery: Gallery, people: Rows, voiceprint: Voiceprint
    ) -> list[tuple[float, str]]:
        """Return the score and the name of the most alike of some people, if that is enough."""
        best = self._top(gallery, people, voiceprint.vector, 1)
        if not best:
            return []
        other = gallery.voiceprint(best[0])
        circumstances = Circumstances(
            speech_s=Compared.of(voiceprint).speech_s,
            snr_db=float(np.median([one.quality.snr_db for one in voiceprint.utterances])),
            enrolled_speech_s=Compared.of(other).speech_s,
        )
        _, score = self._score(other.vector, voiceprint.vector, circumstances)
        return [(score, other.name)] if score >= self.judge.threshold else []

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
        if voiceprint is None:
            nobody = decoy(claimed, self.judge.strangers)
            examined = self.examine(utterance, expected=expected)
            return self._verified(examined, nobody, claimed=claimed, nobody=True)
        judging = self.by(voiceprint.encoder, whose=voiceprint.name)
        secret = voiceprint.passphrase
        examined = judging.examine(utterance, expected=expected or secret)
        if secret and not expected:
            examined = _without_secret(examined)
        # Told by the name that was claimed: the one that is stored would say that there is one.
        return judging._verified(
            examined, Compared.of(voiceprint), claimed=claimed, person=voiceprint.name
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
        voiceprint = self._known(name)
        judging = self.by(voiceprint.encoder, whose=voiceprint.name)
        examined, compared = judging.examine(utterance), Compared.of(voiceprint)
        match = judging._voice_match(compared, examined)
        decision = judging._decide("verify", examined, match, claimed=voiceprint.name)
        return replace(
            decision,
            explanation=explanation_of(match, compared, examined, judge=judging.judge),
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
        PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        gallery = self.store.gallery()
        owners = self.passphrase_owners(gallery)
        native = self._native(gallery)
        examined = native.examine(utterance)
        started = perf_counter()
        phrases = list(dict.fromkeys(owners.values()))
        found = find_passphrase(self.recognizer, examined.prepared.samples, phrases)
        examined.timings["words"] = perf_counter() - started
        for place, words in found:
            same = [person for person, phrase in owners.items() if phrase == phrases[place]]
            among = gallery.by_encoder(same)
            owner = native._most_alike(gallery, among, replace(examined, words=words), 1)[0]
            judging = native.by(owner.who.encoder, whose=owner.who.name)
            heard = _without_secret(owner.examined)
            return judging._verified(heard, Compared.of(owner.who), claimed=owner.who.name)
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
        native = self._native(gallery)
        examined = native.examine(utterance)
        found = native._most_alike(gallery, gallery.by_encoder(), examined, top_n)
        if not found:
            return native._decide("identify", examined, None)
        best = found[0]
        judging = native.by(best.who.encoder, whose=best.who.name)
        decision = judging._decide("identify", best.examined, best.match, person=best.who.name)
        candidates = (
            Candidate(one.who.name, one.match.similarity, one.match.score, one.who.encoder)
            for one in found
        )
        return replace(decision, candidates=tuple(candidates))

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
            denoised_for=examined.denoised_for,
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


def _vector_of(phrases: Sequence[Examined]) -> Vector:
    return mean_vector([_enrolled(phrase) for phrase in phrases])


def _require_encoder(voiceprint: Voiceprint, encoder: str) -> None:
    if voiceprint.encoder != encoder:
        raise EncoderMismatch(
            f"{voiceprint.name} has been enrolled with the encoder {voiceprint.encoder} meanwhile: "
            "try again"
        )


def _without_secret(examined: Examined) -> Examined:
    """Return the evidence without a passphrase: it must not be told to whoever failed to say it."""
    words = examined.words and replace(examined.words, expected="", heard="")
    return replace(examined, words=words)
