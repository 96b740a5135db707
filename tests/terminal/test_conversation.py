import io
import json
import re
import runpy
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

from membrane.audio.utterance import SAMPLE_RATE, Utterance
from membrane.errors import (
    Disagreement,
    EngineUnavailable,
    LockedOut,
    MicrophoneUnavailable,
    OutputUnwritable,
    PoorQuality,
    RoomNotQuiet,
    UsageError,
)
from membrane.login.claim import Claim, claim_of
from membrane.login.guard import LEAST_CHANGE, Guard, change
from membrane.settings import Settings
from membrane.store.columns import Columns
from membrane.store.gallery import Gallery
from membrane.store.joblib_store import JoblibStore
from membrane.terminal import conversation as session
from membrane.terminal.console import View
from membrane.terminal.conversation import Session
from tests.pseudo_terminal import CTRL_C

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "store" / "writer.py"))
DIGITS = r"Please say:\s+((?:\d )*\d)\s*\n"
WRONG = "1 1 1 1"
ADA = Claim("ada", person=None, model=None)
HEARD = Utterance(np.full(SAMPLE_RATE, 0.1, dtype=np.float32))


class FakeRecorder:
    """Hears what the list says: an utterance, or the error that happens instead."""

    def __init__(self, rooms, heard):
        self.rooms, self.heard = list(rooms), list(heard)
        self.open = False

    def __enter__(self):
        self.open = True
        return self

    def __exit__(self, *_error):
        self.open = False

    def room(self, *, on_level):
        return self._next(self.rooms)

    def speech(self, *, seconds, on_level):
        return self._next(self.heard)

    @staticmethod
    def _next(events):
        event = events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event


class FakeMembrane:
    """Judges as the list says."""

    def __init__(self, decisions=(), **settings):
        self.settings = Settings(**settings)
        self.decisions = list(decisions)
        self.asked = []
        self.outliers = []
        self.guard = SimpleNamespace(fresh_prompt=self._fresh_prompt)
        self.prompted = []
        self.begun = 0

    def _fresh_prompt(self, name, draw):
        self.prompted.append(name)
        return draw()

    def preload(self, voice):
        self.preloaded = voice
        time.sleep(0.01)

    @contextmanager
    def attempting(self, _claim):
        self.begun += 1
        yield lambda _heard, expected: self._judge(expected)

    @contextmanager
    def attempting_anyone(self):
        self.begun += 1
        yield lambda _heard, expected: self._judge(expected)

    def examine(self, _heard, *, expected, enrolling):
        assert enrolling
        accepted = self._judge(expected)
        return SimpleNamespace(words=SimpleNamespace(accepted=accepted))

    def find_outlier(self, _phrases):
        return self.outliers.pop(0) if self.outliers else None

    def _judge(self, expected):
        self.asked.append(expected)
        decision = self.decisions.pop(0)
        if isinstance(decision, Exception):
            raise decision
        return decision


def decided(accepted):
    return SimpleNamespace(accepted=accepted, reason="The words are right.")


@pytest.fixture
def talk(monkeypatch):
    """Return a maker of sessions at a fake microphone, and what they showed."""
    shown = io.StringIO()

    def begin(membrane, heard=(), *, rooms=(HEARD,), **options):
        recorder = FakeRecorder(rooms, heard)
        monkeypatch.setattr(session, "Recorder", lambda _device: recorder)
        monkeypatch.setattr(session, "find_device", lambda _text: None)
        notes = Console(file=shown, width=200, highlight=False)
        talking = Session(membrane, View(notes, notes), **options)
        talking.shown, talking.recorder = shown, recorder
        return talking

    return begin


def test_an_attempt_begins_before_its_prompt_is_shown(talk):
    membrane = FakeMembrane([PoorQuality("too quiet"), decided(False), decided(True)])
    begun = []
    membrane._fresh_prompt = lambda _name, draw: begun.append(membrane.begun) or draw()
    membrane.guard.fresh_prompt = membrane._fresh_prompt
    with talk(membrane, [HEARD] * 3) as talking:
        talking.verify(ADA, on_decision=id)
    assert begun == [1, 2, 3]


def test_refused_login_tries_again_with_a_fresh_prompt(talk):
    membrane = FakeMembrane([decided(False), decided(True)])
    told = []
    with talk(membrane, [HEARD] * 2) as talking:
        decision = talking.verify(ADA, on_decision=told.append)
    assert decision.accepted
    assert [one.accepted for one in told] == [False, True]
    assert re.findall(DIGITS, talking.shown.getvalue()) == membrane.asked
    assert membrane.asked[0] != membrane.asked[1]
    assert "The words are right. Please try again." in talking.shown.getvalue()


