"""What version 0.1.0 kept goes on: database, log, failed logins and settings, plain and sealed."""

import shutil
from pathlib import Path

import pytest

from membrane.login.membrane import Membrane
from membrane.settings import load_settings

KEPT = Path(__file__).parent / "of_0_1"
KEY = "5eed" * 16
PEOPLE = {"ada": "resemblyzer", "clara": "membrane", "edgar": "resemblyzer"}


@pytest.fixture(params=["plain", "sealed"])
def kept(request, membrane_home, monkeypatch):
    shutil.copytree(KEPT / request.param, membrane_home)
    if request.param == "sealed":
        monkeypatch.setenv("MEMBRANE_KEY", KEY)
    return request.param


def test_people_log_in_and_others_do_not(kept, plain, recording, words_of):
    code, found = plain("list")
    assert code == 0
    assert {one["name"]: one["encoder"] for one in found} == PEOPLE
    for claimed, speaker, expected in (
        ("ada", "ada", 0),
        ("clara", "clara", 0),
        ("ada", "boris", 1),
    ):
        said = recording(speaker, "login", 1)
        arguments = ("verify", "-u", claimed, "-f", said, "--expect", words_of(said))
        assert plain(*arguments)[0] == expected


def test_the_log_is_whole_and_goes_on(kept, plain, recording):
    before = len(plain("log", "show")[1])
    assert before >= 8
    plain("verify", "-u", "clara", "-f", recording("ada", "login"))
    assert len(plain("log", "show")[1]) == before + 1
    assert plain("log", "verify")[0] == 0


def test_failed_logins_and_recordings_are_taken_over_once(kept, membrane_home, answer):
    membrane = Membrane(load_settings(), processes=0)
    state = membrane.guard.attempts.state_of("boris")
    assert len(state["failures"]) == (5 if kept == "plain" else 1)
    assert len(membrane.guard.attempts.recent_recordings("ada")) == 1
    left = {path.name for path in membrane_home.iterdir()}
    assert "voiceprints.joblib.logins.sqlite" in left
    assert not left & {"voiceprints.joblib.attempts", "voiceprints.joblib.logins"}


def test_the_settings_are_read(kept):
    settings = load_settings()
    assert (settings.security, settings.attempts, settings.prompt) == ("convenient", 2, "words")
