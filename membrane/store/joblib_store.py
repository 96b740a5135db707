"""The store: one joblib file of voiceprints, shared by processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from membrane.errors import NameTaken, UnknownName, WrongKey
from membrane.protection.keys import Ask, master_key
from membrane.protection.sealing import Seal
from membrane.store import database_file
from membrane.store.columns import Columns
from membrane.store.database_file import Content, damage_explained
from membrane.store.gallery import Gallery
from membrane.store.guarded_bytes import Seals
from membrane.store.log.decision_log import DecisionLog
from membrane.store.names import name_key
from membrane.store.sqlite_login_state import SqliteLoginState
from membrane.store.store import Log, LoginState, Store
from membrane.store.voiceprint import Voiceprint
from membrane.system.safe_files import locked

LOG = ".log"
"""What the name of the decision log ends in, beside the database."""


class JoblibStore:
    """A `Store` in one file.

    A file that does not exist yet is a database of nobody. Every change replaces the file whole,
    under a lock, and keeps the one before it as `<file>.previous`. A file that is encrypted stays
    encrypted.

    Parameters
    ----------
    path : Path
        The file, or a link to it. The folder is made when something is written, for its owner
        only.
    lock_timeout_s : float, seconds
        How long to wait for other processes.
    ask : callable, optional
        Gets the passphrase of an encrypted file, once in a process.
    sealed_only : bool
        Refuse a file that is not encrypted. Without it, whoever can write to the folder can put
        one of their own in the place of an encrypted one.
    """

    def __init__(
        self,
        path: Path,
        *,
        lock_timeout_s: float = 10.0,
        ask: Ask | None = None,
        sealed_only: bool = False,
    ) -> None:
        self.path = path
        self.lock_timeout_s = lock_timeout_s
        self.sealed_only = sealed_only
        self._unlock = partial(master_key, ask=ask)
        self._decrypted: tuple[tuple[int, ...], Content] | None = None
        # Who writes through a link must replace the file, not the link, and lock what others lock.
        self._file = Path(os.path.realpath(path))

    @property
    def seal(self) -> Seal | None:
        """What the database is encrypted with; None if it is plain."""
        return self.content().seal

    @property
    def epoch(self) -> str:
        """Which projection all vectors were turned by; empty for none."""
        return self.content().columns.epoch

    def login_state(
        self, seal: Seals | None, *, on_new: Callable[[], object] | None = None
    ) -> LoginState:
        """Return what is kept of the logins to this database."""
        return SqliteLoginState(self._file, seal=seal, on_new=on_new)

    def log(self, mac_key: bytes | None) -> Log:
        """Return the decision log of this database."""
        path = self._file.with_name(f"{self._file.name}{LOG}")
        return DecisionLog(path, mac_key=mac_key)

    def gallery(self) -> Gallery:
        """Return everybody who is enrolled now."""
        content = self.content()
        if self._file.exists():
            self._require(content.seal)
        return self._gallery_of(content)

    def get(self, name: str) -> Voiceprint | None:
        """Return the person of that name, compared without case, or None."""
        gallery = self.gallery()
        row = gallery.index_of(name)
        return None if row is None else gallery.voiceprint(row)

    def add(self, voiceprint: Voiceprint) -> None:
        """Enrol a person."""
        with self._locked():
            content = self._read()
            if self._gallery_of(content).index_of(voiceprint.name) is not None:
                raise NameTaken(
                    f"{voiceprint.name} is enrolled already: choose another name, "
                    "or add to them or replace them"
                )
            self._write(content.columns.followed_by(Columns.of([voiceprint])), content.seal)

    def replace(self, voiceprint: Voiceprint) -> None:
        """Put a person in the place of the one of that name."""
        with self._locked():
            content = self._read()
            self._put(content, self._known_row(content, voiceprint.name), voiceprint)

    def update(self, name: str, change: Callable[[Voiceprint], Voiceprint]) -> Voiceprint:
        """Change a person's record, and let nobody else change it meanwhile."""
        with self._locked():
            content = self._read()
            row = self._known_row(content, name)
            voiceprint = self._gallery_of(content).voiceprint(row)
            changed = change(voiceprint)
            if name_key(changed.name) != name_key(voiceprint.name):
                raise ValueError(f"the record of {voiceprint.name} became {changed.name}'s")
            self._put(content, row, changed)
        return changed

    def delete(self, name: str) -> None:
        """Erase a person, from the previous good copy, too."""
        with self._locked():
            content = self._read()
            row = self._known_row(content, name)
            with damage_explained(self._file):
                others = content.columns.without(row)
            self._write(others, content.seal, erase=True)

    def clear(self) -> int:
        """Erase everybody, from the previous good copy, too; return how many they were."""
        with self._locked():
            content = self._read()
            nobody = Columns.of([], epoch=content.columns.epoch)
            self._write(nobody, content.seal, erase=True)
        return len(content.columns)

    def reprotect(self, change: Callable[[Content], tuple[Columns, Seal | None]]) -> None:
        """Write everybody anew, under another seal or none; no copy of the old file stays."""
        with self._locked():
            content = database_file.read(self._file, self._unlock)
            columns, seal = change(content)
            database_file.write(self._file, columns, seal=seal, erase=True)

    def _put(self, content: Content, row: int, voiceprint: Voiceprint) -> None:
        with damage_explained(self._file):
            others = content.columns.without(row)
        self._write(others.followed_by(Columns.of([voiceprint])), content.seal)

    def _gallery_of(self, content: Content) -> Gallery:
        return Gallery(content.columns, self._file)

    def _known_row(self, content: Content, name: str) -> int:
        row = self._gallery_of(content).index_of(name)
        if row is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        return row

    def content(self) -> Content:
        """Return what the file holds, even if it is not encrypted and must be."""
        # A mapped file is read at any time; one that must be read whole must not be replaced
        # meanwhile.
        needs_lock = not database_file.MAPS_FILES and self._file.exists()
        with self._locked() if needs_lock else nullcontext():
            return self._read()

    def _read(self) -> Content:
        """Return what the file holds; an encrypted one is decrypted only if it changed."""
        state = self._state()
        decrypted = self._decrypted  # another thread may replace it meanwhile
        if decrypted is not None and decrypted[0] == state:
            return decrypted[1]
        content = database_file.read(self._file, self._unlock)
        self._decrypted = (state, content) if content.seal else None
        return content

    def _state(self) -> tuple[int, ...]:
        """Return what changes when the file is replaced; nothing if there is none."""
        try:
            status = self._file.stat()
        except OSError:
            return ()
        return (
            *(status.st_dev, status.st_ino, status.st_size),
            *(status.st_mtime_ns, status.st_ctime_ns),
        )

    def _require(self, seal: Seal | None) -> None:
        if self.sealed_only and seal is None:
            raise WrongKey(
                f"the voiceprint database {self._file} is not encrypted, and the settings ask for "
                "that: run `membrane protect`, unless somebody else put it there"
            )

    def _write(self, columns: Columns, seal: Seal | None, *, erase: bool = False) -> None:
        self._require(seal)
        database_file.write(self._file, columns, seal=seal, erase=erase)

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._file, self.lock_timeout_s)


def open_store(path: Path, *, ask: Ask | None = None, sealed_only: bool = False) -> Store:
    """Return the database at a path; it is read when it is used.

    Parameters
    ----------
    path : Path
        The file, or a link to it.
    ask : callable, optional
        Gets the passphrase of an encrypted database, once in a process.
    sealed_only : bool
        Refuse a database that is not encrypted. Without it, whoever can write to the folder can put
        one of their own in the place of an encrypted one.
    """
    return JoblibStore(path, ask=ask, sealed_only=sealed_only)
