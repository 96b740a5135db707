"""What only the file of `SqliteLoginState` promises: damage, erasing, crashes, other processes."""

import errno
import json
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from membrane.errors import (
    LockedOut,
    StoreDamaged,
    StoreError,
    StoreLocked,
    StoreUnreadable,
    StoreUnwritable,
    WrongKey,
)
from membrane.store import login_record, sqlite_file
from membrane.store.guarded_bytes import guarded
from membrane.store.sqlite_login_state import SqliteLoginState
from tests.store.covers import Cover

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTER = Path(__file__).with_name("attempter.py")
FORMER = Path(__file__).with_name("former_logins") / "plain"
NAMES = ("ada", "bob", "eve")


@pytest.fixture
def database(tmp_path):
    return tmp_path / "data" / "voiceprints.joblib"


@pytest.fixture
def logins(database):
    return SqliteLoginState(database)


@pytest.fixture
def file(database):
    return database.with_name("voiceprints.joblib.logins.sqlite")


@pytest.fixture
def quick(monkeypatch):
    """Do not wait for the disk."""
    monkeypatch.setattr(sqlite_file, "SYNCHRONOUS", "OFF")
    monkeypatch.setattr(os, "fsync", lambda _: None)


def failures(logins, name):
    return len(logins.state_of(name)["failures"])


def log_in(logins, *names):
    for name in names:
        logins.remember_prompt(name, f"the words of {name}")
        logins.succeed(logins.begin(name), f"recording of {name}".encode())
        logins.begin(name)


def everything(logins):
    """Use all that there is, as any command might."""
    logins.secret  # noqa: B018
    turn = logins.begin("ada")
    logins.remember_prompt("ada", "1 2 3")
    logins.recent_prompts("ada")
    logins.succeed(turn, b"recording")
    logins.recent_recordings("ada")
    logins.state_of("ada")
    logins.unlock("ada")
    logins.forget("ada")


