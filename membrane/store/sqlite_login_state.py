"""What is kept of logins, in one SQLite file beside the database."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from membrane.errors import LockedOut, StoreDamaged, WrongKey
from membrane.store import login_record
from membrane.store.former_logins import Former, FormerLogins
from membrane.store.guarded_bytes import KeptFile, Seals, guarded
from membrane.store.login_record import REMEMBERED, SECRET, Failure, Floor, Record, parsed
from membrane.store.sqlite_file import SqliteFile
from membrane.store.store import Turn
from membrane.system.safe_files import locked

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
            record, refusal = rows.met(name)
            turn = Turn(rows.key_of(name), secrets.token_hex(4))
            if not refusal:
                rows.put(turn.key, record.failed(Failure(turn.mark, rows.now)))
        if refusal:
            raise LockedOut(refusal)
        return turn

    def require_open(self, name: str) -> None:
        """Refuse whoever must wait, without counting anything."""
        with self._changing() as rows:
            _, refusal = rows.met(name)
        if refusal:
            raise LockedOut(refusal)

    def withdraw(self, turn: Turn) -> None:
        """Undo the failure of what was no attempt to log in."""
        with self._changing() as rows:
            rows.put(turn.key, rows.record(turn.key).without(turn.mark))

    def forgive(self, turn: Turn) -> None:
        """Undo the failure of an attempt that could not be judged, unless too many were so."""
        with self._changing() as rows:
            rows.put(turn.key, rows.record(turn.key).forgiven(turn.mark))

    def succeed(self, turn: Turn, fingerprint: bytes = b"") -> None:
        """Forget the failures up to an accepted attempt, and remember its recording."""
        with self._changing() as rows:
            if fingerprint:
                rows.add_recording(turn.key, fingerprint)
            rows.put(turn.key, rows.record(turn.key).cleared_up_to(turn.mark))

    def remember_recording(self, name: str, fingerprint: bytes) -> None:
        """Keep the recording of an accepted login, where no attempt is counted."""
        with self._changing() as rows:
            rows.add_recording(rows.key_of(name), fingerprint)

    def remember_prompt(self, name: str, text: str) -> None:
        """Remember what a name is asked to say, before it is shown."""
        with self._changing() as rows:
            key = rows.key_of(name)
            rows.put(key, rows.record(key).prompted(text))

    def recent_recordings(self, name: str) -> tuple[bytes, ...]:
        """Return the fingerprints of a name's last 20 accepted logins, the latest at the end."""
        return self._looked_up(name)[1]

    def recent_prompts(self, name: str) -> tuple[str, ...]:
        """Return the last 20 prompts that a name was shown, the latest at the end."""
        return self._looked_up(name)[0].prompts

    def state_of(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a name, as JSON values."""
        return login_record.as_state(*self._looked_up(name))

    def unlock(self, name: str) -> bool:
        """Forget the failures of a name; return whether there were any."""
        with self._changing() as rows:
            key = rows.key_of(name)
            record = rows.record(key)
            rows.put(key, Record(prompts=record.prompts))
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

    def _looked_up(self, name: str) -> tuple[Record, tuple[bytes, ...]]:
        """Return the record of a name and its recordings; looking makes no file."""
        self._take_over(begin_anew=False)
        if not self._file.exists():
            return Record(), ()
        with self._file.reading() as connection:
            rows = self._rows(connection)
            key = rows.key_of(name)
            return rows.record(key), rows.contents(RECORDING, key, most=REMEMBERED)

    @contextmanager
    def _changing(self, *, erasing: bool = False) -> Iterator[_Rows]:
        self._take_over(begin_anew=True)
        with self._file.changing(erasing=erasing) as connection:
            rows = self._rows(connection)
            rows.require_all_names()
            yield rows

    def _rows(self, connection: sqlite3.Connection, former: Former | None = None) -> _Rows:
        return _Rows(connection, self._file.kept, self._seal, now=self._clock(), former=former)

    # ---- A new file

    def _take_over(self, *, begin_anew: bool) -> None:
        """Take over what an earlier version kept, once; or begin anew if there is nothing."""
        if self._former.exists() or (begin_anew and not self._file.exists()):
            with locked(self._file.path, self._lock_timeout_s, what=WHAT, like=self._database):
                if not self._file.exists():
                    former = self._read_former()
                    self._file.make(lambda connection: self._rows(connection, former).fill(former))
                self._former.remove()

    def _read_former(self) -> Former:
        if self._former.exists():
            return self._former.read(self._seal)
        # Recordings without the rest are of nobody who could be found again.
        self._former.remove()
        if self._on_new is not None:
            self._on_new()
        return Former(secrets.token_bytes(SECRET), Floor(), {}, ())


class _Rows:
    """The rows of the file during one transaction.

    What cannot be right in them raises a `ValueError` or a `StoreError`.

    Parameters
    ----------
    connection : sqlite3.Connection
    kept : KeptFile
    seal : Seals or None
    now : float, seconds since the epoch
    former : Former or None
        What to `fill` a file with that has no rows yet.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        kept: KeptFile,
        seal: Seals | None,
        *,
        now: float,
        former: Former | None,
    ) -> None:
        self._execute = connection.execute
        self._kept = kept
        self._seal = seal
        self.now = now
        if former is None:
            self.secret, self._floor, self._known_names = self._head()
        else:
            self.secret, self._floor = former.secret, former.floor

    def _head(self) -> tuple[bytes, Floor, str]:
        """Return what is kept of the whole file.

        It is the secret, which keys what stands for a name; what those without a record start
        with; and the hash of what stands for the names that have one, so that none is missing.
        """
        heads = self.contents(HEAD, "", most=2)
        if len(heads) != 1:
            raise self._kept.damaged("its head is missing")
        match parsed(heads[0]):
            case [str(secret), floor, str(names)] if len(secret) == 2 * SECRET:
                return bytes.fromhex(secret), Floor.of(floor), names
        raise ValueError("the head has other parts")

    def fill(self, former: Former) -> None:
        """Write what an earlier version kept, or the first rows."""
        for key, record in former.records.items():
            self._insert(RECORD, key, _json(record))
        for key, fingerprint in former.recordings:
            self._insert(RECORDING, key, fingerprint)
        self._write_head(former.floor)

    def require_all_names(self) -> None:
        """Refuse a file from which somebody took a name, or to which they added one."""
        if self._names()[1] != self._known_names:
            raise self._kept.damaged("a name was added or removed")

    def key_of(self, name: str) -> str:
        return login_record.key_of(self.secret, name)

    def record(self, key: str) -> Record:
        contents = self.contents(RECORD, key)
        return Record.of(parsed(contents[0])) if contents else self._floor.record()

    def met(self, name: str) -> tuple[Record, str]:
        """Return the record of a name, and what to refuse an attempt with; empty if it may be."""
        key = self.key_of(name)
        kept = self.record(key)
        record = kept.settled(self.now)
        if record != kept:
            # If the clock was set back, the wait begins once, and not anew with every look at it.
            self.put(key, record)
        return record, record.refusal(name, self.now)

    def put(self, key: str, record: Record) -> None:
        """Write the record of a name, and drop others if there are more than there may be."""
        removed = self._delete_record(key)
        is_kept = record != self._floor.record()
        if is_kept:
            self._insert(RECORD, key, _json(record))
        if removed != is_kept:
            count, names = self._names()
            if count > login_record.MOST_NAMES:
                self._write_head(self._thinned())
            else:
                self._write_head(self._floor, names)

    def contents(self, kind: str, key: str, *, most: int = 1) -> tuple[bytes, ...]:
        """Return what is kept of one kind under a key, the latest at the end."""
        rows = self._execute(
            "SELECT content FROM kept WHERE kind = ? AND key = ? ORDER BY number DESC LIMIT ?",
            (kind, key, most),
        )
        return tuple(self._opened(kind, key, raw) for (raw,) in rows)[::-1]

    def add_recording(self, key: str, fingerprint: bytes) -> None:
        self._insert(RECORDING, key, fingerprint)
        self._execute(
            "DELETE FROM kept WHERE kind = ? AND key = ? AND number NOT IN (SELECT number"
            " FROM kept WHERE kind = ? AND key = ? ORDER BY number DESC LIMIT ?)",
            (RECORDING, key, RECORDING, key, REMEMBERED),
        )

    def forget(self, key: str) -> None:
        self._execute("DELETE FROM kept WHERE kind IN (?, ?) AND key = ?", (RECORD, RECORDING, key))
        self._write_head(self._floor)

    def clear(self) -> None:
        self._execute("DELETE FROM kept WHERE kind IN (?, ?)", (RECORD, RECORDING))
        self._write_head(Floor())

    def _thinned(self) -> Floor:
        """Drop names, because there are too many; return what those without a record start with."""
        rows = self._execute(
            "SELECT key, content FROM kept WHERE kind = ? ORDER BY number", (RECORD,)
        )
        failures = {
            key: len(Record.of(parsed(self._opened(RECORD, key, raw))).failures)
            for key, raw in rows
        }
        dropped, floor = login_record.thinned(failures, self._floor, now=self.now)
        for key in dropped:
            self._delete_record(key)
        return floor

    def _write_head(self, floor: Floor, names: str | None = None) -> None:
        self._floor = floor
        self._execute("DELETE FROM kept WHERE kind = ?", (HEAD,))
        self._insert(HEAD, "", _json([self.secret.hex(), floor, names or self._names()[1]]))

    def _names(self) -> tuple[int, str]:
        """Return how many names have a record, and the hash of what stands for them."""
        count, keys = self._execute(
            "SELECT count(*), group_concat(key, ' ')"
            " FROM (SELECT key FROM kept WHERE kind = ? ORDER BY key)",
            (RECORD,),
        ).fetchone()
        return count, hashlib.sha256((keys or "").encode()).hexdigest()

    def _opened(self, kind: str, key: str, raw: object) -> bytes:
        return self._kept.content(raw, _purpose(kind, key), self._seal)

    def _insert(self, kind: str, key: str, content: bytes) -> None:
        self._execute(
            "INSERT INTO kept (kind, key, content) VALUES (?, ?, ?)",
            (kind, key, guarded(content, _purpose(kind, key), self._seal)),
        )

    def _delete_record(self, key: str) -> int:
        """Delete the record of a name; return how many there were."""
        delete = "DELETE FROM kept WHERE kind = ? AND key = ?"
        return self._execute(delete, (RECORD, key)).rowcount


def _reseal(
    connection: sqlite3.Connection, kept: KeptFile, old: Seals | None, new: Seals | None
) -> None:
    """Write every row under another key; one that is under it already stays so."""
    for number in connection.execute("SELECT number FROM kept").fetchall():
        kind, key, raw = connection.execute(
            "SELECT kind, key, content FROM kept WHERE number = ?", number
        ).fetchone()
        purpose = _purpose(kind, key)
        try:
            content = kept.content(raw, purpose, old)
        except (StoreDamaged, WrongKey) as error:
            try:
                content = kept.content(raw, purpose, new)
            except (StoreDamaged, WrongKey):
                raise error from None
        written = guarded(content, purpose, new)
        connection.execute("UPDATE kept SET content = ? WHERE number = ?", (written, *number))


def _purpose(kind: str, key: str) -> str:
    return f"logins {kind} {key}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
