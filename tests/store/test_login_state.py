"""What every `LoginState` promises; `opened` gives the one that is tested."""

import json
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from membrane.errors import LockedOut, StoreDamaged, StoreError, WrongKey
from membrane.store import login_record, sqlite_file
from membrane.store.sqlite_login_state import SqliteLoginState
from tests.store.covers import Cover

START = 1_795_000_000.0
WAITS = [0] * 5 + [30, 60, 120, 240, 480, 960, 1920] + [3600] * 38


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Do not wait for the disk."""
    monkeypatch.setattr(sqlite_file, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def opened(tmp_path, clock):
    """Return how a process opens the state of a database."""

    def open_state(seal=None, *, database="database"):
        return SqliteLoginState(tmp_path / "data" / database, seal=seal, clock=clock)

    return open_state


@pytest.fixture
def logins(opened):
    return opened()


def fail(logins, name, times=1):
    for _ in range(times):
        logins.begin(name)


def failures(logins, name):
    return len(logins.state_of(name)["failures"])


def refused(logins, name):
    with pytest.raises(LockedOut) as caught:
        logins.begin(name)
    return str(caught.value)


# Failures are counted, and whoever failed too often waits


def test_the_sixth_attempt_waits_and_the_wait_doubles_with_each_further_failure(logins, clock):
    fail(logins, "ada", 5)
    for told, wait_s in {"30 s": 30, "60 s": 60, "120 s": 120, "4 min": 240}.items():
        message = f"too many failed logins as ada: try again in {told}"
        assert refused(logins, "ada") == message
        clock.now += wait_s - 0.5
        assert refused(logins, "ada").endswith("try again in 1 s")
        clock.now += 0.5
        fail(logins, "ada")


def test_the_fiftieth_failure_locks_until_somebody_unlocks(logins, clock):
    for wait_s in WAITS:
        clock.now += wait_s
        fail(logins, "ada")
    clock.now += 10 * 365 * 86400
    assert refused(logins, "ada") == (
        "too many failed logins as ada, now locked: whoever keeps the database can unlock it"
    )
    assert logins.state_of("ada")["locked"]
    assert logins.unlock("ADA")
    assert not logins.unlock("ada")
    fail(logins, "ada", 5)


def test_a_refused_attempt_counts_for_nothing(logins, clock):
    fail(logins, "ada", 5)
    for _ in range(3):
        refused(logins, "ada")
        with pytest.raises(LockedOut):
            logins.require_open("ada")
    clock.now += 30
    logins.require_open("ada")
    assert failures(logins, "ada") == 5


def test_asking_whether_a_name_must_wait_counts_nothing(logins):
    for _ in range(10):
        logins.require_open("ada")
    assert failures(logins, "ada") == 0


def test_a_restart_resets_nothing(logins, opened):
    fail(logins, "ada", 5)
    assert "30 s" in refused(opened(), "ada")


def test_each_name_has_failures_of_its_own(logins):
    fail(logins, "ada", 5)
    fail(logins, "bob", 5)
    assert refused(logins, "ada").replace("ada", "bob") == refused(logins, "bob")
    fail(logins, "eve")


@pytest.mark.parametrize("spelled", ["ADA", " ada ", "ａｄａ", "Ada\u00a0"])
def test_another_spelling_of_a_name_has_no_failures_of_its_own(logins, spelled):
    fail(logins, "ada", 5)
    refused(logins, spelled)


@given(st.text())
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_name_may_be_claimed(logins, name):
    turn = logins.begin(name)
    assert failures(logins, name) == 1
    logins.succeed(turn)


def test_half_a_surrogate_pair_may_be_claimed(logins):
    fail(logins, "\ud800", 5)
    assert refused(logins, "\ud800").isprintable()


# What became of an attempt


def test_what_could_not_be_judged_is_no_failure_and_takes_no_time(logins, clock):
    fail(logins, "ada", 5)
    clock.now += 31
    turn = logins.begin("ada")
    clock.now += 1
    assert "59 s" in refused(logins, "ada")
    logins.withdraw(turn)
    assert failures(logins, "ada") == 5
    fail(logins, "ada")


def test_only_the_attempt_itself_is_withdrawn_and_only_once(logins):
    first, _, last = [logins.begin("ada") for _ in range(3)]
    logins.withdraw(first)
    logins.withdraw(first)
    assert failures(logins, "ada") == 2
    logins.withdraw(last)
    assert failures(logins, "ada") == 1


def test_who_is_accepted_has_failed_no_more(logins):
    fail(logins, "ada", 4)
    logins.succeed(logins.begin("ada"), b"a recording")
    assert failures(logins, "ada") == 0
    fail(logins, "ada", 5)


def test_a_failure_that_began_later_outlasts_a_success(logins):
    fail(logins, "ada", 2)
    accepted = logins.begin("ada")
    fail(logins, "ada", 2)
    logins.succeed(accepted)
    assert failures(logins, "ada") == 2


def test_an_older_success_takes_nothing_from_what_a_newer_one_left(logins):
    older, newer = logins.begin("ada"), logins.begin("ada")
    logins.succeed(newer)
    fail(logins, "ada", 2)
    logins.succeed(older)
    assert failures(logins, "ada") == 2


def test_parallel_guesses_wait_before_any_of_them_is_judged(logins):
    turns = [logins.begin("ada") for _ in range(5)]
    refused(logins, "ada")
    logins.withdraw(turns[0])
    turns.append(logins.begin("ada"))
    refused(logins, "ada")


# The clock


def test_a_clock_that_is_set_back_lets_nobody_wait_longer_than_the_delay(logins, clock):
    fail(logins, "ada", 5)
    clock.now -= 10 * 365 * 86400
    assert "30 s" in refused(logins, "ada")
    clock.now += 20
    assert "10 s" in refused(logins, "ada")
    clock.now += 10
    fail(logins, "ada")


def test_the_wait_after_a_clock_was_set_back_goes_on_however_it_is_looked_at(logins, clock):
    fail(logins, "ada", 5)
    clock.now -= 3600
    with pytest.raises(LockedOut):
        logins.require_open("ada")
    clock.now += 30
    logins.require_open("ada")


def test_no_clock_unlocks(logins, clock):
    for wait_s in WAITS:
        clock.now += wait_s
        fail(logins, "ada")
    for now in (START - 1e9, 0.0, START + 1e9):
        clock.now = now
        assert "locked" in refused(logins, "ada")


# Many names


@pytest.fixture
def few(monkeypatch):
    """Let there be room for ten names."""
    monkeypatch.setattr(login_record, "MOST_NAMES", 10)
    monkeypatch.setattr(login_record, "NAMES_LEFT", 8)


def flood(logins, clock, names, times=1):
    for number in range(names):
        clock.now += 3600
        fail(logins, f"nobody {number}", times)


def test_made_up_names_push_out_nobody_who_failed_more_often(logins, few, clock):
    fail(logins, "ada", 4)
    flood(logins, clock, 20)
    fail(logins, "ada")
    refused(logins, "ada")


def test_names_that_never_failed_make_room_first(logins, few, clock):
    fail(logins, "ada")
    for number in range(20):
        logins.remember_prompt(f"nobody {number}", "1 2 3")
    assert failures(logins, "ada") == 1
    assert failures(logins, "bob") == 0
    assert logins.recent_prompts("nobody 0") == ()
    assert logins.recent_prompts("nobody 19") == ("1 2 3",)


def test_who_was_pushed_out_gets_no_try_back(logins, few, clock):
    fail(logins, "ada", 3)
    flood(logins, clock, 9, 4)
    fail(logins, "one too many")
    # What was dropped, Ada's failures among it, is what everybody begins with from now on.
    assert failures(logins, "ada") == failures(logins, "never tried") == 4
    fail(logins, "ada")
    refused(logins, "ada")
    clock.now += 30
    logins.succeed(logins.begin("ada"))
    assert failures(logins, "ada") == 0
    fail(logins, "ada", 5)


def test_a_flood_may_lock_but_never_unlocks(logins, few, clock):
    for number in range(11):
        for _ in range(50):
            clock.now += 3600
            with suppress(LockedOut):
                fail(logins, f"nobody {number}")
    assert "locked" in refused(logins, "ada")
    assert logins.unlock("ada")
    fail(logins, "ada", 5)


# Recordings, prompts, the secret


def test_the_last_twenty_recordings_and_prompts_of_a_name_are_remembered(logins):
    for number in range(23):
        logins.remember_prompt("ada", f"{number} 1 2")
        logins.succeed(logins.begin("ada"), b"%d" % number)
    assert logins.recent_recordings("Ada") == tuple(b"%d" % number for number in range(3, 23))
    assert logins.recent_prompts("Ada") == tuple(f"{number} 1 2" for number in range(3, 23))
    assert logins.recent_recordings("bob") == logins.recent_prompts("bob") == ()


def test_a_success_without_a_recording_remembers_none(logins):
    logins.succeed(logins.begin("ada"))
    assert logins.recent_recordings("ada") == ()


def test_the_secret_is_made_once(logins, opened):
    secret = logins.secret
    fail(logins, "ada")
    assert len(secret) == 32
    assert opened().secret == logins.secret == secret


def test_each_database_has_a_secret_of_its_own(logins, opened):
    assert opened(database="other").secret != logins.secret


def test_nothing_is_known_before_anything_was_kept(logins):
    assert logins.recent_prompts("ada") == logins.recent_recordings("ada") == ()
    assert logins.state_of("ada") == NOTHING


def test_what_is_kept_of_a_name_is_told_as_json(logins):
    logins.remember_prompt("ada", "1 2 3")
    logins.succeed(logins.begin("ada"), b"\x00\x01")
    fail(logins, "ada")
    assert json.loads(json.dumps(logins.state_of("ada"))) == {
        "failures": ["2026-11-18T11:06:40+00:00"],
        "locked": False,
        "recent_prompts": ["1 2 3"],
        "recent_recordings": ["AAE="],
    }


# Forgetting

NOTHING = {"failures": [], "locked": False, "recent_prompts": [], "recent_recordings": []}


def leave_traces(logins, *names):
    for name in names:
        logins.remember_prompt(name, "1 2 3")
        logins.succeed(logins.begin(name), b"recording")
        fail(logins, name)


def test_nothing_is_left_of_who_is_forgotten(logins):
    leave_traces(logins, "ada", "bob")
    before = logins.state_of("bob")
    logins.forget("ADA")
    assert logins.state_of("ada") == NOTHING
    assert logins.state_of("bob") == before
    logins.forget("nobody")


def test_nothing_is_left_when_all_are_forgotten_but_the_secret(logins):
    secret = logins.secret
    leave_traces(logins, "ada", "bob")
    logins.clear()
    assert logins.state_of("ada") == logins.state_of("bob") == NOTHING
    assert logins.secret == secret
    fail(logins, "ada", 5)


def test_unlocking_keeps_prompts_and_recordings(logins):
    leave_traces(logins, "ada")
    assert logins.unlock("ada")
    state = logins.state_of("ada")
    assert (state["failures"], state["recent_prompts"]) == ([], ["1 2 3"])
    assert len(state["recent_recordings"]) == 1


# Forgiving


def test_what_cannot_be_judged_is_forgiven_five_times_between_two_logins(logins):
    for _ in range(2):
        for _ in range(5):
            logins.forgive(logins.begin("ada"))
        assert failures(logins, "ada") == 0
        logins.forgive(logins.begin("ada"))
        assert failures(logins, "ada") == 1
        logins.succeed(logins.begin("ada"))


# Encrypted


def test_what_is_encrypted_needs_its_key(opened):
    leave_traces(opened(Cover("key")), "ada")
    again = opened(Cover("key"))
    assert again.recent_recordings("ada") == (b"recording",)
    assert failures(again, "ada") == 1
    for other in (None, Cover("another")):
        with pytest.raises(WrongKey):
            opened(other).begin("ada")
        with pytest.raises(WrongKey):
            opened(other).recent_recordings("ada")


def test_what_is_plain_lets_nobody_in_where_it_must_be_encrypted(logins, opened):
    fail(logins, "ada")
    with pytest.raises(StoreDamaged, match="not encrypted"):
        opened(Cover("key")).begin("ada")


def test_what_is_plain_is_read_while_the_database_is_being_encrypted(logins, opened):
    leave_traces(logins, "ada")
    changing = opened(Cover("key", accepts_plain=True))
    assert changing.recent_recordings("ada") == (b"recording",)
    fail(changing, "ada")
    assert failures(changing, "ada") == 2


@pytest.mark.parametrize("old", [None, Cover("old")])
@pytest.mark.parametrize("new", [None, Cover("new")])
def test_another_key_changes_nothing_of_what_is_kept_and_may_be_given_twice(opened, old, new):
    logins = opened(old)
    logins.succeed(logins.begin("ada"), b"recording")
    fail(logins, "ada", 5)
    secret = logins.secret
    logins.reseal(new)
    opened(old).reseal(new)
    for one in (logins, opened(new)):
        assert "30 s" in refused(one, "ada")
        assert one.recent_recordings("ada") == (b"recording",)
        assert one.secret == secret


def test_what_is_under_a_third_key_gets_no_other(opened):
    leave_traces(opened(Cover("key")), "ada")
    with pytest.raises(StoreError):
        opened(Cover("another")).reseal(None)
    assert failures(opened(Cover("key")), "ada") == 1


def test_a_key_is_given_before_anything_was_kept(logins, opened):
    logins.reseal(Cover("key"))
    fail(logins, "ada")
    with pytest.raises(WrongKey):
        opened().begin("ada")


# Threads


def test_eight_threads_lose_no_count_and_let_nobody_guess_more_often(logins, opened):
    tried = []

    def guess(number):
        for _ in range(5):
            opened().begin(f"nobody {number}")
            with suppress(LockedOut):
                tried.append(opened().begin("ada").mark)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tried)) == failures(logins, "ada") == 5
    assert {failures(logins, f"nobody {number}") for number in range(8)} == {5}


# All of it beside a model


class Policy(RuleBasedStateMachine):
    """Whatever happens in whatever order, names wait as a plain list of failures says."""

    turns = Bundle("turns")
    names = st.sampled_from(["ada", "bob"])

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.failed = {"ada": [], "bob": []}
        self.number = 0
        self.folder = tempfile.TemporaryDirectory()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(os, "fsync", lambda _: None)
        self.patched.setattr(sqlite_file, "SYNCHRONOUS", "OFF")
        self.logins = SqliteLoginState(Path(self.folder.name) / "database", clock=self.clock)

    def teardown(self):
        self.patched.undo()
        self.folder.cleanup()

    @rule(target=turns, name=names)
    def begin(self, name):
        now = self.clock.now
        failed = self.failed[name] = [(one, min(at, now)) for one, at in self.failed[name]]
        wait_s = failed[-1][1] + WAITS[len(failed)] - now if failed else 0
        if wait_s > 0:
            told = f"{wait_s:.0f} s" if wait_s <= 120 else f"{-(-wait_s // 60):.0f} min"
            assert refused(self.logins, name).endswith(f"try again in {told}")
            return name, -1, None
        self.number += 1
        failed.append((self.number, now))
        return name, self.number, self.logins.begin(name)

    @rule(turn=consumes(turns))
    def withdraw(self, turn):
        name, number, real = turn
        if real is not None:
            self.failed[name] = [one for one in self.failed[name] if one[0] != number]
            self.logins.withdraw(real)

    @rule(turn=turns)
    def succeed(self, turn):
        name, number, real = turn
        if real is None:
            return
        if number in [one for one, _ in self.failed[name]]:
            self.failed[name] = [one for one in self.failed[name] if one[0] > number]
        self.logins.succeed(real)

    @rule(seconds=st.integers(-4000, 4000))
    def set_clock(self, seconds):
        self.clock.now += seconds

    @rule(name=names)
    def unlock(self, name):
        assert self.logins.unlock(name) == bool(self.failed[name])
        self.failed[name] = []

    @invariant()
    def as_many_failures(self):
        for name, failed in self.failed.items():
            assert failures(self.logins, name) == len(failed)


TestPolicy = Policy.TestCase
TestPolicy.settings = settings(deadline=None, max_examples=30, stateful_step_count=40)
