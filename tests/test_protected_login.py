"""An encrypted database through the command: all goes on as before, and nothing without the key."""

import json
import re

import pytest

from membrane.__main__ import run
from membrane.login.membrane import Membrane
from membrane.protection import keys
from membrane.settings import Settings

KEY, NEXT = "ab" * 32, "cd" * 32
PROTECT = ("protect", "--key", "environment")
CHANGES = {
    "protect": PROTECT,
    "renew": ("protect", "--renew"),
    "rekey": ("protect", "--rekey", "--key", "environment"),
    "off": ("protect", "--off"),
}


@pytest.fixture(autouse=True)
def environment_keys(monkeypatch):
    monkeypatch.setenv("MEMBRANE_KEY", KEY)
    monkeypatch.setenv("MEMBRANE_NEW_KEY", NEXT)
    keys.forget()
    yield
    keys.forget()


@pytest.fixture
def ask(capsys):
    """Run a command like a process of its own; return exit code, answer and notes."""

    def command(*arguments):
        keys.forget()
        code = run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def told(ask):
    """Run a command with ``--json`` and return exit code and value."""

    def command(*arguments):
        code, out, _ = ask(*arguments, "--json")
        return code, json.loads(out)

    return command


@pytest.fixture
def protected(enrolled, ask):
    """The test's home, its database encrypted."""
    assert ask(*PROTECT)[0] == 0
    return enrolled


def guard():
    keys.forget()
    return Membrane(Settings()).guard


# ---- What goes on as before


def test_every_login_is_decided_as_before(enrolled, evaluating, ask, told, recording):
    def everything():
        logins = [(name, recording(voice, "login")) for name, voice in pairs]
        return [told("verify", "-u", name, "-f", login) for name, login in logins]

    pairs = [("ada", "ada"), ("ada", "boris"), ("zoe", "ada"), ("clara", "clara")]
    before = everything()
    assert [code for code, _ in before] == [0, 1, 1, 0]
    assert ask(*PROTECT)[0] == 0
    for (code, plain), (old_code, old) in zip(everything(), before, strict=True):
        assert code == old_code
        for number in ("similarity", "stretch", "score"):
            assert plain["voice"][number] == pytest.approx(old["voice"][number], abs=1e-4)
        assert plain["voice"]["similarity"] == pytest.approx(old["voice"]["similarity"], abs=1e-5)
        assert plain["reason"] == old["reason"]


def test_everybody_is_identified_as_before(enrolled, ask, told, recording):
    login = recording("boris", "login")
    _, before = told("identify", "-f", login)
    assert ask(*PROTECT)[0] == 0
    code, after = told("identify", "-f", login)
    assert (code, after["person"]) == (0, "boris")
    for one, other in zip(after["candidates"], before["candidates"], strict=True):
        assert one["name"] == other["name"]
        assert one["similarity"] == pytest.approx(other["similarity"], abs=1e-5)


def test_people_come_and_go_as_before(protected, ask, told, recording):
    files = ("-f", recording("edgar", "enrol"))
    assert ask("enroll", "-u", "Edgar", "--consent", *files)[0] == 0
    assert [one["name"] for one in told("list")[1]] == ["ada", "boris", "clara", "Edgar"]
    assert ask("enroll", "-u", "edgar", "--add", "-f", recording("edgar", "enrol", 1))[0] == 0
    assert ask("verify", "-u", "edgar", "-f", recording("edgar", "login"))[0] == 0
    exported = json.loads(ask("export", "edgar")[1])
    assert len(exported["utterances"]) == 2
    assert len(exported["logins"]["recent_recordings"]) == 1
    assert [one["event"] for one in exported["log"]] == ["enrolled", "added", "verify"]
    for path in protected.rglob("*"):
        assert path.is_dir() or b"dgar" not in path.read_bytes(), path
    assert ask("enroll", "-u", "ada", "--replace", "--consent", *files)[0] == 0
    assert ask("delete", "edgar", "--yes")[0] == 0
    assert [one["name"] for one in told("list")[1]] == ["ada", "boris", "clara"]
    assert ask("log", "verify")[0] == 0


def test_a_recording_that_was_heard_before_is_still_known(enrolled, ask, recording):
    login = recording("ada", "login")
    assert ask("verify", "-u", "ada", "-f", login)[0] == 0
    for change in ("protect", "renew", "off"):
        assert ask(*CHANGES[change])[0] == 0
        code, out, _ = ask("verify", "-u", "ada", "-f", login)
        assert code == 1
        assert "heard before" in out


def test_failures_are_counted_through_every_change(enrolled, ask, recording, monkeypatch):
    for name in ("ada", "zoe"):
        for _ in range(5):
            guard().attempts.begin(name)
    for name, change in CHANGES.items():
        assert ask(*change)[0] == 0
        if name == "rekey":
            monkeypatch.setenv("MEMBRANE_KEY", NEXT)
        for who in ("ada", "zoe"):
            code, out, error = ask("verify", "-u", who, "-f", recording("ada", "login"))
            assert (code, out) == (1, "")
            assert f"too many failed logins as {who}" in error


