import csv
import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest

import membrane
from membrane.__main__ import run
from membrane.settings import Settings
from membrane.store.joblib_store import JoblibStore
from tests import second_encoder

HEAVY = {
    *("numpy", "scipy", "joblib", "onnxruntime", "soundfile", "soxr", "sounddevice"),
    *("pocketsphinx", "noisereduce", "webrtcvad", "pooch", "requests"),
}

MODULES_OF = """
import sys
from membrane.__main__ import run
code = run(sys.argv[1:])
print("MODULES", *{name.partition(".")[0] for name in sys.modules})
sys.exit(code)
"""


@pytest.fixture
def modules_of(environment):
    """Return the packages that a command imports, of those that are slow to import."""

    def run_for(*arguments):
        command = [sys.executable, "-c", MODULES_OF, *arguments]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        return set(ended.stdout.rpartition("MODULES")[2].split()) & HEAVY

    return run_for


@pytest.mark.parametrize("command", ["--help", "--version", "verify --help", "--show-completion"])
def test_help_imports_nothing_slow(modules_of, command):
    assert modules_of(*command.split()) == set()


def test_list_imports_neither_sound_nor_networks(enrolled, modules_of):
    assert modules_of("list") <= {"numpy", "joblib"}


def test_completion_for_an_unknown_shell_is_no_refusal(monkeypatch):
    monkeypatch.setattr("membrane.cli.app", lambda *_, **__: 1)
    assert run(["--show-completion"]) == 2
    assert run(["verify"]) == 1


def test_version(answer):
    assert answer("--version") == (0, f"membrane {membrane.__version__}\n")


