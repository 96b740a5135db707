"""Enrolment: whose voiceprint is stored, and who may add to one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np

from membrane.audio.utterance import Utterance
from membrane.claim import Claim
from membrane.comparison import Comparer
from membrane.errors import (
    Disagreement,
    EncoderMismatch,
    NameTaken,
    PoorQuality,
    StoreError,
    Unavailable,
    UnknownName,
    UsageError,
)
from membrane.evidence import Examined
from membrane.explanation import Compared
from membrane.guard import Guard
from membrane.protection import projection_of
from membrane.settings import Settings
from membrane.store.gallery import Gallery, Rows
from membrane.store.joblib_store import JoblibStore
from membrane.store.keys import Ask
from membrane.store.names import canonical_name
from membrane.store.ownership import require_owner
from membrane.store.voiceprint import (
    EnrolledUtterance,
    RecordedQuality,
    Voiceprint,
    mean_vector,
    utc_now,
)
from membrane.voice.calibration import Circumstances
from membrane.voice.encoder import Encoder, Vector
from membrane.voice.judge import Judge
from membrane.voice.projection import Projected, Projection, projected_cohort
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


class Enroller(Comparer):
    """Stores people in a database.

    Where the database is encrypted, every voice that it is compared with, and every stranger's, is
    turned into the space of its voiceprints (`membrane.voice.projection`).

    Parameters
    ----------
    settings : Settings, optional
        By default those of the settings file and the environment.
    processes : int
        Processes that check words; 0 checks them in this one.
    ask : callable, optional
        Gets the passphrase of an encrypted database from whoever sits there.
    """

    def __init__(
        self, settings: Settings | None = None, *, processes: int = 0, ask: Ask | None = None
    ) -> None:
        super().__init__(settings, processes=processes)
        self._ask = ask

    @cached_property
    def store(self) -> JoblibStore:
        """The voiceprint database."""
        return JoblibStore(
            self.settings.database_path,
            ask=self._ask,
            sealed_only=self.settings.protection == "required",
        )

    @cached_property
    def projection(self) -> Projection | None:
        """Into the space of the voiceprints; None where they are as the encoder made them."""
        return projection_of(self.store.seal, self.store.epoch)

    def people(self) -> Gallery:
        """Return everybody who is enrolled, in the space that this one compares in.

        Raises
        ------
        StoreError
            If the database was protected anew since; and as `JoblibStore.gallery`.
        """
        gallery = self.store.gallery()
        if len(gallery) and gallery.epoch != (self.projection.epoch if self.projection else ""):
            raise StoreError("the voiceprint database was protected anew meanwhile: try again")
        return gallery

    def _loaded(self, encoder: str) -> Encoder:
        plain = super()._loaded(encoder)
        return Projected(plain, self.projection) if self.projection else plain

    @cached_property
    def judge(self) -> Judge:
        """Similarity to score to decision, as the settings want it."""
        judge = super().judge
        if self.projection is None:
            return judge
        return replace(judge, cohort=projected_cohort(judge.strangers, self.projection))

    @cached_property
    def guard(self) -> Guard:
        """What stands around every login."""
        return Guard(self.store, self.settings)

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
        keep_until: str = "",
        replace_existing: bool = False,
    ) -> Enrolment:
        """Store a new person's voiceprint, the mean of the partials of all their phrases.

        Parameters
        ----------
        name : str
        phrases : sequence of Examined
        passphrase : str
            The person's own, as `check_passphrase` returns it; empty for fresh prompts.
        keep_until : str
            ISO date after which the record should be gone; empty for that of whom they replace, if
            there is one.
        replace_existing : bool
            Take the place of somebody of that name: only for whoever owns the database.

        Raises
        ------
        InvalidName, NameTaken
        Disagreement
            If the phrases do not sound like one person.
        NotTheOwner
            If somebody else's database is to lose a person.
        StoreError
            If the database cannot be read or written.
        """
        self._require_agreement(phrases)
        self._require_new(phrases)
        made = Voiceprint.of(name, self.encoder.name, [enrolled_from(phrase) for phrase in phrases])
        voiceprint = replace(
            made,
            passphrase=passphrase,
            consent_at=utc_now(),
            keep_until=keep_until,
            epoch=self.projection.epoch if self.projection else "",
        )
        replaced = self.store.get(voiceprint.name) if replace_existing else None
        if replaced is not None:
            require_owner(self.store.path)
            voiceprint = replace(voiceprint, keep_until=keep_until or replaced.keep_until)
            self.store.replace(voiceprint)
            self.guard.forget(voiceprint.name)
            self.guard.record("replaced", replaced.id)
        else:
            self.store.add(voiceprint)
        self.guard.record("enrolled", voiceprint.id)
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def add_phrases(
        self, name: str, phrases: Sequence[Examined], *, keep_until: str = ""
    ) -> Enrolment:
        """Add more phrases to somebody who is enrolled, by the encoder they were enrolled with.

        Phrases of another voice would let that voice in from then on. Each must therefore be let
        in by the voiceprint that there is, by its words, too, where they were looked at; and who
        tries in vain has failed a login.

        Parameters
        ----------
        name : str
        phrases : sequence of Examined
            By this Membrane.
        keep_until : str
            ISO date after which the record should be gone; empty to leave it as it is.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        LockedOut
            If this name must wait.
        EncoderMismatch
            If the encoder that they were enrolled with cannot run here.
        Disagreement
            If a phrase is not let in as theirs; then nothing is changed.
        StoreError
            If the database cannot be read or written.
        """
        person = self._known(name)
        judging = self.by(person.encoder, whose=person.name)
        heard = [self._heard_by(person.encoder, phrase) for phrase in phrases]

        def extended(voiceprint: Voiceprint) -> Voiceprint:
            _require_encoder(voiceprint, person.encoder)
            for phrase in heard:
                _require_words(phrase, voiceprint)
                judging._require_let_in(phrase, voiceprint)
            for phrase in heard:
                voiceprint = voiceprint.with_utterance(enrolled_from(phrase))
            return replace(voiceprint, keep_until=keep_until or voiceprint.keep_until)

        claim = Claim.to_be(person)
        with self.guard.attempt(claim, event="added") as attempt:
            self._require_new(heard, claim)
            voiceprint = self.store.update(name, extended)
            attempt.take_back()
        self.guard.record("added", voiceprint.id, phrases=len(heard))
        return Enrolment(voiceprint, self._sounds_like(voiceprint, phrases))

    def reencode(self, name: str, recordings: Sequence[Utterance]) -> Enrolment:
        """Make somebody's voiceprint anew with this encoder, out of recordings that were kept.

        Name, passphrase, consent and the date of the enrolment stay. Who tries in vain has failed
        a login.

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
        LockedOut
            If this name must wait.
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
            return voiceprint.reencoded(self.encoder.name, [enrolled_from(one) for one in phrases])

        with self.guard.attempt(Claim.to_be(person), event="encoded anew") as attempt:
            voiceprint = self.store.update(name, made_anew)
            attempt.take_back()
        self.guard.record("encoded anew", voiceprint.id, encoder=voiceprint.encoder)
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
        enrolled = [enrolled_from(phrase) for phrase in phrases]
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

    def _require_let_in(self, probe: Examined, voiceprint: Voiceprint) -> None:
        if not self._voice_match(Compared.of(voiceprint), probe).accepted:
            raise Disagreement(
                f"{probe.utterance.source} does not sound like {voiceprint.name}: "
                "record it again, or enrol again with --replace"
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


def enrolled_from(phrase: Examined) -> EnrolledUtterance:
    """Return what is stored of an utterance."""
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
        fingerprint=phrase.fingerprint.to_bytes(),
    )


def _vector_of(phrases: Sequence[Examined]) -> Vector:
    return mean_vector([enrolled_from(phrase) for phrase in phrases])


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
