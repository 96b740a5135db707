"""What is kept of logins, in one SQLite file beside the database."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from membrane.errors import LockedOut, StoreDamaged, WrongKey
from membrane.store import login_record
from membrane.store.former_logins import FormerLogins
from membrane.store.guarded_bytes import KeptFile, Seals, guarded
from membrane.store.login_record import REMEMBERED, SECRET, Failure, Floor, Record, parsed
from membrane.store.login_state import Turn
from membrane.store.sqlite_file import SqliteFile
from membrane.system.safe_files import locked

Found = TypeVar("Found")

ENDING = ".logins.sqlite"
"""What the name of the file ends in, after that of the database."""

WHAT = "the record of logins"
IF_DELETED = "starts anew, and unlocks everybody"

SCHEMA = (
    "CREATE TABLE kept (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,"
    " content BLOB NOT NULL)",
    "CREATE INDEX kept_by_key ON kept (kind, key)",
)
"""A key is what stands for a name; the number tells which row was written last. Every content is
guarded: with a checksum, or encrypted, for its own kind and key alone."""

HEAD, RECORD, RECORDING = "head", "record", "recording"
"""The kinds of rows: one of the whole file, one of each name, and one of each recording."""


class SqliteLoginState:
    """A `LoginState` in the file ``<database>.logins.sqlite``.

    A file that does not exist is a new one: whoever may delete it keeps the database, and unlocks
    everybody with it. What earlier versions kept in other files is taken over then.

    Without a key the checksums tell of damage. With one, nobody who lacks it can change a row, move
    it to another name, or add or remove a name unnoticed; older rows put back are not noticed.

    Parameters
    ----------
    database : Path
        The file of the voiceprints, or a link to it.
    seal : Seals, optional
        Encrypts what is kept.
    lock_timeout_s : float, seconds
        How long to wait for other processes.
    clock : callable
        Returns the seconds since the epoch. It is the wall's, because delays last over restarts;
        `membrane.store.lockout` says what becomes of them when it is set.
    on_new : callable, optional
        Told when everything begins anew, because there is no such file (any more).
    """

    def __init__(
        self,
        database: Path,
        *,
        seal: Seals | None = None,
        lock_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.time,
        on_new: Callable[[], object] | None = None,
    ) -> None:
        # Whoever comes through a link must count where all others count.
        self._database = Path(os.path.realpath(database))
        self._seal = seal
        self._lock_timeout_s = lock_timeout_s
        self._clock = clock
        self._on_new = on_new
        path = self._database.with_name(self._database.name + ENDING)
        self._file = SqliteFile(
            KeptFile(path, WHAT, IF_DELETED),
            schema=SCHEMA,
            like=self._database,
            lock_timeout_s=lock_timeout_s,
        )
        self._former = FormerLogins(self._database, WHAT, IF_DELETED)

    @property
    def secret(self) -> bytes:
        """32 random bytes of this store, made once."""
        self._take_over(begin_anew=True)
        with self._file.reading() as connection:
            return self._rows(connection).secret

    def begin(self, name: str) -> Turn:
        """Count an attempt as failed, before it is judged."""
        with self._changing() as rows:
            record, now, refusal = self._met(rows, name)
            turn = Turn(rows.key_of(name), secrets.token_hex(4))
            if not refusal:
                rows.put(turn.key, record.failed(Failure(turn.mark, now)), now=now)
        if refusal:
            raise LockedOut(refusal)
        return turn

    def require_open(self, name: str) -> None:
        """Refuse whoever must wait, without counting anything."""
        with self._changing() as rows:
            *_, refusal = self._met(rows, name)
        if refusal:
            raise LockedOut(refusal)

    def withdraw(self, turn: Turn) -> None:
        """Undo the failure of what was no attempt to log in."""
        with self._changing() as rows:
            rows.put(turn.key, rows.record(turn.key).without(turn.mark), now=self._clock())

    def forgive(self, turn: Turn) -> None:
        """Undo the failure of an attempt that could not be judged, unless too many were so."""
        with self._changing() as rows:
            rows.put(turn.key, rows.record(turn.key).forgiven(turn.mark), now=self._clock())

    def succeed(self, turn: Turn, fingerprint: bytes = b"") -> None:
        """Forget the failures up to an accepted attempt, and remember its recording."""
        with self._changing() as rows:
            if fingerprint:
                rows.add_recording(turn.key, fingerprint)
            rows.put(turn.key, rows.record(turn.key).cleared_up_to(turn.mark), now=self._clock())

    def remember_recording(self, name: str, fingerprint: bytes) -> None:
        """Keep the recording of an accepted login, where no attempt is counted."""
        with self._changing() as rows:
            rows.add_recording(rows.key_of(name), fingerprint)

    def remember_prompt(self, name: str, text: str) -> None:
        """Remember what a name is asked to say, before it is shown."""
        with self._changing() as rows:
            key = rows.key_of(name)
            rows.put(key, rows.record(key).prompted(text), now=self._clock())

    def recent_recordings(self, name: str) -> tuple[bytes, ...]:
        """Return the fingerprints of a name's last 20 accepted logins, the latest at the end."""
        return self._looked_up(name, _Rows.recordings, ())

    def recent_prompts(self, name: str) -> tuple[str, ...]:
        """Return the last 20 prompts that a name was shown, the latest at the end."""
        return self._looked_up(name, _Rows.record, Record()).prompts

    def state_of(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a name, as JSON values."""
        return self._looked_up(
            name,
            lambda rows, key: login_record.as_state(rows.record(key), rows.recordings(key)),
            login_record.as_state(Record(), ()),
        )

    def unlock(self, name: str) -> bool:
        """Forget the failures of a name; return whether there were any."""
        with self._changing() as rows:
            key = rows.key_of(name)
            record = rows.record(key)
            rows.put(key, Record(prompts=record.prompts), now=self._clock())
        return bool(record.failures)

    def forget(self, name: str) -> None:
        """Erase all that is kept of a name."""
        with self._changing(erasing=True) as rows:
            rows.forget(rows.key_of(name))

    def clear(self) -> None:
        """Erase all that is kept of every name; the secret stays."""
        with self._changing(erasing=True) as rows:
            rows.clear()

    def reseal(self, seal: Seals | None) -> None:
        """Encrypt everything under another key, or decrypt it; if interrupted, do it again."""
        self._take_over(begin_anew=False)
        if self._file.exists():
            with self._file.changing(erasing=True) as connection:
                _reseal(connection, self._file.kept, self._seal, seal)
        self._seal = seal

    def _met(self, rows: _Rows, name: str) -> tuple[Record, float, str]:
        """Return the record of a name, the time, and what to refuse an attempt with, if it is."""
        now = self._clock()
        key = rows.key_of(name)
        kept = rows.record(key)
        record = kept.settled(now)
        if record != kept:
            # If the clock was set back, the wait begins once, and not anew with every look at it.
            rows.put(key, record, now=now)
        return record, now, record.refusal(name, now)

    def _looked_up(self, name: str, look: Callable[[_Rows, str], Found], otherwise: Found) -> Found:
        """Return what is found under a name; looking makes no file."""
        self._take_over(begin_anew=False)
        if not self._file.exists():
            return otherwise
        with self._file.reading() as connection:
            rows = self._rows(connection)
            return look(rows, rows.key_of(name))

    @contextmanager
    def _changing(self, *, erasing: bool = False) -> Iterator[_Rows]:
        self._take_over(begin_anew=True)
        with self._file.changing(erasing=erasing) as connection:
            rows = self._rows(connection)
            rows.require_all_names()
            yield rows

    def _rows(self, connection: sqlite3.Connection) -> _Rows:
        return _Rows(connection, self._file.kept, self._seal)

    # ---- A new file

    def _take_over(self, *, begin_anew: bool) -> None:
        """Take over what an earlier version kept, once; or begin anew if there is nothing."""
        if self._former.exists() or (begin_anew and not self._file.exists()):
            with locked(self._file.path, self._lock_timeout_s, what=WHAT, like=self._database):
                if not self._file.exists():
                    self._make()
                self._former.remove()

    def _make(self) -> None:
        if self._former.exists():
            self._file.make(self._fill)
            return
        # Recordings without the rest are of nobody who could be found again.
        self._former.remove()
        if self._on_new is not None:
            self._on_new()
        self._file.make(self._begin_anew)

    def _begin_anew(self, connection: sqlite3.Connection) -> None:
        _Rows.begun(connection, self._file.kept, self._seal, secrets.token_bytes(SECRET), Floor())

    def _fill(self, connection: sqlite3.Connection) -> None:
        former = self._former.read(self._seal)
        rows = _Rows.begun(connection, self._file.kept, self._seal, former.secret, former.floor)
        rows.add(former.records, self._former.recordings(self._seal))


@dataclass(frozen=True)
class _Head:
    """What is kept of the whole file.

    Parameters
    ----------
    secret : bytes, length 32
        Keys what stands for a name.
    floor : Floor
    names : str
        SHA-256 over what stands for the names that have a record, so that none is missing.
    """

    secret: bytes
    floor: Floor
    names: str

    def written(self) -> bytes:
        return _json([self.secret.hex(), self.floor.as_json(), self.names])

    @classmethod
    def read(cls, content: bytes) -> _Head:
        """Return what was written, or raise a `ValueError`."""
        value = parsed(content)
        if not isinstance(value, list) or len(value) != 3:
            raise ValueError("the head has other parts")
        secret, floor, names = value
        if not isinstance(secret, str) or len(secret) != 2 * SECRET or not isinstance(names, str):
            raise ValueError("there is no secret")
        return cls(bytes.fromhex(secret), Floor.of(floor), names)


class _Rows:
    """The rows of the file during one transaction.

    What cannot be right in them raises a `ValueError` or a `StoreError`.
    """

    def __init__(self, connection: sqlite3.Connection, kept: KeptFile, seal: Seals | None) -> None:
        self._connection = connection
        self._kept = kept
        self._seal = seal
        heads = self._contents(HEAD, "", most=2)
        if len(heads) != 1:
            raise kept.damaged("its head is missing")
        self._head = _Head.read(heads[0])

    @classmethod
    def begun(
        cls,
        connection: sqlite3.Connection,
        kept: KeptFile,
        seal: Seals | None,
        secret: bytes,
        floor: Floor,
    ) -> _Rows:
        """Return the rows of a file that has none yet."""
        head = _Head(secret, floor, _hash_of(""))
        _insert(connection, HEAD, "", guarded(head.written(), _purpose(HEAD, ""), seal))
        return cls(connection, kept, seal)

    @property
    def secret(self) -> bytes:
        return self._head.secret

    def require_all_names(self) -> None:
        """Refuse a file from which somebody took a name, or to which they added one."""
        if self._names()[1] != self._head.names:
            raise self._kept.damaged("a name was added or removed")

    def key_of(self, name: str) -> str:
        return login_record.key_of(self.secret, name)

    def record(self, key: str) -> Record:
        contents = self._contents(RECORD, key)
        return Record.of(parsed(contents[0])) if contents else self._head.floor.record()

    def put(self, key: str, record: Record, *, now: float) -> None:
        """Write the record of a name, and drop others if there are more than there may be."""
        removed = self._delete("DELETE FROM kept WHERE kind = ? AND key = ?", (RECORD, key))
        is_kept = record != self._head.floor.record()
        if is_kept:
            self._insert(RECORD, key, _json(record.as_json()))
        if removed != is_kept:
            count, names = self._names()
            if count > login_record.MOST_NAMES:
                self._write_head(self._thinned(now))
            else:
                self._write_head(self._head.floor, names)

    def recordings(self, key: str) -> tuple[bytes, ...]:
        return tuple(self._contents(RECORDING, key, most=REMEMBERED))

    def add_recording(self, key: str, fingerprint: bytes) -> None:
        self._insert(RECORDING, key, fingerprint)
        self._delete(
            "DELETE FROM kept WHERE kind = ? AND key = ? AND number NOT IN (SELECT number"
            " FROM kept WHERE kind = ? AND key = ? ORDER BY number DESC LIMIT ?)",
            (RECORDING, key, RECORDING, key, REMEMBERED),
        )

    def add(self, records: Mapping[str, Record], recordings: Iterable[tuple[str, bytes]]) -> None:
        """Write what an earlier version kept."""
        for key, record in records.items():
            self._insert(RECORD, key, _json(record.as_json()))
        for key, fingerprint in recordings:
            self._insert(RECORDING, key, fingerprint)
        self._write_head(self._head.floor)

    def forget(self, key: str) -> None:
        self._delete("DELETE FROM kept WHERE kind IN (?, ?) AND key = ?", (RECORD, RECORDING, key))
        self._write_head(self._head.floor)

    def clear(self) -> None:
        self._delete("DELETE FROM kept WHERE kind IN (?, ?)", (RECORD, RECORDING))
        self._write_head(Floor())

    def _thinned(self, now: float) -> Floor:
        """Drop names, because there are too many; return what those without a record start with."""
        rows = self._connection.execute(
            "SELECT key, content FROM kept WHERE kind = ? ORDER BY number", (RECORD,)
        )
        failures = {
            key: len(Record.of(parsed(self._opened(RECORD, key, raw))).failures)
            for key, raw in rows
        }
        dropped, floor = login_record.thinned(failures, self._head.floor, now=now)
        for key in dropped:
            self._delete("DELETE FROM kept WHERE kind = ? AND key = ?", (RECORD, key))
        return floor

    def _write_head(self, floor: Floor, names: str | None = None) -> None:
        self._head = _Head(self.secret, floor, names or self._names()[1])
        self._delete("DELETE FROM kept WHERE kind = ?", (HEAD,))
        self._insert(HEAD, "", self._head.written())

    def _names(self) -> tuple[int, str]:
        """Return how many names have a record, and the hash of what stands for them."""
        count, keys = self._connection.execute(
            "SELECT count(*), group_concat(key, ' ')"
            " FROM (SELECT key FROM kept WHERE kind = ? ORDER BY key)",
            (RECORD,),
        ).fetchone()
        return count, _hash_of(keys or "")

    def _contents(self, kind: str, key: str, *, most: int = 1) -> list[bytes]:
        """Return what is kept of one kind under a key, the latest at the end."""
        rows = self._connection.execute(
            "SELECT content FROM kept WHERE kind = ? AND key = ? ORDER BY number DESC LIMIT ?",
            (kind, key, most),
        )
        return [self._opened(kind, key, raw) for (raw,) in rows][::-1]

    def _opened(self, kind: str, key: str, raw: bytes) -> bytes:
        return _content(self._kept, kind, key, raw, self._seal)

    def _insert(self, kind: str, key: str, content: bytes) -> None:
        raw = guarded(content, _purpose(kind, key), self._seal)
        _insert(self._connection, kind, key, raw)

    def _delete(self, statement: str, values: tuple[object, ...]) -> int:
        return self._connection.execute(statement, values).rowcount


def _reseal(
    connection: sqlite3.Connection, kept: KeptFile, old: Seals | None, new: Seals | None
) -> None:
    """Write every row under another key; one that is under it already stays so."""
    numbers = connection.execute("SELECT number FROM kept").fetchall()
    for number in numbers:
        kind, key, raw = connection.execute(
            "SELECT kind, key, content FROM kept WHERE number = ?", number
        ).fetchone()
        try:
            content = _content(kept, kind, key, raw, old)
        except (StoreDamaged, WrongKey) as error:
            try:
                content = _content(kept, kind, key, raw, new)
            except (StoreDamaged, WrongKey):
                raise error from None
        written = guarded(content, _purpose(kind, key), new)
        connection.execute("UPDATE kept SET content = ? WHERE number = ?", (written, *number))


def _content(kept: KeptFile, kind: str, key: str, raw: bytes, seal: Seals | None) -> bytes:
    # Columns of SQLite hold what they are given, whatever their type.
    if not isinstance(raw, bytes):
        raise kept.damaged()
    return kept.content(raw, _purpose(kind, key), seal)


def _purpose(kind: str, key: str) -> str:
    return f"logins {kind} {key}"


def _insert(connection: sqlite3.Connection, kind: str, key: str, raw: bytes) -> None:
    connection.execute("INSERT INTO kept (kind, key, content) VALUES (?, ?, ?)", (kind, key, raw))


def _hash_of(keys: str) -> str:
    return hashlib.sha256(keys.encode()).hexdigest()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
