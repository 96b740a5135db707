import io
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from membrane.audio.devices import InputDevice
from membrane.audio.quality import Quality
from membrane.errors import Declined, OutputUnwritable, PoorQuality
from membrane.login.decision import Candidate, Decision, reason_of
from membrane.login.protect import Protection
from membrane.phrase.recognizer import PhraseMatch
from membrane.store.log.check import LogCheck
from membrane.terminal import console
from membrane.terminal.console import View
from membrane.terminal.text import escaped, sentence
from membrane.voice.voice import VoiceMatch

QUALITY = Quality(speech_s=2.3, snr_db=31.0, level_dbfs=-30.0, clipped=0.0)
COSINE = VoiceMatch("cosine", 0.91, 0.91, 0.78, accepted=True, stretch=0.8, stretch_threshold=0.65)
CALIBRATED = replace(COSINE, threshold=None, score=9.5, score_threshold=6.9)
EUCLIDEAN = VoiceMatch(
    "euclidean", 0.82, 0.6, 0.663, accepted=True, stretch=0.8, stretch_threshold=0.65
)


def screen(width=60, *, terminal=True, **options):
    environ = {"TERM": options.pop("term", "xterm"), **options.pop("environ", {})}
    return Console(
        file=options.pop("file", None) or io.StringIO(),
        force_terminal=terminal,
        width=width,
        highlight=False,
        _environ=environ,
        **options,
    )


def view(width=60, *, terminal=True, **options):
    return View(screen(width, terminal=terminal), screen(width, terminal=terminal), **options)


def said(screen):
    return Text.from_ansi(screen.file.getvalue()).plain


def decision(command="verify", *, voice=COSINE, words=None, accepted=True, **options):
    replayed = options.get("replayed", False)
    reason = reason_of(command, voice, words, replayed=replayed, whose="ada")
    facts = {"claimed": "ada", "person": "ada", "words": words, **options}
    return Decision(command, accepted, reason, voice, QUALITY, **facts)


def enrolled(name, *, encoder="old", keep_until=""):
    about = {"name": name, "phrases": 3, "passphrase": True, "updated_at": "2026-11-21"}
    return {**about, "encoder": encoder, "keep_until": keep_until}


def words(*, accepted):
    heard = "four seven" if accepted else "four eleven"
    return PhraseMatch("four seven", heard, accepted, 1.0, 0.0, "" if accepted else "other words")


@pytest.mark.parametrize("width", [40, 60, 120])
@pytest.mark.parametrize("name", ["ada", "W" * 64, "王" * 64])
def test_no_answer_is_wider_than_the_terminal(width, name):
    shown_to = view(width)
    candidates = (Candidate(name, 0.91, encoder="old"), Candidate("boris", 0.4, encoder="new"))
    shown_to.decision(decision("identify", candidates=candidates))
    shown_to.decision(decision(words=words(accepted=False), accepted=False))
    shown_to.people([enrolled(name)], encoder="new")
    shown_to.devices([InputDevice(0, name, 2, 48_000, default=True)])
    assert max(cell_len(line) for line in said(shown_to.answers).splitlines()) <= width


def test_decision_says_why_and_what_it_rests_on():
    shown_to = view()
    shown_to.decision(decision(words=words(accepted=True)))
    text = said(shown_to.answers)
    assert "Accepted" in text
    assert "The voice is ada's. The words are right." in text
    assert "similarity 0.910, at least 0.780 needed" in text
    assert "right: four seven" in text
    assert "2.3 s of speech" in text


def test_wrong_words_are_shown_beside_those_asked_for():
    shown_to = view(terminal=False)
    shown_to.decision(decision(words=words(accepted=False), accepted=False))
    assert "Refused. " in said(shown_to.answers)
    assert "asked: four seven\nheard: four eleven\n" in said(shown_to.answers)


def test_words_that_were_not_checked_are_said_to_be():
    shown_to = view(terminal=False)
    shown_to.decision(decision())
    assert "words: not checked" in said(shown_to.answers)