def changed(file, statement, *values):
    """Change the file behind everybody's back; return what a query finds."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute(statement, values).fetchall()
        connection.commit()
    return found


# The file


def test_through_a_link_the_same_failures_count(logins, database, tmp_path, quick):
    log_in(logins, "ada")
    (tmp_path / "link").symlink_to(database)
    assert failures(SqliteLoginState(tmp_path / "link"), "ada") == 1


def test_looking_makes_no_file(logins, database):
    assert logins.recent_prompts("ada") == logins.recent_recordings("ada") == ()
    assert logins.state_of("ada")["failures"] == []
    logins.reseal(Cover("key"))
    assert not database.parent.exists()


def test_there_are_never_more_names_than_there_may_be(logins, file, quick, monkeypatch):
    monkeypatch.setattr(login_record, "MOST_NAMES", 10)
    monkeypatch.setattr(login_record, "NAMES_LEFT", 8)
    for number in range(40):
        logins.begin(f"nobody {number}")
        assert changed(file, "SELECT count(*) FROM kept WHERE kind = 'record'")[0][0] <= 10


def test_who_deletes_the_file_starts_anew_and_it_is_told_once(database, file, quick):
    begun = []
    logins = SqliteLoginState(database, on_new=lambda: begun.append(file.exists()))
    log_in(logins, "ada")
    secret = logins.secret
    file.unlink()
    logins.begin("ada")
    assert logins.secret != secret
    assert failures(logins, "ada") == 1
    assert logins.recent_recordings("ada") == ()
    assert begun == [False, False]


def test_where_it_cannot_be_told_that_all_begins_anew_nothing_begins(database, file):
    def cannot():
        raise StoreUnwritable("the log")

    with pytest.raises(StoreUnwritable, match="the log"):
        SqliteLoginState(database, on_new=cannot).begin("ada")
    assert not file.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read_any_of_it_whatever_the_umask(logins, database, file, umask):
    before = os.umask(umask)
    try:
        log_in(logins, "ada")
        with logins._file.changing() as connection:
            connection.execute("UPDATE kept SET content = content || 'x'")
            # While it is written there is a journal.
            found = [database.parent, *database.parent.rglob("*")]
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in found}
    finally:
        os.umask(before)
    assert modes == {
        "data": 0o700,
        file.name: 0o600,
        f"{file.name}.lock": 0o600,
        f"{file.name}-journal": 0o600,
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator gives files away")
def test_an_administrator_leaves_all_of_it_to_whom_the_database_belongs(logins, database):
    database.parent.mkdir()
    database.touch()
    os.chown(database, 1234, 1235)
    log_in(logins, "ada")
    with logins._file.changing() as connection:
        connection.execute("UPDATE kept SET content = content || 'x'")
        owners = {path.name: path.stat().st_uid for path in database.parent.rglob("*")}
    assert len(owners) == 4
    assert set(owners.values()) == {1234}


# Nothing is told, nothing is left


@pytest.mark.parametrize("seal", [None, Cover("key")])
def test_no_name_stands_in_the_files(database, seal):
    log_in(SqliteLoginState(database, seal=seal), "Adalbert")
    for path in database.parent.rglob("*"):
        assert "adalbert" not in path.name.casefold()
        kept = path.read_bytes().lower()
        assert seal is None or b"the words" not in kept
        assert kept.count(b"adalbert") == (2 if seal is None and path.suffix == ".sqlite" else 0)


def traces(file, name):
    content = file.read_bytes()
    return content.count(f"words of {name}".encode()) + content.count(f"ing of {name}".encode())


def test_no_byte_is_left_of_who_is_forgotten(logins, file, quick):
    for number in range(60):
        log_in(logins, "ada", f"somebody {number}", ("bob", "eve")[number % 2])
        for name in NAMES:
            logins.unlock(name)
        logins.remember_prompt("ada", "the words of ada " * number)
    assert traces(file, "ada") > 30
    key = login_record.key_of(logins.secret, "ada").encode()
    assert key in file.read_bytes()
    logins.forget("ADA")
    assert traces(file, "ada") == 0
    assert key not in file.read_bytes()
    assert traces(file, "bob") > 20
    logins.clear()
    assert traces(file, "bob") == traces(file, "somebody") == 0
    assert [path.name for path in file.parent.iterdir() if "journal" in path.name] == []


def test_nothing_plain_is_left_when_it_is_encrypted(logins, file, quick):
    for _ in range(4):
        log_in(logins, *NAMES)
    logins.reseal(Cover("key"))
    assert [traces(file, name) for name in NAMES] == [0, 0, 0]
    assert logins.secret.hex().encode() not in file.read_bytes()


# Damage


@given(st.binary(max_size=300), st.booleans())
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_refused_and_left_as_they_are(logins, file, quick, some, looks_right):
    some = b"SQLite format 3\0\x10\0\1\1" + some if looks_right else some
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(some)
    for use in (logins.begin, logins.state_of, logins.unlock, logins.forget):
        with pytest.raises(StoreDamaged, match=r"record of logins .* deleting it starts anew"):
            use("ada")
    assert file.read_bytes() == some


@pytest.mark.parametrize("seal", [None, Cover("key")])
def test_a_changed_byte_of_what_is_kept_is_noticed(database, file, seal, quick):
    logins = SqliteLoginState(database, seal=seal)
    log_in(logins, "ada")
    whole = file.read_bytes()
    for (content,) in changed(file, "SELECT content FROM kept"):
        start = whole.index(content)
        for place in range(start, start + len(content), 5):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            with pytest.raises((StoreDamaged, WrongKey)):
                everything(logins)


@pytest.mark.parametrize("seal", [None, Cover("key")])
def test_any_damage_at_all_is_refused_or_harmless(database, file, seal, quick):
    logins = SqliteLoginState(database, seal=seal)
    log_in(logins, *NAMES)
    whole = file.read_bytes()
    outcomes = Counter()
    for place in [*range(110), *range(110, len(whole), 37)]:
        one_byte = whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        for damaged in (one_byte, whole[:place]):
            file.write_bytes(damaged)
            try:
                everything(logins)
                outcomes["fine"] += 1
            except StoreError:
                outcomes["refused"] += 1
    assert outcomes["refused"] > len(whole) // 37


@pytest.mark.parametrize("size", [0, 1, 100, 512, 4096, 8192])
def test_a_file_that_was_cut_off_is_no_new_one(logins, file, size):
    log_in(logins, "ada")
    os.truncate(file, size)
    for use in (logins.begin, logins.state_of, logins.unlock):
        with pytest.raises(StoreDamaged):
            use("ada")
    with pytest.raises(StoreDamaged):
        _ = logins.secret
    assert file.stat().st_size == size


HARM = {
    "a recording for a record": "UPDATE kept SET content = (SELECT content FROM kept AS other"
    " WHERE other.kind = 'recording' AND other.key = kept.key) WHERE kind = 'record'",
    "a name less": "DELETE FROM kept WHERE number = (SELECT min(number) FROM kept"
    " WHERE kind = 'record')",
    "all names less": "DELETE FROM kept WHERE kind = 'record'",
    "a name more": "INSERT INTO kept (kind, key, content) SELECT kind, 'ff', content FROM kept"
    " WHERE kind = 'record' LIMIT 1",
    "another name": "UPDATE kept SET key = 'ff' WHERE number = (SELECT min(number) FROM kept"
    " WHERE kind = 'record')",
    "no head": "DELETE FROM kept WHERE kind = 'head'",
    "two heads": "INSERT INTO kept (kind, key, content) SELECT kind, key, content FROM kept"
    " WHERE kind = 'head'",
    "a text": "UPDATE kept SET content = 'text'",
    "a number": "UPDATE kept SET content = 7",
    "no text": "UPDATE kept SET key = CAST(x'ff' AS TEXT) WHERE kind = 'record'",
    "too long": "UPDATE kept SET content = zeroblob(5000000)",
    "a table more": "CREATE TABLE more (one)",
    "a trigger": "CREATE TRIGGER harm AFTER INSERT ON kept BEGIN DELETE FROM kept; END",
    "a view": "CREATE VIEW harm AS SELECT * FROM kept",
    "no table": "DROP TABLE kept",
    "no index": "DROP INDEX kept_by_key",
    "another journal": "PRAGMA journal_mode = WAL",
}


@pytest.mark.parametrize("seal", [None, Cover("key")])
@pytest.mark.parametrize("harm", HARM.values(), ids=HARM.keys())
def test_what_somebody_else_changed_in_the_tables_lets_nobody_in(database, file, seal, harm, quick):
    logins = SqliteLoginState(database, seal=seal)
    log_in(logins, *NAMES)
    changed(file, harm)
    for name in NAMES:
        with pytest.raises((StoreDamaged, WrongKey), match=r"record of logins .*deleting it"):
            logins.begin(name)


@pytest.mark.parametrize("seal", [None, Cover("key")])
@pytest.mark.parametrize("kind", ["record", "recording"])
def test_a_row_in_the_place_of_another_names_is_refused(database, file, seal, kind, quick):
    logins = SqliteLoginState(database, seal=seal)
    log_in(logins, *NAMES)
    ada, bob = (login_record.key_of(logins.secret, name) for name in ("ada", "bob"))
    swap = "UPDATE kept SET key = iif(key = ?, ?, ?) WHERE key IN (?, ?) AND kind = ?"
    changed(file, swap, ada, bob, ada, ada, bob, kind)
    for name in ("ada", "bob"):
        with pytest.raises((StoreDamaged, WrongKey)):
            logins.state_of(name)
    assert failures(logins, "eve") == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FAILURE = st.tuples(st.text() | JSON, st.floats() | JSON)
RECORD = st.tuples(
    st.lists(FAILURE, max_size=60), st.lists(st.text() | JSON, max_size=30), st.integers(-1, 9)
)
HEAD = st.tuples(
    st.just("ab" * 32) | st.text(min_size=64, max_size=64) | JSON,
    st.tuples(st.integers(-1, 60) | JSON, st.floats() | JSON) | JSON,
    st.text() | JSON,
)


def put(file, kind, content):
    """Put other content, with the right checksum, into the first row of a kind."""
    ((number, key),) = changed(
        file, "SELECT number, key FROM kept WHERE kind = ? ORDER BY number LIMIT 1", kind
    )
    raw = guarded(content, f"logins {kind} {key}", None)
    changed(file, "UPDATE kept SET content = ? WHERE number = ?", raw, number)


@given(st.sampled_from(["head", "record"]), HEAD | RECORD | JSON)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_was_signed_is_read_or_refused(logins, file, quick, kind, value):
    file.unlink(missing_ok=True)
    log_in(logins, "ada")
    put(file, kind, json.dumps(value).encode())
    try:
        everything(logins)
    except (StoreDamaged, LockedOut):
        return


@pytest.mark.parametrize("kind", ["head", "record"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[" * 100_000, b"\xff", b"NaN", b"[1,2,3]"])
def test_signed_nonsense_is_refused(logins, file, kind, content):
    log_in(logins, "ada")
    put(file, kind, content)
    with pytest.raises(StoreDamaged, match="makes no sense"):
        logins.begin("ada")


@pytest.mark.parametrize("at", ["NaN", "Infinity", "-1", "1e300", "true", '"now"', "9" * 400, "[]"])
def test_a_signed_time_that_is_none_is_refused(logins, file, at, quick):
    log_in(logins, "ada")
    put(file, "record", b'[[["",%b]],[],0]' % at.encode())
    for use in (logins.begin, logins.require_open, logins.state_of):
        with pytest.raises(StoreDamaged, match="makes no sense"):
            use("ada")


# What is in its place


IN_PLACE = {
    "a folder": os.mkdir,
    "a pipe": os.mkfifo,
    "a link": lambda path: path.symlink_to("elsewhere"),
    "a loop of links": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make_node", IN_PLACE.values(), ids=IN_PLACE.keys())
@pytest.mark.parametrize("ending", ["", "-journal"])
def test_nobody_waits_at_or_follows_what_is_no_file(logins, file, ending, make_node):
    log_in(logins, "ada")
    path = file.with_name(file.name + ending)
    if not ending:
        file.rename(file.with_name("elsewhere"))
    make_node(path)
    for use in (logins.begin, logins.state_of):
        with pytest.raises((StoreUnreadable, StoreUnwritable), match="record of logins"):
            use("ada")


def test_a_journal_that_names_another_file_is_not_played_back(logins, file, tmp_path):
    log_in(logins, "ada")
    victim = tmp_path / "victim"
    victim.write_text("not to be deleted")
    name = os.fsencode(victim)
    journal = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(504)
    journal += b"\x40\x00\x00\x00" + name + len(name).to_bytes(4) + sum(name).to_bytes(4)
    file.with_name(f"{file.name}-journal").write_bytes(journal + journal[:8])
    for use in (logins.begin, logins.state_of):
        with pytest.raises(StoreDamaged, match="names another file"):
            use("ada")
    assert victim.exists()


def test_a_journal_of_a_file_that_was_deleted_does_not_harm_the_new_one(logins, file, quick):
    log_in(logins, "ada")
    with logins._file.changing() as connection:
        connection.execute("UPDATE kept SET content = content || 'x'")
        journal = file.with_name(f"{file.name}-journal").read_bytes()
    file.unlink()
    file.with_name(f"{file.name}-journal").write_bytes(journal)
    file.with_name(f"{file.name}.new").write_bytes(b"half")
    log_in(logins, "bob")
    assert failures(logins, "bob") == 1
    assert {path.name for path in file.parent.iterdir()} == {file.name, f"{file.name}.lock"}


# A disk that does not take it


@contextmanager
def full_disk(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_lets_nobody_in_and_changes_nothing(logins, file):
    log_in(logins, "ada")
    turn, before = logins.begin("ada"), logins.state_of("ada")
    with full_disk(100):
        for use in (logins.begin, logins.unlock, logins.forget):
            with pytest.raises(StoreUnwritable, match="space on its disk"):
                use("ada")
        with pytest.raises(StoreUnwritable):
            logins.succeed(turn, b"recording")
    assert logins.state_of("ada") == before


def test_a_recording_that_cannot_be_kept_leaves_the_failure(logins, file):
    turn = logins.begin("ada")
    with full_disk(file.stat().st_size + 4096), pytest.raises(StoreUnwritable):
        logins.succeed(turn, os.urandom(30_000))
    assert failures(logins, "ada") == 1
    assert logins.recent_recordings("ada") == ()


def test_a_disk_that_is_full_at_first_leaves_no_half_file(logins, file):
    with full_disk(0), pytest.raises(StoreUnwritable):
        logins.begin("ada")
    assert {path.name for path in file.parent.iterdir()} <= {f"{file.name}.lock"}
    log_in(logins, "ada")


def test_a_change_of_key_that_was_interrupted_changed_nothing(logins, file, database):
    for name in NAMES:
        logins.succeed(logins.begin(name), os.urandom(3000))
    with full_disk(8192), pytest.raises(StoreUnwritable):
        logins.reseal(Cover("new"))
    log_in(SqliteLoginState(database), "ada")
    logins.reseal(Cover("new"))
    for name in NAMES:
        log_in(SqliteLoginState(database, seal=Cover("new")), name)


def test_where_no_folder_can_be_made_nobody_is_let_in(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnwritable, match="the record of logins"):
        SqliteLoginState(tmp_path / "file" / "voiceprints.joblib").begin("ada")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_lets_nobody_in(logins, database):
    log_in(logins, "ada")
    database.parent.chmod(0o500)
    try:
        with pytest.raises(StoreUnwritable):
            logins.begin("ada")
    finally:
        database.parent.chmod(0o700)


def test_every_change_is_on_the_disk_before_it_is_told(logins):
    log_in(logins, "ada")
    with logins._file.changing() as connection:
        asked = ("synchronous", "journal_mode", "secure_delete", "trusted_schema", "mmap_size")
        found = [connection.execute(f"PRAGMA {name}").fetchall() for name in asked]
    assert found == [[(3,)], [("delete",)], [(1,)], [(0,)], [(0,)]]


def test_an_error_of_the_disk_is_told_as_one(logins, file, monkeypatch):
    log_in(logins, "ada")

    def failing(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StoreUnreadable, match="Input/output error"):
        logins.state_of("ada")


# Other processes, and the end of this one


def run(*arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", str(ATTEMPTER), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def answer_of(process):
    answer, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return answer


HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold(file):
    """Let another process hold the file: ``with hold("BEGIN EXCLUSIVE"): …``."""

    @contextmanager
    def held(begin):
        command = [sys.executable, "-c", HOLDER, str(file), begin]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"held\n"
            yield
            process.stdin.close()

    return held


@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_who_waits_too_long_for_another_process_is_not_let_in(logins, database, hold, begin):
    log_in(logins, "ada")
    hurried = SqliteLoginState(database, lock_timeout_s=0.05)
    with hold(begin), pytest.raises(StoreLocked, match="has held the record of logins"):
        hurried.begin("ada")
    with hold("BEGIN EXCLUSIVE"), pytest.raises(StoreLocked):
        hurried.state_of("ada")
    assert failures(logins, "ada") == 1


def test_eight_processes_that_guess_together_get_five_tries_and_lose_no_count(database):
    guessers = [run("guess", database, 3, "ada", f"nobody {number}") for number in range(8)]
    tried = Counter(line for one in guessers for line in answer_of(one).splitlines())
    assert tried == {"ada": 5, **{f"nobody {number}": 3 for number in range(8)}}
    logins = SqliteLoginState(database)
    assert {name: failures(logins, name) for name in tried} == tried


def test_who_is_killed_has_failed(database):
    code = (
        "import os, sys; from pathlib import Path;"
        "from membrane.store.sqlite_login_state import SqliteLoginState;"
        "SqliteLoginState(Path(sys.argv[1])).begin('ada'); os.kill(os.getpid(), 9)"
    )
    for count in range(1, 3):
        killed = subprocess.run([sys.executable, "-c", code, str(database)], cwd=ROOT, check=False)
        assert killed.returncode == -9
        assert failures(SqliteLoginState(database), "ada") == count


def test_a_kill_at_any_moment_leaves_a_sound_file(database, file):
    assert int(answer_of(run("killed", database, 50))) > 0
    everything(SqliteLoginState(database))
    left = {path.name for path in database.parent.rglob("*")}
    assert left == {file.name, f"{file.name}.lock"}


def test_a_kill_while_old_files_are_taken_over_loses_nothing(database):
    shutil.copytree(FORMER, database.parent)
    assert int(answer_of(run("taken", database, 40))) > 5


def test_a_process_may_fork_while_its_threads_log_in(database):
    slowest_s = float(answer_of(run("forks", database, 50)))
    assert slowest_s < 10
    logins = SqliteLoginState(database)
    assert {failures(logins, f"child {number}") for number in range(50)} == {1}
