import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from membrane import cli
from membrane.__main__ import run
from membrane.errors import ModelUnavailable
from tests.pseudo_terminal import CTRL_C

KILLED_BY_CTRL_C = -2
"""Python ends itself so if Ctrl-C came inside an `eval`; a shell shows both as 130."""


def lines(text):
    return text.splitlines()


@pytest.fixture
def ending(monkeypatch, capsys):
    """Run a command that ends with an error, and return its exit code and what it said."""

    def run_until(error):
        def fail(*_arguments, **_options):
            raise error

        monkeypatch.setattr(cli, "app", fail)
        code = run(["anything"])
        captured = capsys.readouterr()
        assert captured.out == ""
        return code, captured.err

    return run_until


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["frobnicate"], 2, "No such command 'frobnicate'. See membrane --help."),
        (["--frobnicate"], 2, "No such option: --frobnicate. See membrane --help."),
        (["verify", "-u"], 2, "requires an argument"),
        (["verify", "--security", "silly"], 2, "--security"),
        (["verify", "-u", "a/b", "-f", "x.wav"], 2, "taken for a path"),
        (["verify", "-u", "ada", "-f", "missing.wav"], 2, "missing.wav cannot be read"),
        (["verify", "-u", "ada", "-f", "/dev/null"], 3, "empty"),
        (["verify", "-u", "ada", "-f", __file__], 3, "not a recording"),
        (["verify"], 2, "without a terminal"),
        (["verify", "--anyone", "-f", "x.wav", "--expect", "seven"], 2, "--anyone"),
        (["verify", "-u", "ada", "-f", "a.wav", "--threshold", "nan"], 2, "finite"),
        (["verify", "-u", "ada", "-f", "a.wav", "-f", "b.wav"], 2, "one recording"),
        (["verify", "-u", "ada", "-f", "a.wav", "--save-recording", "b.wav"], 2, "microphone"),
        (["enroll", "-u", "ada", "-f", "x.wav"], 2, "--consent"),
        (["enroll", "-u", "ada", "--add", "--replace"], 2, "--add"),
        (["enroll", "-u", "ada", "--add", "-f", "x.wav"], 4, "nobody called 'ada'"),
        (["enroll", "-u", "a\u202eb", "--replace", "--consent", "-f", "x.wav"], 2, "invisible"),
        (["export", "ada"], 4, "nobody called 'ada'"),
        (["delete", "ada", "--yes"], 4, "nobody called 'ada'"),
        (["delete", "a/b", "--yes"], 2, "taken for a path"),
        (["list", "--database", __file__], 5, "database"),
        (["weights", "fetch", "frobnicate", "-q"], 2, "frobnicate"),
        (["weights"], 2, "Missing command"),
        ([], 2, "without a terminal"),
    ],
)
def test_each_failure_is_one_line_and_its_own_exit_code(arguments, code, why, capsys):
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = lines(captured.err)
    assert line.startswith("Error: ")
    assert why in line


def test_defect_is_one_line_and_neither_accepted_nor_refused(ending):
    code, errors = ending(ZeroDivisionError("three\nlines\nof it"))
    assert code == 70
    assert len(lines(errors)) == 1
    assert "ZeroDivisionError" in errors


def test_defect_shows_where_it_is_when_asked_to(ending, monkeypatch):
    monkeypatch.setenv("MEMBRANE_DEBUG", "1")
    code, errors = ending(ZeroDivisionError("here"))
    assert code == 70
    assert "Traceback" in errors


def test_import_that_ctrl_c_broke_off_is_an_interrupt(ending):
    # A compiled module says only that its initialization failed, and from what.
    broken = ImportError("initialization failed")
    broken.__cause__ = KeyboardInterrupt()
    unavailable = ModelUnavailable("ONNX Runtime cannot be loaded: reinstall Membrane")
    unavailable.__context__ = broken
    code, told = ending(unavailable)
    assert code == 130
    assert lines(told) == ["Error: interrupted: nothing was left half done"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SystemExit(1)])
