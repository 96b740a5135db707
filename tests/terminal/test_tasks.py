import io
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from membrane.errors import (
    Declined,
    EncoderMismatch,
    InvalidName,
    LockedOut,
    NameTaken,
    NotTheOwner,
    OutputUnwritable,
    PoorQuality,
    UnknownName,
    UsageError,
)
from membrane.login.guard import ANYONE
from membrane.login.membrane import Membrane
from membrane.settings import load_settings
from membrane.terminal import conversation as session
from membrane.terminal import tasks
from membrane.terminal.console import View
from membrane.terminal.tasks import Tasks, require_writable

PASSPHRASE = "winter mornings smell of coffee and snow"


class NoSession:
    """Nobody may be asked to speak in these tests."""

    def __init__(self, *_arguments, **_options):
        pytest.fail("the microphone was opened")


class Person:
    """Answers each question with the next of the lines."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.file = io.StringIO()

    def view(self, monkeypatch, **options):
        screen = Console(file=self.file, width=200, highlight=False)
        view = View(screen, screen, **options)
        monkeypatch.setattr(view, "ask", self.answer)
        return view

    def answer(self, question):
        self.asked.append(question)
        return self.answers.pop(0)


@pytest.fixture
def tasks_of(monkeypatch):
    """Return tasks for a person at a terminal, where the microphone must not be opened."""
    monkeypatch.setattr(tasks, "at_terminal", lambda: True)
    monkeypatch.setattr(session, "Session", NoSession)

    def make(person, *, settings=(), **options):
        membrane = Membrane(load_settings(**dict(settings)))
        return Tasks(membrane, person.view(monkeypatch), **options)

    return make


@pytest.mark.parametrize("how", ["new", "add", "replace"])
@pytest.mark.parametrize("name", ["", "a/b", "a\u202eb", "x" * 65])
def test_invalid_name_is_refused_before_anybody_agrees_or_speaks(tasks_of, how, name):
    person = Person()
    with pytest.raises(InvalidName):
        tasks_of(person).enroll(name, how=how)
    assert person.asked == []


def test_invalid_name_is_refused_before_a_login(tasks_of):
    with pytest.raises(InvalidName):
        tasks_of(Person()).verify("a/b")


def test_taken_name_is_refused_before_anybody_agrees(enrolled, tasks_of):
    person = Person()
    with pytest.raises(NameTaken):
        tasks_of(person).enroll("ADA")
    assert person.asked == []


def test_a_voiceprint_is_made_anew_from_files_only(enrolled, tasks_of):
    with pytest.raises(UsageError, match="give --with-file"):
        tasks_of(Person()).reencode("ada")


def test_an_encoder_that_cannot_run_here_is_refused_before_anybody_speaks(enrolled, tasks_of):
    made = tasks_of(Person())
    made.membrane.store.update("ada", lambda ada: replace(ada, encoder="gone"))
    for ask in (lambda: made.verify("ada"), lambda: made.enroll("ada", how="add")):
        with pytest.raises(EncoderMismatch, match="--reencode"):
            ask()


def test_a_login_is_heard_by_the_encoder_of_the_voiceprint(enrolled, tasks_of, monkeypatch):
    made = tasks_of(Person())
    voices = {"ada": object(), "zoe": object()}
    monkeypatch.setattr(made.membrane.voices, "of_claim", lambda claim: voices[claim.name])
    preloaded = []

    class Leaving(nullcontext):
        def __init__(self, *_arguments, **_options):
            super().__init__()

        def __enter__(self):
            preloaded.append(self.voice)
            raise Declined("enough")

    monkeypatch.setattr(session, "Session", Leaving)
    for name in voices:
        with pytest.raises(Declined):
            made.verify(name)
    assert preloaded == list(voices.values())


def test_adding_to_nobody_is_refused_before_anybody_speaks(enrolled, tasks_of):
    with pytest.raises(UnknownName):
        tasks_of(Person()).enroll("zoe", how="add")


@pytest.mark.parametrize("phrase", ["too short", "xyzzy frobnicate grault"])
def test_passphrase_that_cannot_be_used_is_refused_before_anybody_agrees(tasks_of, phrase):
    person = Person()
    with pytest.raises(UsageError):
        tasks_of(person).enroll("zoe", phrase=phrase)
    assert person.asked == []


def test_login_by_passphrase_is_refused_before_anybody_speaks_if_nobody_has_one(enrolled, tasks_of):
    with pytest.raises(UsageError, match="nobody has a passphrase"):
        tasks_of(Person()).verify(None)


@pytest.mark.parametrize("name", ["ada", "zoe", None])
def test_whoever_must_wait_is_told_so_before_they_speak(enrolled, tasks_of, name):
    made = tasks_of(Person())
    for _ in range(5):
        made.membrane.guard.attempts.begin(ANYONE.name if name is None else name)
    with pytest.raises(LockedOut, match="too many failed logins"):
        made.verify(name)


def test_outputs_are_looked_at_before_anybody_speaks(enrolled, tasks_of, tmp_path):
    missing = tmp_path / "missing"
    for tasks_with in (
        tasks_of(Person(), settings={"results": missing / "results.csv"}),
        tasks_of(Person(), save_to=missing / "heard.wav"),
        tasks_of(Person(), save_to=tmp_path),
    ):
        for ask in (
            lambda made: made.verify("ada"),
            lambda made: made.identify(top_n=1),
            lambda made: made.enroll("zoe"),
        ):
            with pytest.raises(OutputUnwritable):
                ask(tasks_with)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission_is_not_writable(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputUnwritable):
        require_writable(tmp_path / "results.csv")


def test_file_in_this_folder_is_writable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    require_writable(Path("results.csv"))
    assert list(tmp_path.glob("*.csv")) == []


def test_consent_is_asked_and_a_no_stores_nothing(tasks_of, recording):
    person = Person("n")
    enrolling = tasks_of(person, files=(str(recording("ada", "enrol")),))
    with pytest.raises(Declined, match="nothing was stored"):
        enrolling.enroll("ada")
    (question,) = person.asked
    assert "numbers that describe your voice (no sound)" in question
    assert enrolling.membrane.store.get("ada") is None
    assert "You are enrolling as ada." in person.file.getvalue()


def test_consent_that_was_given_is_not_asked_for(tasks_of, recording):
    person = Person()
    enrolling = tasks_of(person, files=(str(recording("ada", "enrol")),))
    enrolling.enroll("ada", consent=True)
    assert person.asked == []
    assert enrolling.membrane.store.get("ada").consent_at


def test_consent_must_be_stated_where_nobody_can_be_asked(tasks_of, recording, monkeypatch):
    monkeypatch.setattr(tasks, "at_terminal", lambda: False)
    enrolling = tasks_of(Person(), files=(str(recording("ada", "enrol")),))
    with pytest.raises(UsageError, match="--consent"):
        enrolling.enroll("ada")


def test_files_and_the_microphone_are_not_asked_for_at_once(tasks_of, tmp_path):
    with pytest.raises(UsageError):
        tasks_of(Person(), files=("a.wav",), seconds=3.0)
    with pytest.raises(UsageError):
        tasks_of(Person(), files=("a.wav",), save_to=tmp_path / "b.wav")


def test_one_recording_is_judged_at_a_time(enrolled, tasks_of):
    with pytest.raises(UsageError, match="one recording"):
        tasks_of(Person(), files=("a.wav", "b.wav")).verify("ada")


def test_erasing_is_confirmed(enrolled, tasks_of):
    person = Person("", "no", "y", "yes")
    erasing = tasks_of(person)
    for erase in (lambda: erasing.delete("ADA", agreed=False), lambda: erasing.clear(agreed=False)):
        with pytest.raises(Declined):
            erase()
    assert len(erasing.membrane.store.gallery()) == 3
    erasing.delete("ADA", agreed=False)
    erasing.clear(agreed=False)
    assert person.asked[0] == "Delete ada for good? [y/N]"
    assert person.asked[1] == "Delete all 3 people for good? [y/N]"
    assert len(erasing.membrane.store.gallery()) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda made: made.delete("ada", agreed=False),
        lambda made: made.clear(agreed=False),
        lambda made: made.enroll("ada", how="replace"),
        lambda made: made.unlock("ada"),
        lambda made: made.revert("ada"),
        lambda made: made.protect("protect", "passphrase"),
    ],
    ids=["delete", "clear", "replace", "unlock", "revert", "protect"],
)
def test_who_does_not_own_the_database_is_refused_before_they_are_asked(
    enrolled, tasks_of, monkeypatch, ask
):
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    person = Person()
    with pytest.raises(NotTheOwner):
        ask(tasks_of(person))
    assert person.asked == []
    assert person.file.getvalue() == ""


class PassphraseSession:
    """A session in which a passphrase is chosen by saying it; each time it is heard otherwise."""

    def __init__(self, examined):
        self.examined = examined
        self.passphrase = None
        self.times = 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    def chosen_passphrase(self):
        self.times += 1

    def enrolment_phrases(self, _name, count, *, passphrase):
        self.passphrase = passphrase
        return [self.examined] * count


@pytest.fixture
def choosing(tasks_of, monkeypatch, utterance_of):
    """Enrol somebody who chooses a passphrase aloud; return the person and the session."""

    def enrol(person, *heard):
        enrolling = tasks_of(person)
        # The same recording stands for each time the passphrase is said.
        enrolling.membrane.settings = replace(enrolling.membrane.settings, replay="allow")
        talking = PassphraseSession(enrolling.membrane.examine(utterance_of("ada", "enrol")))
        monkeypatch.setattr(session, "Session", lambda *_arguments, **_options: talking)
        events = list(heard)

        def transcribe(_heard):
            event = events.pop(0)
            if isinstance(event, Exception):
                raise event
            return event

        monkeypatch.setattr(enrolling.membrane, "transcribe", transcribe)
        try:
            enrolling.enroll("ada", phrase="", consent=True)
        finally:
            talking.stored = enrolling.membrane.store.get("ada")
        return talking

    return enrol


def test_passphrase_that_is_spoken_is_stored_after_a_yes(choosing):
    person = Person("y")
    assert choosing(person, PASSPHRASE).stored.passphrase == PASSPHRASE
    assert person.asked == [f"I heard: {PASSPHRASE}. Is that right? [y/N]"]


def test_passphrase_that_was_misheard_may_be_said_again(choosing):
    person = Person("n", "y")
    heard = ("winter warnings smell", PoorQuality("too short"), PASSPHRASE)
    talking = choosing(person, *heard)
    assert talking.times == 3
    assert talking.stored.passphrase == PASSPHRASE
    assert "Too short." in person.file.getvalue()


def test_passphrase_that_is_never_heard_right_stores_nothing(choosing):
    with pytest.raises(Declined, match="--phrase"):
        choosing(Person("n", "n"), "one two three", "", "one two three")


def test_unknown_person_cannot_be_erased(tasks_of):
    with pytest.raises(UnknownName):
        tasks_of(Person()).delete("zoe", agreed=True)


def test_last_recording_is_remembered(tasks_of):
    remembering = tasks_of(Person())
    heard = SimpleNamespace()
    remembering._remember(heard)
    assert remembering.last_heard is heard
