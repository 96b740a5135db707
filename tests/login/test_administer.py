import json
import os
import runpy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from membrane.__main__ import run
from membrane.audio.fingerprint import fingerprint_of
from membrane.audio.utterance import SAMPLE_RATE
from membrane.errors import InvalidName, LockedOut, NotTheOwner, UnknownName
from membrane.login import administer as administration
from membrane.login.adapt import MARGIN
from membrane.login.claim import Claim
from membrane.login.guard import ANYONE
from membrane.login.membrane import Membrane
from membrane.settings import Settings
from membrane.voice.voice import Voice, VoiceMatch

MAKERS = runpy.run_path(str(Path(__file__).parents[1] / "store" / "writer.py"))
PASSPHRASE = "the river runs quietly past the old mill"


@pytest.fixture
def membrane(membrane_home):
    """Return a Membrane that knows ada and boris, whose logins have left traces."""
    membrane = Membrane(Settings())
    for number, name in enumerate(("Ada", "boris")):
        membrane.store.add(MAKERS["person"](name, number, utterances=2, passphrase=PASSPHRASE))
        log_in(membrane, name, number)
        membrane.guard.attempts.remember_prompt(name, f"{number} {number}")
        membrane.guard.attempts.begin(name)
    return membrane


def log_in(membrane, name, seed=0):
    """Leave the traces of an accepted login."""
    person = membrane.store.get(name)
    noise = np.random.default_rng(seed).normal(0, 0.1, 2 * SAMPLE_RATE).astype(np.float32)
    with membrane.guard.attempt(Claim.to_be(person)) as attempt:
        membrane.guard.record("verify", person.id, accepted=True, refused_by=[])
        attempt.close(accepted=True, recording=fingerprint_of(noise).to_bytes())


@pytest.fixture
def another_user(monkeypatch):
    """Be somebody who owns no file here."""
    monkeypatch.setattr(os, "geteuid", lambda: 54321)


def remembered(membrane, name):
    return len(membrane.guard.attempts.recent_recordings(name))


def events(membrane):
    return [(one["event"], one["who"]) for one in membrane.guard.log.entries()]


def delete(membrane, name):
    administration.delete(membrane, administration.erasable(membrane, name))


NOTHING = {"failures": [], "locked": False, "recent_prompts": [], "recent_recordings": []}


# ---- Erasing


def test_nothing_is_left_of_the_logins_of_somebody_who_is_deleted(membrane):
    ada, boris = (membrane.store.get(name) for name in ("Ada", "boris"))
    delete(membrane, "ADA")
    assert membrane.store.get("ada") is None
    assert membrane.guard.attempts.state_of("Ada") == NOTHING
    assert (remembered(membrane, "ada"), remembered(membrane, "boris")) == (0, 1)
    assert len(membrane.guard.attempts.state_of("boris")["failures"]) == 1
    assert events(membrane) == [("verify", ada.id), ("verify", boris.id), ("deleted", ada.id)]
    assert membrane.guard.log.verify().problems == ()


def test_lines_of_somebody_who_is_deleted_are_nobodys(membrane, answer, plain):
    ada = membrane.store.get("ada")
    assert [one["name"] for one in plain("log", "show")[1]] == ["Ada", "boris"]
    assert answer("delete", "ada", "--yes")[0] == 0
    assert [one["name"] for one in plain("log", "show")[1]] == ["", "boris", ""]
    text = answer("log", "show")[1]
    assert "Ada" not in text
    assert ada.id[:16] in text
    assert answer("log", "verify") == (0, "The log is whole. Lines: 3.\n")


def test_somebody_who_enrols_anew_is_not_who_was_deleted(membrane):
    before = membrane.store.get("ada").id
    delete(membrane, "ada")
    membrane.store.add(MAKERS["person"]("ada", 5))
    assert membrane.store.get("ada").id != before
    assert administration.exported(membrane, "ada")["log"] == []


