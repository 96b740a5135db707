"""What earlier versions kept of logins, to be taken over once.

They kept two things beside the database: the file ``<database>.attempts``, in lines of JSON, and in
the folder ``<database>.logins`` a file for each person, with fingerprints of recordings.
"""

from __future__ import annotations

import errno
import os
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from membrane.store.guarded_bytes import KeptFile, Seals
from membrane.store.login_record import SECRET, Floor, Record, parsed
from membrane.system.safe_files import opened

KEY = re.compile(r"[0-9a-f]{32}")
"""What stands for a name, at the beginning of a line and as the name of a file."""

LONGEST_FILE = 64 * 1024 * 1024
"""Bytes that are read at most."""


@dataclass(frozen=True)
class Former:
    """What stood in ``<database>.attempts``.

    Parameters
    ----------
    secret : bytes, length 32
    floor : Floor
    records : dict of str to Record
        By what stands for the name, the one that was changed last at the end.
    """

    secret: bytes
    floor: Floor
    records: dict[str, Record]


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
        """Return what was kept of every name.

        Raises
        ------
        StoreError
            If it cannot be read, or is not what was written.
        """
        with _explained(self._attempts):
            head, *lines = _content(self._attempts, "attempts", seal).split(b"\n")[:-1]
            facts = parsed(head)
            secret = bytes.fromhex(facts["secret"])
            if len(secret) != SECRET:
                raise ValueError("there is no secret")
            records = dict(_record(line) for line in lines)
            return Former(secret, Floor.of([facts["floor"], facts["floor_at"]]), records)

    def recordings(self, seal: Seals | None) -> Iterator[tuple[str, bytes]]:
        """Yield the fingerprints of recordings, by what stands for the name, the latest at the end.

        Raises
        ------
        StoreError
            If they cannot be read, or are not what was written.
        """
        for path in self._paths():
            file = self._recordings(path)
            with _explained(file):
                for text in parsed(_content(file, f"recent recordings {path.name}", seal)):
                    yield path.name, b64decode(text, validate=True)

    def remove(self) -> None:
        """Remove the files; the one that `exists` looks for goes last, in case of a crash."""
        paths = self._paths()
        with _explained(self._attempts):
            for path in paths:
                path.unlink(missing_ok=True)
            with suppress(OSError):  # nothing of earlier versions is in it
                self._logins.rmdir()
            for ending in (".lock", ".new", ""):
                path = self._attempts.path
                path.with_name(path.name + ending).unlink(missing_ok=True)

    def _recordings(self, path: Path) -> KeptFile:
        return KeptFile(path, self._attempts.what, "forgets the recordings of the last logins")

    def _paths(self) -> list[Path]:
        with _explained(self._recordings(self._logins)):
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
    if not KEY.fullmatch(key):
        raise ValueError("a line has no key")
    return key, Record.of(parsed(value.encode()))


@contextmanager
def _explained(file: KeptFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise file.unreadable(error.strerror or str(error)) from None
    except (ValueError, TypeError, KeyError):
        raise file.damaged("its content makes no sense") from None
