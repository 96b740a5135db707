import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from membrane.__main__ import run
from membrane.audio.files import read_utterance
from membrane.errors import Declined, NameTaken, UnknownName
from membrane.terminal import tasks
from membrane.terminal.console import View
from membrane.terminal.interactive import QUESTION, Interactive
from tests.pseudo_terminal import CTRL_D

PHRASE = "winter mornings smell of coffee and snow"


class Answers:
    """Somebody who types the lines in order, and then presses Ctrl-D."""

    def __init__(self, monkeypatch, *lines):
        self.asked = []
        self.lines = list(lines)
        self.file = io.StringIO()
        screen = Console(file=self.file, width=100, highlight=False)
        self.view = View(screen, screen)
        monkeypatch.setattr(self.view, "ask", self.ask)

    def ask(self, question):
        self.asked.append(question)
        if not self.lines:
            raise Declined("nothing was done: no answer was given")
        return self.lines.pop(0)


class FakeTasks:
    """Notes what it is asked for."""

    calls: list
    outcome = True

    def __init__(self, _membrane, _view, *, files=()):
        self.files = files
        self.last_heard = None

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.calls.append((name, arguments, options, self.files))
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome

        return call


@pytest.fixture
def mode(monkeypatch):
    """Run the interactive mode with these lines; return its exit code, the calls and the person."""

    def run_with(*lines, outcome=True, taken=(), heard=None):
        def check_name_is_free(name):
            if name in taken:
                raise NameTaken(f"{name} is enrolled already")

        calls = []
        made = type("Made", (FakeTasks,), {"calls": calls, "outcome": outcome})
        if heard is not None:
            made.__init__ = lambda self, *_, files=(): vars(self).update(
                files=files, last_heard=heard
            )
        monkeypatch.setattr(tasks, "Tasks", made)
        person = Answers(monkeypatch, *lines)
        membrane = SimpleNamespace(check_name_is_free=check_name_is_free)
        code = Interactive(membrane, person.view).run()
        return code, calls, person

    return run_with


@pytest.mark.parametrize("leaving", [[], [""], ["q"], ["QUIT"], ["exit"]])
def test_empty_line_and_end_of_input_leave(mode, leaving):
    code, calls, person = mode(*leaving)
    assert (code, calls) == (0, [])
    assert person.asked == [QUESTION]


def test_question_is_the_original_s_and_names_nothing_that_destroys():
    assert QUESTION == (
        "Please type 'enroll' or 'e' to enroll a new user, "
        "type 'verify' or 'v' to verify an enrolled user:"
    )


@pytest.mark.parametrize("word", ["x", "every", "ee", "delete everything"])
def test_other_words_are_refused_and_asked_again(mode, word):
    code, calls, person = mode(word, "q")
    assert (code, calls) == (0, [])
    assert "is none of these" in person.file.getvalue()
    assert person.asked == [QUESTION, QUESTION]


@pytest.mark.parametrize("word", ["e", "E", "enroll"])
def test_enroll_asks_for_a_name_and_a_passphrase(mode, word):
    code, calls, _ = mode(word, "ada", "y", "a b c", "q")
    assert code == 0
    assert calls == [("enroll", ("ada",), {"how": "new", "phrase": "a b c"}, ())]


def test_fresh_phrases_are_used_without_a_passphrase(mode):
    assert mode("e", "ada", "n")[1] == [("enroll", ("ada",), {"how": "new", "phrase": None}, ())]


def test_person_is_replaced_only_after_a_yes(mode):
    code, calls, person = mode("e", "ada", "n", taken={"ada"})
    assert (code, calls) == (0, [])
    assert "Nothing was changed" in person.file.getvalue()
    assert mode("e", "ada", "y", "n", taken={"ada"})[1][0][2]["how"] == "replace"


def test_empty_name_is_found_by_passphrase(mode):
    assert mode("v", "")[1] == [("verify", (None,), {}, ())]
    assert mode("verify", "ada")[1] == [("verify", ("ada",), {}, ())]


def test_a_refused_login_stays_refused_whatever_is_not_answered_after_it(mode, heard):
    assert mode("v", "ada", outcome=False, heard=heard)[0] == 1
    assert mode("v", "ada", "n", "e", "ada", "n", outcome=False, heard=heard, taken={"ada"})[0] == 1


def test_exit_code_is_that_of_the_last_task(mode):
    assert mode("v", "ada", outcome=False)[0] == 1
    assert mode("d", "ada", outcome=UnknownName("nobody called ada"))[0] == 4