def test_every_number_is_a_distance_where_distances_are_asked_for():
    shown_to = view()
    candidates = (Candidate("ada", 0.82), Candidate("boris", 0.5))
    shown_to.decision(decision("identify", voice=EUCLIDEAN, candidates=candidates))
    text = said(shown_to.answers)
    assert "distance 0.600, at most 0.663 allowed" in text
    assert "similarity" not in text
    assert "1.000" in text  # sqrt(2 - 2 * 0.5)
    assert "0.500" not in text


def test_people_of_several_encoders_are_ranked_by_the_number_they_have_in_common():
    candidates = (
        Candidate("ada", 0.71, 9.5, encoder="new"),
        Candidate("boris", 0.82, -3.25, encoder="old"),
    )
    shown_to = view(terminal=False)
    shown_to.decision(decision("identify", voice=CALIBRATED, candidates=candidates))
    assert "1\tada\t9.50\tnew\n2\tboris\t-3.25\told\n" in said(shown_to.answers)
    shown_to = view()
    shown_to.decision(decision("identify", voice=CALIBRATED, candidates=candidates))
    assert re.search(r"name +score +encoder", said(shown_to.answers))


def test_people_of_one_encoder_are_ranked_by_similarity():
    candidates = tuple(Candidate(name, 0.71, 9.5, encoder="old") for name in ("ada", "boris"))
    shown_to = view(terminal=False)
    shown_to.decision(decision("identify", voice=CALIBRATED, candidates=candidates))
    assert "1\tada\t0.710\n2\tboris\t0.710\n" in said(shown_to.answers)


@pytest.mark.parametrize(
    ("encoders", "shown_encoders"),
    [(["new", "new"], None), (["new", "old"], ["new", "old"]), (["old", "old"], ["old", "old"])],
)
def test_encoders_of_people_are_shown_where_one_is_not_that_in_use(encoders, shown_encoders):
    people = [enrolled(name, encoder=one) for name, one in zip("ab", encoders, strict=True)]
    shown_to = view(terminal=False)
    shown_to.people(people, encoder="new")
    rows = [row.split("\t") for row in said(shown_to.answers).splitlines()]
    columns = list(zip(*rows, strict=True))
    assert columns[4:] == ([tuple(shown_encoders)] if shown_encoders else [])


@pytest.mark.parametrize(
    ("denoised_for", "told"),
    [
        ((), "the noise\n"),
        (("words",), "the noise, denoised for words\n"),
        (("words", "voice"), "the noise, denoised for words and voice\n"),
    ],
)
def test_what_the_noise_was_taken_out_for_is_told(denoised_for, told):
    shown_to = view(terminal=False)
    shown_to.decision(decision(denoised_for=denoised_for))
    assert told in said(shown_to.answers)


def test_answers_are_plain_lines_and_tabs_where_there_is_no_terminal():
    shown_to = view(40, terminal=False)
    shown_to.decision(decision("identify", candidates=(Candidate("ada", 0.91),)))
    text = shown_to.answers.file.getvalue()
    assert "1\tada\t0.910\n" in text
    assert not set(text) & set("╭│╰─\x1b")


def test_long_notes_are_one_line_where_there_is_no_terminal():
    shown_to = view(40, terminal=False)
    shown_to.warn("word " * 40)
    shown_to.error("word " * 40)
    assert len(said(shown_to.notes).splitlines()) == 2


def test_error_is_one_line_even_if_its_text_is_not():
    shown_to = view(terminal=False)
    shown_to.error("first\nsecond")
    assert said(shown_to.notes) == "Error: first second\n"


@pytest.mark.parametrize("letter", ["\x1b", "\n", "\u202e", "\u2066", "\u200b", "\x9b", "\udcff"])
def test_letters_that_a_terminal_obeys_are_shown_as_code_points(letter):
    shown_to = view()
    shown_to.line(f"a{letter}[31mb")
    shown_to.note(f"a{letter}[31mb")
    for text in (shown_to.answers.file.getvalue(), shown_to.notes.file.getvalue()):
        assert f"a\\u{ord(letter):04x}[31mb" in text
    assert escaped("Zoë 王 [bold]x[/bold]") == "Zoë 王 [bold]x[/bold]"


