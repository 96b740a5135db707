import errno
import json
import os
import re
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import filelock
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from membrane.errors import (
    LockedOut,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreUnwritable,
    WrongKey,
)
from membrane.store import attempts_book
from membrane.store.attempts import Attempts

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTER = Path(__file__).with_name("attempter.py")
START = 1_795_000_000.0
WAITS = [0] * 5 + [30, 60, 120, 240, 480, 960, 1920] + [3600] * 38


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


class Cover:
    """Stands for a seal: it tells its key and its purpose."""

    accepts_plain = False

    def __init__(self, key):
        self._key = key.encode()

    def seal(self, plain, purpose):
        return b"%b|%b|%b" % (self._key, purpose.encode(), plain[::-1])

    def unseal(self, sealed, purpose):
        key, found, plain = sealed.split(b"|", 2)
        if (key, found) != (self._key, purpose.encode()):
            raise ValueError("not sealed so")
        return plain[::-1]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def database(tmp_path):
    return tmp_path / "data" / "voiceprints.joblib"


@pytest.fixture
def attempts(database, clock):
    return Attempts(database, clock=clock)


@pytest.fixture
def file(database):
    return database.with_name("voiceprints.joblib.attempts")


@pytest.fixture
def quick(monkeypatch):
    """Do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def fail(attempts, name, times=1):
    for _ in range(times):
        attempts.begin(name)


def failures(attempts, name):
    return len(attempts.state_of(name)["failures"])


def refused(attempts, name):
    with pytest.raises(LockedOut) as caught:
        attempts.begin(name)
    return str(caught.value)


# Failures are counted, and whoever failed too often waits


def test_the_sixth_attempt_waits_and_the_wait_doubles_with_each_further_failure(attempts, clock):
    fail(attempts, "ada", 5)
    for told, wait_s in {"30 s": 30, "60 s": 60, "120 s": 120, "4 min": 240}.items():
        message = f"too many failed logins as ada: try again in {told}"
        assert refused(attempts, "ada") == message
        clock.now += wait_s - 0.5
        assert refused(attempts, "ada").endswith("try again in 1 s")
        clock.now += 0.5
        fail(attempts, "ada")


def test_the_fiftieth_failure_locks_until_somebody_unlocks(attempts, clock, quick):
    for wait_s in WAITS:
        clock.now += wait_s
        fail(attempts, "ada")
    clock.now += 10 * 365 * 86400
    assert refused(attempts, "ada") == (
        "too many failed logins as ada, now locked: whoever keeps the database can unlock it"
    )
    assert attempts.state_of("ada")["locked"]
    assert attempts.unlock("ADA")
    assert not attempts.unlock("ada")
    fail(attempts, "ada", 5)


def test_a_refused_attempt_counts_for_nothing(attempts, clock):
    fail(attempts, "ada", 5)
    for _ in range(3):
        refused(attempts, "ada")
        with pytest.raises(LockedOut):
            attempts.require_open("ada")
    clock.now += 30
    attempts.require_open("ada")
    assert failures(attempts, "ada") == 5


def test_asking_whether_a_name_must_wait_counts_nothing(attempts):
    for _ in range(10):
        attempts.require_open("ada")
    assert failures(attempts, "ada") == 0


def test_a_restart_resets_nothing(attempts, database, clock):
    fail(attempts, "ada", 5)
    assert "30 s" in refused(Attempts(database, clock=clock), "ada")


def test_through_a_link_the_same_failures_count(attempts, database, tmp_path, clock):
    fail(attempts, "ada", 5)
    (tmp_path / "link").symlink_to(database)
    refused(Attempts(tmp_path / "link", clock=clock), "ada")


def test_each_name_has_failures_of_its_own(attempts):
    fail(attempts, "ada", 5)
    fail(attempts, "bob", 5)
    assert refused(attempts, "ada").replace("ada", "bob") == refused(attempts, "bob")
    fail(attempts, "eve")


@pytest.mark.parametrize("spelled", ["ADA", " ada ", "ａｄａ", "Ada\u00a0"])
def test_another_spelling_of_a_name_has_no_failures_of_its_own(attempts, spelled):
    fail(attempts, "ada", 5)
    refused(attempts, spelled)


@given(st.text())
@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_name_may_be_claimed(attempts, quick, name):
    turn = attempts.begin(name)
    assert failures(attempts, name) == 1
    attempts.succeed(turn)


def test_half_a_surrogate_pair_may_be_claimed(attempts):
    fail(attempts, "\ud800", 5)
    assert refused(attempts, "\ud800").isprintable()


# What became of an attempt


def test_what_could_not_be_judged_is_no_failure_and_takes_no_time(attempts, clock):
    fail(attempts, "ada", 5)
    clock.now += 31
    turn = attempts.begin("ada")
    clock.now += 1
    assert "59 s" in refused(attempts, "ada")
    attempts.withdraw(turn)
    assert failures(attempts, "ada") == 5
    fail(attempts, "ada")


def test_only_the_attempt_itself_is_withdrawn_and_only_once(attempts):
    first, _, last = [attempts.begin("ada") for _ in range(3)]
    attempts.withdraw(first)
    attempts.withdraw(first)
    assert failures(attempts, "ada") == 2
    attempts.withdraw(last)
    assert failures(attempts, "ada") == 1


def test_who_is_accepted_has_failed_no_more(attempts):
    fail(attempts, "ada", 4)
    attempts.succeed(attempts.begin("ada"), b"a recording")
    assert failures(attempts, "ada") == 0
    fail(attempts, "ada", 5)


def test_a_failure_that_began_later_outlasts_a_success(attempts):
    fail(attempts, "ada", 2)
    accepted = attempts.begin("ada")
    fail(attempts, "ada", 2)
    attempts.succeed(accepted)
    assert failures(attempts, "ada") == 2


def test_an_older_success_takes_nothing_from_what_a_newer_one_left(attempts):
    older, newer = attempts.begin("ada"), attempts.begin("ada")
    attempts.succeed(newer)
    fail(attempts, "ada", 2)
    attempts.succeed(older)
    assert failures(attempts, "ada") == 2


def test_parallel_guesses_wait_before_any_of_them_is_judged(attempts):
    turns = [attempts.begin("ada") for _ in range(5)]
    refused(attempts, "ada")
    attempts.withdraw(turns[0])
    turns.append(attempts.begin("ada"))
    refused(attempts, "ada")


# The clock


def test_a_clock_that_is_set_back_lets_nobody_wait_longer_than_the_delay(attempts, clock):
    fail(attempts, "ada", 5)
    clock.now -= 10 * 365 * 86400
    assert "30 s" in refused(attempts, "ada")
    clock.now += 20
    assert "10 s" in refused(attempts, "ada")
    clock.now += 10
    fail(attempts, "ada")


def test_the_wait_after_a_clock_was_set_back_goes_on_however_it_is_looked_at(attempts, clock):
    fail(attempts, "ada", 5)
    clock.now -= 3600
    with pytest.raises(LockedOut):
        attempts.require_open("ada")
    clock.now += 30
    attempts.require_open("ada")


def test_no_clock_unlocks(attempts, clock, quick):
    for wait_s in WAITS:
        clock.now += wait_s
        fail(attempts, "ada")
    for now in (START - 1e9, 0.0, START + 1e9):
        clock.now = now
        assert "locked" in refused(attempts, "ada")


# Many names


@pytest.fixture
def few(monkeypatch):
    """Let there be room for ten names."""
    monkeypatch.setattr(attempts_book, "MOST_NAMES", 10)
    monkeypatch.setattr(attempts_book, "NAMES_LEFT", 8)


def flood(attempts, clock, names, times=1):
    for number in range(names):
        clock.now += 3600
        fail(attempts, f"nobody {number}", times)


def test_made_up_names_push_out_nobody_who_failed_more_often(attempts, few, quick, clock):
    fail(attempts, "ada", 4)
    flood(attempts, clock, 20)
    fail(attempts, "ada")
    refused(attempts, "ada")


def test_there_are_never_more_names_than_there_may_be(attempts, few, quick, clock, file):
    for number in range(40):
        clock.now += 3600
        fail(attempts, f"nobody {number}")
        assert len(file.read_bytes().splitlines()) <= 12


def test_names_that_never_failed_make_room_first(attempts, few, quick, clock):
    fail(attempts, "ada")
    for number in range(20):
        attempts.remember_prompt(f"nobody {number}", "1 2 3")
    assert failures(attempts, "ada") == 1
    assert failures(attempts, "bob") == 0
    assert attempts.recent_prompts("nobody 0") == ()
    assert attempts.recent_prompts("nobody 19") == ("1 2 3",)


def test_who_was_pushed_out_gets_no_try_back(attempts, few, quick, clock):
    fail(attempts, "ada", 3)
    flood(attempts, clock, 9, 4)
    fail(attempts, "one too many")
    # What was dropped, Ada's failures among it, is what everybody begins with from now on.
    assert failures(attempts, "ada") == failures(attempts, "never tried") == 4
    fail(attempts, "ada")
    refused(attempts, "ada")
    clock.now += 30
    attempts.succeed(attempts.begin("ada"))
    assert failures(attempts, "ada") == 0
    fail(attempts, "ada", 5)


def test_a_flood_may_lock_but_never_unlocks(attempts, few, quick, clock):
    for number in range(11):
        for _ in range(50):
            clock.now += 3600
            with suppress(LockedOut):
                fail(attempts, f"nobody {number}")
    assert "locked" in refused(attempts, "ada")
    assert attempts.unlock("ada")
    fail(attempts, "ada", 5)


# Recordings, prompts, the secret


def test_the_last_twenty_recordings_and_prompts_of_a_name_are_remembered(attempts, quick):
    for number in range(23):
        attempts.remember_prompt("ada", f"{number} 1 2")
        attempts.succeed(attempts.begin("ada"), b"%d" % number)
    assert attempts.recent_recordings("Ada") == tuple(b"%d" % number for number in range(3, 23))
    assert attempts.recent_prompts("Ada") == tuple(f"{number} 1 2" for number in range(3, 23))
    assert attempts.recent_recordings("bob") == attempts.recent_prompts("bob") == ()


def test_a_success_without_a_recording_remembers_none(attempts):
    attempts.succeed(attempts.begin("ada"))
    assert attempts.recent_recordings("ada") == ()


def test_the_secret_is_made_once(attempts, database):
    secret = attempts.secret
    fail(attempts, "ada")
    assert len(secret) == 32
    assert Attempts(database).secret == attempts.secret == secret


def test_each_store_has_a_secret_of_its_own(attempts, tmp_path):
    assert Attempts(tmp_path / "other").secret != attempts.secret


def test_looking_makes_no_file(attempts, database):
    assert attempts.recent_prompts("ada") == attempts.recent_recordings("ada") == ()
    assert attempts.state_of("ada") == {
        "failures": [],
        "locked": False,
        "recent_prompts": [],
        "recent_recordings": [],
    }
    assert not database.parent.exists()


def test_what_is_kept_of_a_name_is_told_as_json(attempts):
    attempts.remember_prompt("ada", "1 2 3")
    attempts.succeed(attempts.begin("ada"), b"\x00\x01")
    fail(attempts, "ada")
    assert json.loads(json.dumps(attempts.state_of("ada"))) == {
        "failures": ["2026-11-18T11:06:40+00:00"],
        "locked": False,
        "recent_prompts": ["1 2 3"],
        "recent_recordings": ["AAE="],
    }


def test_no_name_stands_in_the_files(attempts, database):
    fail(attempts, "Adalbert")
    attempts.succeed(attempts.begin("Adalbert"), b"recording")
    for path in database.parent.rglob("*"):
        assert "adalbert" not in path.name.casefold()
        assert path.is_dir() or b"adalbert" not in path.read_bytes().lower()


def test_nothing_is_left_of_who_is_forgotten(attempts, database, file):
    attempts.secret  # noqa: B018 (it makes the file)
    before = file.read_bytes()
    attempts.remember_prompt("ada", "1 2 3")
    attempts.succeed(attempts.begin("ada"), b"recording")
    fail(attempts, "ada")
    attempts.forget("ADA")
    assert file.read_bytes() == before
    assert not list(database.with_name("voiceprints.joblib.logins").iterdir())
    attempts.forget("nobody")


def test_nothing_is_left_when_all_are_forgotten_but_the_secret(attempts, database, file):
    secret, before = attempts.secret, file.read_bytes()
    for name in ("ada", "bob"):
        attempts.succeed(attempts.begin(name), b"recording")
        fail(attempts, name)
    attempts.clear()
    assert (attempts.secret, file.read_bytes()) == (secret, before)
    assert not list(database.with_name("voiceprints.joblib.logins").iterdir())


def test_who_deletes_the_file_starts_anew_without_what_nobody_could_find_again(
    attempts, database, file
):
    fail(attempts, "ada", 4)
    attempts.succeed(attempts.begin("ada"), b"recording")
    fail(attempts, "ada", 5)
    secret = attempts.secret
    file.unlink()
    fail(attempts, "ada", 5)
    assert attempts.secret != secret
    assert not list(database.with_name("voiceprints.joblib.logins").iterdir())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read_any_of_it_whatever_the_umask(attempts, database, umask):
    before = os.umask(umask)
    try:
        attempts.succeed(attempts.begin("ada"), b"recording")
    finally:
        os.umask(before)
    paths = [database.parent, *database.parent.rglob("*")]
    assert len(paths) == 5
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator gives files away")
def test_an_administrator_leaves_all_of_it_to_whom_the_database_belongs(attempts, database):
    database.parent.mkdir()
    database.touch()
    os.chown(database, 1234, 1235)
    attempts.succeed(attempts.begin("ada"), b"recording")
    assert {path.stat().st_uid for path in database.parent.rglob("*")} == {1234}


# Encrypted


def test_under_a_seal_all_of_it_is_encrypted(database, clock, file):
    attempts = Attempts(database, seal=Cover("key"), clock=clock)
    attempts.remember_prompt("ada", "1 2 3")
    attempts.succeed(attempts.begin("ada"), b"recording")
    fail(attempts, "ada")
    again = Attempts(database, seal=Cover("key"), clock=clock)
    assert again.recent_recordings("ada") == (b"recording",)
    assert failures(again, "ada") == 1
    for other in (None, Cover("another")):
        with pytest.raises(WrongKey, match=re.escape(str(file))):
            Attempts(database, seal=other).begin("ada")


def test_a_plain_file_lets_nobody_in_where_it_must_be_encrypted(attempts, database):
    fail(attempts, "ada")
    with pytest.raises(StoreDamaged, match="not encrypted"):
        Attempts(database, seal=Cover("key")).begin("ada")


@pytest.mark.parametrize("old", [None, Cover("old")])
@pytest.mark.parametrize("new", [None, Cover("new")])
def test_another_key_changes_nothing_of_what_is_kept(database, clock, old, new):
    attempts = Attempts(database, seal=old, clock=clock)
    attempts.succeed(attempts.begin("ada"), b"recording")
    fail(attempts, "ada", 5)
    secret = attempts.secret
    attempts.reseal(new)
    for one in (attempts, Attempts(database, seal=new, clock=clock)):
        assert "30 s" in refused(one, "ada")
        assert one.recent_recordings("ada") == (b"recording",)
        assert one.secret == secret


def test_a_change_of_key_that_was_interrupted_is_done_again(database, clock, monkeypatch):
    attempts = Attempts(database, clock=clock)
    for name in ("ada", "bob", "eve"):
        attempts.succeed(attempts.begin(name), b"recording")
    new, rename = Cover("new"), Path.replace
    left = iter([1, 1])

    def interrupted(path, target):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        with pytest.raises(StoreUnwritable):
            attempts.reseal(new)
    attempts.reseal(new)
    for name in ("ada", "bob", "eve"):
        assert attempts.recent_recordings(name) == (b"recording",)
        fail(Attempts(database, seal=new), name)


def test_where_nothing_is_kept_a_key_makes_nothing(attempts, file):
    attempts.reseal(Cover("key"))
    assert not file.exists()
    fail(attempts, "ada")
    assert b"sealed" in file.read_bytes()


# Damage, and a disk that does not take it


def everything(attempts):
    """Use all that a book has, as any command might."""
    attempts.secret  # noqa: B018
    turn = attempts.begin("ada")
    attempts.remember_prompt("ada", "1 2 3")
    attempts.recent_prompts("ada")
    attempts.succeed(turn, b"recording")
    attempts.recent_recordings("ada")
    attempts.state_of("ada")
    attempts.unlock("ada")
    attempts.forget("ada")


@given(st.binary(max_size=300))
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused_and_left_as_they_are(attempts, file, quick, some):
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(some)
    for use in (attempts.begin, attempts.state_of, attempts.unlock, attempts.forget):
        # What begins like an encrypted file is one without a key, or a damaged one.
        with pytest.raises((StoreDamaged, WrongKey), match=r"membrane|deleting it starts anew"):
            use("ada")
    assert file.read_bytes() == some


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FAILURE = st.tuples(st.text() | JSON, st.floats() | JSON)
PARTS = st.tuples(st.lists(FAILURE, max_size=60), st.lists(st.text() | JSON, max_size=30)) | JSON
HEAD = st.fixed_dictionaries(
    {
        "secret": st.just("ab" * 32) | st.text(min_size=64, max_size=64) | JSON,
        "floor": st.integers(-1, 60) | JSON,
        "floor_at": st.floats() | JSON,
    }
)


@given(st.just({"secret": "ab" * 32, "floor": 0, "floor_at": 0.0}) | HEAD | JSON, PARTS)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_signed_is_read_or_refused(attempts, quick, head, parts):
    key = attempts_book.Book(b"\xab" * 32, 0, 0.0, None).key_of("ada")
    content = f"{json.dumps(head)}\n{key} {json.dumps(parts)}\n".encode()
    attempts._file.path.parent.mkdir(exist_ok=True)
    attempts._file.write(content, None)
    try:
        everything(attempts)
    except (StoreDamaged, LockedOut):
        return


@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000 + b"\n", b"\xff\n", b"NaN\n"])
def test_signed_nonsense_is_refused(attempts, file, content):
    file.parent.mkdir()
    attempts._file.write(content, None)
    with pytest.raises(StoreDamaged, match="makes no sense"):
        attempts.begin("ada")


@pytest.mark.parametrize("at", ["NaN", "Infinity", "-1", "1e300", "true", '"now"', "9" * 400, "[]"])
def test_a_signed_time_that_is_none_is_refused(attempts, at):
    turn = attempts.begin("ada")
    head = attempts._read().lines.content.split(b"\n")[0]
    attempts._file.write(b'%b\n%b [[["",%b]],[]]\n' % (head, turn.key.encode(), at.encode()), None)
    for use in (attempts.begin, attempts.require_open, attempts.state_of):
        with pytest.raises(StoreDamaged, match="makes no sense"):
            use("ada")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'["%%"]', b"[" * 100_000])
def test_signed_nonsense_in_place_of_recordings_is_refused(attempts, content):
    turn = attempts.begin("ada")
    attempts.succeed(turn, b"recording")
    attempts._recordings._file(turn.key).write(content, None)
    with pytest.raises(StoreDamaged, match="forgets the recordings of one person"):
        attempts.recent_recordings("ada")


def test_a_full_disk_lets_nobody_in(attempts, file, monkeypatch):
    fail(attempts, "ada")
    before = file.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StoreUnwritable, match="No space left"):
            attempts.begin("ada")
    assert file.read_bytes() == before


def test_where_no_folder_can_be_made_nobody_is_let_in(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match="the record of logins"):
        Attempts(tmp_path / "file" / "voiceprints.joblib").begin("ada")


def test_where_recordings_cannot_be_kept_nobody_is_let_in(attempts, database):
    turn = attempts.begin("ada")
    database.with_name("voiceprints.joblib.logins").touch()
    with pytest.raises(StoreError, match="recent recordings"):
        attempts.succeed(turn, b"recording")
    database.with_name("voiceprints.joblib.logins").unlink()
    assert failures(attempts, "ada") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_lets_nobody_in(attempts, database):
    fail(attempts, "ada")
    database.parent.chmod(0o500)
    try:
        with pytest.raises(StoreUnwritable):
            attempts.begin("ada")
    finally:
        database.parent.chmod(0o700)


def test_who_waits_too_long_for_another_process_is_not_let_in(attempts, database, file):
    fail(attempts, "ada")
    with filelock.FileLock(f"{file}.lock"), pytest.raises(StoreLocked, match="record of logins"):
        Attempts(database, lock_timeout_s=0.01).begin("ada")


# Other processes, and the end of this one


def run(*arguments):
    return subprocess.Popen(
        [sys.executable, str(ATTEMPTER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_processes_that_guess_together_get_five_tries_and_lose_no_count(database):
    guessers = [run("guess", database, 3, "ada", f"nobody {n}") for n in range(4)]
    tried = Counter(line for one in guessers for line in one.communicate()[0].splitlines())
    assert [one.returncode for one in guessers] == [0] * 4
    assert tried == {"ada": 5, **{f"nobody {number}": 3 for number in range(4)}}
    attempts = Attempts(database)
    assert {name: failures(attempts, name) for name in tried} == tried


def test_who_is_killed_has_failed(database):
    code = "import os, sys; from pathlib import Path; from membrane.store.attempts import Attempts;"
    code += "Attempts(Path(sys.argv[1])).begin('ada'); os.kill(os.getpid(), 9)"
    for count in range(1, 3):
        killed = subprocess.run([sys.executable, "-c", code, str(database)], cwd=ROOT, check=False)
        assert killed.returncode == -9
        assert failures(Attempts(database), "ada") == count


def test_a_kill_at_any_moment_leaves_sound_files(database):
    killed = run("killed", database, 50)
    accepted, _ = killed.communicate()
    assert killed.returncode == 0
    assert int(accepted) > 0
    everything(Attempts(database))
    left = {path.name for path in database.parent.rglob("*")}
    assert left <= {
        "voiceprints.joblib.attempts",
        "voiceprints.joblib.attempts.lock",
        "voiceprints.joblib.logins",
    }


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
        self.attempts = Attempts(Path(self.folder.name) / "database", clock=self.clock)

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
            assert refused(self.attempts, name).endswith(f"try again in {told}")
            return name, -1, None
        self.number += 1
        failed.append((self.number, now))
        return name, self.number, self.attempts.begin(name)

    @rule(turn=consumes(turns))
    def withdraw(self, turn):
        name, number, real = turn
        if real is not None:
            self.failed[name] = [one for one in self.failed[name] if one[0] != number]
            self.attempts.withdraw(real)

    @rule(turn=turns)
    def succeed(self, turn):
        name, number, real = turn
        if real is None:
            return
        if number in [one for one, _ in self.failed[name]]:
            self.failed[name] = [one for one in self.failed[name] if one[0] > number]
        self.attempts.succeed(real)

    @rule(seconds=st.integers(-4000, 4000))
    def set_clock(self, seconds):
        self.clock.now += seconds

    @rule(name=names)
    def unlock(self, name):
        assert self.attempts.unlock(name) == bool(self.failed[name])
        self.failed[name] = []

    @invariant()
    def as_many_failures(self):
        for name, failed in self.failed.items():
            assert failures(self.attempts, name) == len(failed)


TestPolicy = Policy.TestCase
TestPolicy.settings = settings(deadline=None, max_examples=30, stateful_step_count=40)
