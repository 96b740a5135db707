"""A conversation at the microphone: listen to the room, ask for a phrase, hear it, try again."""

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from threading import Thread
from typing import Self

from membrane.audio.devices import find_device
from membrane.audio.files import check_writable_format, save_recording
from membrane.audio.microphone import Recorder
from membrane.audio.utterance import Utterance
from membrane.errors import Disagreement, PoorQuality, RoomNotQuiet
from membrane.login.claim import Claim
from membrane.login.decision import Decision
from membrane.login.examine import Examined
from membrane.login.membrane import Answer, Membrane
from membrane.phrase.prompts import random_prompt
from membrane.terminal.console import View
from membrane.terminal.meter import LevelMeter
from membrane.terminal.text import sentence
from membrane.voice.voice import Voice

ROOM_ATTEMPTS = 3
"""How often the room is listened to before it is given up."""

STRICT_LENGTHS = {"digits": 8, "words": 6}
"""Digits or words of a prompt of ``--security strict``."""

SPARE_PHRASES = 3
"""How many phrases of one enrolment may be asked again."""

SAY_OWN = "Please say your passphrase."
SAY_CHOSEN = "Please say the passphrase you choose."
SAY_ANYTHING = "Please say anything you like, for three seconds or more."

OnDecision = Callable[[Decision], object]