def test_output_that_fails_is_never_taken_for_a_refusal(ending, error):
    code, errors = ending(error)
    assert code == 7
    assert "the output cannot be written" in errors


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
@pytest.mark.parametrize("command", ["list", "--version", "--help", "export ada"])
def test_answer_that_cannot_be_written_ends_in_7(enrolled, program, redirect, command):
    ended = program(*command.split(), redirect=redirect)
    assert ended.returncode == 7
    assert lines(ended.stderr)[-1].startswith("Error: the output cannot be written")
    assert "Traceback" not in ended.stderr


def test_accepted_login_that_cannot_be_told_is_not_0(enrolled, recording, program):
    login = str(recording("ada", "login"))
    assert program("verify", "-u", "ada", "-f", login).returncode == 0
    assert program("verify", "-u", "ada", "-f", login, redirect=">&-").returncode == 7
    assert program("verify", "-u", "ada", "-f", login, redirect=">&- 2>&-").returncode == 7


@pytest.mark.parametrize("asked", ["source_bash", "complete_zsh"])
def test_login_is_judged_where_a_shell_asks_what_could_follow(enrolled, recording, program, asked):
    login = ("verify", "-u", "ada", "-f", str(recording("boris", "login")))
    assert program(*login, _MEMBRANE_COMPLETE=asked).returncode == 1
    assert "membrane" in program(_MEMBRANE_COMPLETE="source_bash").stdout


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_errors_that_nobody_can_read_keep_their_exit_code(program, redirect):
    assert program("frobnicate", redirect=redirect).returncode == 2
    assert program("list", redirect=redirect).returncode == 0


def test_all_streams_may_be_closed(program):
    assert program("frobnicate", redirect="<&- >&- 2>&-").returncode == 2


def test_closed_standard_input_is_an_empty_recording(program):
    ended = program("verify", "-u", "ada", "-f", "-", redirect="<&-")
    assert ended.returncode == 3
    assert "empty" in ended.stderr


@pytest.mark.parametrize("command", ["export ada", "list", "--help", "--show-completion bash"])
def test_reader_that_has_left_ends_in_7(enrolled, environment, command):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "membrane", *command.split()],
            env={**environment, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert ended.returncode == 7
    assert ended.stderr.startswith(b"Error: the output cannot be written")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "locale",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "C"],
)
def test_letters_that_cannot_be_shown_are_shown_as_code_points(
    enrolled, recording, program, locale
):
    files = ["-f", str(recording("edgar", "enrol"))]
    assert program("enroll", "-u", "Zoë", "--consent", *files).returncode == 0
    listed = program("list", **locale)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "Zo\\xeb\t1\tfresh" in listed.stdout


def test_file_name_that_is_no_text_is_judged_and_recorded(enrolled, recording, program, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.flac")
    Path(odd).write_bytes(recording("ada", "login").read_bytes())
    results = tmp_path / "results.csv"
    ended = program("verify", "-u", "ada", "-f", odd, "--json", "--results", str(results))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "odd\\udcff.flac" in ended.stdout
    assert "odd\\udcff.flac" in results.read_text()


def test_interrupt_while_modules_load_is_one_line(terminal):
    for delay_s in (0.1, 0.15, 0.2):
        running = terminal("weights", "verify")
        time.sleep(delay_s)
        running.type(CTRL_C)
        if running.finish() != 0:  # it may have been done before
            assert running.finish() in {130, KILLED_BY_CTRL_C}
            assert "Traceback" not in running.text


def test_interrupt_at_a_question_is_one_line_and_130(enrolled, terminal):
    running = terminal("delete", "ada")
    running.wait_for("Delete ada for good")
    running.type(CTRL_C)
    assert running.finish() == 130
    assert lines(running.text)[-1] == "Error: interrupted: nothing was left half done"
    assert run(["export", "ada"]) == 0