def test_brackets_in_a_name_are_no_markup():
    shown_to = view()
    shown_to.note("[bold]x[/bold]")
    shown_to.line("[red]y")
    assert said(shown_to.notes) == "[bold]x[/bold]\n"
    assert said(shown_to.answers) == "[red]y\n"


def test_quiet_hides_notes_but_neither_prompts_nor_warnings_nor_errors():
    shown_to = view(quiet=True)
    shown_to.note("a note")
    assert said(shown_to.notes) == ""
    shown_to.prompt("4 7 1")
    shown_to.request("Please say your passphrase.")
    shown_to.warn("a warning")
    shown_to.error("an error")
    assert said(shown_to.notes).splitlines() == [
        "Please say:  4 7 1",
        "Please say your passphrase.",
        "a warning",
        "Error: an error",
    ]


def test_json_is_one_line_that_any_terminal_can_show():
    shown_to = view(20, as_json=True)
    shown_to.decision(decision(words=words(accepted=True), source="Zoë\u202e.wav"))
    (line,) = shown_to.answers.file.getvalue().splitlines()
    assert line.isascii()
    assert json.loads(line)["source"] == "Zoë\u202e.wav"
    assert json.loads(line)["accepted"] is True


def test_every_listing_has_a_json_form():
    for show in (
        lambda one: one.people([enrolled("ada")], encoder="new"),
        lambda one: one.devices([InputDevice(0, "webcam", 2, 48_000, default=True)]),
        lambda one: one.people([], encoder="new"),
        lambda one: one.devices([]),
    ):
        shown_to = view(as_json=True)
        show(shown_to)
        assert isinstance(json.loads(shown_to.answers.file.getvalue()), list)


def test_empty_listing_is_an_empty_answer_and_a_note():
    shown_to = view()
    shown_to.people([], encoder="new")
    shown_to.devices([])
    assert said(shown_to.answers) == ""
    assert "Nobody is enrolled yet" in said(shown_to.notes)
    assert "No microphone was found" in said(shown_to.notes)


def test_no_colour_is_used_where_none_is_wanted():
    answers = screen(no_color=True, color_system="truecolor")
    View(answers, answers).decision(decision())
    text = answers.file.getvalue()
    assert "╭" in text
    assert "\x1b[32m" not in text
    assert "38;" not in text


def test_frames_are_plain_letters_where_the_terminal_has_no_others():
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    answers = screen(file=file)
    View(answers, answers).decision(decision(words=words(accepted=True)))
    file.flush()
    assert b"Accepted" in file.buffer.getvalue()


class Full(io.StringIO):
    def write(self, _text):
        raise OSError(28, "No space left on device")


def test_answer_that_cannot_be_written_is_an_error():
    shown_to = View(screen(file=Full()), screen())
    for answer in (lambda: shown_to.line("x"), lambda: shown_to.json({})):
        with pytest.raises(OutputUnwritable, match="No space left"):
            answer()


def test_note_that_cannot_be_written_changes_nothing():
    shown_to = View(screen(), screen(file=Full()))
    shown_to.note("x")
    shown_to.warn("x")
    shown_to.decision(decision())
    assert "Accepted" in said(shown_to.answers)


def test_enrolment_warns_of_a_voice_that_is_known_by_another_name():
    shown_to = view()
    utterance = SimpleNamespace(quality=QUALITY)
    voiceprint = SimpleNamespace(
        name="ada", utterances=[utterance] * 3, passphrase="", encoder="resemblyzer"
    )
    shown_to.enrolment(SimpleNamespace(voiceprint=voiceprint, also_known_as="eve"))
    assert "3, 6.9 s of speech" in said(shown_to.answers)
    assert "This voice is enrolled as eve already" in said(shown_to.notes)


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [("y", True), ("Yes", True), (" y ", True), ("", False), ("n", False), ("yep", False)],
)
def test_only_a_clear_yes_agrees(monkeypatch, answer, agreed):
    monkeypatch.setattr("builtins.input", lambda: answer)
    assert view().confirm("Delete?") is agreed


