"""Enrol, verify, identify: where voices, words, the store and the guard meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from time import perf_counter
from typing import Any

import numpy as np

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import LockedOut, NameTaken, PoorQuality, StoreError, UnknownName, UsageError
from membrane.login.adapt import Login, adapted, may_adapt, without_adaptation
from membrane.login.claim import Claim, claim_of
from membrane.login.compare import Compared, Likeness, most_alike
from membrane.login.decision import Candidate, Decision, reason_of
from membrane.login.decoy import decoy
from membrane.login.enrol import Enroller, Enrolment, find_outlier, require_agreement
from membrane.login.examine import Examined, Examiner, prepared_for_judging
from membrane.login.explain import Explanation, explanation_of
from membrane.login.guard import ANYONE, Attempt, Guard
from membrane.login.protect import projection_of
from membrane.login.voices import Voices, words_of
from membrane.phrase.recognizer import MOST_PROCESSES
from membrane.phrase.words import Words
from membrane.protection.keys import Ask
from membrane.settings import Settings, load_settings
from membrane.store.gallery import Gallery
from membrane.store.joblib_store import open_store
from membrane.store.names import canonical_name
from membrane.store.store import Store
from membrane.store.voiceprint import Voiceprint
from membrane.voice.voice import Voice, VoiceMatch

Answer = Callable[[Utterance, str], Decision]
"""Decides about an utterance and the words that were asked for; none: the person's own."""

NOBODY = "That is nobody's passphrase here, or not their voice."

BUZZ_HZ = 120
"""Pitch of the sound that engines are tried out with. It passes for a voice: what does not is cut
away before the network is loaded."""