def test_error_of_a_task_is_shown_and_the_person_asked_again(mode):
    _, _, person = mode("d", "ada", "q", outcome=UnknownName("nobody called ada"))
    assert "Error: nobody called ada" in person.file.getvalue()
    assert person.asked.count(QUESTION) == 2


def test_unlisted_words_delete_clear_and_judge_files(mode):
    assert mode("d", "ada")[1] == [("delete", ("ada",), {"agreed": False}, ())]
    assert mode("clear")[1] == [("clear", (), {"agreed": False}, ())]
    assert mode("f", "a.wav", "ada")[1] == [("verify", ("ada",), {}, ("a.wav",))]
    assert mode("file", "a.wav", "")[1] == [("identify", (), {"top_n": 5}, ("a.wav",))]


@pytest.fixture
def heard(recording):
    return read_utterance(recording("ada", "login"))


def test_recording_is_saved_after_a_decision_if_wanted(mode, heard, tmp_path):
    kept = tmp_path / "heard.wav"
    mode("v", "ada", "y", str(kept), heard=heard)
    assert len(read_utterance(kept).samples) == len(heard.samples)


def test_recording_is_not_saved_unasked(mode, heard, tmp_path):
    _, _, person = mode("v", "ada", "n", heard=heard)
    assert "Save the recording? [y/N]" in person.asked
    assert list(tmp_path.glob("*.wav")) == []


def test_recording_that_cannot_be_saved_there_is_asked_for_again(mode, heard, tmp_path):
    kept = tmp_path / "heard.flac"
    code, _, person = mode(
        "v", "ada", "y", "heard.mp3", str(tmp_path / "no" / "x.wav"), str(kept), heard=heard
    )
    assert (code, kept.exists()) == (0, True)
    assert "saved as .wav or .flac" in person.file.getvalue()
    assert "cannot be written" in person.file.getvalue()


def test_other_recording_is_replaced_only_after_a_yes(mode, heard, tmp_path):
    other = tmp_path / "other.wav"
    other.write_bytes(b"other")
    mode("v", "ada", "y", str(other), "n", "", heard=heard)
    assert other.read_bytes() == b"other"
    mode("v", "ada", "y", str(other), "y", heard=heard)
    assert other.read_bytes()[:4] == b"RIFF"


def test_interactive_mode_judges_deletes_and_leaves_at_a_terminal(enrolled, recording, terminal):
    asking = terminal()
    asking.wait_for("enrolled user: ")
    asking.type("f")
    asking.wait_for("Recording: ")
    asking.type(str(recording("ada", "login")))
    asking.wait_for(r"whose voice\s+it is\): ")
    asking.type("")
    asking.wait_for("This is ada")
    asking.wait_for("enrolled user: ")
    asking.type("d")
    asking.wait_for("User name: ")
    asking.type("ada")
    asking.wait_for(r"\[y/N\]")
    asking.type("y")
    asking.wait_for("ada was deleted")
    asking.wait_for("enrolled user: ")
    asking.type(CTRL_D)
    assert asking.finish() == 0
    assert "Traceback" not in asking.text
    assert run(["export", "ada"]) == 4


@pytest.mark.microphone
def test_person_is_found_by_their_passphrase_and_keeps_the_recording(
    terminal, virtual_microphone, speak, recording, tmp_path
):
    kept = tmp_path / "kept.wav"
    files = ("-f", str(recording("edgar", "passphrase")))
    assert run(["enroll", "-u", "edgar", "--consent", "--phrase", PHRASE, *files]) == 0
    asking = terminal(also=virtual_microphone.environment.items())
    asking.wait_for("enrolled user: ")
    asking.type("e")
    asking.wait_for("User name: ")
    asking.type("Edgar")
    asking.wait_for(r"Replace them\? \[y/N\]")
    asking.type("n")
    asking.wait_for("Nothing was changed")
    asking.wait_for("enrolled user: ")
    asking.type("v")
    asking.wait_for("by your\\s+passphrase\\): ")
    asking.type("")
    asking.wait_for("Please say your passphrase")
    speak("edgar", PHRASE)
    asking.wait_for("The voice is edgar's")
    asking.wait_for(r"Save the recording\? \[y/N\] ")
    asking.type("y")
    asking.wait_for(r"not\s+to save it\): ")
    asking.type(str(kept))
    asking.wait_for("enrolled user: ")
    asking.type("")
    assert asking.finish() == 0
    assert kept.exists()
    assert "Traceback" not in asking.text