def test_end_of_input_is_no_answer(monkeypatch):
    def end():
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    with pytest.raises(Declined, match="no answer"):
        view().ask("User name:")


def test_person_is_asked_only_where_both_ends_are_a_terminal(monkeypatch):
    ends = {
        True: SimpleNamespace(isatty=lambda: True),
        False: SimpleNamespace(isatty=lambda: False),
    }
    for stdin, stderr in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(console.sys, "stdin", ends[stdin])
        monkeypatch.setattr(console.sys, "stderr", ends[stderr])
        assert console.at_terminal() is (stdin and stderr)


def test_error_becomes_a_sentence():
    assert sentence(PoorQuality("nobody spoke: speak up")) == "Nobody spoke: speak up."


# ---- What whoever logs in must not learn


@pytest.mark.parametrize("voice", [COSINE, CALIBRATED, EUCLIDEAN])
@pytest.mark.parametrize("terminal", [True, False])
def test_hidden_numbers_are_not_shown(voice, terminal):
    shown_to = view(terminal=terminal)
    hidden = decision(voice=voice, words=words(accepted=True), numbers_hidden=True)
    shown_to.decision(hidden)
    text = said(shown_to.answers)
    assert "The voice is ada's. The words are right." in text
    assert "right: four seven" in text
    assert "2.3 s of speech" in text
    for revealing in ("similarity", "distance", "likel", "voice:", "0.", "9.5", "6.9"):
        assert revealing not in text.replace("0.00 s", "")


def test_a_recording_that_was_heard_before_is_told_first():
    shown_to = view(terminal=False)
    shown_to.decision(decision(accepted=False, replayed=True))
    assert said(shown_to.answers).startswith("Refused. This recording was heard before: ")


# ---- The decision log

ENTRIES = [
    {
        "number": 1,
        "time": "2026-11-21T10:00:00.123+00:00",
        "event": "verify",
        "who": "a1" * 16,
        "accepted": True,
        "refused_by": [],
    },
    {
        "number": 2,
        "time": "2026-11-21T10:00:01.123+00:00",
        "event": "verify",
        "who": "unknown 0123456789abcdef",
        "accepted": False,
        "refused_by": ["voice", "words"],
    },
    {"number": 3, "time": "2026-11-21T10:00:02.123+00:00", "event": "deleted", "who": "b2" * 16},
    {"number": 4, "time": "2026-11-21T10:00:03.123+00:00", "log": "a line was cut off"},
]


def test_a_log_is_shown_by_the_names_of_those_who_are_still_enrolled():
    shown_to = view(terminal=False)
    shown_to.log_entries(ENTRIES, {"a1" * 16: "ada"})
    assert [line.split("\t") for line in shown_to.answers.file.getvalue().splitlines()] == [
        ["2026-11-21T10:00:00", "verify", "ada", "accepted"],
        ["2026-11-21T10:00:01", "verify", "unknown 01234567", "refused: voice, words"],
        ["2026-11-21T10:00:02", "deleted", "b2" * 8, ""],
        ["2026-11-21T10:00:03", "a line was cut off", "", ""],
    ]


def test_a_log_as_json_has_the_names_beside_the_numbers():
    shown_to = view(as_json=True)
    shown_to.log_entries(ENTRIES, {"a1" * 16: "ada"})
    told = json.loads(shown_to.answers.file.getvalue())
    assert [one.pop("name") for one in told] == ["ada", "", "", ""]
    assert told == ENTRIES