def test_the_log_is_whole_after_every_change_and_has_it(enrolled, ask, told, monkeypatch):
    guard().record("enrolled", "somebody")
    for name, change in CHANGES.items():
        assert ask(*change)[0] == 0
        if name == "rekey":
            monkeypatch.setenv("MEMBRANE_KEY", NEXT)
        code, out, error = ask("log", "verify")
        assert (code, error) == (0, "")
        assert out.startswith("The log is whole. ")
        guard().record("something", name)
    code, check = told("log", "verify")
    assert (code, check["problems"]) == (0, [])
    events = [one.get("event") for one in told("log", "show")[1]]
    for change in ("protect", "renewed", "rekey", "unprotect"):
        assert events.count(change) == 1
    assert events.count("something") == 4


def test_a_line_that_was_edited_before_is_told_after_protecting(enrolled, ask):
    guard().record("enrolled", "somebody")
    guard().record("enrolled", "somebody else")
    path = enrolled / "voiceprints.joblib.log"
    path.write_bytes(path.read_bytes().replace(b'"somebody"', b'"nobody"'))
    assert ask("log", "verify")[0] == 5
    assert ask(*PROTECT)[0] == 0
    code, out, _ = ask("log", "verify")
    assert code == 5
    assert "voiceprints.joblib.log line 1" in out


# ---- Without the key

NEEDING = [
    ("verify", "-u", "ada", "-f", "RECORDING"),
    ("verify", "-u", "zoe", "-f", "RECORDING"),
    ("verify", "--anyone", "-f", "RECORDING"),
    ("identify", "-f", "RECORDING"),
    ("explain", "ada", "RECORDING"),
    ("enroll", "-u", "edgar", "--consent", "-f", "RECORDING"),
    ("enroll", "-u", "ada", "--add", "-f", "RECORDING"),
    ("enroll", "-u", "ada", "--replace", "--consent", "-f", "RECORDING"),
    ("list",),
    ("export", "ada"),
    ("delete", "ada", "--yes"),
    ("clear", "--yes"),
    ("unlock", "ada"),
    ("revert", "ada"),
    ("log", "show"),
    ("log", "verify"),
    ("protect", "--status"),
    ("protect", "--renew"),
    ("protect", "--rekey", "--key", "environment"),
    ("protect", "--off"),
]


@pytest.fixture
def spoken(recording):
    """Put a recording where a command has the word for it."""
    login = str(recording("ada", "login"))
    return lambda arguments: [login if one == "RECORDING" else one for one in arguments]


def files(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path: path.read_bytes() for path in paths}


@pytest.mark.parametrize("command", NEEDING, ids=" ".join)
def test_without_the_key_what_needs_the_database_ends_in_5_and_changes_nothing(
    protected, ask, spoken, monkeypatch, command
):
    before = files(protected)
    monkeypatch.delenv("MEMBRANE_KEY")
    code, out, error = ask(*spoken(command))
    assert (code, out) == (5, "")
    assert len(error.splitlines()) == 1
    assert error.startswith("Error: the voiceprint database is encrypted")
    assert files(protected) == before


def test_under_another_key_nothing_is_done_either(protected, ask, spoken, monkeypatch):
    before = files(protected)
    monkeypatch.setenv("MEMBRANE_KEY", NEXT)
    for command in NEEDING:
        code, out, error = ask(*spoken(command))
        assert (code, out) == (5, ""), command
        assert len(error.splitlines()) == 1
        assert error.startswith("Error: that is not the key of the voiceprint database")
    assert files(protected) == before


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "RECORDING", "RECORDING"),
        ("explain", "RECORDING", "RECORDING"),
        ("transcribe", "RECORDING"),
        ("weights", "list"),
        ("weights", "verify"),
    ],
    ids=" ".join,
)
def test_what_needs_no_database_needs_no_key(protected, ask, spoken, monkeypatch, command):
    monkeypatch.delenv("MEMBRANE_KEY")
    assert ask(*spoken(command))[0] == 0


def test_the_microphones_are_listed_without_the_key(protected, ask, monkeypatch):
    before = ask("devices")
    monkeypatch.delenv("MEMBRANE_KEY")
    assert ask("devices") == before


@pytest.mark.parametrize("key", ["", "abc", "zz" * 32, "ab" * 31])
@pytest.mark.parametrize("command", [("list",), PROTECT], ids=" ".join)
def test_a_key_that_is_none_is_a_usage_error(enrolled, ask, monkeypatch, command, key):
    if command == ("list",):
        assert ask(*PROTECT)[0] == 0
    before = files(enrolled)
    monkeypatch.setenv("MEMBRANE_KEY", key)
    code, out, error = ask(*command)
    assert (code, out) == (2, "")
    assert len(error.splitlines()) == 1
    assert "MEMBRANE_KEY" in error
    assert key == "" or key not in error
    assert files(enrolled) == before


