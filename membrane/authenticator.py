"""Enrol, verify, identify: the only place where evidence and voiceprints meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

from membrane.adaptation import Login, adapted, may_adapt, without_adaptation
from membrane.audio.utterance import Utterance
from membrane.claim import Claim, claim_of
from membrane.comparison import Comparer, Likeness
from membrane.decision import Candidate, Decision, VoiceMatch, explain
from membrane.decoy import decoy
from membrane.enrolment import Enroller, enrolled_from
from membrane.errors import LockedOut, UsageError
from membrane.evidence import Examined
from membrane.explanation import Compared, Explanation, explanation_of
from membrane.guard import ANYONE, Attempt
from membrane.phrase.matching import find_passphrase
from membrane.phrase.recognizer import MOST_PROCESSES
from membrane.settings import Settings
from membrane.store.gallery import Gallery
from membrane.store.keys import Ask
from membrane.store.voiceprint import Voiceprint
from membrane.voice.judge import Judge

Judging = Callable[[Utterance, str], Decision]
"""Judges an utterance against the words that were asked for; none: the person's own."""

NOBODY = "That is nobody's passphrase here, or not their voice."


class Membrane(Enroller):
    """Voice login: enrol people, and tell whether somebody is who they say they are.

    Any number of threads may share one, and so may the children of a fork, whether it happened
    before or after the first login: each answer is what a Membrane of its own would give, nobody's
    words or voice are taken for another's, and a child leaves nothing of its parent's changed.
    Several programs may work on the same database at once. A Membrane
    that is pickled (`multiprocessing` with "spawn") loads its engines anew; one with `ask` is
    pickled if `ask` can be. What is not shared is a microphone: `membrane.session.Session` belongs
    to the thread that opened it.

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
        chosen = min(os.cpu_count() or 1, MOST_PROCESSES) if processes is None else processes
        super().__init__(settings, processes=chosen, ask=ask)
        self.explains = explains

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process needs; engines are loaded there when they are needed."""
        kept = ("settings", "processes", "explains", "_ask")
        return {**{name: vars(self)[name] for name in kept}, "_others": {}, "_by_encoder": {}}

    def claim(self, name: str) -> Claim:
        """Return whom somebody of that name claims to be: a person, or a decoy.

        Raises
        ------
        InvalidName, StoreError
        """
        return claim_of(name, self.people(), secret=self.guard.secret)

    def serving(self, name: str) -> Membrane:
        """Return the Membrane of the encoder that judges logins of that name, to preload.

        Raises
        ------
        InvalidName, EncoderMismatch, StoreError
        """
        return self._judging(self.claim(name))

    def _judging(self, claim: Claim) -> Membrane:
        return self.by(claim.encoder, whose=claim.name) if claim.encoder else self

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
        InvalidName, LockedOut, PoorQuality, EncoderMismatch, StoreError, Unavailable
        """
        with self.attempting(name) as judge:
            return judge(utterance, expected)

    @contextmanager
    def attempting(self, name: str) -> Iterator[Judging]:
        """Begin an attempt before its phrase is asked for; yield what judges the phrase.

        Whoever breaks off once they have seen the phrase has failed, like whoever says it wrong.

        Parameters
        ----------
        name : str
            Who the person says they are.

        Raises
        ------
        InvalidName, LockedOut, EncoderMismatch, StoreError
        """
        claim = self.claim(name)
        judging = self._judging(claim)
        with self.guard.attempt(claim) as attempt:
            yield partial(judging._attempted, claim, attempt)

    def _attempted(
        self, claim: Claim, attempt: Attempt, utterance: Utterance, expected: str
    ) -> Decision:
        examined = self.examine(utterance, expected=expected or claim.passphrase)
        if claim.passphrase and not expected:
            examined = _without_secret(_for_its_owner(claim, examined))
        decision = self._decided(claim, examined)
        attempt.end(decision, examined)
        if decision.accepted and self.settings.adapt == "on" and claim.person is not None:
            self._renew(claim.person, decision, examined)
        return decision

    def _renew(self, person: Voiceprint, decision: Decision, examined: Examined) -> None:
        """Let a login that is beyond doubt renew an ageing voiceprint."""
        enrolled = Compared.of(without_adaptation(person))
        strict = None
        with suppress(UsageError):  # a calibration of one's own may not reach that level
            strict = self.judge.calibration.threshold("strict").llr
        login = Login(decision, self._voice_match(enrolled, examined), strict)
        now = datetime.now(UTC)
        if not may_adapt(person, login, now):
            return

        def renewed(stored: Voiceprint) -> Voiceprint:
            # Somebody else may have taken the name since, or another login been as good; and what
            # was heard in one epoch means nothing in another.
            same = (stored.id, stored.epoch) == (person.id, person.epoch)
            fits = same and may_adapt(stored, login, now)
            return adapted(stored, enrolled_from(examined)) if fits else stored

        if self.store.update(person.name, renewed).updated_at != person.updated_at:
            self.guard.record("adapted", person.id)

    def decide(self, name: str, examined: Examined) -> Decision:
        """Return what `verify` would decide of evidence that is there already.

        For evaluation: nothing is counted and nothing is remembered.

        Parameters
        ----------
        name : str
        examined : Examined
            By this Membrane, with the words that were asked for.

        Raises
        ------
        InvalidName, PoorQuality, EncoderMismatch, StoreError
        """
        claim = self.claim(name)
        judging = self._judging(claim)
        return judging._decided(claim, self._heard_by(judging.encoder.name, examined))

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
            numbers_hidden=False,
        )

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
        with self.attempting_anyone() as judge:
            return judge(utterance, "")

    @contextmanager
    def attempting_anyone(self) -> Iterator[Judging]:
        """Begin an attempt of whoever a passphrase may be of; as `attempting`.

        Raises
        ------
        UsageError
            If nobody has a passphrase.
        LockedOut, StoreError
        """
        self.passphrase_owners()
        with self.guard.attempt(ANYONE) as attempt:
            yield lambda utterance, _expected: self._attempted_anyone(attempt, utterance)

    def _attempted_anyone(self, attempt: Attempt, utterance: Utterance) -> Decision:
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
                heard = _without_secret(owner.examined)
                decision = self._judging(claim)._decided(claim, heard)
                attempt.end(decision, heard)
        except LockedOut:  # their name must wait, which only they may know
            return self._of_nobody(examined)
        return decision

    def _of_nobody(self, examined: Examined) -> Decision:
        return replace(self._decide("verify", examined, None), reason=NOBODY)

    def _owner_of(
        self, utterance: Utterance, gallery: Gallery, owners: dict[int, str]
    ) -> tuple[Examined, Likeness | None]:
        """Return who of those whose passphrase was said is most like the voice."""
        native = self._native(gallery)
        examined = native.examine(utterance)
        started = perf_counter()
        phrases = list(dict.fromkeys(owners.values()))
        found = find_passphrase(self.recognizer, examined.prepared.samples, phrases)
        examined.timings["words"] = perf_counter() - started
        if not found:
            return examined, None
        place, words = found[0]
        same = [person for person, phrase in owners.items() if phrase == phrases[place]]
        spoken = replace(examined, words=words)
        return examined, native._most_alike(gallery, gallery.by_encoder(same), spoken, 1)[0]

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
        gallery = self.people()
        native = self._native(gallery)
        examined = native.examine(utterance)
        found = native._most_alike(gallery, gallery.by_encoder(), examined, top_n)
        if not found:
            decision = native._decide("identify", examined, None)
            self.guard.record_decision(decision, ANYONE)
            return decision
        best = found[0]
        judging = native.by(best.who.encoder, whose=best.who.name)
        decision = judging._decide("identify", best.examined, best.match, person=best.who.name)
        candidates = (
            Candidate(one.who.name, one.match.similarity, one.match.score, one.who.encoder)
            for one in found
        )
        # Whoever is nobody known is not the one that they are most like.
        self.guard.record_decision(decision, Claim.to_be(best.who) if decision.accepted else ANYONE)
        return replace(decision, candidates=tuple(candidates))

    def compare(self, one: Utterance, other: Utterance) -> Decision:
        """Decide whether two recordings are of the same person; nobody need be enrolled.

        Raises
        ------
        PoorQuality, Unavailable
        """
        # Nobody's voiceprint is needed, so that no key of an encrypted database is, either.
        comparer = self if "encoder" in vars(self) else Comparer(self.settings)
        first, second = comparer.examine(one), comparer.examine(other)
        compared = Compared(first.embedding.vector, first.prepared.quality.speech_s)
        match = comparer._voice_match(compared, second)
        decision = self._decide("compare", second, match)
        return replace(
            decision,
            source=f"{one.source} {other.source}",
            explanation=self._explanation(match, compared, second, judge=comparer.judge),
        )

    def _decided(self, claim: Claim, examined: Examined) -> Decision:
        person = claim.person
        compared = self._compared(claim)
        match = self._voice_match(compared, examined)
        # A decoy is as like somebody, now and then, as a stranger is.
        match = replace(match, accepted=match.accepted and person is not None)
        # Whoever sounds like nobody must not learn whether there is somebody of that name.
        withhold = not (match.accepted or match.mixed)
        decision = self._decide("verify", examined, match, claimed=claim.name)
        # Told by the name that was claimed: the one that is stored would say that there is one.
        replayed = self.guard.heard_before(claim, examined.fingerprint)
        accepted = decision.accepted and person is not None and not replayed
        decision = replace(
            decision,
            accepted=accepted,
            replayed=replayed,
            person=person.name if accepted and person is not None else "",
            explanation=self._explanation(
                match, compared, examined, judge=self.judge, withhold=withhold
            ),
        )
        return replace(decision, reason=explain(decision))

    def _compared(self, claim: Claim) -> Compared:
        # Made for everybody, so that it takes as long: the secret is in a file that grows.
        nobody = decoy(claim.name, self.judge.strangers, secret=self.guard.secret)
        return nobody if claim.person is None else Compared.of(claim.person)

    def _explanation(
        self,
        match: VoiceMatch,
        compared: Compared,
        examined: Examined,
        *,
        judge: Judge,
        withhold: bool = False,
    ) -> Explanation | None:
        if not self.explains:
            return None
        return explanation_of(match, compared, examined, judge=judge, withhold=withhold)

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
            encoder=self.settings.encoder,
            recognizer=self.recognizer.name if examined.words else "",
            security=self.settings.security,
            source=examined.utterance.source,
            timings=examined.timings,
            numbers_hidden=command == "verify"
            and self.settings.scores == "hide"
            and not self.explains,
        )
        return replace(decision, reason=explain(decision))


def _for_its_owner(claim: Claim, examined: Examined) -> Examined:
    """Return the evidence with no words right that are another's: of whom a decoy is led like.

    Whoever says their own passphrase would find out by it which names nobody has.
    """
    if claim.person is not None or examined.words is None or not examined.words.accepted:
        return examined
    words = replace(examined.words, accepted=False, problem="other words")
    return replace(examined, words=words)


def _without_secret(examined: Examined) -> Examined:
    """Return the evidence without a passphrase: it must not be told to whoever failed to say it."""
    words = examined.words and replace(examined.words, expected="", heard="")
    return replace(examined, words=words)
