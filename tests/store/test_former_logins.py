"""What earlier versions kept of logins is taken over once; see former_logins/README.md."""

import os
import shutil
from pathlib import Path

import pytest

from membrane.errors import LockedOut, StoreDamaged, StoreError, WrongKey
from membrane.protection.keys import Origin
from membrane.protection.sealing import Seal
from membrane.store import former_logins
from membrane.store.sqlite_login_state import SqliteLoginState

FORMER = Path(__file__).with_name("former_logins")
SEAL = Seal(bytes(range(32)), Origin("environment", "ab" * 16, "12" * 16))
KINDS = {"plain": None, "sealed": SEAL}
SECRETS = {
    "plain": "06aa1e4cc61aec8db129345bb8c8fcaf1729b870c45b9350d78dd3f1094b4d71",
    "sealed": "2c21ffd69659cdf0bb0fff271721bae89df52b68874487cc8040a32ea84badb9",
}
LATER = 1_795_000_040.0


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def database(kind, tmp_path):
    shutil.copytree(FORMER / kind, tmp_path / "data")
    return tmp_path / "data" / "voiceprints.joblib"


@pytest.fixture
def attempts(database):
    return database.with_name("voiceprints.joblib.attempts")


@pytest.fixture
def recordings(database):
    return database.with_name("voiceprints.joblib.logins")


@pytest.fixture
def logins(kind, database):
    return SqliteLoginState(database, seal=KINDS[kind], clock=lambda: LATER)


def left(database):
    return {path.name for path in database.parent.iterdir()}


ONLY_NEW = {"voiceprints.joblib.logins.sqlite", "voiceprints.joblib.logins.sqlite.lock"}


def test_everything_is_taken_over_and_the_old_files_are_removed(kind, logins, database):
    assert logins.recent_prompts("ADA") == ("0 1 2", "1 1 2", "2 1 2")
    assert left(database) == ONLY_NEW
    assert logins.secret.hex() == SECRETS[kind]
    numbers = range(3)
    assert logins.recent_recordings("ada") == tuple(b"recording %d of Ada" % n for n in numbers)
    assert logins.state_of("ada")["failures"] == []
    boris, clara = logins.state_of("boris"), logins.state_of("clara")
    assert boris["failures"] == [f"2026-11-18T11:07:{at}+00:00" for at in range(10, 15)]
    assert boris["recent_prompts"] == ["river stone"]
    assert (len(clara["failures"]), len(clara["recent_recordings"])) == (1, 1)
    with pytest.raises(LockedOut, match="boris: try again in 24 s"):
        logins.begin("boris")


def test_what_was_forgiven_before_counts_as_forgiven(logins):
    logins.begin("clara")
    for failures in (2, 2, 2, 2, 3):
        logins.forgive(logins.begin("clara"))
        assert len(logins.state_of("clara")["failures"]) == failures


def test_it_is_nothing_new_that_is_begun(kind, database):
    begun = []
    SqliteLoginState(database, seal=KINDS[kind], on_new=lambda: begun.append(1)).begin("zoe")
    assert begun == []


def test_what_a_crash_left_of_the_old_files_is_removed_later(logins, database, attempts):
    content = attempts.read_bytes()
    turn = logins.begin("zoe")
    attempts.write_bytes(content)
    logins.withdraw(turn)
    assert left(database) == ONLY_NEW


def test_recordings_that_nobody_could_find_again_are_removed(logins, database, attempts):
    attempts.unlink()
    logins.begin("ada")
    assert left(database) == ONLY_NEW
    assert logins.recent_recordings("ada") == ()


def test_any_changed_byte_and_any_cut_refuses_and_stays(logins, database, attempts, recordings):
    for path in (attempts, *recordings.iterdir()):
        whole = path.read_bytes()
        for place in range(0, len(whole), 7):
            changed = bytearray(whole)
            changed[place] ^= 1 << place % 8
            for damaged in (bytes(changed), whole[:place]):
                path.write_bytes(damaged)
                with pytest.raises((StoreDamaged, WrongKey), match=r"voiceprints\.joblib"):
                    logins.begin("zoe")
                assert path.read_bytes() == damaged
        path.write_bytes(whole)
    assert "voiceprints.joblib.logins.sqlite" not in left(database)
    logins.begin("zoe")


def test_another_key_refuses(kind, database):
    seals = {"plain": [SEAL], "sealed": [None, Seal(bytes(32), SEAL.origin)]}
    for seal in seals[kind]:
        with pytest.raises((StoreDamaged, WrongKey)):
            SqliteLoginState(database, seal=seal).state_of("ada")


@pytest.mark.parametrize("make_node", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/")])
@pytest.mark.parametrize("which", ["attempts", "recordings"])
def test_what_is_no_such_file_is_not_read(logins, request, which, make_node):
    path = request.getfixturevalue(which)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    make_node(path)
    if (which, make_node) == ("recordings", os.mkdir):
        assert logins.recent_recordings("ada") == ()
    else:
        with pytest.raises(StoreError, match=f"{path.name}|voiceprints"):
            logins.begin("zoe")


def test_a_file_that_is_too_large_is_not_read(logins, monkeypatch):
    monkeypatch.setattr(former_logins, "LONGEST_FILE", 100)
    with pytest.raises(StoreDamaged, match="too large"):
        logins.begin("ada")


@pytest.mark.parametrize("change", ["protect", "unprotect"])
def test_a_change_of_the_key_takes_over_first(kind, database, change):
    new = SEAL if change == "protect" else None
    SqliteLoginState(database, seal=KINDS[kind]).reseal(new)
    assert len(SqliteLoginState(database, seal=new).recent_recordings("ada")) == 3
    assert left(database) == ONLY_NEW
