"""What a person can ask for, at the microphone or with files.

The command line and the interactive mode both end here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from membrane.errors import (
    Declined,
    Disagreement,
    InvalidName,
    NoSuchFile,
    OutputUnwritable,
    PoorQuality,
    UnknownName,
    UsageError,
)
from membrane.login import administer as administration
from membrane.login.claim import Claim
from membrane.login.guard import ANYONE
from membrane.store.names import canonical_name
from membrane.store.ownership import require_owner
from membrane.terminal.console import View, at_terminal
from membrane.terminal.text import sentence

if TYPE_CHECKING:
    from membrane.audio.utterance import Utterance
    from membrane.login.decision import Decision
    from membrane.login.examine import Examined
    from membrane.login.membrane import Membrane
    from membrane.store.voiceprint import Voiceprint
    from membrane.terminal.conversation import Session
    from membrane.voice.voice import Voice

How = Literal["new", "add", "replace"]

SPOKEN_ATTEMPTS = 3
"""How often a passphrase may be said until it is heard as the person means it."""

DONE = {
    "rekey": "The database has a new key.",
    "renew": "All voiceprints were turned anew: copies of the old ones match nobody.",
}
"""What is said of a change that does not show in how the database is protected."""

KEEP_THE_KEY = "Nobody can open the database without its key: keep a copy of it elsewhere."

REQUIRE_IT = (
    'With protection = "required" in settings.toml any database that is not encrypted is refused.'
)

CONSENT = (
    "Membrane will keep numbers that describe your voice (no sound) on this machine, to recognise "
    "you later; they can be deleted at any time. Do you agree?"
)


@dataclass
class Tasks:
    """A person's requests, and what they are done with.

    What could not end well is refused before anybody is asked to agree or to speak.

    Parameters
    ----------
    files : tuple of str
        Recordings to judge; empty for the microphone.
    seconds : float, optional
        Record so long instead of until the person has finished.
    save_to : Path, optional
        Keep what was heard at the microphone.
    keep_until : str
        ISO date after which the record of whoever is enrolled should be gone.

    Raises
    ------
    UsageError
        If files and the microphone are asked for at once.
    """

    membrane: Membrane
    view: View
    files: tuple[str, ...] = ()
    seconds: float | None = None
    save_to: Path | None = None
    keep_until: str = ""
    last_heard: Utterance | None = None

    def __post_init__(self) -> None:
        if self.files and (self.seconds is not None or self.save_to is not None):
            raise UsageError(
                "--seconds and --save-recording are for the microphone: leave out --with-file"
            )

    # ---- Enrolment

    def enroll(
        self,
        name: str,
        *,
        how: How = "new",
        phrase: str | None = None,
        count: int = 3,
        consent: bool = False,
    ) -> None:
        """Enrol a person, or add phrases to one.

        Parameters
        ----------
        how : {"new", "add", "replace"}
            Whether to store a new person, add phrases, or replace a person.
        phrase : str, optional
            A passphrase of their own; empty to take it from what they say first.
        count : int
            Phrases to ask for at the microphone.
        consent : bool
            The person has agreed already.
        """
        name = canonical_name(name)
        self._check_outputs()
        if how == "add":
            self._add(name, count=count)
            return
        if how == "new":
            self.membrane.check_name_is_free(name)
        else:
            require_owner(self.membrane.store.path)
        if phrase:
            phrase = self.membrane.check_passphrase(phrase)
        if not consent:
            self._ask_consent(name)
        phrases, passphrase = self._enrolment_phrases(name, phrase, count)
        enrolment = self.membrane.enroll(
            name,
            phrases,
            passphrase=passphrase,
            keep_until=self.keep_until,
            replace_existing=how == "replace",
        )
        self.view.enrolment(enrolment)

    def _add(self, name: str, *, count: int) -> None:
        person = self.membrane.store.get(name)
        if person is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: leave out --add")
        self.membrane.voices.of(person.encoder, whose=name)  # refuses one that cannot run here
        self.membrane.guard.require_open(Claim.to_be(person), event="added")
        phrases = self._added_phrases(person, count)
        enrolment = self.membrane.add_phrases(name, phrases, keep_until=self.keep_until)
        self.view.enrolment(enrolment, added=True)

    def _added_phrases(self, person: Voiceprint, count: int) -> list[Examined]:
        """Return phrases of somebody who may not be that person: nothing is told about them."""
        passphrase = person.passphrase
        if self.files:
            return [
                self.membrane.examine(one, expected=passphrase, enrolling=True)
                for one in self._read(self.files)
            ]
        with self._session() as session:
            return session.enrolment_phrases(
                person.name, count, passphrase=passphrase, is_known=True
            )

    def reencode(self, name: str) -> bool:
        """Make a person's voiceprint anew with the encoder in use, out of recordings of theirs.

        Returns
        -------
        bool
            Whether the recordings are theirs; else nothing is changed.
        """
        if not self.files:
            raise UsageError("--reencode takes recordings that were kept: give --with-file")
        name = canonical_name(name)
        try:
            enrolment = self.membrane.reencode(name, self._read(self.files))
        except Disagreement as error:
            self.view.error(f"{error}. Nothing was changed")
            return False
        self.view.enrolment(enrolment)
        return True

    def _ask_consent(self, name: str) -> None:
        if not at_terminal():
            raise UsageError("without a terminal, --consent must say that the person has agreed")
        self.view.note(f"You are enrolling as {name}.")
        if not self.view.confirm(CONSENT):
            raise Declined("nothing was stored: the person did not agree")

    def _enrolment_phrases(
        self, name: str, phrase: str | None, count: int
    ) -> tuple[list[Examined], str]:
        """Return the phrases, and the passphrase that they are of (empty for fresh ones)."""
        passphrase = phrase or ""
        if self.files:
            utterances = self._read(self.files)
            if phrase == "":
                passphrase = self._heard_right(self.membrane.transcribe(utterances[0]))
                if not passphrase:
                    raise Declined("nothing was stored: type the passphrase with --phrase instead")
            return [self._examine_said(one, passphrase) for one in utterances], passphrase
        with self._session() as session:
            if phrase == "":
                passphrase = self._spoken_passphrase(session)
            return session.enrolment_phrases(name, count, passphrase=passphrase), passphrase

    def _spoken_passphrase(self, session: Session) -> str:
        for _attempt in range(SPOKEN_ATTEMPTS):
            heard = session.chosen_passphrase()
            try:
                passphrase = self._heard_right(self.membrane.transcribe(heard))
            except (PoorQuality, UsageError) as error:
                self.view.warn(sentence(error))
                continue
            if passphrase:
                return passphrase
        raise Declined("nothing was stored: type the passphrase with --phrase instead")

    def _examine_said(self, utterance: Utterance, passphrase: str) -> Examined:
        examined = self.membrane.examine(utterance, expected=passphrase, enrolling=True)
        if examined.words is not None and not examined.words.accepted:
            raise Disagreement(
                f"{utterance.source} does not hold the words {passphrase!r}: record them again"
            )
        return examined

    def _heard_right(self, heard: str) -> str:
        """Return the passphrase that was heard; empty if the person says it is another."""
        passphrase = self.membrane.check_passphrase(heard)
        if not at_terminal():
            self.view.warn(f"The passphrase was heard as: {passphrase}.")
            return passphrase
        return passphrase if self.view.confirm(f"I heard: {passphrase}. Is that right?") else ""

    # ---- Decisions

    def verify(self, name: str | None, *, expected: str = "") -> bool:
        """Decide about a login; without a name, find the person by their passphrase.

        Returns
        -------
        bool
            Whether the person is let in.
        """
        name = None if name is None else canonical_name(name)
        self._check_outputs()
        if not self.files:
            decision = self._verify_spoken(name)
        elif name is None:
            decision = self._recorded(self.membrane.verify_anyone(self._only_file()))
        else:
            decision = self._recorded(
                self.membrane.verify(name, self._only_file(), expected=expected)
            )
        self.view.decision(decision)
        if decision.accepted and (person := self.membrane.store.get(decision.person)):
            self.view.warn_of_retention(person.name, person.keep_until)
        return decision.accepted

    def _verify_spoken(self, name: str | None) -> Decision:
        claim = ANYONE if name is None else self.membrane.claim(name)
        self.membrane.guard.require_open(claim)
        if name is None:
            self.membrane.passphrase_owners()
            with self._session() as session:
                return session.verify_anyone(on_decision=self._recorded)
        with self._session(self.membrane.voices.of_claim(claim)) as session:
            return session.verify(claim, on_decision=self._recorded)

    def identify(self, *, top_n: int) -> bool:
        """Tell who speaks; return whether it is somebody known."""
        self._check_outputs()
        if self.files:
            decision = self.membrane.identify(self._only_file(), top_n=top_n)
        else:
            with self._session() as session:
                decision = session.identify(top_n=top_n)
        return self._answered(decision)

    def compare(self) -> bool:
        """Tell whether two recordings are of one person."""
        self._check_outputs()
        one, other = self._read(self.files)
        return self._answered(self.membrane.compare(one, other))

    def explain(self) -> bool:
        """Tell why two voices are one person's or not; the first may be somebody enrolled.

        Returns
        -------
        bool
            Whether they are, by the voice alone.
        """
        one, other = self.files
        if is_recording(one):
            return self.compare()
        self._check_outputs()
        try:
            decision = self.membrane.explain(one, self._read((other,))[0])
        except (InvalidName, UnknownName):
            raise NoSuchFile(
                f"{one!r} is neither a recording nor enrolled: see `membrane list`"
            ) from None
        return self._answered(decision)

    def _answered(self, decision: Decision) -> bool:
        self.view.decision(self._recorded(decision))
        return decision.accepted

    def _recorded(self, decision: Decision) -> Decision:
        """Append a decision to the results file, if there is one, before anybody is let in."""
        if self.membrane.settings.results is not None:
            from membrane.terminal.results import append_decision

            append_decision(self.membrane.settings.results, decision)
        return decision

    def _check_outputs(self) -> None:
        for path in (self.membrane.settings.results, self.save_to):
            if path is not None:
                require_writable(path)

    # ---- Erasing

    def delete(self, name: str, *, agreed: bool) -> None:
        """Erase a person."""
        person = administration.erasable(self.membrane, name)
        self._confirm(f"Delete {person.name} for good?", agreed=agreed)
        administration.delete(self.membrane, person)
        self.view.note(f"{person.name} was deleted.")

    def clear(self, *, agreed: bool) -> None:
        """Erase everybody."""
        people = len(self.membrane.store.gallery())
        require_owner(self.membrane.store.path)
        self._confirm(f"Delete all {people} people for good?", agreed=agreed)
        self.view.note(f"{administration.clear(self.membrane)} people were deleted.")

    def protect(self, change: str, source: str | None) -> None:
        """Encrypt the database, change its key, turn its voiceprints anew, or take that back."""
        ask = self.view.secret if at_terminal() else None
        made = administration.protect(self.membrane, change, source=source, ask=ask)
        if change in {"protect", "rekey"}:
            self.view.note(KEEP_THE_KEY)
        if change == "protect" and self.membrane.settings.protection != "required":
            self.view.note(REQUIRE_IT)
        if change == "rekey" and made.source == "environment":
            self.view.note("From now on the key in MEMBRANE_NEW_KEY belongs into MEMBRANE_KEY.")
        if change in DONE:
            self.view.note(DONE[change])
        self.view.protection(made)

    def unlock(self, name: str | None) -> None:
        """Let somebody who failed too often try again at once; without a name, by passphrase."""
        who = "Whoever says a passphrase" if name is None else canonical_name(name)
        had_failed = administration.unlock(self.membrane, name)
        self.view.note(f"{who} {'may try again' if had_failed else 'was not waiting'}.")

    def revert(self, name: str) -> None:
        """Take back what logins added to somebody's voiceprint."""
        person = administration.revert(self.membrane, name)
        self.view.note(f"What logins had added to {person.name}'s voiceprint is gone.")

    def _confirm(self, question: str, *, agreed: bool) -> None:
        if agreed:
            return
        if not at_terminal():
            raise UsageError("without a terminal, --yes must confirm what is deleted for good")
        if not self.view.confirm(question):
            raise Declined("nothing was deleted")

    # ---- Sound

    def _session(self, voice: Voice | None = None) -> Session:
        """Return a conversation whose engines are loaded while the person keeps quiet."""
        from membrane.terminal.conversation import Session

        session = Session(
            self.membrane,
            self.view,
            seconds=self.seconds,
            save_to=self.save_to,
            on_heard=self._remember,
        )
        session.voice = voice
        return session

    def _remember(self, heard: Utterance) -> None:
        self.last_heard = heard

    def _read(self, files: tuple[str, ...]) -> list[Utterance]:
        from membrane.audio.files import read_utterance

        return [read_utterance(file) for file in files]

    def _only_file(self) -> Utterance:
        if len(self.files) > 1:
            raise UsageError("one recording is judged at a time: give --with-file once")
        return self._read(self.files)[0]


def is_recording(text: str) -> bool:
    """Return whether something that may be a name says where a recording is."""
    from membrane.audio.files import STANDARD_INPUT

    try:
        return text == STANDARD_INPUT or os.access(text, os.F_OK)
    except ValueError:  # no file can have such a name
        return False


def require_writable(path: Path) -> None:
    """Refuse a file that cannot be written, as far as can be told without making it.

    Raises
    ------
    OutputUnwritable
    """
    if path.is_dir():
        raise OutputUnwritable(f"{path} is a folder: name a file in it")
    if not path.absolute().parent.is_dir():
        raise OutputUnwritable(f"there is no folder {path.parent}: make it first")
    if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
        raise OutputUnwritable(f"{path} cannot be written: choose another file")
