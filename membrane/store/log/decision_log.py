"""The decision log: who was let in, who was not, and what was done to the database.

A file of lines, the newest at its end, with `<log>.head` beside it, which says how the log ends.
When it is full it is put aside as `<log>.NUMBER`, after the number of its first line; the oldest
of these is dropped in the end, which the head knows, too.

What it withstands
------------------
Each line names the hash of the one before it, and the head that of the last: whoever changes,
removes, adds or reorders lines, or cuts them off, is noticed, unless they also write anew all lines
that follow, and the head. Without a key anybody can do that who may write both files. With
one nobody can who lacks it. Two things even a key does not show: that the log and its head were
both put back to what they were at one earlier moment, and that all of it was deleted, so that it
began anew. Copy the head elsewhere from time to time if that matters.

Whoever is meant in a line stands there as a random name that their voiceprint alone knows. Once
that is deleted nobody can say any more whose lines these were: the person is erased, the chain is
whole.

A crash is nobody's doing. A line is on the disk before the head says so, therefore the head may be
one line behind; a line that was cut off while it was written is removed by the next `append`, which
says so in a line of its own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from membrane.errors import StoreUnwritable
from membrane.store.log.check import (
    KEY_CHANGED,
    NEXT,
    NO_HEAD,
    NOTE,
    NUMBER_DIGITS,
    PROBLEMS,
    UNFINISHED,
    LogCheck,
    Snapshot,
    check,
    older_name,
)
from membrane.store.log.lines import Fields, Head, Stamp, follows, hash_of, line_of
from membrane.system.atomic import keep_owner, replacing, sync_folder
from membrane.system.checks import require
from membrane.system.safe_files import locked, opened, reading, writing

__all__ = ["DecisionLog", "LogCheck"]

MOST_BYTES = 1_000_000
"""Size at which a file is put aside: about 2,000 decisions."""

KEPT_FILES = 10
"""Files that are kept, the newest among them: about 20,000 decisions."""

LOCK_TIMEOUT_S = 10.0
"""Seconds to wait for other processes: a line takes some hundredths."""

DECISION_LOG = "the decision log"
"""What messages call it."""

LONGEST_FILE = 16_000_000
"""Bytes of one file that are read at most: many times what it holds when it is put aside."""

OWN_FIELDS = ("number", "time", "previous", "by", "hash", "mac", NOTE, NEXT, PROBLEMS)
"""What the log itself says in a line."""


class DecisionLog:
    """A `Log` in files that several processes append to.

    Parameters
    ----------
    path : Path
        The newest file. Its folder is made when something is written.
    mac_key : bytes or None
        Where the database is protected, a key of the log alone; see above what it is good for.
    clock : callable
        Returns the time in seconds since 1970.
    most_bytes, kept_files : int
        When a file is put aside, and how many there are in the end; two at least.
    """

    def __init__(
        self,
        path: Path,
        *,
        mac_key: bytes | None = None,
        clock: Callable[[], float] = time.time,
        most_bytes: int = MOST_BYTES,
        kept_files: int = KEPT_FILES,
    ) -> None:
        self.path = path
        self.head_path = path.with_name(f"{path.name}.head")
        self.stamp = Stamp(mac_key)
        self.clock = clock
        self.most_bytes = most_bytes
        self.kept_files = kept_files

    def exists(self) -> bool:
        """Return whether the newest file is there."""
        return self.path.exists()

    def stamped_with(self, mac_key: bytes | None) -> DecisionLog:
        """Return the same log, as whoever has another key, or none, sees it."""
        return DecisionLog(
            self.path,
            mac_key=mac_key,
            clock=self.clock,
            most_bytes=self.most_bytes,
            kept_files=self.kept_files,
        )

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write a line, onto the disk.

        Parameters
        ----------
        entry : mapping
            JSON values, under other names than `OWN_FIELDS`. What must not be told (sound, the
            words of a passphrase, anybody's name) must not stand in it.

        Raises
        ------
        StoreUnwritable
            If it cannot be written, or something else than a file is in its place.
        StoreLocked
            If another process has held the log for too long.
        ValueError
            If a field is one of the log's own, or a value none that JSON has.
        """
        with self._writing(entry):
            self._add(self._continued(), entry)

    def hand_over(self, mac_key: bytes | None, entry: Mapping[str, Any]) -> None:
        """Let another key, or none, stamp from here on.

        What the present key finds wrong is written down first: nobody can look again later.

        Parameters
        ----------
        mac_key : bytes or None
            The new key.
        entry : mapping
            What is done, as in `append`.

        Raises
        ------
        StoreUnwritable, StoreLocked, ValueError
        """
        new = Stamp(mac_key)
        with self._writing(entry):
            found = check(self._snapshot(), self.stamp)
            head = self._add(self._continued(), {**entry, NEXT: new.by})
            self.stamp = new
            told = {PROBLEMS: list(found.problems)} if found.problems else {}
            self._add(head, {NOTE: KEY_CHANGED, **told})

    def verify(self) -> LogCheck:
        """Return what somebody removed, added or changed.

        Raises
        ------
        StoreUnreadable, StoreLocked
        """
        return check(self._snapshot_alone(), self.stamp)

    def entries(self) -> Iterator[Fields]:
        """Yield the lines that are kept, oldest first; those that were changed are left out.

        Raises
        ------
        StoreUnreadable, StoreLocked
        """
        for raw in self._snapshot_alone().raw_lines():
            fields = line_of(raw)
            if fields is not None and self.stamp.is_genuine(fields):
                yield fields

    # ---- Lines

    def _add(self, head: Head, entry: Mapping[str, Any]) -> Head:
        """Write the line after the last that the head knows, then the head."""
        moment = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        number = head.last + 1
        raw = self.stamp.line(
            {"number": number, "time": moment, **entry, "previous": head.last_hash}
        )
        if head.size and head.size + len(raw) >= self.most_bytes:
            self.path.replace(self._older(head.files[-1]))
            head = self._new_file(head)
        size = self._append(raw + b"\n")
        head = replace(head, last=number, last_hash=hash_of(raw), size=size)
        self._put_head(head)
        return head

    def _put_head(self, head: Head) -> None:
        with replacing(self.head_path, like=self.path.parent) as file:
            file.write(head.written(self.stamp))

    # ---- Going on where the last process stopped, or was stopped

    def _continued(self) -> Head:
        """Return the head that the next line follows."""
        raw = content(self.head_path)
        head = None if raw is None else Head.read(raw, self.stamp)
        if head is None:
            return self._with_new_head(found=raw is not None)
        if not self.path.exists() and self._older(head.files[-1]).exists():
            return self._new_file(head)
        return self._caught_up(head)

    def _with_new_head(self, *, found: bool) -> Head:
        """Begin a log, or go on with one that has lost its head, and say so."""
        kept = self._snapshot()
        if not found and kept.newest is None and not kept.older:
            self._put_head(Head())
            return Head()
        return self._add(kept.seeming_head(), {NOTE: NO_HEAD})

    def _caught_up(self, head: Head) -> Head:
        """Take in what follows the head's last line: the next one, or a piece of it."""
        size = size_of(self.path)
        if size == head.size:
            return head
        line, end, rest = (content(self.path) or b"")[head.size :].partition(b"\n")
        if not end and size > head.size:
            self._truncate(head.size)
            return self._add(head, {NOTE: UNFINISHED})
        fields = line_of(line)
        if rest or fields is None or not follows(fields, head):
            # Somebody's doing: the log goes on from what the head knows, and shows it for ever.
            return replace(head, size=size)
        head = replace(head, last=head.last + 1, last_hash=hash_of(line), size=size)
        # Before another line is written: the head must never be two behind.
        self._put_head(head)
        return head

    def _new_file(self, head: Head) -> Head:
        """Let the next line begin a file, and drop the oldest if there are too many."""
        files = (*head.files, head.last + 1)[-self.kept_files :]
        if files[0] != head.files[0]:
            first = line_of((content(self._older(files[0])) or b"").partition(b"\n")[0])
            head = replace(head, before=first["previous"] if first else head.before)
        head = replace(head, files=files, size=0)
        self._put_head(head)
        for number in self._older_numbers():
            if number < files[0]:
                self._older(number).unlink(missing_ok=True)
        return head

    # ---- Files: each raises `OSError`, too where a link or anything else than a file is in the way

    def _older(self, number: int) -> Path:
        """Return the file that was put aside and begins with a line."""
        return self.path.with_name(older_name(self.path.name, number))

    def _older_numbers(self) -> list[int]:
        """Return the first line of each file that was put aside, oldest first."""
        ends = (path.name.removeprefix(f"{self.path.name}.") for path in self.path.parent.iterdir())
        return sorted(
            int(end)
            for end in ends
            if len(end) == NUMBER_DIGITS and end.isascii() and end.isdigit()
        )

    def _snapshot(self) -> Snapshot:
        """Return all that the files hold."""
        older = {number: content(self._older(number)) or b"" for number in self._older_numbers()}
        return Snapshot(self.path.name, content(self.head_path), content(self.path), older)

    def _append(self, line: bytes) -> int:
        """Write a line at once, whole or not at all; return the size of the newest file."""
        is_new = not self.path.exists()
        with opened(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            line = _line_end_missing(file, size) + line
            if file.write(line) != len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
            if is_new:
                keep_owner(file, self.path.parent)
        if is_new:
            sync_folder(self.path.parent)
        return size + len(line)

    def _truncate(self, size: int) -> None:
        """Cut off what follows in the newest file."""
        with opened(self.path, os.O_RDWR, "r+b") as file:
            file.truncate(size)

    # ---- Alone

    def _snapshot_alone(self) -> Snapshot:
        if not self.path.parent.is_dir():
            return Snapshot(self.path.name, None, None, {})
        with reading(DECISION_LOG, self.path), self._locked_to_read():
            return self._snapshot()

    @contextmanager
    def _locked_to_read(self) -> Iterator[None]:
        """Keep others from writing meanwhile; nobody can in a folder that cannot be written to."""
        with ExitStack() as stack:
            with suppress(StoreUnwritable):
                stack.enter_context(self._locked())
            yield

    def _locked(self) -> AbstractContextManager[None]:
        # An administrator who locks first must not shut out whom the files belong to.
        return locked(self.path, LOCK_TIMEOUT_S, what=DECISION_LOG, like=self.path.parent)

    @contextmanager
    def _writing(self, entry: Mapping[str, Any]) -> Iterator[None]:
        own = sorted(set(OWN_FIELDS) & set(entry))
        require(not own, f"an entry with fields of the log's own: {', '.join(own)}")
        with self._locked(), writing(DECISION_LOG, self.path):
            yield


def size_of(path: Path) -> int:
    """Return how many bytes a file has; none if it does not exist."""
    with suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0


def content(path: Path) -> bytes | None:
    """Return what a file holds; None if it does not exist."""
    with suppress(FileNotFoundError), opened(path, os.O_RDONLY, "rb") as file:
        read = file.read(LONGEST_FILE + 1)
        if len(read) > LONGEST_FILE:
            raise OSError(errno.EFBIG, "it is too large")
        return read
    return None


def _line_end_missing(file: IO[bytes], size: int) -> bytes:
    """Return what must stand before a new line, so that it is one: somebody cut off the end."""
    file.seek(max(size - 1, 0))
    return b"" if file.read(1) in (b"", b"\n") else b"\n"