def test_login_ends_refused_when_no_attempt_is_left(talk):
    membrane = FakeMembrane([decided(False)] * 2, attempts=2)
    with talk(membrane, [HEARD] * 2) as talking:
        assert not talking.verify(ADA, on_decision=id).accepted
    assert not talking.recorder.open


def test_attempt_that_cannot_be_judged_may_be_made_again(talk):
    membrane = FakeMembrane([PoorQuality("too short: say it all"), decided(True)])
    with talk(membrane, [HEARD] * 2) as talking:
        assert talking.verify(ADA, on_decision=id).accepted
    assert "Too short: say it all. Please try again." in talking.shown.getvalue()


def test_last_attempt_that_cannot_be_judged_is_an_error(talk):
    membrane = FakeMembrane([PoorQuality("too short")], attempts=1)
    with pytest.raises(PoorQuality), talk(membrane, [HEARD]) as talking:
        talking.verify(ADA, on_decision=id)


def test_nobody_who_speaks_ends_a_login_at_once(talk):
    membrane = FakeMembrane(attempts=3)
    with pytest.raises(PoorQuality, match="nobody"), talk(membrane, [PoorQuality("nobody")]) as one:
        one.verify(ADA, on_decision=id)


def test_nobody_is_let_in_whose_decision_cannot_be_recorded(talk):
    def fail(_decision):
        raise OutputUnwritable("full")

    membrane = FakeMembrane([decided(True)])
    with pytest.raises(OutputUnwritable), talk(membrane, [HEARD]) as talking:
        talking.verify(ADA, on_decision=fail)


def test_owner_of_a_passphrase_is_asked_for_it_but_not_shown_it(talk):
    owner = Claim.to_be(MAKERS["person"]("ada", passphrase="a b c"))
    membrane = FakeMembrane([decided(True)])
    with talk(membrane, [HEARD]) as talking:
        talking.verify(owner, on_decision=id)
    assert membrane.asked == [""]
    assert "Please say your passphrase." in talking.shown.getvalue()
    assert "a b c" not in talking.shown.getvalue()


@pytest.mark.parametrize("passphrase", ["", "open the green door"])
def test_an_unknown_name_is_asked_for_what_somebody_enrolled_is(talk, tmp_path, passphrase):
    people = [MAKERS["person"](name, passphrase=passphrase) for name in ("ada", "boris")]
    gallery = Gallery(Columns.of(people), tmp_path)
    told = []
    for name in ("ada", "zoe"):
        membrane = FakeMembrane([decided(False)] * 2, attempts=2)
        with talk(membrane, [HEARD] * 2) as talking:
            talking.verify(claim_of(name, gallery, secret=bytes(32)), on_decision=id)
        text = talking.shown.getvalue()
        talking.shown.truncate(0)
        talking.shown.seek(0)
        assert ("Please say your passphrase." in text) is bool(passphrase)
        assert passphrase == "" or "green" not in text
        assert [bool(asked) for asked in membrane.asked] == [not passphrase] * 2
        assert membrane.prompted == ([] if passphrase else [name] * 2)
        told.append(re.sub(r"(\d )+\d", "N", text))
    assert told[0] == told[1]


def test_whoever_must_wait_is_not_asked_again(talk):
    membrane = FakeMembrane([decided(False), LockedOut("too many failed logins")])
    with pytest.raises(LockedOut), talk(membrane, [HEARD] * 2) as talking:
        talking.verify(ADA, on_decision=id)
    assert not talking.recorder.open


def test_every_prompt_of_a_login_and_of_an_enrolment_is_unlike_the_last_ones(talk, tmp_path):
    membrane = FakeMembrane([decided(False)] * 3 + [True] * 3)
    membrane.guard = Guard(JoblibStore(tmp_path / "voiceprints.joblib"), membrane.settings)
    with talk(membrane, [HEARD] * 6) as talking:
        talking.verify(ADA, on_decision=id)
        talking.enrolment_phrases("ada", 3)
    asked = list(membrane.asked)
    assert len(asked) == 6
    assert membrane.guard.attempts.recent_prompts("ada") == tuple(asked)
    pairs = [(one, other) for place, one in enumerate(asked) for other in asked[:place]]
    assert all(change(one, other) >= LEAST_CHANGE for one, other in pairs)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({}, r"(\d ){5}\d"),
        ({"security": "strict"}, r"(\d ){7}\d"),
        ({"prompt": "words"}, r"([a-z]+ ){3}[a-z]+"),
        ({"prompt": "words", "security": "strict"}, r"([a-z]+ ){5}[a-z]+"),
    ],
)
def test_prompt_has_the_kind_and_length_that_were_chosen(talk, options, pattern):
    assert re.fullmatch(pattern, talk(FakeMembrane(**options)).fresh_prompt("ada"))


