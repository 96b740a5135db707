"""A conversation at the microphone: listen to the room, ask for a phrase, hear it, try again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from membrane.audio.devices import find_device
from membrane.audio.files import check_writable_format, save_recording
from membrane.audio.microphone import Recorder
from membrane.audio.utterance import Utterance
from membrane.authenticator import Membrane
from membrane.console import View
from membrane.decision import Decision
from membrane.errors import Disagreement, MembraneError, PoorQuality, RoomNotQuiet
from membrane.evidence import Examined
from membrane.meter import LevelMeter
from membrane.phrase.prompts import random_prompt

ROOM_ATTEMPTS = 3
"""How often the room is listened to before it is given up."""

STRICT_LENGTHS = {"digits": 8, "words": 6}
"""Digits or words of a prompt of ``--security strict``."""

SPARE_PHRASES = 3
"""How many phrases of one enrolment may be asked again."""

OWN_PHRASE = "your passphrase"
ANYTHING = "anything you like, for three seconds or more"

OnDecision = Callable[[Decision], object]


class Session:
    """A person at a microphone; a context manager that holds the microphone open.

    Parameters
    ----------
    membrane : Membrane
    view : View
    seconds : float, optional
        Record so long each time, instead of until the person has finished.
    save_to : Path, optional
        Keep what was heard last.
    on_heard : callable, optional
        Told of every recording.

    Raises
    ------
    MicrophoneUnavailable
    RoomNotQuiet
        If somebody speaks each time the room is listened to.
    UsageError
        If `save_to` is not a kind of recording that can be written.
    """

    def __init__(
        self,
        membrane: Membrane,
        view: View,
        *,
        seconds: float | None = None,
        save_to: Path | None = None,
        on_heard: Callable[[Utterance], None] | None = None,
    ) -> None:
        self._membrane = membrane
        self._view = view
        self._seconds = seconds
        self._save_to = check_writable_format(save_to) if save_to else None
        self._recorder = Recorder(find_device(membrane.settings.device or None))
        self._loading = Thread(target=self._preload, daemon=True)
        self._on_heard = on_heard

    def __enter__(self) -> Self:
        self._recorder.__enter__()
        try:
            # What a decision needs is loaded while the person keeps quiet and reads the prompt.
            self._loading.start()
            self._hear_room()
        except BaseException:
            self._recorder.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._recorder.__exit__(kind, error, trace)

    def _preload(self) -> None:
        try:
            self._membrane.preload()
        except MembraneError:
            # The same error comes back, to somebody who can show it, when the engine is used.
            return

    def _hear_room(self) -> None:
        for attempt in range(ROOM_ATTEMPTS):
            self._view.note("Please be quiet for two seconds: I listen to the room.")
            try:
                with LevelMeter(self._view.notes, "Listening to the room") as meter:
                    self._recorder.room(on_level=meter.show)
            except RoomNotQuiet as error:
                if attempt == ROOM_ATTEMPTS - 1:
                    raise
                self._view.warn(str(error))
            else:
                return

    def hear(self, phrase: str) -> Utterance:
        """Ask for a phrase and return what was said.

        Raises
        ------
        PoorQuality
            If nobody speaks.
        MicrophoneUnavailable
            If the microphone fails.
        OutputUnwritable
            If the recording cannot be kept.
        """
        self._view.prompt(phrase)
        with LevelMeter(self._view.notes, "Listening to you") as meter:
            heard = self._recorder.speech(seconds=self._seconds, on_level=meter.show)
        self._loading.join()  # engines are not made for two threads at once
        if self._on_heard is not None:
            self._on_heard(heard)
        if self._save_to is not None:
            save_recording(self._save_to, heard.samples)
        return heard

    def fresh_prompt(self) -> str:
        """Return a phrase that nobody can foretell."""
        settings = self._membrane.settings
        length = STRICT_LENGTHS[settings.prompt] if settings.strict else None
        return random_prompt(settings.prompt, length).text

    # ---- Login

    def verify(self, name: str, *, on_decision: OnDecision) -> Decision:
        """Ask for a fresh phrase, or the person's own, until they are let in or may not try again.

        Parameters
        ----------
        name : str
            Who the person says they are.
        on_decision : callable
            Told of every attempt that was judged, before the next begins.

        Raises
        ------
        PoorQuality
            If the last attempt could not be judged.
        """
        person = self._membrane.store.get(name)
        if person is not None and person.passphrase:
            return self._attempt(
                OWN_PHRASE, lambda heard, _: self._membrane.verify(name, heard), on_decision
            )
        return self._attempt(
            None,
            lambda heard, phrase: self._membrane.verify(name, heard, expected=phrase),
            on_decision,
        )

    def verify_anyone(self, *, on_decision: OnDecision) -> Decision:
        """Find the person by their passphrase, then verify the voice."""
        return self._attempt(
            OWN_PHRASE, lambda heard, _: self._membrane.verify_anyone(heard), on_decision
        )

    def identify(self, *, top_n: int) -> Decision:
        """Tell who speaks."""
        return self._membrane.identify(self.hear(ANYTHING), top_n=top_n)

    def _attempt(
        self,
        phrase: str | None,
        judge: Callable[[Utterance, str], Decision],
        on_decision: OnDecision,
    ) -> Decision:
        """Ask for `phrase`, or for a fresh one each time, until accepted or out of attempts."""
        left = self._membrane.settings.attempts
        while True:
            left -= 1
            asked = phrase or self.fresh_prompt()
            try:
                decision = judge(self.hear(asked), asked)
            except PoorQuality as error:
                if not left:
                    raise
                self._view.warn(f"That could not be judged. {error}")
                continue
            on_decision(decision)
            if decision.accepted or not left:
                return decision
            self._view.warn(f"{decision.reason} Please try again.")

    # ---- Enrolment

    def spoken_passphrase(self) -> str:
        """Return what the person says as the recognizer hears it; not yet checked."""
        return self._membrane.transcribe(self.hear("the passphrase you choose"))

    def enrolment_phrases(self, count: int, *, passphrase: str = "") -> list[Examined]:
        """Ask for phrases until there are enough good ones that sound like one person.

        Parameters
        ----------
        count : int
        passphrase : str
            The person's own, asked for each time; empty for fresh phrases.

        Raises
        ------
        PoorQuality, Disagreement
            If too many had to be asked again.
        """
        phrases: list[Examined] = []
        spare = SPARE_PHRASES
        while len(phrases) < count:
            self._view.note(f"Phrase {len(phrases) + 1} of {count}")
            try:
                phrases.append(self._enrolment_phrase(passphrase))
                self._drop_outlier(phrases, count)
            except (PoorQuality, Disagreement) as error:
                if not spare:
                    raise
                spare -= 1
                self._view.warn(f"Once more, please. {error}")
        return phrases

    def _enrolment_phrase(self, passphrase: str) -> Examined:
        asked = passphrase or self.fresh_prompt()
        examined = self._membrane.examine(self.hear(asked), expected=asked, enrolling=True)
        if examined.words is not None and not examined.words.accepted:
            raise Disagreement("the words were not the ones asked for: read them one by one")
        return examined

    def _drop_outlier(self, phrases: list[Examined], count: int) -> None:
        if len(phrases) < count:
            return
        outlier = self._membrane.find_outlier(phrases)
        if outlier is not None:
            del phrases[outlier]
            raise Disagreement(
                f"phrase {outlier + 1} sounds unlike the others: speak as you usually do"
            )