# ---- A plain database where an encrypted one is required


@pytest.mark.parametrize("how", ["environment", "file"])
def test_a_plain_database_is_refused_where_an_encrypted_one_is_required(
    enrolled, ask, spoken, monkeypatch, how
):
    if how == "environment":
        monkeypatch.setenv("MEMBRANE_PROTECTION", "required")
    else:
        (enrolled / "settings.toml").write_text('protection = "required"')
    before = files(enrolled)
    for command in NEEDING[:10]:
        code, out, error = ask(*spoken(command))
        assert (code, out) == (5, ""), command
        assert len(error.splitlines()) == 1
    assert files(enrolled) == before


def test_an_encrypted_database_is_what_was_required(protected, ask, recording, monkeypatch):
    monkeypatch.setenv("MEMBRANE_PROTECTION", "required")
    assert ask("verify", "-u", "ada", "-f", recording("ada", "login"))[0] == 0
    assert ask("list")[0] == 0


def test_nobody_is_enrolled_in_the_clear_where_that_is_not_allowed(
    membrane_home, ask, recording, monkeypatch
):
    monkeypatch.setenv("MEMBRANE_PROTECTION", "required")
    options = ("-u", "ada", "--consent", "-f", recording("ada", "enrol"))
    assert ask("enroll", *options)[0] == 5
    database = membrane_home / "voiceprints.joblib"
    assert not database.exists()
    # Whoever begins with a database of nobody can.
    assert ask(*PROTECT)[0] == 0
    assert ask("enroll", *options)[0] == 0
    # The three lines of the header are hexadecimal, in which "ada" may stand by chance.
    assert b"ada" not in database.read_bytes().split(b"\n", 3)[3]


# ---- What is told of it


def test_how_the_database_is_protected_is_told_in_lines_and_in_json(enrolled, ask, told):
    code, out, _ = ask("protect", "--status")
    assert (code, out) == (0, "Not encrypted. The database can be read by its owner.\n")
    assert told("protect", "--status")[1]["source"] == ""
    code, out, error = ask(*PROTECT)
    assert code == 0
    assert "keep a copy" in error
    assert 'protection = "required"' in error
    assert ask("protect", "--status")[1] == out
    assert out.startswith(
        "Encrypted. The database is encrypted.\npeople: 3\nkey: in MEMBRANE_KEY\n"
    )
    assert re.search(r"^voices: turned, epoch [0-9a-f]{8}$", out, re.MULTILINE)
    plain = told("protect", "--status")[1]
    assert (plain["people"], plain["source"], plain["finished"]) == (3, "environment", True)
    assert KEY not in out + json.dumps(plain)


def test_how_the_database_is_protected_is_a_panel_at_a_terminal(protected, terminal):
    running = terminal("protect", "--status", columns=60)
    assert running.finish() == 0
    assert "╭─ Encrypted " in running.text
    assert "in MEMBRANE_KEY" in running.text
    assert max(map(len, running.text.splitlines())) <= 60


@pytest.mark.parametrize("options", [("--renew", "--off"), ("--rekey", "--status")])
def test_of_two_changes_at_once_none_is_made(protected, ask, options):
    before = files(protected)
    code, out, error = ask("protect", *options)
    assert (code, out) == (2, "")
    assert "choose one" in error
    assert files(protected) == before


def test_what_is_protected_is_not_protected_again(protected, ask):
    code, out, error = ask(*PROTECT)
    assert (code, out) == (2, "")
    assert "--rekey" in error
    assert ask("protect", "--off")[0] == 0
    assert ask("protect", "--renew")[0] == 2


# ---- A passphrase of the database

DICE = "correct horse battery staple"


def test_a_passphrase_is_typed_unseen_and_asked_for_at_a_terminal_only(enrolled, terminal, ask):
    protecting = terminal("protect", "--key", "passphrase")
    protecting.wait_for("New passphrase of the voiceprint database: ")
    protecting.type(DICE)
    protecting.wait_for("The same again: ")
    protecting.type(DICE)
    assert protecting.finish() == 0
    assert "key from a passphrase" in " ".join(protecting.text.split())
    listing = terminal("list")
    listing.wait_for("Passphrase of the voiceprint database: ")
    listing.type(DICE)
    assert listing.finish() == 0
    assert "boris" in listing.text
    assert "horse" not in protecting.text + listing.text
    code, out, error = ask("list")
    assert (code, out) == (5, "")
    assert "which nobody can be asked for here" in error
    guessing = terminal("list")
    guessing.wait_for("Passphrase of the voiceprint database: ")
    guessing.type("correct horse")
    assert guessing.finish() == 5
    assert "boris" not in guessing.text
