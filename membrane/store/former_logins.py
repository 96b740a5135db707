"""What earlier versions kept of logins, to be taken over once.

They kept two things beside the database: the file ``<database>.attempts``, in lines of JSON, and in
the folder ``<database>.logins`` a file for each person, with fingerprints of recordings.
"""

from __future__ import annotations

import errno
import os
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from membrane.store.guarded_bytes import KeptFile, Seals
from membrane.store.login_record import SECRET, Floor, Record, parsed
from membrane.system.checks import require
from membrane.system.safe_files import opened, reading

KEY = re.compile(r"[0-9a-f]{32}")
"""What stands for a name, at the beginning of a line and as the name of a file."""

LONGEST_FILE = 64 * 1024 * 1024
"""Bytes that are read at most."""


class Former(NamedTuple):
    """What was kept of every name.

    Parameters
    ----------
    secret : bytes, length 32
    floor : Floor
    records : dict of str to Record
        By what stands for the name, the one that was changed last at the end.
    recordings : iterable of (str, bytes)
        Fingerprints of recordings, by what stands for the name, the latest at the end.
    """

    secret: bytes
    floor: Floor
    records: dict[str, Record]
    recordings: Iterable[tuple[str, bytes]]


class FormerLogins:
    """The files of earlier versions.

    Parameters
    ----------
    database : Path
        The file of the voiceprints, not a link to it.
    what, if_deleted : str
        For the messages of errors, as `KeptFile` has them.
    """

    def __init__(self, database: Path, what: str, if_deleted: str) -> None:
        beside = database.with_name
        self._attempts = KeptFile(beside(f"{database.name}.attempts"), what, if_deleted)
        self._logins = beside(f"{database.name}.logins")

    def exists(self) -> bool:
        """Return whether there is something to take over, or to remove after that."""
        return os.path.lexists(self._attempts.path)

    def read(self, seal: Seals | None) -> Former:
        """Return what was kept of every name; the recordings are read when they are asked for.

        Raises
        ------
        StoreError
            If it cannot be read, or is not what was written.
        """
        with self._attempts.explained(reading):
            head, *lines = _content(self._attempts, "attempts", seal).split(b"\n")[:-1]
            match parsed(head):
                case {"secret": str(secret), "floor": failures, "floor_at": at}:
                    floor = Floor.of([failures, at])
                case _:
                    raise ValueError("the head has other parts")
            require(len(secret) == 2 * SECRET, "there is no secret")
            records = dict(map(_record, lines))
            return Former(bytes.fromhex(secret), floor, records, self._recordings(seal))

    def remove(self) -> None:
        """Remove the files; the one that `exists` looks for goes last, in case of a crash."""
        paths = self._paths()
        with self._attempts.explained(reading):
            for path in paths:
                path.unlink(missing_ok=True)
            with suppress(OSError):  # nothing of earlier versions is in it
                self._logins.rmdir()
            for ending in (".lock", ".new", ""):
                path = self._attempts.path
                path.with_name(path.name + ending).unlink(missing_ok=True)

    def _recordings(self, seal: Seals | None) -> Iterator[tuple[str, bytes]]:
        for path in self._paths():
            file = self._recordings_in(path)
            with file.explained(reading):
                texts = parsed(_content(file, f"recent recordings {path.name}", seal))
                is_texts = isinstance(texts, list) and all(isinstance(one, str) for one in texts)
                require(is_texts, "recordings are no texts")
                yield from ((path.name, b64decode(text, validate=True)) for text in texts)

    def _recordings_in(self, path: Path) -> KeptFile:
        return KeptFile(path, self._attempts.what, "forgets the recordings of the last logins")

    def _paths(self) -> list[Path]:
        with self._recordings_in(self._logins).explained(reading):
            if not os.path.lexists(self._logins):
                return []
            if self._logins.is_symlink():
                raise OSError(errno.ELOOP, "it is a link")
            return sorted(path for path in self._logins.iterdir() if KEY.fullmatch(path.name))


def _content(file: KeptFile, purpose: str, seal: Seals | None) -> bytes:
    with opened(file.path, os.O_RDONLY, "rb") as stream:
        raw = stream.read(LONGEST_FILE + 1)
    if len(raw) > LONGEST_FILE:
        raise file.damaged("it is too large")
    return file.content(raw, purpose, seal)


def _record(line: bytes) -> tuple[str, Record]:
    key, _, value = line.decode().partition(" ")
    require(KEY.fullmatch(key), "a line has no key")
    return key, Record.of(parsed(value.encode()))
