"""The files of a decision log: the newest, those that were put aside, and the head beside them."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO

from membrane.store.log.check import NUMBER_DIGITS, Snapshot, older_name
from membrane.system.atomic import keep_owner, replacing, sync_folder
from membrane.system.safe_files import opened

LONGEST_FILE = 16_000_000
"""Bytes of one file that are read at most: many times what it holds when it is put aside."""


class LogFiles:
    """What a log does with files; its caller holds the lock.

    Every method raises `OSError`, too where a link or anything else than a file is in the way.

    Parameters
    ----------
    path : Path
        The newest file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_name(f"{path.name}.head")

    def older(self, number: int) -> Path:
        """Return the file that was put aside and begins with a line."""
        return self.path.with_name(older_name(self.path.name, number))

    def older_numbers(self) -> list[int]:
        """Return the first line of each file that was put aside, oldest first."""
        ends = (path.name.removeprefix(f"{self.path.name}.") for path in self.path.parent.iterdir())
        return sorted(
            int(end)
            for end in ends
            if len(end) == NUMBER_DIGITS and end.isascii() and end.isdigit()
        )

    def snapshot(self) -> Snapshot:
        """Return all that the files hold."""
        older = {number: content(self.older(number)) or b"" for number in self.older_numbers()}
        return Snapshot(self.path.name, content(self.head_path), content(self.path), older)

    def append(self, line: bytes) -> int:
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

    def truncate(self, size: int) -> None:
        """Cut off what follows in the newest file."""
        with opened(self.path, os.O_RDWR, "r+b") as file:
            file.truncate(size)

    def put_head(self, line: bytes) -> None:
        """Replace the head, whole."""
        with replacing(self.head_path, like=self.path.parent) as file:
            file.write(line)


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