class Membrane:
    """Voice login: enrol people, and tell whether somebody is who they say they are.

    Any number of threads may share one, and so may the children of a fork, whether it happened
    before or after the first login: each answer is what a Membrane of its own would give, nobody's
    words or voice are taken for another's, and a child leaves nothing of its parent's changed.
    Several programs may work on the same database at once. A Membrane that is pickled
    (`multiprocessing` with "spawn") loads its engines anew; one with `ask` is pickled if `ask` can
    be. What is not shared is a microphone: a `Session` (`membrane.terminal.conversation`) belongs
    to the thread that opened it.

    Where the database is encrypted, every voice that it is compared with, and every stranger's, is
    turned into the space of its voiceprints (`membrane.voice.projection`).

    Parameters
    ----------
    settings : Settings, optional
        By default those of the settings file and the environment.
    explains : bool
        Give the decisions of `verify`, `verify_anyone` and `compare` an explanation: for whoever
        owns the database. Told to whoever logs in, it would help them to sound like the person.
    ask : callable, optional
        Gets the passphrase of an encrypted database from whoever sits there. Threads that need it
        at the same time ask once.
    processes : int, optional
        Processes that check words, each for one caller at a time. PocketSphinx holds Python's lock
        while it decodes; in a process it holds up no other thread, and can crash or hang without
        harm. 0 checks words in this process, which is cheaper for a single recording. By default
        as many as there are cores, at most four.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        explains: bool = False,
        ask: Ask | None = None,
        processes: int | None = None,
    ) -> None:
        self.settings = settings or load_settings()
        self.explains = explains
        self.processes = (
            min(os.cpu_count() or 1, MOST_PROCESSES) if processes is None else processes
        )
        self._ask = ask

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; engines are loaded there when they are needed."""
        return {name: vars(self)[name] for name in ("settings", "explains", "processes", "_ask")}

    # ---- What it is made of

    @cached_property
    def store(self) -> Store:
        """The voiceprint database."""
        return open_store(
            self.settings.database_path,
            ask=self._ask,
            sealed_only=self.settings.protection == "required",
        )

    @cached_property
    def guard(self) -> Guard:
        """What stands around every login."""
        return Guard(self.store, self.settings)

    @cached_property
    def voices(self) -> Voices:
        """The voices, one for each encoder, in the space of the database."""
        return Voices(self.settings, projection_of(self.store.seal, self.store.epoch))

    @cached_property
    def words(self) -> Words:
        """What checks words."""
        return words_of(self.settings, processes=self.processes)

    @property
    def voice(self) -> Voice:
        """The voice of the encoder that the settings name."""
        return self.voices.own

    def preload(self, voice: Voice | None = None) -> None:
        """Load and try out every engine now, so that a later decision follows at once.

        Parameters
        ----------
        voice : Voice, optional
            Whose encoder is needed; by default that of the settings.

        Raises
        ------
        Unavailable
            If one of them is missing.
        """
        sawtooth = np.arange(SAMPLE_RATE) * BUZZ_HZ / SAMPLE_RATE % 1 - 0.5
        buzz = (sawtooth / 10).astype(np.float32)
        self.words.check(buzz, "zero")
        with suppress(PoorQuality):
            (voice or self.voice).embed([buzz])

    def people(self) -> Gallery:
        """Return everybody who is enrolled, in the space that voices are compared in.

        Raises
        ------
        StoreError
            If the database was protected anew since; and as `Store.gallery`.
        """
        gallery, projection = self.store.gallery(), self.voices.projection
        if len(gallery) and gallery.epoch != (projection.epoch if projection else ""):
            raise StoreError("the voiceprint database was protected anew meanwhile: try again")
        return gallery

    def known(self, name: str) -> Voiceprint:
        """Return somebody enrolled.

        Raises
        ------
        UnknownName
            If nobody of that name is.
        InvalidName, StoreError
        """
        person = self.store.get(canonical_name(name))
        if person is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        return person

    def claim(self, name: str) -> Claim:
        """Return whom somebody of that name claims to be: a person, or a decoy.

        Raises
        ------
        InvalidName, StoreError
        """
        return claim_of(name, self.people(), secret=self.guard.secret)

    # ---- Evidence

    def examine(
        self,
        utterance: Utterance,
        *,
        expected: str = "",
        enrolling: bool = False,
        gate: bool = True,
        voice: Voice | None = None,
    ) -> Examined:
        """Judge the quality of an utterance, then its words, then its voice.

        Parameters
        ----------
        expected : str
            The phrase asked for; empty leaves the words unchecked.
        enrolling : bool
            Take the voice both as it was heard and denoised, so that the voiceprint is like later
            probes of either kind.
        gate : bool
            Refuse what is too poor to be judged; False is for evaluation, never for a login.
        voice : Voice, optional
            By default that of the settings.

        Raises
        ------
        PoorQuality
            If it holds too little clear speech to be judged; without the gate, if none at all.
        Unavailable
            If an engine or a model is missing.
        """
        examiner = Examiner(voice or self.voice, self.settings.denoise, self.words)
        return examiner.examine(utterance, expected=expected, enrolling=enrolling, gate=gate)

    def transcribe(self, utterance: Utterance) -> str:
        """Return the words that the recognizer hears.

        Raises
        ------
        PoorQuality
            If there is too little clear speech in it.
        Unavailable
            If an engine or a model is missing.
        """
        prepared = prepared_for_judging(utterance, self.settings.denoise)
        return self.words.transcribe(prepared.samples)

    def check_passphrase(self, phrase: str) -> str:
        """Return a personal passphrase as it is stored; see `Words.check_passphrase`."""
        return self.words.check_passphrase(phrase)

    # ---- Enrolment

    @property
    def _enroller(self) -> Enroller:
        examiner = Examiner(self.voice, self.settings.denoise, self.words)
        return Enroller(self.settings, self.store, self.guard, self.voices, examiner, self.people)

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
        encoder = self.voice.name
        require_agreement(encoder, phrases)
        made = Voiceprint.of(name, encoder, [phrase.enrolled() for phrase in phrases])
        made = replace(made, passphrase=passphrase, keep_until=keep_until)
        return self._enroller.enroll(made, phrases, replace_existing=replace_existing)

    def add_phrases(
        self, name: str, phrases: Sequence[Examined], *, keep_until: str = ""
    ) -> Enrolment:
        """Add more phrases to somebody who is enrolled, by the encoder they were enrolled with.

        Phrases of another voice would let that voice in from then on. Each must therefore be let
        in by the voiceprint that there is, by its words, too, where they were looked at; and who
        tries in vain has failed a login.

        Parameters
        ----------
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
        return self._enroller.add_phrases(self.known(name), phrases, keep_until=keep_until)

    def reencode(self, name: str, recordings: Sequence[Utterance]) -> Enrolment:
        """Make somebody's voiceprint anew with this encoder, out of recordings that were kept.

        Name, passphrase, consent and the date of the enrolment stay. Who tries in vain has failed
        a login.

        Parameters
        ----------
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
        return self._enroller.reencode(self.known(name), recordings)

    def find_outlier(self, phrases: Sequence[Examined]) -> int | None:
        """Return the index of the phrase least like the others, if it is too unlike them."""
        return find_outlier(self.voice.name, phrases)

    # ---- Logins

    def verify(self, name: str, utterance: Utterance, *, expected: str = "") -> Decision:
        """Decide whether an utterance is the claimed person's, and says what was asked.

        An unknown name is compared with a decoy, so that it is answered like a wrong voice.

        Parameters
        ----------
        name : str
            Who the person says they are.
        expected : str
            The phrase asked for. By default the person's own passphrase; where there is none
            either, the words are not checked.

        Raises
        ------
        InvalidName, LockedOut, PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        with self.attempting(self.claim(name)) as answer:
            return answer(utterance, expected)

    @contextmanager
    def attempting(self, claim: Claim) -> Iterator[Answer]:
        """Begin an attempt before its phrase is asked for; yield what decides about the phrase.

        Whoever breaks off once they have seen the phrase has failed, like whoever says it wrong.

        Raises
        ------
        LockedOut, EncoderMismatch, StoreError
        """
        voice = self.voices.of_claim(claim)
        with self.guard.attempt(claim) as attempt:
            yield partial(self._answer, claim, voice, attempt)

    def _answer(
        self, claim: Claim, voice: Voice, attempt: Attempt, utterance: Utterance, expected: str
    ) -> Decision:
        examined = self.examine(utterance, expected=expected or claim.passphrase, voice=voice)
        if claim.passphrase and not expected:
            examined = _for_its_owner(claim, examined).without_secret()
        decision = self._decided(claim, voice, examined)
        attempt.end(decision, examined)
        if decision.accepted and self.settings.adapt == "on" and claim.person is not None:
            self._renew(claim.person, voice, decision, examined)
        return decision

    def _renew(
        self, person: Voiceprint, voice: Voice, decision: Decision, examined: Examined
    ) -> None:
        """Let a login that is beyond doubt renew an ageing voiceprint."""
        enrolled = Compared.of(without_adaptation(person))
        strict = None
        with suppress(UsageError):  # a calibration of one's own may not reach that level
            strict = voice.judge.calibration.threshold("strict").llr
        login = Login(decision, enrolled.match(examined, voice), strict)
        now = datetime.now(UTC)
        if not may_adapt(person, login, now):
            return

        def renewed(stored: Voiceprint) -> Voiceprint:
            # Somebody else may have taken the name since, or another login been as good; and what
            # was heard in one epoch means nothing in another.
            same = (stored.id, stored.epoch) == (person.id, person.epoch)
            fits = same and may_adapt(stored, login, now)
            return adapted(stored, examined.enrolled()) if fits else stored

        if self.store.update(person.name, renewed).updated_at != person.updated_at:
            self.guard.record("adapted", person.id)

    def decide(self, name: str, examined: Examined) -> Decision:
        """Return what `verify` would decide of evidence that is there already.

        For evaluation: nothing is counted and nothing is remembered.

        Parameters
        ----------
        examined : Examined
            By this Membrane, with the words that were asked for.

        Raises
        ------
        InvalidName, PoorQuality, EncoderMismatch, StoreError
        """
        claim = self.claim(name)
        voice = self.voices.of_claim(claim)
        return self._decided(claim, voice, examined.by(voice))

    def explain(self, name: str, utterance: Utterance) -> Decision:
        """Judge a recording by the voice alone, and say all that is known of why.

        Parameters
        ----------
        name : str
            Somebody enrolled.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled: this is for whoever owns the database.
        InvalidName, PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        person = self.known(name)
        voice = self.voices.of(person.encoder, whose=person.name)
        examined, compared = self.examine(utterance, voice=voice), Compared.of(person)
        match = compared.match(examined, voice)
        decision = self._decision(
            "verify",
            examined,
            match,
            claimed=person.name,
            person=person.name,
            explanation=explanation_of(match, compared, examined, voice=voice),
        )
        return replace(decision, numbers_hidden=False)

    def passphrase_owners(self, gallery: Gallery | None = None) -> dict[int, str]:
        """Return the passphrase of everybody who has one, by their row of the gallery.

        Raises
        ------
        UsageError
            If nobody has one.
        StoreError
        """
        gallery = self.people() if gallery is None else gallery
        owners = dict(gallery.passphrases())
        if not owners:
            raise UsageError("nobody has a passphrase: enrol with --phrase, or verify a name")
        return owners

    def verify_anyone(self, utterance: Utterance) -> Decision:
        """Find the person whose passphrase was said, then verify that the voice is theirs.

        Where scores are hidden, a passphrase that is somebody's is refused like one that is not.

        Raises
        ------
        UsageError
            If nobody has a passphrase.
        PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        with self.attempting_anyone() as answer:
            return answer(utterance, "")

    @contextmanager
    def attempting_anyone(self) -> Iterator[Answer]:
        """Begin an attempt of whoever a passphrase may be of; as `attempting`.

        Raises
        ------
        UsageError
            If nobody has a passphrase.
        LockedOut, StoreError
        """
        self.passphrase_owners()
        with self.guard.attempt(ANYONE) as attempt:
            yield lambda utterance, _expected: self._answer_anyone(attempt, utterance)

    def _answer_anyone(self, attempt: Attempt, utterance: Utterance) -> Decision:
        gallery = self.people()
        examined, owner = self._owner_of(utterance, gallery, self.passphrase_owners(gallery))
        if owner is None:
            decision = self._of_nobody(examined)
            attempt.end(decision, examined)
            return decision
        decision = self._decided_for(owner, examined)
        attempt.close(accepted=decision.accepted)
        # Else a stranger would learn here which passphrases there are, and whose.
        revealing = decision.numbers_hidden and not decision.accepted
        return self._of_nobody(examined) if revealing else decision

    def _decided_for(self, owner: Likeness, examined: Examined) -> Decision:
        """Decide about a login of the person whose passphrase was said."""
        claim = Claim.to_be(owner.who)
        try:
            with self.guard.attempt(claim) as attempt:
                heard = owner.examined.without_secret()
                decision = self._decided(claim, self.voices.of_claim(claim), heard)
                attempt.end(decision, heard)
        except LockedOut:  # their name must wait, which only they may know
            return self._of_nobody(examined)
        return decision

    def _of_nobody(self, examined: Examined) -> Decision:
        return self._decision("verify", examined, None, reason=NOBODY)

    def _owner_of(
        self, utterance: Utterance, gallery: Gallery, owners: dict[int, str]
    ) -> tuple[Examined, Likeness | None]:
        """Return who of those whose passphrase was said is most like the voice."""
        examined = self.examine(utterance, voice=self.voices.native(gallery))
        started = perf_counter()
        phrases = list(dict.fromkeys(owners.values()))
        found = self.words.whose(examined.prepared.samples, phrases)
        examined.timings["words"] = perf_counter() - started
        if not found:
            return examined, None
        place, words = found[0]
        same = [person for person, phrase in owners.items() if phrase == phrases[place]]
        spoken = replace(examined, words=words)
        alike = most_alike(self.voices, gallery, gallery.by_encoder(same), spoken, 1)
        return examined, alike[0]

    def identify(self, utterance: Utterance, *, top_n: int = 5) -> Decision:
        """Rank everybody by how alike they sound; below the threshold it is nobody known.

        Parameters
        ----------
        top_n : int
            How many candidates to name.

        Raises
        ------
        PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        gallery = self.people()
        examined = self.examine(utterance, voice=self.voices.native(gallery))
        found = most_alike(self.voices, gallery, gallery.by_encoder(), examined, top_n)
        if not found:
            decision = self._decision("identify", examined, None)
            self.guard.record_decision(decision, ANYONE)
            return decision
        best = found[0]
        decision = self._decision(
            "identify",
            best.examined,
            best.match,
            person=best.who.name,
            candidates=tuple(
                Candidate(one.who.name, one.match.similarity, one.match.score, one.who.encoder)
                for one in found
            ),
        )
        # Whoever is nobody known is not the one that they are most like.
        self.guard.record_decision(decision, Claim.to_be(best.who) if decision.accepted else ANYONE)
        return decision

    def compare(self, one: Utterance, other: Utterance) -> Decision:
        """Decide whether two recordings are of the same person; nobody need be enrolled.

        Raises
        ------
        PoorQuality, Unavailable
        """
        # Nobody's voiceprint is needed, so that no key of an encrypted database is, either.
        voice = Voices(self.settings).own
        first, second = self.examine(one, voice=voice), self.examine(other, voice=voice)
        compared = Compared(first.embedding.vector, first.prepared.quality.speech_s)
        match = compared.match(second, voice)
        return self._decision(
            "compare",
            second,
            match,
            source=f"{one.source} {other.source}",
            explanation=self._explanation(match, compared, second, voice=voice),
        )

    # ---- Decisions

    def _decided(self, claim: Claim, voice: Voice, examined: Examined) -> Decision:
        """Decide about a login."""
        person = claim.person
        compared = self._compared(claim, voice)
        match = compared.match(examined, voice)
        # A decoy is as like somebody, now and then, as a stranger is.
        match = replace(match, accepted=match.accepted and person is not None)
        return self._decision(
            "verify",
            examined,
            match,
            claimed=claim.name,
            person=person.name if person else "",
            replayed=self.guard.heard_before(claim, examined.fingerprint),
            explanation=self._explanation(
                match,
                compared,
                examined,
                voice=voice,
                # Whoever sounds like nobody must not learn whether there is somebody of that name.
                withhold=not (match.accepted or match.mixed),
            ),
        )

    def _compared(self, claim: Claim, voice: Voice) -> Compared:
        # Made for everybody, so that it takes as long: the secret is in a file that grows.
        nobody = decoy(claim.name, voice.judge.strangers, secret=self.guard.secret)
        return nobody if claim.person is None else Compared.of(claim.person)

    def _explanation(
        self,
        match: VoiceMatch,
        compared: Compared,
        examined: Examined,
        *,
        voice: Voice,
        withhold: bool = False,
    ) -> Explanation | None:
        if not self.explains:
            return None
        return explanation_of(match, compared, examined, voice=voice, withhold=withhold)

    def _decision(
        self,
        command: str,
        examined: Examined,
        match: VoiceMatch | None,
        *,
        reason: str = "",
        **facts: Any,
    ) -> Decision:
        """Return what follows from voice and words, and from `facts`, other fields of it."""
        words, settings = examined.words, self.settings
        replayed = facts.setdefault("replayed", False)
        whose = facts.get("claimed") or facts.get("person", "")
        words_pass = words is None or words.accepted
        accepted = match is not None and match.accepted and words_pass and not replayed
        if not accepted:
            facts["person"] = ""
        return Decision(
            command=command,
            accepted=accepted,
            reason=reason or reason_of(command, match, words, replayed=replayed, whose=whose),
            voice=match,
            quality=examined.prepared.quality,
            words=words,
            denoised_for=examined.denoised_for,
            encoder=examined.encoder,
            recognizer=self.words.name if words else "",
            security=settings.security,
            timings=examined.timings,
            numbers_hidden=command == "verify" and settings.scores == "hide" and not self.explains,
            **{"source": examined.utterance.source, **facts},
        )


def _for_its_owner(claim: Claim, examined: Examined) -> Examined:
    """Return the evidence; for an unknown name with no words right.

    Whoever says their own passphrase would find out by it which names nobody has.
    """
    if claim.person is not None or examined.words is None or not examined.words.accepted:
        return examined
    words = replace(examined.words, accepted=False, problem="other words")
    return replace(examined, words=words)
