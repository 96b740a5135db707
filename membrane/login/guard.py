"""The guard: what stands around every login, whatever voice and words say.

Who failed too often must wait (`membrane.store.lockout`), a recording that was heard before is
refused, a prompt that somebody was given is not given to them again, and every decision is written
down before anybody learns of it. If any check cannot run, the login is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from membrane.audio.fingerprint import Fingerprint
from membrane.errors import (
    Disagreement,
    LockedOut,
    MembraneError,
    MicrophoneUnavailable,
    StoreDamaged,
    UnusableRecording,
)
from membrane.login.claim import Claim
from membrane.login.decision import Decision
from membrane.login.examine import Examined
from membrane.settings import Settings
from membrane.store.names import keyed_number
from membrane.store.store import Log, LoginState, Store, Turn

LEAST_CHANGE = 0.5
"""Share of the digits or words in which a prompt differs from all that somebody was given lately.
The recognizer lets one changed digit of six pass 19 times in 100, two 3 times, three once in 360
(``python -m benchmarks.attacks replay``)."""

MOST_DRAWS = 1000
"""Prompts that are drawn before the best of them is taken: with one or two words there are few."""

LOG_KEY = "decision log"
"""What the key is for that stamps its lines where the database is encrypted."""

MICROPHONE = "microphone"

ANYONE = Claim("", None, None)
"""A login that claims no name, and nobody has this one: guessing passphrases is counted, too."""


@dataclass(eq=False)
class Attempt:
    """One phrase that is being judged; a failure until `accepted`.

    Parameters
    ----------
    turn : Turn or None
        None where failures are not counted.
    """

    guard: Guard
    claim: Claim
    turn: Turn | None
    open: bool = field(default=True)

    def end(self, decision: Decision, examined: Examined) -> None:
        """Write down what was decided, before anybody is told.

        Raises
        ------
        StoreError
            If it cannot be written: then nobody is let in.
        """
        self.open = False
        self.guard.record_decision(decision, self.claim)
        self.close(accepted=decision.accepted, recording=examined.fingerprint.to_bytes())

    def close(self, *, accepted: bool, recording: bytes = b"") -> None:
        """Take the failure back if it was none, and remember the recording."""
        self.open = False
        if accepted:
            self.guard.remember(self.claim, self.turn, recording)

    def take_back(self) -> None:
        """Undo this failure, and none before it: it was no login."""
        if self.open and self.turn is not None:
            self.guard.attempts.withdraw(self.turn)
        self.open = False

    def forgive(self) -> None:
        """Undo this failure, unless too many could not be judged."""
        if self.open and self.turn is not None:
            self.guard.attempts.forgive(self.turn)
        self.open = False


class Guard:
    """What stands around the logins of one database."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    @property
    def attempts(self) -> LoginState:
        """Failures, recent logins and prompts."""
        return self._store.login_state(self._store.seal, on_new=self._begun_anew)

    def _begun_anew(self) -> None:
        """Write down that the failures are gone: whoever deletes them unlocks everybody."""
        if self.log.exists():
            self.record("failures forgotten", "everybody")

    @property
    def log(self) -> Log:
        """Every decision."""
        seal = self._store.seal
        return self._store.log(seal.mac_key(LOG_KEY) if seal else None)

    @property
    def remembers(self) -> bool:
        """Whether anything of a login is kept."""
        return self._settings.lockout == "on" or self._settings.replay == "refuse"

    @property
    def secret(self) -> bytes:
        """What keys the decoys of this database."""
        return self.attempts.secret if self.remembers else bytes(32)

    def forget(self, name: str) -> None:
        """Forget failures, recordings and prompts of somebody who is gone."""
        self.attempts.forget(name)

    # ---- Before a phrase is judged

    def require_open(self, claim: Claim, *, event: str = "verify") -> None:
        """Refuse whoever must wait, before they are asked to be quiet or to speak.

        Raises
        ------
        LockedOut
        StoreError
        """
        if self._settings.lockout == "on":
            with self._locks_recorded(claim, event):
                self.attempts.require_open(claim.name)

    @contextmanager
    def _locks_recorded(self, claim: Claim, event: str) -> Iterator[None]:
        try:
            yield
        except LockedOut:
            self.record(event, self.who(claim), accepted=False, refused_by=["lock"])
            raise

    def fresh_prompt(self, name: str, draw: Callable[[], str]) -> str:
        """Return a prompt that is unlike all that were given under that name lately.

        Parameters
        ----------
        draw : callable
            Returns a random prompt.

        Raises
        ------
        StoreError
        """
        if not self.remembers:
            return draw()
        given = self.attempts.recent_prompts(name)
        drawn = (draw() for _ in range(MOST_DRAWS))
        prompt = next((one for one in drawn if _differs(one, given)), "") or draw()
        self.attempts.remember_prompt(name, prompt)
        return prompt

    @contextmanager
    def attempt(self, claim: Claim, *, event: str = "verify") -> Iterator[Attempt]:
        """Count a failure until a phrase was judged, so that a process that is killed has failed.

        It begins before a prompt is shown: whoever breaks off has failed, too. What could not be
        judged is forgiven a few times (`membrane.store.lockout.FREE_UNJUDGED`).

        Parameters
        ----------
        event : str
            What the log calls it.

        Raises
        ------
        LockedOut
            If this name must wait.
        StoreError
            If the failure cannot be counted.
        """
        with self._locks_recorded(claim, event):
            counted = self._settings.lockout == "on"
            turn = self.attempts.begin(claim.name) if counted else None
        attempt = Attempt(self, claim, turn)
        try:
            yield attempt
        except Disagreement:  # another voice, other words, or a recording of old: a failure
            self.record(event, self.who(claim), accepted=False, refused_by=["phrases"])
            raise
        except (UnusableRecording, MicrophoneUnavailable):
            # A prompt was shown; whoever makes this happen could wait for one that suits them.
            attempt.forgive()
            raise
        except MembraneError:
            attempt.take_back()
            raise
        except BaseException:
            if attempt.open:
                self.record(event, self.who(claim), accepted=False, refused_by=["broken off"])
            raise

    # ---- What was heard before

    def heard_before(self, claim: Claim, fingerprint: Fingerprint) -> bool:
        """Return whether a recording is one of the enrolment or of a recent login.

        Raises
        ------
        StoreError
            If a recording that is remembered cannot be compared with: nobody is let in then.
        """
        if self._settings.replay != "refuse" or claim.model is None:
            return False
        known = (*claim.recordings, *self.attempts.recent_recordings(claim.model.name))
        heard = fingerprint.heard_in(_fingerprints(known))
        # They are looked at for an unknown name, too, so that it takes as long; but whoever is
        # enrolled would find out by a recording of their own that such a name is led like them.
        return claim.person is not None and heard

    def remember(self, claim: Claim, turn: Turn | None, recording: bytes) -> None:
        """Keep the recording of an accepted login, and take back that it was a failure.

        Raises
        ------
        StoreError
        """
        kept = recording if self._settings.replay == "refuse" else b""
        if turn is not None:
            self.attempts.succeed(turn, kept)
        elif kept:
            self.attempts.remember_recording(claim.name, kept)

    # ---- What is written down

    def record_decision(self, decision: Decision, claim: Claim) -> None:
        """Write a decision about a login into the log.

        Raises
        ------
        StoreError
        """
        voice = decision.voice
        self.record(
            decision.command,
            self.who(claim),
            accepted=decision.accepted,
            refused_by=_refused_by(decision),
            score=None if voice is None or voice.score is None else round(voice.score, 3),
            security=decision.security,
            encoder=decision.encoder,
            source=MICROPHONE if decision.source == MICROPHONE else "file",
        )

    def record(self, event: str, who: str, **facts: Any) -> None:
        """Write something that happened into the log: no name, no words, no sound.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if self._settings.log != "on":
            return
        if self.remembers and not self.log.exists():
            _ = self.attempts.secret  # they begin with the log, and never after it
        self.log.append({"event": event, "who": who, **facts})

    def who(self, claim: Claim) -> str:
        """Return who is meant in the log: a number of the person, or of a name that nobody has."""
        # Computed for everybody, so that it takes as long: the secret is in a file that grows.
        unknown = f"unknown {keyed_number(self.secret, claim.name, purpose='log'):016x}"
        return unknown if claim.person is None else claim.person.id


def _fingerprints(stored: Iterable[bytes]) -> list[Fingerprint]:
    try:
        return [Fingerprint.from_bytes(one) for one in stored]
    except ValueError as error:
        raise StoreDamaged(
            f"a recording that is remembered cannot be compared with ({error}): "
            "enrol again with --replace"
        ) from None


def _refused_by(decision: Decision) -> list[str]:
    voice, words = decision.voice, decision.words
    checks = {
        "replay": decision.replayed,
        "voice": voice is None or not voice.accepted,
        "words": words is not None and not words.accepted,
    }
    return [name for name, failed in checks.items() if failed]


def _differs(prompt: str, given: tuple[str, ...]) -> bool:
    return all(change(prompt, one) >= LEAST_CHANGE for one in given)


def change(one: str, other: str) -> float:
    """Return in what share of their places two prompts have another digit or word."""
    first, second = one.split(), other.split()
    same = sum(a == b for a, b in zip(first, second, strict=False))
    return 1 - same / max(len(first), len(second), 1)