def test_help_names_every_command_but_those_that_destroy(answer, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    code, text = answer("--help")
    assert code == 0
    for name in ("enroll", "verify", "identify", "compare", "transcribe", "list", "devices"):
        assert re.search(rf"^  {name}  .*\.$", text, re.MULTILINE), name
    assert not re.search(r"^  (delete|clear|unlock|revert)\b", text, re.MULTILINE)
    assert "..." not in text.partition("Commands:")[2]
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize(
    ("command", "option"),
    [("delete", "--yes"), ("clear", "--yes"), ("unlock", "--anyone"), ("revert", "--database")],
)
def test_hidden_commands_have_help_of_their_own(answer, command, option):
    code, text = answer(command, "--help")
    assert code == 0
    assert option in text


@pytest.mark.parametrize("command", ["log", "weights"])
def test_help_names_the_parts_of_a_command(answer, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "60")
    code, text = answer(command, "--help")
    assert code == 0
    parts = {"log": ("show", "verify"), "weights": ("list", "fetch", "verify")}[command]
    for part in parts:
        assert re.search(rf"^  {part}  .*\.$", text, re.MULTILINE), part
    assert "..." not in text.partition("Commands:")[2]


@pytest.fixture
def no_shell_around(monkeypatch):
    """Make Typer take the shell that is named: who runs the tests may have started from none."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_a_shell(answer, shell, no_shell_around):
    code, text = answer("--show-completion", shell)
    assert code == 0
    assert "_MEMBRANE_COMPLETE" in text


def test_login_from_a_file_with_the_words_asked_for(
    enrolled, evaluating, recording, words_of, plain
):
    login = recording("ada", "login")
    code, decision = plain("verify", "-u", "ADA", "-f", login, "--expect", words_of(login))
    assert (code, decision["accepted"], decision["person"]) == (0, True, "ada")
    assert decision["words"]["accepted"]
    assert decision["llr"] >= decision["voice"]["score_threshold"]
    assert set(decision["timings"]) == {"sound", "words", "voice"}


def test_right_voice_with_wrong_words_is_refused(enrolled, recording, plain):
    login = recording("ada", "login")
    code, decision = plain("verify", "-u", "ada", "-f", login, "--expect", "1 1 1 1 1 1")
    assert (code, decision["accepted"], decision["person"]) == (1, False, "")
    assert decision["voice"]["accepted"]
    assert "words are not the ones asked for" in decision["reason"]


def test_wrong_voice_and_unknown_name_are_refused_alike(enrolled, recording, answer):
    login = recording("boris", "login")
    refused = answer("verify", "-u", "ada", "-f", login)
    unknown = answer("verify", "-u", "zoe", "-f", login)
    assert refused[0] == unknown[0] == 1
    number = re.compile(r"more than a million|\d[\d.,]*")
    expected = number.sub("N", refused[1]).replace("ada", "zoe")
    assert number.sub("N", unknown[1]) == expected


def test_standard_input_is_judged(enrolled, recording, environment):
    with recording("ada", "login").open("rb") as login:
        ended = subprocess.run(
            [sys.executable, "-m", "membrane", "verify", "-u", "ada", "-f", "-"],
            stdin=login,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Accepted. ")


def test_identify_ranks_everybody(enrolled, recording, plain):
    code, decision = plain("identify", "-f", recording("clara", "login"), "--top", "2")
    assert (code, decision["person"]) == (0, "clara")
    assert decision["candidates"][0]["name"] == "clara"
    assert len(decision["candidates"]) == 2


def test_identify_says_that_it_is_nobody_known(enrolled, recording, plain):
    code, decision = plain("identify", "-f", recording("edgar", "login"))
    assert (code, decision["person"]) == (1, "")
    assert decision["reason"] == "This is nobody I know."


def test_compare_needs_nobody_enrolled(recording, plain):
    one, other = recording("ada", "login", 0), recording("ada", "login", 1)
    assert plain("compare", one, other)[0] == 0
    code, decision = plain("compare", one, recording("boris", "login"))
    assert (code, decision["accepted"]) == (1, False)


@pytest.mark.parametrize("command", ["verify", "identify", "compare"])
def test_euclidean_says_the_same_in_distances(
    enrolled, evaluating, recording, plain, answer, command
):
    login = recording("ada", "login")
    files = {
        "verify": ["-u", "ada", "-f", login],
        "identify": ["-f", login],
        "compare": [login, recording("ada", "login", 1)],
    }[command]
    code, cosine = plain(command, *files)
    other_code, euclidean = plain(command, *files, "--metric", "euclidean")
    assert (code, other_code) == (0, 0)
    distance = math.sqrt(2 - 2 * cosine["voice"]["similarity"])
    assert euclidean["voice"]["value"] == pytest.approx(distance, abs=1e-4)
    assert euclidean["voice"]["metric"] == "euclidean"
    shown = answer(command, *files, "--metric", "euclidean")[1]
    assert f"distance {distance:.3f}" in shown
    assert "similarity" not in shown


def test_threshold_is_in_the_numbers_of_the_metric(recording, plain):
    files = (recording("ada", "login", 0), recording("ada", "login", 1))
    assert plain("compare", *files, "--threshold", "1")[0] == 1
    assert plain("compare", *files, "--metric", "euclidean", "--threshold", "0")[0] == 1
    assert plain("compare", *files, "--metric", "euclidean", "--threshold", "2")[0] == 0


def test_every_decision_is_appended_to_the_results(enrolled, recording, answer, tmp_path):
    results = tmp_path / "results.csv"
    login = recording("ada", "login")
    answer("verify", "-u", "ada", "-f", login, "--results", results)
    answer("verify", "-u", "boris", "-f", login, "--results", results)
    answer("identify", "-f", login, "--results", results)
    answer("compare", login, login, "--results", results)
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["command"], row["decision"]) for row in rows] == [
        ("verify", "accepted"),
        ("verify", "rejected"),
        ("identify", "accepted"),
        ("compare", "accepted"),
    ]


@pytest.mark.parametrize("results", ["missing/results.csv", ".", "/dev/full"])
def test_nobody_is_let_in_without_the_results_that_were_asked_for(
    enrolled, recording, answer, monkeypatch, results
):
    monkeypatch.chdir(enrolled)
    login = recording("ada", "login")
    assert answer("verify", "-u", "ada", "-f", login, "--results", results) == (7, "")
    assert answer("identify", "-f", login, "--results", results) == (7, "")


def test_transcribe_shows_what_is_heard(recording, plain):
    code, heard = plain("transcribe", recording("edgar", "passphrase"))
    assert code == 0
    assert heard["recognizer"] == "pocketsphinx"
    assert heard["words"]


def test_list_shows_who_is_enrolled(enrolled, answer, plain):
    code, text = answer("list")
    assert code == 0
    assert [line.split("\t")[:3] for line in text.splitlines()] == [
        [name, "3", "fresh"] for name in ("ada", "boris", "clara")
    ]
    assert [one["name"] for one in plain("list")[1]] == ["ada", "boris", "clara"]
    assert plain("list", "--database", enrolled / "other.joblib") == (0, [])


def test_export_holds_all_that_is_stored(enrolled, answer):
    code, text = answer("export", "Ada")
    person = json.loads(text)
    assert code == 0
    assert person["name"] == "ada"
    assert len(person["utterances"]) == 3
    assert len(person["utterances"][0]["vector"]) == 256


def test_weights_are_listed_and_checked(answer, plain):
    names = {"resemblyzer", "silero-vad"}
    for command in ("list", "verify"):
        code, models = plain("weights", command)
        assert code == 0
        assert names <= {model["name"] for model in models}
    assert answer("weights", "verify")[0] == 0


def test_person_is_added_to_and_replaced(enrolled, recording, answer, plain):
    more = recording("ada", "login")
    assert answer("enroll", "-u", "ada", "--add", "-f", more)[0] == 0
    assert plain("list")[1][0]["phrases"] == 4
    assert answer("enroll", "-u", "ada", "--consent", "-f", more) == (4, "")
    replaced = plain("enroll", "-u", "ada", "--consent", "--replace", "-f", more)
    assert replaced[1]["phrases"] == 1
    assert plain("list")[1][0]["phrases"] == 1


@pytest.fixture
def turned(monkeypatch, tmp_path):
    """Ship a second encoder, called turned."""
    with second_encoder.beside(monkeypatch, tmp_path):
        yield second_encoder.NAME


def test_a_voiceprint_takes_another_encoder_from_kept_recordings(
    enrolled, evaluating, turned, recording, answer, plain, capsys
):
    login = recording("ada", "login")
    kept = [part for n in range(2) for part in ("-f", recording("ada", "enrol", n))]
    anew = ("enroll", "-u", "ada", "--reencode", "--encoder", turned)
    assert run([*anew, "-f", str(recording("boris", "enrol"))]) == 1
    out, told = capsys.readouterr()
    assert out == ""
    assert "does not sound like ada" in told
    assert "Nothing was changed" in told
    assert plain("verify", "-u", "ada", "-f", login)[1]["encoder"] == Settings.encoder
    code, stored = plain(*anew, *kept)
    assert (code, stored["encoder"], stored["phrases"]) == (0, turned, 2)
    code, decision = plain("verify", "-u", "ada", "-f", login)
    assert (code, decision["encoder"]) == (0, turned)
    assert answer(*anew, *kept) == (2, "")
    assert answer(*anew) == (2, "")
    assert answer("enroll", "-u", "zoe", "--reencode", "--encoder", turned, *kept) == (4, "")


@pytest.mark.parametrize("option", ["--add", "--replace", "--phrase=open the green door"])
def test_what_is_made_anew_is_not_changed_otherwise(recording, answer, option):
    kept = ("-f", recording("ada", "enrol"))
    assert answer("enroll", "-u", "ada", "--reencode", option, *kept) == (2, "")


@pytest.mark.parametrize("how", ["option", "environment", "file"])
def test_the_encoder_is_chosen_as_every_setting_is(
    enrolled, turned, recording, answer, plain, capsys, monkeypatch, how
):
    option = ("--encoder", turned) if how == "option" else ()
    if how == "environment":
        monkeypatch.setenv("MEMBRANE_ENCODER", turned)
    if how == "file":
        (enrolled / "settings.toml").write_text(f'encoder = "{turned}"')
    files = ("-f", recording("edgar", "enrol"))
    code, stored = plain("enroll", "-u", "edgar", "--consent", *files, *option)
    assert (code, stored["encoder"]) == (0, turned)
    assert plain("compare", files[1], recording("edgar", "login"), *option)[1]["encoder"] == turned
    code, found = plain("identify", "-f", recording("edgar", "login"), *option)
    assert (code, found["person"], found["encoder"]) == (0, "edgar", turned)
    code, found = plain("identify", "-f", recording("ada", "login"), *option)
    assert (code, found["person"], found["encoder"]) == (0, "ada", Settings.encoder)
    code, people = answer("list")
    made_by = dict.fromkeys(["ada", "boris", "clara"], Settings.encoder) | {"edgar": turned}
    rows = [line.split("\t") for line in people.splitlines()]
    assert {row[0]: row[4] for row in rows} == made_by
    assert {one["name"]: one["encoder"] for one in plain("list")[1]} == made_by


def test_an_encoder_that_nobody_knows_is_a_usage_error(recording, answer):
    login = recording("ada", "login")
    assert answer("compare", login, login, "--encoder", "ecapa") == (2, "")


def test_a_voiceprint_whose_encoder_is_gone_says_how_to_migrate(
    enrolled, recording, answer, capsys
):
    store = JoblibStore(enrolled / "voiceprints.joblib")
    store.update("ada", lambda ada: replace(ada, encoder="gone"))
    login = str(recording("ada", "login"))
    for command in (["verify", "-u", "ada", "-f", login], ["explain", "ada", login]):
        assert run(command) == 6
        out, told = capsys.readouterr()
        assert out == ""
        assert told.startswith("Error: ada was enrolled with the encoder gone")
        assert "membrane enroll -u ada --reencode -f RECORDING" in told
        assert len(told.splitlines()) == 1
    assert answer("verify", "-u", "boris", "-f", recording("boris", "login"))[0] == 0


def test_phrases_of_two_people_enrol_nobody(recording, answer, plain):
    files = ("-f", recording("ada", "enrol"), "-f", recording("boris", "enrol"))
    assert answer("enroll", "-u", "eve", "--consent", *files) == (3, "")
    assert plain("list")[1] == []


def test_person_is_found_by_their_passphrase(enrolled, recording, words_of, plain):
    said = words_of(recording("edgar", "passphrase", 0))
    enrol = ("enroll", "-u", "edgar", "--consent", "--phrase", said)
    assert plain(*enrol, "-f", recording("edgar", "passphrase", 0))[1]["passphrase"] is True
    code, decision = plain("verify", "--anyone", "-f", recording("edgar", "passphrase", 1))
    assert (code, decision["person"]) == (0, "edgar")
    assert said not in json.dumps(decision)
    code, decision = plain("verify", "--anyone", "-f", recording("farid", "passphrase", 1))
    assert (code, decision["person"]) == (1, "")


def test_recording_without_the_passphrase_enrols_nobody(recording, answer, plain):
    said = ("--phrase", "seven green bottles stand on the wall")
    files = ("-f", recording("ada", "passphrase"))
    assert answer("enroll", "-u", "ada", "--consent", *said, *files) == (3, "")
    assert plain("list")[1] == []


@pytest.mark.parametrize("phrase", ["two words", "xyzzy frobnicate grault"])
def test_passphrase_that_cannot_be_used_is_a_usage_error(recording, answer, phrase):
    files = ("-f", recording("ada", "passphrase"))
    assert answer("enroll", "-u", "ada", "--consent", "--phrase", phrase, *files) == (2, "")


def test_delete_and_clear_need_a_yes(enrolled, answer, plain):
    assert answer("delete", "ada")[0] == 2
    assert answer("clear")[0] == 2
    assert len(plain("list")[1]) == 3
    assert answer("delete", "Ada", "--yes")[0] == 0
    assert [one["name"] for one in plain("list")[1]] == ["boris", "clara"]
    assert answer("clear", "--yes")[0] == 0
    assert plain("list")[1] == []


@pytest.mark.parametrize("reply", ["n", "", "yess"])
def test_delete_asks_at_a_terminal_and_takes_only_yes(enrolled, terminal, reply, answer):
    running = terminal("delete", "ada")
    running.wait_for(r"Delete ada for good\? \[y/N\] ")
    running.type(reply)
    assert running.finish() == 130
    assert "nothing was deleted" in running.text
    assert answer("export", "ada")[0] == 0


def test_delete_after_a_yes(enrolled, terminal, answer):
    running = terminal("delete", "ada")
    running.wait_for(r"\[y/N\] ")
    running.type("y")
    assert running.finish() == 0
    assert answer("export", "ada")[0] == 4


# ---- The decision log


@pytest.fixture
def logged(enrolled, recording, answer):
    """The test's home, in whose log ada was let in, and boris was not taken for her."""
    for person in ("ada", "boris"):
        answer("verify", "-u", "ada", "-f", recording(person, "login"))
    return enrolled


def test_the_log_shows_who_was_let_in_and_who_was_not(logged, answer, plain):
    code, text = answer("log", "show")
    assert code == 0
    rows = [line.split("\t") for line in text.splitlines()]
    assert [row[1:] for row in rows] == [
        ["verify", "ada", "accepted"],
        ["verify", "ada", "refused: voice"],
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", row[0]) for row in rows)
    code, entries = plain("log", "show")
    assert [(one["name"], one["accepted"]) for one in entries] == [("ada", True), ("ada", False)]


def test_the_log_is_a_table_at_a_terminal(logged, terminal):
    running = terminal("log", "show", columns=60)
    assert running.finish() == 0
    assert re.search(r"time +event +who +outcome", running.text)
    assert max(map(len, running.text.splitlines())) <= 60


def test_a_log_that_is_gone_is_not_whole(logged, answer, capsys):
    for ending in ("log", "log.head"):
        (logged / f"voiceprints.joblib.{ending}").unlink()
    assert answer("log", "verify")[0] == 5
    assert "there is no log" in answer("log", "verify")[1]


def test_a_log_of_nothing_is_whole(answer, plain):
    assert answer("log", "show") == (0, "")
    assert answer("log", "verify") == (0, "The log is whole. Lines: 0.\n")
    assert plain("log", "verify") == (0, {"lines": 0, "problems": []})


@pytest.mark.parametrize("harm", ["edit", "remove", "cut"])
def test_a_log_that_was_changed_ends_in_5_and_says_where(logged, answer, plain, capsys, harm):
    path = logged / "voiceprints.joblib.log"
    first, second = path.read_bytes().splitlines(keepends=True)
    assert answer("log", "verify") == (0, "The log is whole. Lines: 2.\n")
    path.write_bytes(
        {
            "edit": first + second.replace(b'"accepted":false', b'"accepted":true'),
            "remove": second,
            "cut": first,
        }[harm]
    )
    assert run(["log", "verify"]) == 5
    out, told = capsys.readouterr()
    expected = {
        "edit": "voiceprints.joblib.log line 2 was changed",
        "remove": "line 1 is missing before voiceprints.joblib.log line 1",
        "cut": "line 2 is missing at the end of voiceprints.joblib.log",
    }
    assert out.startswith(expected[harm])
    assert told.startswith("Error: the decision log is not whole: ")
    assert len(told.splitlines()) == 1
    code, check = plain("log", "verify")
    assert code == 5
    assert check["problems"] == out.splitlines()