def test_room_that_is_not_quiet_is_listened_to_again(talk):
    rooms = [RoomNotQuiet("somebody spoke: be quiet")] * 2 + [HEARD]
    with talk(FakeMembrane(), rooms=rooms) as talking:
        text = talking.shown.getvalue()
    assert text.count("Please stay quiet") == 3
    assert text.count("Somebody spoke: be quiet.") == 2


def test_room_that_is_never_quiet_ends_the_session_and_closes_the_microphone(talk):
    talking = talk(FakeMembrane(), rooms=[RoomNotQuiet("somebody spoke")] * 3)
    with pytest.raises(RoomNotQuiet), talking:
        pytest.fail("the session began")
    assert not talking.recorder.open


@pytest.mark.parametrize("error", [EngineUnavailable("gone"), ImportError("gone"), MemoryError()])
def test_engine_that_fails_to_load_neither_hangs_nor_prints(talk, error, capfd):
    class Failing(FakeMembrane):
        def preload(self, voice):
            raise error

    with talk(Failing([decided(True)]), [HEARD]) as talking:
        assert talking.verify(ADA, on_decision=id).accepted
    assert capfd.readouterr().err == ""


def test_the_voice_that_is_needed_is_loaded_while_the_room_is_listened_to(talk):
    for voice in (None, object()):
        membrane = FakeMembrane([decided(True)])
        talking = talk(membrane, [HEARD])
        talking.voice = voice
        with talking:
            talking.verify(ADA, on_decision=id)
        assert membrane.preloaded is voice


def test_enrolment_asks_for_as_many_fresh_phrases_as_wanted(talk):
    membrane = FakeMembrane([True] * 3)
    with talk(membrane, [HEARD] * 3) as talking:
        assert len(talking.enrolment_phrases("ada", 3)) == 3
    text = talking.shown.getvalue()
    assert re.findall(DIGITS, text) == membrane.asked
    assert all(f"Phrase {number} of 3" in text for number in (1, 2, 3))


def test_enrolment_asks_again_for_wrong_words_and_bad_sound(talk):
    membrane = FakeMembrane([False, PoorQuality("too short"), True])
    with talk(membrane, [HEARD] * 3) as talking:
        assert len(talking.enrolment_phrases("ada", 1)) == 1
    assert talking.shown.getvalue().count("Phrase 1 of 1") == 3
    assert "Too short. Please try again." in talking.shown.getvalue()


def test_whoever_adds_phrases_is_neither_shown_the_passphrase_nor_told_whether_they_said_it(talk):
    membrane = FakeMembrane([False, True])
    with talk(membrane, [HEARD] * 2) as talking:
        assert len(talking.enrolment_phrases("ada", 2, passphrase="a b c", is_known=True)) == 2
    assert membrane.asked == ["a b c"] * 2
    text = talking.shown.getvalue()
    assert text.count("Please say your passphrase.") == 2
    assert "a b c" not in text
    assert "again" not in text


def test_enrolment_asks_again_for_the_phrase_that_sounds_unlike_the_others(talk):
    membrane = FakeMembrane([True] * 4)
    membrane.outliers = [1]
    with talk(membrane, [HEARD] * 4) as talking:
        assert len(talking.enrolment_phrases("ada", 3)) == 3
    assert "Phrase 2 sounds unlike the others" in talking.shown.getvalue()


def test_enrolment_gives_up_after_three_spare_phrases(talk):
    membrane = FakeMembrane([False] * 4)
    with pytest.raises(Disagreement), talk(membrane, [HEARD] * 4) as talking:
        talking.enrolment_phrases("ada", 3)


def test_nobody_who_speaks_ends_an_enrolment_at_once(talk):
    with pytest.raises(PoorQuality), talk(FakeMembrane(), [PoorQuality("nobody")]) as talking:
        talking.enrolment_phrases("ada", 3)


def test_every_recording_is_kept_beside_the_first(talk, tmp_path):
    with talk(FakeMembrane([True] * 3), [HEARD] * 3, save_to=tmp_path / "heard.wav") as talking:
        talking.enrolment_phrases("ada", 3)
    names = sorted(path.name for path in tmp_path.glob("*.wav"))
    assert names == ["heard-2.wav", "heard-3.wav", "heard.wav"]
    assert soundfile.info(tmp_path / "heard-3.wav").frames == SAMPLE_RATE


def test_recording_that_cannot_be_kept_ends_the_session(talk, tmp_path):
    (tmp_path / "heard.wav").mkdir()
    with (
        pytest.raises(OutputUnwritable),
        talk(FakeMembrane(), [HEARD], save_to=tmp_path / "heard.wav") as talking,
    ):
        talking.hear()


def test_recording_of_another_kind_is_refused_before_the_microphone_opens(talk, tmp_path):
    with pytest.raises(UsageError, match=r"\.wav or \.flac"):
        talk(FakeMembrane(), save_to=tmp_path / "heard.mp3")


