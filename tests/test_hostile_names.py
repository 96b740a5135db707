"""Names that were made to hurt: refused, or shown so that no line, screen or file is spoilt."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from membrane.__main__ import run
from membrane.store.joblib_store import JoblibStore
from membrane.terminal.console import View

REFUSED = {
    "a path": "../../x",
    "a path of Windows": "..\\x",
    "an absolute path": "/nowhere/ada",
    "a dot": ".",
    "two dots": "..",
    "a wide slash": "a\uff0fb",
    "a newline": "ada\nroot",
    "a return": "ada\rroot",
    "a tab": "ada\troot",
    "a bell": "\x07ada",
    "a clear screen": "\x1b[2Jada",
    "a title": "\x1b]0;root\x07ada",
    "a C1 control": "ada\x9b2J",
    "a delete": "ada\x7f",
    "10,000 characters": "x" * 10_000,
    "an override of direction": "ada\u202etoor",
    "an isolate": "\u2066ada",
    "a line separator": "ada\u2028root",
    "a zero-width joiner": "\U0001f469\u200d\U0001f467",
    "a zero-width space": "a\u200bda",
    "a byte order mark": "ada\ufeff",
    "a tag character": "ada\U000e0041",
    "a byte that is no text": "ada\udcff",
    "marks in a pile": "a" + "\u0301\u0302" * 20,
    "nothing": "",
    "a blank": " ",
    "markup of a path": "[red]ada[/red]",
}

ALLOWED = {
    "emoji": "\U0001f600",
    "a dash": "-",
    "an option": "--help",
    "a device of Windows": "nul",
    "a formula": "=1+1",
    "a formula that calls": "@SUM(1)",
    "a formula of Excel": "+cmd|' '!A0",
    "a quote": 'a"b,c;d',
    "markup": "[bold red]ada",
    "HTML": "<script>ada",
    "a format": "{0} %s $HOME `id`",
    "right to left": "\u05d0\u05d3\u05d4",
    "wide": "\u674e\u5c0f\u9f8d",
    "64 ligatures": "\ufdfa" * 64,
}

HARMLESS = re.compile(r"\x1b\[[0-9;]*m")
"""What a terminal is told about colours; it moves nothing."""

OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def commands_with(name, file):
    """Return every command that takes a name, with this one."""
    option = f"--username={name}"
    return {
        "enroll": ["enroll", option, "--consent", "-f", file],
        "add": ["enroll", option, "--add", "-f", file],
        "replace": ["enroll", option, "--replace", "--consent", "-f", file],
        "reencode": ["enroll", option, "--reencode", "-f", file],
        "verify": ["verify", option, "-f", file],
        "explain": ["explain", "--", name, file],
        "export": ["export", "--", name],
        "delete": ["delete", "--yes", "--", name],
        "unlock": ["unlock", "--", name],
        "revert": ["revert", "--", name],
    }


def assert_obeyed_by_no_terminal(text):
    assert not OBEYED.search(HARMLESS.sub("", text)), ascii(text)


@pytest.fixture
def login(recording):
    return str(recording("ada", "login"))


@pytest.fixture
def called(enrolled):
    """Give ada another name, and return it as it is stored."""

    def rename(name):
        store = JoblibStore(enrolled / "voiceprints.joblib")
        ada = store.get("ada")
        store.delete("ada")
        store.add(replace(ada, name=name))
        return name

    return rename


# ---- Refused


@pytest.mark.parametrize("kind", REFUSED)
def test_a_name_that_nobody_may_have_is_refused_by_every_command_in_one_line(
    enrolled, login, capsys, tmp_path, monkeypatch, kind
):
    inside = tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    before = sorted(path for path in tmp_path.rglob("*") if ".joblib" not in path.name)
    for arguments in commands_with(REFUSED[kind], login).values():
        code = run(arguments)
        out, told = capsys.readouterr()
        # A file may be called "..": that one is a folder.
        assert (code, out) == (2, ""), arguments[0]
        (line,) = told.splitlines()
        assert line.startswith("Error: ")
        assert_obeyed_by_no_terminal(line)
        assert line.isprintable()
    assert sorted(path for path in tmp_path.rglob("*") if ".joblib" not in path.name) == before
    people = JoblibStore(enrolled / "voiceprints.joblib").gallery().names()
    assert list(people) == ["ada", "boris", "clara"]


# ---- Allowed


@pytest.mark.parametrize("kind", ALLOWED)
def test_an_odd_name_can_be_enrolled_verified_shown_and_deleted(
    enrolled, recording, login, answer, capsys, tmp_path, kind
):
    name = ALLOWED[kind]
    mine = str(recording("edgar", "enrol"))
    option, results = f"--username={name}", tmp_path / "results.csv"
    assert run(["enroll", option, "--consent", "-f", mine]) == 0
    enrolment = capsys.readouterr()
    code, shown = answer("verify", option, "-f", recording("edgar", "login"), "--results", results)
    assert code == 0
    listed = answer("list")[1]
    if name != "-":  # that is standard input there
        assert answer("explain", "--", name, recording("edgar", "login", 1))[0] == 0
    ranked = answer("identify", "-f", recording("edgar", "login", 1), "--results", results)[1]
    assert json.loads(answer("export", "--", name)[1])["name"] == name
    assert name in [one["name"] for one in json.loads(answer("list", "--json")[1])]
    for text in (enrolment.out, shown, listed, ranked, results.read_text()):
        assert name in text.replace('""', '"')
        assert_obeyed_by_no_terminal(text)
    assert len(listed.splitlines()) == 4
    assert len({line.count("\t") for line in listed.splitlines()}) == 1
    for row in csv.DictReader(results.read_text().splitlines()):
        assert row["best"].lstrip("'") == name
        assert row["best"][0] not in "=+@"
    assert run(["delete", "--yes", "--", name]) == 0
    assert answer("export", "--", name)[0] == 4


@pytest.mark.parametrize("kind", ["emoji", "64 ligatures", "markup"])
def test_an_odd_name_keeps_a_terminal_in_order(called, login, terminal, kind):
    name = called(ALLOWED[kind])
    verify = ["verify", f"--username={name}", "-f", login]
    for command in (["list"], ["identify", "-f", login], verify):
        running = terminal(*command, columns=80)
        assert running.finish() == 0
        raw = running.raw.decode()
        assert_obeyed_by_no_terminal(raw.replace("\r\n", "\n"))
        assert name[:4] in raw


# ---- What a hostile file holds is no name, and is shown as none


def test_what_a_forged_database_says_is_shown_escaped(enrolled, terminal, answer):
    evil = "\x1b[2J\n\u202evil\x07"
    store = JoblibStore(enrolled / "voiceprints.joblib")
    ada = store.get("ada")
    store.replace(replace(ada, encoder=evil, updated_at=evil, created_at=evil))
    piped = answer("list")[1]
    assert len(piped.splitlines()) == 3
    assert_obeyed_by_no_terminal(piped)
    assert piped.count("\\u001b[2J\\u000a\\u202evil\\u0007") == 2
    as_json = answer("list", "--json")[1]
    assert len(as_json.splitlines()) == 1
    assert as_json.isascii()
    running = terminal("list", columns=120)
    assert running.finish() == 0
    assert_obeyed_by_no_terminal(running.raw.decode().replace("\r\n", "\n"))


def test_a_forged_name_is_damage_that_is_told_in_one_line(enrolled, capsys):
    import joblib

    database = enrolled / "voiceprints.joblib"
    mapping = joblib.load(database)
    for name in (b"\x1b[2J", b"a\nb", b"a/b", b"\xff\xfe"):
        evil = mapping["names_characters"].copy()
        evil[: len(name)] = list(name)
        joblib.dump({**mapping, "names_characters": evil}, database, protocol=4)
        assert run(["list"]) == 5
        out, told = capsys.readouterr()
        assert out == ""
        (line,) = told.splitlines()
        assert line.isprintable()


# ---- File names


ODD_FILE = "odd\x1b[2J\n\u202ename\t.flac"


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (2, ["verify", "-u", "ada", "-f", f"missing {ODD_FILE}"]),
        (3, ["verify", "-u", "ada", "-f", f"empty {ODD_FILE}"]),
        (3, ["compare", f"empty {ODD_FILE}", f"empty {ODD_FILE}"]),
        (3, ["transcribe", f"empty {ODD_FILE}"]),
        (2, ["explain", f"missing {ODD_FILE}", f"missing {ODD_FILE}"]),
        (5, ["list", "--database", f"empty {ODD_FILE}"]),
        (5, ["export", "ada", "--database", f"empty {ODD_FILE}"]),
        (7, ["identify", "-f", "sound.flac", "--results", f"missing {ODD_FILE}/x"]),
        (2, ["evaluate", f"missing {ODD_FILE}"]),
        (2, ["verify", "-u", "ada", "-f", "sound.flac", "--encoder", ODD_FILE]),
        (2, ["verify", "-u", "ada", "-f", "sound.flac", "--security", ODD_FILE]),
        (2, ["weights", "fetch", "-q", ODD_FILE]),
        (2, [ODD_FILE]),
        (2, [f"--{ODD_FILE}"]),
    ],
)
def test_an_odd_file_name_is_shown_escaped_in_the_one_line_of_an_error(
    enrolled, login, capsys, tmp_path, monkeypatch, code, arguments
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"empty {ODD_FILE}").touch()
    (tmp_path / "sound.flac").symlink_to(login)
    assert run(arguments) == code
    out, told = capsys.readouterr()
    assert out == ""
    (line,) = told.splitlines()
    assert line.isprintable()


def test_an_odd_file_name_spoils_no_answer(enrolled, login, answer, tmp_path):
    odd = tmp_path / ODD_FILE
    odd.symlink_to(login)
    for arguments in (["verify", "-u", "ada", "-f"], ["identify", "-f"], ["transcribe"]):
        text = answer(*arguments, odd)[1]
        assert_obeyed_by_no_terminal(text)
        as_json = answer(*arguments, odd, "--json")[1]
        assert len(as_json.splitlines()) == 1
        assert as_json.isascii()


def test_all_that_a_view_shows_is_escaped():
    evil = "a\x1b[2J\x9b\r\n\u202e\u2028b\x07"
    for terminal in (True, False):
        told, answered = io.StringIO(), io.StringIO()
        look = {"force_terminal": terminal, "width": 60, "highlight": False}
        view = View(Console(file=answered, **look), Console(file=told, **look))
        for show in (view.note, view.warn, view.error, view.prompt, view.request, view.line):
            show(evil)
        view.table(["name", "other"], [[evil, evil]])
        view.json({evil: evil})
        for text in (told.getvalue(), answered.getvalue()):
            assert_obeyed_by_no_terminal(text)
            assert "\\u001b[2J" in text
        assert len(told.getvalue().splitlines()) >= 5