def test_nothing_is_left_when_everybody_is_deleted(membrane):
    assert administration.clear(membrane) == 2
    assert len(membrane.store.gallery()) == 0
    for name in ("ada", "boris"):
        assert membrane.guard.attempts.state_of(name) == NOTHING
    *_, last = membrane.guard.log.entries()
    assert (last["event"], last["who"], last["people"]) == ("cleared", "everybody", 2)
    assert membrane.guard.log.verify().problems == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda membrane: administration.erasable(membrane, "ada"),
        administration.clear,
        lambda membrane: administration.unlock(membrane, "ada"),
        lambda membrane: administration.unlock(membrane, None),
        lambda membrane: administration.revert(membrane, "ada"),
        lambda membrane: administration.protect(membrane, "protect", source="environment"),
    ],
    ids=["delete", "clear", "unlock", "unlock anyone", "revert", "protect"],
)
def test_only_the_owner_changes_anything(membrane, another_user, change):
    folder = membrane.store.path.parent
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(NotTheOwner):
        change(membrane)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "command",
    [("delete", "ada", "--yes"), ("clear", "--yes"), ("unlock", "ada"), ("revert", "ada")],
)
def test_a_command_of_somebody_else_ends_in_5_and_one_line(membrane, another_user, command, capsys):
    assert run(list(command)) == 5
    out, error = capsys.readouterr()
    assert out == ""
    assert len(error.splitlines()) == 1
    assert "only whoever owns the database" in error


# ---- Unlocking


@pytest.mark.parametrize("name", ["ada", "zoe"])
def test_whoever_waits_is_unlocked_whether_they_are_known_or_not(membrane, name, capsys):
    for _ in range(5 - len(membrane.guard.attempts.state_of(name)["failures"])):
        membrane.guard.attempts.begin(name)
    with pytest.raises(LockedOut):
        membrane.guard.require_open(membrane.claim(name))
    assert run(["unlock", name]) == 0
    assert capsys.readouterr() == ("", f"{name} may try again.\n")
    membrane.guard.require_open(membrane.claim(name))
    *_, last = membrane.guard.log.entries()
    assert last["event"] == "unlocked"
    assert last["who"] == membrane.guard.who(membrane.claim(name))
    assert run(["unlock", name]) == 0
    assert capsys.readouterr().err == f"{name} was not waiting.\n"


def test_logins_that_claim_no_name_are_unlocked_apart(membrane, answer, capsys):
    for _ in range(5):
        membrane.guard.attempts.begin(ANYONE.name)
    with pytest.raises(LockedOut):
        membrane.guard.require_open(ANYONE)
    assert run(["unlock", "anyone"]) == 0
    with pytest.raises(LockedOut):
        membrane.guard.require_open(ANYONE)
    capsys.readouterr()
    assert run(["unlock", "--anyone"]) == 0
    assert capsys.readouterr().err == "Whoever says a passphrase may try again.\n"
    membrane.guard.require_open(ANYONE)


@pytest.mark.parametrize("whom", [(), ("ada", "--anyone")])
def test_whom_to_unlock_must_be_said(membrane, answer, whom):
    assert answer("unlock", *whom) == (2, "")


def test_unlocking_keeps_what_was_asked_and_heard_lately(membrane):
    administration.unlock(membrane, "ada")
    state = membrane.guard.attempts.state_of("ada")
    assert state["recent_prompts"] == ["0 0"]
    assert len(state["recent_recordings"]) == 1


# ---- Access


def test_an_export_holds_all_that_is_kept_of_one_person_and_nothing_of_another(membrane):
    boris = membrane.store.get("boris")
    exported = json.loads(json.dumps(administration.exported(membrane, "BORIS")))
    assert exported["name"] == "boris"
    assert exported["passphrase"] == PASSPHRASE
    assert [len(one["vector"]) for one in exported["utterances"]] == [256, 256]
    assert len(exported["logins"]["failures"]) == 1
    assert exported["logins"]["recent_prompts"] == ["1 1"]
    assert len(exported["logins"]["recent_recordings"]) == 1
    assert [one["who"] for one in exported["log"]] == [boris.id]
    assert membrane.store.get("ada").id not in json.dumps(exported)


def test_nobody_is_exported_deleted_or_reverted_who_is_not_there(membrane):
    for ask in (administration.exported, administration.erasable, administration.revert):
        with pytest.raises(UnknownName, match="see `membrane list`"):
            ask(membrane, "zoe")
        with pytest.raises(InvalidName):
            ask(membrane, "a/b")