def test_lost_microphone_ends_an_enrolment(talk):
    lost = MicrophoneUnavailable("it has stopped")
    with pytest.raises(MicrophoneUnavailable), talk(FakeMembrane(), [lost]) as talking:
        talking.enrolment_phrases("ada", 3)


# ---- Conversations at the virtual microphone


@pytest.fixture
def microphone(virtual_microphone, terminal):
    """Run Membrane in a terminal with the virtual microphone."""
    return lambda *arguments, **options: terminal(
        *arguments, also=virtual_microphone.environment.items(), **options
    )


def say_what_is_asked(running, speak, person):
    """Say each prompt as it is asked for, until the program has its answer."""
    while (asked := running.wait_for(rf"{DIGITS}|╭─ ").group(1)) is not None:
        speak(person, asked)


@pytest.mark.microphone
def test_person_enrols_and_logs_in(microphone, speak, membrane_home, tmp_path):
    enrolling = microphone("enroll", "-u", "Edgar")
    enrolling.wait_for(r"Do you\s+agree\? \[y/N\] ")
    enrolling.type("y")
    enrolling.wait_for("Please stay quiet for two seconds")
    say_what_is_asked(enrolling, speak, "edgar")
    assert enrolling.finish() == 0
    assert "Edgar can log in by voice now." in enrolling.text
    assert "3, " in enrolling.text

    answers, heard = tmp_path / "answer.json", tmp_path / "heard.wav"
    options = ("--json", "-q", "--save-recording", str(heard))
    login = microphone("verify", "-u", "edgar", *options, answers=answers)
    login.wait_for(DIGITS)
    speak("edgar", WRONG)
    fresh = login.wait_for(rf"Please try again\.\s+{DIGITS}").group(1)
    speak("edgar", fresh)
    code = login.finish()
    decision = json.loads(answers.read_text())
    assert (code, decision["accepted"]) == (0, True), decision["reason"]
    assert "Please stay quiet" not in login.text
    assert soundfile.info(heard).samplerate == SAMPLE_RATE
    assert heard.with_stem("heard-2").exists()


@pytest.mark.microphone
def test_wrong_voice_and_unknown_name_are_refused_alike(enrolled, microphone, speak):
    results = enrolled / "results.csv"
    told = []
    for name in ("ada", "zoe"):
        options = ("--attempts", "1", "--results", str(results))
        login = microphone("verify", "-u", name, *options, columns=40)
        speak("edgar", login.wait_for(DIGITS).group(1))
        assert login.finish() == 1
        told.append(login.text[login.text.index("╭─ Refused") :].replace("zoe", "ada"))
        assert max(map(len, told[-1].splitlines())) <= 40
    # A longer number may break a line elsewhere.
    told = [" ".join(re.sub(r"[│\s]+", " ", text).split()) for text in told]
    differing = re.compile(r"more than a million|\d[\d.,]*|asked.*?sound|words.*?sound")
    assert differing.sub("N", told[0]) == differing.sub("N", told[1])
    assert [row.split(",")[2] for row in results.read_text().splitlines()[1:]] == ["ada", "zoe"]


@pytest.mark.microphone
def test_nobody_speaks_is_3_and_is_not_tried_again(enrolled, microphone):
    login = microphone("verify", "-u", "ada")
    login.wait_for(DIGITS)
    assert login.finish() == 3
    assert login.text.count("Please say") == 1
    assert "Traceback" not in login.text


@pytest.mark.microphone
@pytest.mark.parametrize("moment", ["Listening to the room", "Listening to you"])
def test_interrupt_while_listening_is_one_line_and_130(enrolled, microphone, moment):
    login = microphone("verify", "-u", "ada")
    login.wait_for(moment)
    time.sleep(0.3)
    login.type(CTRL_C)
    assert login.finish(timeout_s=5) == 130
    assert login.text.rstrip().endswith("Error: interrupted: nothing was left half done")
    assert "Traceback" not in login.text
    assert login.raw.rindex(b"\x1b[?25h") > login.raw.rindex(b"\x1b[?25l")


@pytest.mark.microphone
def test_speaker_is_identified_on_a_terminal_that_cannot_move_its_cursor(
    enrolled, terminal, virtual_microphone, speak
):
    variables = {**virtual_microphone.environment, "TERM": "dumb", "NO_COLOR": "1"}
    asking = terminal("identify", "--seconds", "5", also=variables.items())
    asking.wait_for("Please say anything you like")
    speak("clara", "4 6 7 0 3 1")
    assert asking.finish() == 0
    assert "This is clara." in asking.text
    assert "█" not in asking.text
    assert b"\x1b[32m" not in asking.raw