class Session:
    """A person at a microphone; a context manager that holds the microphone open.

    Parameters
    ----------
    seconds : float, optional
        Record so long each time, instead of until the person has finished.
    save_to : Path, optional
        Keep what was heard: the first recording there, the next beside it with ``-2``, ``-3``
        and so on.
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
        self.voice: Voice | None = None
        """Whose encoder is loaded while the person keeps quiet; None: that of the settings."""
        self._view = view
        self._seconds = seconds
        self._save_to = check_writable_format(save_to) if save_to else None
        self._recorder = Recorder(find_device(membrane.settings.device or None))
        self._loading = Thread(target=self._preload, daemon=True)
        self._on_heard = on_heard
        self._saved = 0

    def __enter__(self) -> Self:
        self._recorder.__enter__()
        try:
            # What a decision needs is loaded while the person keeps quiet and reads the prompt.
            self._loading.start()
            self._hear_room()
        except BaseException:
            self._recorder.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.__exit__()

    def _preload(self) -> None:
        # The same error comes back, to somebody who can show it, when the engine is used.
        with suppress(Exception):
            self._membrane.preload(self.voice)

    def _hear_room(self) -> None:
        for attempt in range(ROOM_ATTEMPTS):
            self._view.note("Please stay quiet for two seconds while I listen to the room.")
            try:
                with LevelMeter(self._view.notes, "Listening to the room") as meter:
                    self._recorder.room(on_level=meter.show)
            except RoomNotQuiet as error:
                if attempt == ROOM_ATTEMPTS - 1:
                    raise
                self._view.warn(sentence(error))
            else:
                return

    def hear(self) -> Utterance:
        """Return what is said now.

        Raises
        ------
        PoorQuality
            If nobody speaks.
        MicrophoneUnavailable
            If the microphone fails.
        OutputUnwritable
            If the recording cannot be kept.
        """
        with LevelMeter(self._view.notes, "Listening to you") as meter:
            heard = self._recorder.speech(seconds=self._seconds, on_level=meter.show)
        self._loading.join()
        if self._on_heard is not None:
            self._on_heard(heard)
        if self._save_to is not None:
            self._saved += 1
            number = "" if self._saved == 1 else f"-{self._saved}"
            path = self._save_to.with_stem(self._save_to.stem + number)
            save_recording(path, heard.samples)
        return heard

    def fresh_prompt(self, name: str) -> str:
        """Return a phrase that nobody can foretell, unlike those of the person's last logins."""
        settings = self._membrane.settings
        length = STRICT_LENGTHS[settings.prompt] if settings.strict else None
        return self._membrane.guard.fresh_prompt(
            name, lambda: random_prompt(settings.prompt, length)
        )

    # ---- Login

    def verify(self, claim: Claim, *, on_decision: OnDecision) -> Decision:
        """Ask for a fresh phrase, or the person's own, until they are let in or may not try again.

        Parameters
        ----------
        claim : Claim
            Who the person says they are.
        on_decision : callable
            Told of every attempt that was judged, before the next begins.

        Raises
        ------
        PoorQuality
            If nobody speaks, or the last attempt could not be judged.
        LockedOut
            If too many attempts failed.
        """
        return self._attempt(
            lambda: self._membrane.attempting(claim),
            on_decision,
            prompt=None if claim.passphrase else lambda: self.fresh_prompt(claim.name),
        )

    def verify_anyone(self, *, on_decision: OnDecision) -> Decision:
        """Find the person by their passphrase, then verify the voice."""
        return self._attempt(self._membrane.attempting_anyone, on_decision, prompt=None)

    def identify(self, *, top_n: int) -> Decision:
        """Tell who speaks."""
        self._view.request(SAY_ANYTHING)
        return self._membrane.identify(self.hear(), top_n=top_n)

    def _attempt(
        self,
        attempting: Callable[[], AbstractContextManager[Answer]],
        on_decision: OnDecision,
        *,
        prompt: Callable[[], str] | None,
    ) -> Decision:
        """Ask for their own phrase, or a fresh one each time, until let in or out of attempts.

        A phrase that nobody begins to say in time (`membrane.audio.microphone.WAIT_S`) is used up.
        """
        left = self._membrane.settings.attempts
        while True:
            left -= 1
            heard = None
            try:
                with attempting() as answer:
                    asked = prompt() if prompt else ""
                    if prompt:
                        self._view.prompt(asked)
                    else:
                        self._view.request(SAY_OWN)
                    heard = self.hear()
                    decision = answer(heard, asked)
            except PoorQuality as error:
                if heard is None or not left:
                    raise
                self._view.warn(f"{sentence(error)} Please try again.")
                continue
            on_decision(decision)
            if decision.accepted or not left:
                return decision
            self._view.warn(f"{decision.reason} Please try again.")

    # ---- Enrolment

    def chosen_passphrase(self) -> Utterance:
        """Ask for the passphrase that a person chooses, and return what is said."""
        self._view.request(SAY_CHOSEN)
        return self.hear()

    def enrolment_phrases(
        self, name: str, count: int, *, passphrase: str = "", is_known: bool = False
    ) -> list[Examined]:
        """Ask for phrases until there are enough good ones that sound like one person.

        Parameters
        ----------
        name : str
            Who is to be enrolled.
        count : int
            How many phrases.
        passphrase : str
            The person's own, asked for each time; empty for fresh phrases.
        is_known : bool
            Whether the person has that passphrase already. Then it is not shown, nor told whether
            it was said: `Membrane.add_phrases` judges that, and counts who does not know it.

        Raises
        ------
        PoorQuality, Disagreement
            If nobody speaks, or too many had to be asked again.
        """
        phrases: list[Examined] = []
        spare = SPARE_PHRASES
        secret = is_known and bool(passphrase)
        while len(phrases) < count:
            self._view.note(f"Phrase {len(phrases) + 1} of {count}")
            asked = passphrase or self.fresh_prompt(name)
            if secret:
                self._view.request(SAY_OWN)
            else:
                self._view.prompt(asked)
            heard = self.hear()
            try:
                phrases.append(self._checked(heard, asked, telling=not secret))
                self._drop_outlier(phrases, count)
            except (PoorQuality, Disagreement) as error:
                if not spare:
                    raise
                spare -= 1
                self._view.warn(f"{sentence(error)} Please try again.")
        return phrases

    def _checked(self, heard: Utterance, asked: str, *, telling: bool) -> Examined:
        examined = self._membrane.examine(heard, expected=asked, enrolling=True)
        if telling and examined.words is not None and not examined.words.accepted:
            raise Disagreement("the words were not the ones asked for: read them one by one")
        return examined

    def _drop_outlier(self, phrases: list[Examined], count: int) -> None:
        if len(phrases) < count:
            return
        if (outlier := self._membrane.find_outlier(phrases)) is not None:
            del phrases[outlier]
            raise Disagreement(
                f"phrase {outlier + 1} sounds unlike the others: speak as you usually do"
            )