# ---- Adaptation


@pytest.fixture(scope="module")
def login(examiner, utterance_of, recording, words_of):
    """Return a login of ada, and the evidence of it."""
    utterance = utterance_of("ada", "login", 1)
    words = words_of(recording("ada", "login", 1))
    return utterance, words, examiner.examine(utterance, expected=words)


@pytest.fixture
def ageing(membrane_home, login, monkeypatch):
    """Return a Membrane that knows ada, enrolled three weeks ago: ``ageing(adapt="on")``."""

    def make(margin=MARGIN + 1, **settings):
        membrane = Membrane(Settings(**{"replay": "allow", "adapt": "on", **settings}))
        membrane.examine = lambda *_, **__: login[2]
        strict = membrane.voice.judge.calibration.threshold("strict").llr
        monkeypatch.setattr(Voice, "match", lambda *_: match(strict + margin))
        if membrane.store.get("ada") is None:
            before = (datetime.now(UTC) - timedelta(days=21)).isoformat()
            ada = MAKERS["person"]("ada", 1, utterances=2, encoder=membrane.voice.name)
            membrane.store.add(replace(ada, updated_at=before))
        return membrane

    return make


def match(score):
    return VoiceMatch("cosine", 0.95, 0.95, None, True, 0.9, 0.65, score, 5.0)


def let_in(membrane, login):
    utterance, words, _ = login
    decision = membrane.verify("ada", utterance, expected=words)
    assert decision.accepted, decision.reason
    return [one.adapted for one in membrane.store.get("ada").utterances]


def test_a_login_beyond_doubt_renews_an_ageing_voiceprint_once(ageing, login):
    membrane = ageing()
    assert let_in(membrane, login) == [False, False, True]
    ada = membrane.store.get("ada")
    assert ada.utterances[2].vector.tobytes() == login[2].embedding.vector.tobytes()
    assert let_in(membrane, login) == [False, False, True]
    assert events(membrane) == [("verify", ada.id), ("adapted", ada.id), ("verify", ada.id)]


def test_a_borderline_login_renews_nothing(ageing, login):
    assert let_in(ageing(margin=MARGIN - 0.01), login) == [False, False]


def test_no_login_renews_anything_unless_it_was_chosen(ageing, login):
    assert let_in(ageing(adapt="off"), login) == [False, False]
    assert Settings().adapt == "off"


def test_a_login_that_is_too_short_renews_nothing(ageing, login):
    membrane = ageing()
    quality = replace(login[2].prepared.quality, speech_s=1.9)
    short = replace(login[2], prepared=replace(login[2].prepared, quality=quality))
    membrane.examine = lambda *_, **__: short
    assert let_in(membrane, login) == [False, False]


def test_a_login_whose_words_were_not_checked_renews_nothing(ageing, login):
    membrane = ageing()
    membrane.examine = lambda *_, **__: replace(login[2], words=None)
    assert let_in(membrane, login) == [False, False]


@pytest.mark.parametrize("change", [{"id": "ff" * 16}, {"epoch": "ee" * 16}])
def test_a_login_renews_nothing_that_was_changed_since_it_was_judged(ageing, login, change):
    membrane = ageing()
    stored = replace(membrane.store.get("ada"), **change)
    made = []
    membrane.store.update = lambda _name, renewed: made.append(renewed(stored)) or stored
    let_in(membrane, login)
    assert made == [stored]


def test_where_no_login_added_anything_there_is_nothing_to_take_back(enrolled, capsys):
    assert run(["revert", "ada"]) == 2
    assert "no login has added anything to ada's voiceprint" in capsys.readouterr().err


def test_what_logins_added_is_taken_back_bit_for_bit(ageing, login, capsys):
    membrane = ageing()
    before = membrane.store.get("ada")
    let_in(membrane, login)
    assert membrane.store.get("ada").vector.tobytes() != before.vector.tobytes()
    assert run(["revert", "ADA"]) == 0
    assert capsys.readouterr() == ("", "What logins had added to ada's voiceprint is gone.\n")
    after = membrane.store.get("ada")
    assert after.vector.tobytes() == before.vector.tobytes()
    assert len(after.utterances) == 2
    assert events(membrane)[-1] == ("adaptation taken back", before.id)
