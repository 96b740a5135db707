import csv
import re

import pytest

from membrane.__main__ import run


def test_help_says_whom_an_explanation_is_for(answer):
    for command in ("verify", "compare"):
        assert "owner of the database" in " ".join(answer(command, "--help")[1].split())


@pytest.mark.parametrize(("person", "expected_code"), [("ada", 0), ("boris", 1)])
def test_explain_takes_a_person_and_a_recording(enrolled, recording, plain, person, expected_code):
    code, decision = plain("explain", "ADA", recording(person, "login"))
    assert code == expected_code
    assert (decision["command"], decision["claimed"]) == ("verify", "ada")
    assert decision["words"] == "not checked"
    assert decision["explanation"]["own"]["phrases"] == 3


@pytest.mark.parametrize(("person", "expected_code"), [("ada", 0), ("boris", 1)])
def test_explain_takes_two_recordings(recording, plain, person, expected_code):
    code, decision = plain("explain", recording("ada", "login", 1), recording(person, "login"))
    assert (code, decision["command"]) == (expected_code, "compare")
    assert decision["explanation"]["stretches"]


def test_a_file_is_taken_for_a_recording_though_somebody_has_its_name(
    enrolled, recording, plain, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ada").write_bytes(recording("boris", "login", 1).read_bytes())
    code, decision = plain("explain", "ada", recording("boris", "login"))
    assert (code, decision["command"]) == (0, "compare")


@pytest.mark.parametrize("name", ["zoe", "no/such.wav", "x" * 3000, ""])
def test_what_is_neither_a_recording_nor_a_person_is_a_usage_error(
    enrolled, recording, capsys, name
):
    assert run(["explain", name, str(recording("ada", "login"))]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "neither a recording nor enrolled" in told.err


def test_an_unknown_name_and_a_wrong_voice_are_explained_by_the_same_lines(
    enrolled, recording, answer
):
    told = []
    for name in ("ada", "zoe"):
        code, text = answer(
            "verify", "-u", name, "-f", recording("boris", "login"), "--explain", "--threshold", "1"
        )
        assert code == 1
        told.append(re.sub(r"-?\d+(\.\d+)?", "N", text).replace("zoe", "ada"))
    assert told[0] == told[1]
    assert "\nWhy\n" in told[0]


def test_every_explained_comparison_is_appended_to_the_results(
    enrolled, recording, answer, tmp_path
):
    results = tmp_path / "results.csv"
    answer("explain", "ada", recording("ada", "login"), "--results", results)
    answer("explain", recording("ada", "login", 1), recording("ada", "login"), "--results", results)
    with results.open(encoding="utf-8", newline="") as file:
        commands = [row["command"] for row in csv.DictReader(file)]
    assert commands == ["verify", "compare"]


def test_explanation_fits_a_terminal(enrolled, recording, terminal):
    shown = terminal("explain", "ada", str(recording("ada", "login")), columns=60)
    assert shown.finish() == 0
    assert "What would help" in shown.text
    assert max(map(len, shown.text.splitlines())) <= 60
