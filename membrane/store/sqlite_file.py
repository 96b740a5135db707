"""One SQLite file that several processes and threads change, whatever somebody put in its place.

SQLite keeps what is written and takes back what a crash interrupted. This module adds what a file
beside a database needs: nothing but a file with the expected tables is opened, nobody waits longer
than asked for, every error says what to do, and a process may fork at any time.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from membrane.store.guarded_bytes import KeptFile, Trouble
from membrane.system.atomic import replacing
from membrane.system.forks import unforked
from membrane.system.safe_files import POLL_S, held_too_long, opened, reading, writing

MAGIC = b"SQLite format 3\0"
ROLLBACK_JOURNAL = b"\1\1"
LEAF = b"\x0d"
"""What a file begins with, has at byte 18 and has at byte 100, if it keeps a rollback journal and
its list of tables fits on one page (https://sqlite.org/fileformat2.html, sections 1.3 and 1.6)."""

HEADER = 101
"""Bytes up to the last of these."""

JOURNAL_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""What a journal ends with that names another file, which SQLite would delete (the same document,
section 3). Only a transaction over several databases leaves one."""

LONGEST_VALUE = 4_000_000
"""Bytes of one value that are read at most."""

SYNCHRONOUS = "EXTRA"
"""FULL, and the folder is synchronised after a commit, too: otherwise a power cut could take back
the last transaction."""

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}

TROUBLE = {
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOLFS, sqlite3.SQLITE_AUTH),
}
"""Errors of the disk and of permissions; all others are errors of the content."""


class SqliteFile:
    """A SQLite file with the tables of one schema.

    Every transaction has a connection of its own, which nothing carries over a fork or into another
    thread. A process has one connection at a time: closing the file by any other means would take
    SQLite's locks away, as POSIX has it.

    Parameters
    ----------
    kept : KeptFile
        Where it is, and what its errors say.
    schema : sequence of str
        The statements that make its tables and indices. A file with others is refused.
    like : Path
        The file whose owner it belongs to, when an administrator makes it.
    lock_timeout_s : float, seconds
        How long to wait for other processes.
    """

    def __init__(
        self, kept: KeptFile, *, schema: Sequence[str], like: Path, lock_timeout_s: float
    ) -> None:
        self.kept = kept
        self.path = kept.path
        self._journal = self.path.with_name(f"{self.path.name}-journal")
        self._schema = schema
        self._like = like
        self._lock_timeout_s = lock_timeout_s

    def exists(self) -> bool:
        """Return whether anything is in its place."""
        return os.path.lexists(self.path)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that sees one state of the file.

        Raises
        ------
        StoreError
            If it cannot be read, or is not sound.
        """
        with self._explained(reading), ExitStack() as stack:
            yield self._begun("BEGIN", stack)

    @contextmanager
    def changing(self, *, erasing: bool = False) -> Iterator[sqlite3.Connection]:
        """Open a transaction that nobody else writes during, and commit it at the end.

        Parameters
        ----------
        erasing : bool
            Let no byte of what is deleted stay in the file. SQLite overwrites rows, but not the
            copies of them that are left behind when it moves rows between pages.

        Raises
        ------
        StoreError
            If the file cannot be read or written, or is not sound. It is then as it was.
        """
        with self._explained(writing), ExitStack() as stack:
            connection = self._begun("BEGIN IMMEDIATE", stack)
            yield connection
            connection.execute("COMMIT")
            if erasing:
                connection.execute("VACUUM")

    def make(self, fill: Callable[[sqlite3.Connection], None]) -> None:
        """Make the file, which nobody sees before it is complete; the caller holds a lock.

        Parameters
        ----------
        fill : callable
            Writes the first rows.

        Raises
        ------
        StoreError
            If it cannot be made.
        """
        with self._explained(writing), replacing(self.path, like=self._like) as new:
            # SQLite would play the journal of another file, which a crash left, back into this one.
            self._journal.unlink(missing_ok=True)
            with unforked, closing(_connected(Path(new.name))) as connection:
                _configure(connection)
                connection.execute("PRAGMA journal_mode = MEMORY")
                connection.execute("BEGIN")
                for statement in self._schema:
                    connection.execute(statement)
                fill(connection)
                connection.execute("COMMIT")

    def _begun(self, begin: str, stack: ExitStack) -> sqlite3.Connection:
        """Return a connection in a transaction, as soon as nobody is in the way."""
        deadline = time.monotonic() + self._lock_timeout_s
        while True:
            try:
                # Whoever waits lets other threads go on, and this process fork.
                with ExitStack() as trying:
                    connection = self._opened(begin, deadline, trying)
                    stack.push(trying.pop_all())
                    return connection
            except sqlite3.Error as error:
                if _code(error) not in BUSY or time.monotonic() >= deadline:
                    raise
            time.sleep(POLL_S)

    def _opened(self, begin: str, deadline: float, stack: ExitStack) -> sqlite3.Connection:
        if not unforked.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise held_too_long(self.kept.what, self.path, self._lock_timeout_s)
        stack.callback(unforked.release)
        self._require_sound()
        connection = stack.enter_context(closing(_connected(self.path)))
        _configure(connection)
        connection.execute(begin)
        found = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid LIMIT ?",
            (len(self._schema) + 1,),
        )
        if [sql for (sql,) in found] != list(self._schema):
            raise self.kept.damaged()
        # A commit waits for those that read; nobody else can begin to.
        connection.execute(f"PRAGMA busy_timeout = {round(1000 * self._lock_timeout_s)}")
        return connection

    def _require_sound(self) -> None:
        """Refuse what SQLite must not open: it would wait, follow, or believe a name in it."""
        with opened(self.path, os.O_RDONLY, "rb") as file:
            header = file.read(HEADER)
        found = (header[:16], header[18:20], header[100:101])
        if found != (MAGIC, ROLLBACK_JOURNAL, LEAF):
            raise self.kept.damaged()
        # There is one while another process writes, and after a crash.
        with suppress(FileNotFoundError), opened(self._journal, os.O_RDONLY, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - len(JOURNAL_MAGIC)))
            if file.read() == JOURNAL_MAGIC:
                raise self.kept.damaged("its journal names another file")

    @contextmanager
    def _explained(self, trouble: Trouble) -> Iterator[None]:
        with self.kept.explained(trouble):
            try:
                yield
            except sqlite3.Error as error:
                code = _code(error)
                if code in BUSY:
                    raise held_too_long(self.kept.what, self.path, self._lock_timeout_s) from None
                if code in TROUBLE:
                    raise OSError(0, str(error)) from None
                raise self.kept.damaged() from None


def _connected(path: Path) -> sqlite3.Connection:
    # Not to make the file if it is deleted meanwhile.
    address = f"{path.as_uri()}?mode=rw"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)


def _configure(connection: sqlite3.Connection) -> None:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    for pragma in (
        "trusted_schema = OFF",  # nothing that the file brings along is run
        "cell_size_check = ON",
        "mmap_size = 0",  # a file that is cut off must not end the process
        "temp_store = MEMORY",
        "secure_delete = ON",
        f"synchronous = {SYNCHRONOUS}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _code(error: sqlite3.Error) -> int:
    """Return the primary code of an error; one of Python's own is about the content."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