@pytest.mark.parametrize("width", [40, 60, 120])
def test_a_log_is_a_table_at_a_terminal(width):
    shown_to = view(width)
    shown_to.log_entries(ENTRIES, {"a1" * 16: "W" * 64})
    text = said(shown_to.answers)
    assert re.search(r"time +event +who +outcome", text)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(
    "entry",
    [
        {"time": 5, "event": {}, "who": []},
        {"who": {"a": 1}, "accepted": False},
        {"accepted": False, "refused_by": 5},
        {"accepted": False, "refused_by": [1, None]},
        {"event": "\x1b[2J\n\t", "who": "\u202e", "accepted": False, "refused_by": ["\x9b"]},
    ],
)
@pytest.mark.parametrize("terminal", [True, False])
def test_whatever_somebody_wrote_into_the_log_is_shown_and_not_obeyed(entry, terminal):
    shown_to = view(terminal=terminal)
    shown_to.log_entries([entry], {"": "ada"})
    text = shown_to.answers.file.getvalue()
    assert not set("\u202e\x9b") & set(text)
    assert "\x1b[2J" not in text
    if not terminal:
        assert len(text.splitlines()) == 1
        assert text.count("\t") == 3


def test_a_log_that_is_whole_is_said_to_be_and_one_that_is_not_says_where():
    whole, changed = LogCheck(7, (), ()), LogCheck(7, ("log line 3 was changed", "log.head"), ())
    for check, told in (
        (whole, "The log is whole. Lines: 7.\n"),
        (changed, "log line 3 was changed\nlog.head\n"),
    ):
        shown_to = view(terminal=False)
        shown_to.log_check(check)
        assert said(shown_to.answers) == told
    shown_to = view(as_json=True)
    shown_to.log_check(changed)
    told = {"lines": 7, "problems": ["log line 3 was changed", "log.head"]}
    assert json.loads(shown_to.answers.file.getvalue()) == told


# ---- Protection

SEALED = Protection(3, "keyring", "0123456789abcdef", memory_locked=False, finished=True)


@pytest.mark.parametrize(
    ("protection", "told"),
    [
        (
            SEALED,
            "Encrypted. The database is encrypted.\npeople: 3\nkey: in the keyring of the system\n"
            "memory: may be swapped out\nvoices: turned, epoch 01234567\n",
        ),
        (
            Protection(3, "", "", memory_locked=False, finished=True),
            "Not encrypted. The database can be read by its owner.\n",
        ),
        (
            Protection(0, "passphrase", "", memory_locked=False, finished=False),
            "Encrypted. The database is encrypted. A change was interrupted: run the same command "
            "again.\npeople: 0\nkey: from a passphrase\nmemory: may be swapped out\n"
            "voices: as heard\n",
        ),
    ],
)
def test_how_the_database_is_protected_is_said(protection, told):
    shown_to = view(terminal=False)
    shown_to.protection(protection)
    assert said(shown_to.answers) == told
    shown_to = view(as_json=True)
    shown_to.protection(protection)
    assert json.loads(shown_to.answers.file.getvalue()) == protection.as_json()
    shown_to = view(40)
    shown_to.protection(protection)
    assert max(map(len, said(shown_to.answers).splitlines())) <= 40


# ---- How long people are kept


def test_whose_last_day_is_over_is_warned_of_on_standard_error():
    shown_to = view(terminal=False, quiet=True)
    people = [
        enrolled("ada"),
        enrolled("boris", keep_until="2000-01-01"),
        enrolled("clara", keep_until="2999-12-31"),
    ]
    shown_to.people(people, encoder="old")
    (line,) = said(shown_to.notes).splitlines()
    assert line.startswith("boris was to be kept until 2000-01-01, which is over: ")
    assert len(said(shown_to.answers).splitlines()) == 3


# ---- Secrets


def test_a_secret_is_asked_for_when_what_is_typed_is_hidden_already(monkeypatch):
    asked = []

    def hidden(question, stream):
        asked.append((question, said(shown_to.notes)))
        return "correct horse"

    monkeypatch.setattr("getpass.getpass", hidden)
    shown_to = view()
    assert shown_to.secret("Passphrase of the voiceprint database: ") == "correct horse"
    assert asked == [("Passphrase of the voiceprint database: ", "")]
    assert said(shown_to.notes) == said(shown_to.answers) == ""


def test_no_secret_is_no_answer(monkeypatch):
    def end(_prompt, stream):
        raise EOFError

    monkeypatch.setattr("getpass.getpass", end)
    with pytest.raises(Declined, match="no answer"):
        view().secret("Passphrase: ")
