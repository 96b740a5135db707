"""Failed and accepted logins: counted before they are judged, kept over restarts."""

from __future__ import annotations

import os
import secrets
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from membrane.errors import LockedOut
from membrane.store import lockout
from membrane.store.attempts_book import Book, Failure, Record
from membrane.store.guarded_file import GuardedFile, Seals
from membrane.store.keyed_lines import KeyedLines
from membrane.store.recent_recordings import RecentRecordings
from membrane.store.safe_files import locked

WHAT = "the record of logins"


@dataclass(frozen=True)
class Turn:
    """One attempt that has begun, and counts as failed until something else is known.

    Parameters
    ----------
    key : str
        What stands for the name.
    mark : str
        Tells it from all others.
    """

    key: str
    mark: str


class Attempts:
    """What is kept of the logins to a database: failures, prompts and recordings, by name.

    Names that are enrolled and names that are not are treated alike, and neither stands in the
    files: ``<database>.attempts``, and a file for each person who logged in within the folder
    ``<database>.logins``, so that a failure does not rewrite everybody's recordings.

    A file that does not exist is a new one: whoever may delete it keeps the database, and unlocks
    everybody with it. One that cannot be read or written lets nobody in: every method raises a
    `StoreError` then.

    Parameters
    ----------
    database : Path
        The file of the voiceprints, or a link to it.
    seal : Seals, optional
        Encrypts the files.
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
        self._file = GuardedFile(
            self._beside(".attempts"),
            what=WHAT,
            purpose="attempts",
            if_deleted="starts anew, and unlocks everybody",
            like=self._database,
        )
        self._recordings = RecentRecordings(self._beside(".logins"), like=self._database)

    @property
    def secret(self) -> bytes:
        """32 random bytes of this store, made once."""
        if self._file.path.exists():
            with self._reading() as book:
                return book.secret
        with self._changing() as book:
            return book.secret

    def begin(self, name: str) -> Turn:
        """Count an attempt as failed, before it is judged, so that a kill gives no free try.

        Parameters
        ----------
        name : str
            As it was claimed; empty for whoever claims none.

        Raises
        ------
        LockedOut
            If that name must wait or is locked.
        StoreError
            If the count cannot be kept: then nothing may be judged.
        """
        with self._changing() as book:
            record, now = self._open_record(book, name)
            turn = Turn(book.key_of(name), secrets.token_hex(4))
            self._write(book.put(turn.key, record.failed(Failure(turn.mark, now)), now=now))
        return turn

    def require_open(self, name: str) -> None:
        """Refuse whoever must wait, without counting anything.

        Raises
        ------
        LockedOut
            If that name must wait or is locked.
        """
        with self._changing() as book:
            self._open_record(book, name)

    def withdraw(self, turn: Turn) -> None:
        """Undo the failure of what was no attempt to log in."""
        with self._changing() as book:
            record = book.record(turn.key).without(turn.mark)
            self._write(book.put(turn.key, record, now=self._clock()))

    def forgive(self, turn: Turn) -> None:
        """Undo the failure of an attempt that could not be judged, unless too many were so."""
        with self._changing() as book:
            record = book.record(turn.key).forgiven(turn.mark)
            self._write(book.put(turn.key, record, now=self._clock()))

    def succeed(self, turn: Turn, fingerprint: bytes = b"") -> None:
        """Forget the failures up to an attempt that was accepted, and remember its recording.

        Parameters
        ----------
        turn : Turn
        fingerprint : bytes
            Of the recording; empty if it is not to be remembered.
        """
        with self._changing() as book:
            # In this order a kill between the two leaves a failure, not a recording to use again.
            if fingerprint:
                self._recordings.append(turn.key, fingerprint, self._seal)
            record = book.record(turn.key).cleared_up_to(turn.mark)
            self._write(book.put(turn.key, record, now=self._clock()))

    def remember_recording(self, name: str, fingerprint: bytes) -> None:
        """Keep the recording of an accepted login, where no attempt is counted."""
        with self._changing() as book:
            self._recordings.append(book.key_of(name), fingerprint, self._seal)

    def unlock(self, name: str) -> bool:
        """Forget the failures of a name; return whether there were any."""
        with self._changing() as book:
            key = book.key_of(name)
            record = book.record(key)
            self._write(book.put(key, Record(prompts=record.prompts), now=self._clock()))
        return bool(record.failures)

    def forget(self, name: str) -> None:
        """Erase all that is kept of a name."""
        with self._changing() as book:
            key = book.key_of(name)
            self._recordings.forget(key)
            self._write(book.without(key))

    def clear(self) -> None:
        """Erase all that is kept of every name; the secret stays."""
        with self._changing() as book:
            self._recordings.clear()
            self._write(book.emptied())

    def state_of(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a name, as JSON has it."""
        with self._reading() as book:
            key = book.key_of(name)
            record = book.record(key)
            recordings = self._recordings.of(key, self._seal)
        return {
            "failures": [
                datetime.fromtimestamp(one.at, UTC).isoformat() for one in record.failures
            ],
            "locked": lockout.is_locked(len(record.failures)),
            "recent_prompts": list(record.prompts),
            "recent_recordings": [b64encode(one).decode() for one in recordings],
        }

    def recent_recordings(self, name: str) -> tuple[bytes, ...]:
        """Return the fingerprints of a name's last 20 accepted logins, the latest at the end."""
        with self._reading() as book:
            return self._recordings.of(book.key_of(name), self._seal)

    def recent_prompts(self, name: str) -> tuple[str, ...]:
        """Return the last 20 prompts that a name was shown, the latest at the end."""
        with self._reading() as book:
            return book.record(book.key_of(name)).prompts

    def remember_prompt(self, name: str, text: str) -> None:
        """Remember what a name is asked to say, before it is shown."""
        with self._changing() as book:
            key = book.key_of(name)
            self._write(book.put(key, book.record(key).prompted(text), now=self._clock()))

    def reseal(self, seal: Seals | None) -> None:
        """Encrypt the files under another key, or decrypt them; if interrupted, do it again.

        Parameters
        ----------
        seal : Seals or None
            None for files that are not encrypted.

        Raises
        ------
        StoreError
            If a file cannot be read or written; some are then under one key and some under the
            other, and this has to be done again.
        """
        with self._locked():
            self._recordings.reseal(self._seal, seal)
            self._file.reseal(self._seal, seal)
        self._seal = seal

    def _open_record(self, book: Book, name: str) -> tuple[Record, float]:
        """Return the record of a name that need not wait, and the time."""
        now = self._clock()
        key = book.key_of(name)
        kept = book.record(key)
        record = kept.settled(now)
        if record != kept:
            # If the clock was set back, the wait begins once, and not anew with every look at it.
            self._write(book.put(key, record, now=now))
        failures, wait_s = len(record.failures), record.wait_s(now)
        if lockout.is_locked(failures) or wait_s > 0:
            raise LockedOut(lockout.refusal(name, failures=failures, wait_s=wait_s))
        return record, now

    def _beside(self, ending: str) -> Path:
        return self._database.with_name(self._database.name + ending)

    @contextmanager
    def _changing(self) -> Iterator[Book]:
        """Let nobody else change the book meanwhile; make a new one if there is none."""
        with self._locked(), self._damage_explained():
            book = self._read()
            if book is None:
                # Recordings of a book that was deleted: nobody's, by the new secret.
                self._recordings.clear()
                if self._on_new is not None:
                    self._on_new()
                book = Book.new()
                self._write(book)
            yield book

    @contextmanager
    def _reading(self) -> Iterator[Book]:
        # Windows cannot replace a file that somebody reads.
        with self._locked() if os.name == "nt" else nullcontext(), self._damage_explained():
            yield self._read() or Book.new()

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._file.path, self._lock_timeout_s, what=WHAT, like=self._database)

    @contextmanager
    def _damage_explained(self) -> Iterator[None]:
        try:
            yield
        except ValueError:
            raise self._file.damaged("its content makes no sense") from None

    def _read(self) -> Book | None:
        content = self._file.read(self._seal)
        return None if content is None else Book.read(KeyedLines(content))

    def _write(self, book: Book) -> None:
        self._file.write(book.lines.content, self._seal)
