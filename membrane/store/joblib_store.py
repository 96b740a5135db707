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
from membrane.store.database_file import Content, damage_explained, previous_of
from membrane.store.gallery import Gallery
from membrane.store.guarded_bytes import Seals
from membrane.store.login_state import LoginState
from membrane.store.names import name_key
from membrane.store.sqlite_login_state import SqliteLoginState
from membrane.store.voiceprint import Voiceprint
from membrane.system.safe_files import locked


class JoblibStore:
    """A database of voiceprints in one file.

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
    def previous_path(self) -> Path:
        """Where the previous good copy is kept."""
        return previous_of(self._file)

    @property
    def seal(self) -> Seal | None:
        """What the database is encrypted with, and other files of it may be; None if it is plain.

        Raises
        ------
        StoreError
            As `gallery` does.
        """
        return self.content().seal

    @property
    def epoch(self) -> str:
        """Which projection all vectors were turned by; empty for none. Raises as `seal` does."""
        return self.content().columns.epoch

    def login_state(
        self, seal: Seals | None, *, on_new: Callable[[], object] | None = None
    ) -> LoginState:
        """Return what is kept of the logins to this database.

        Parameters
        ----------
        seal : Seals or None
            What it is encrypted with: `seal`, unless that is being changed.
        on_new : callable, optional
            Told when it begins anew.
        """
        return SqliteLoginState(self._file, seal=seal, on_new=on_new)

    def gallery(self) -> Gallery:
        """Return everybody who is enrolled now.

        Raises
        ------
        StoreDamaged
            If the file is truncated, foreign, hostile, or of a later version; the message says
            where the previous good copy is.
        WrongKey
            If it is encrypted, and the key is missing or another; or it is not, and must be.
        StoreUnreadable
            If it cannot be read.
        StoreLocked
            On Windows only, where reading waits for writing.
        """
        content = self.content()
        if self._file.exists():
            self._require(content.seal)
        return Gallery(content.columns, self._file)

    def get(self, name: str) -> Voiceprint | None:
        """Return the person of that name, compared without case, or None.

        Raises
        ------
        StoreError
            As `gallery` does.
        """
        gallery = self.gallery()
        row = gallery.index_of(name)
        return None if row is None else gallery.voiceprint(row)

    def add(self, voiceprint: Voiceprint) -> None:
        """Enrol a person.

        Raises
        ------
        NameTaken
            If somebody of that name is enrolled.
        StoreError
            If the file cannot be read, locked or written; it is then as it was.
        """
        with self._locked():
            content = self._read()
            columns = content.columns
            if self._row_of(columns, voiceprint.name) is not None:
                raise NameTaken(
                    f"{voiceprint.name} is enrolled already: choose another name, "
                    "or add to them or replace them"
                )
            self._write(columns.followed_by(Columns.of([voiceprint])), content.seal)

    def replace(self, voiceprint: Voiceprint) -> None:
        """Put a person in the place of the one of that name.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        StoreError
            If the file cannot be read, locked or written; it is then as it was.
        """
        with self._locked():
            content = self._read()
            self._put(content, self._known_row(content.columns, voiceprint.name), voiceprint)

    def update(self, name: str, change: Callable[[Voiceprint], Voiceprint]) -> Voiceprint:
        """Change a person's record, and let nobody else change it meanwhile.

        Parameters
        ----------
        name : str
            Compared without case.
        change : callable
            Gets the record, returns the new one, of the same name. It is called under the lock:
            it must be quick and must not use the store.

        Returns
        -------
        Voiceprint
            The new record.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        ValueError
            If the new record has another name.
        StoreError
            If the file cannot be read, locked or written; it is then as it was.
        """
        with self._locked():
            content = self._read()
            row = self._known_row(content.columns, name)
            with damage_explained(self._file):
                voiceprint = content.columns.voiceprint(row)
            changed = change(voiceprint)
            if name_key(changed.name) != name_key(voiceprint.name):
                raise ValueError(f"the record of {voiceprint.name} became {changed.name}'s")
            self._put(content, row, changed)
        return changed

    def delete(self, name: str) -> None:
        """Erase a person, from the previous good copy, too.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        StoreError
            If the file cannot be read, locked or written.
        """
        with self._locked():
            content = self._read()
            row = self._known_row(content.columns, name)
            with damage_explained(self._file):
                others = content.columns.without(row)
            self._write(others, content.seal, erase=True)

    def clear(self) -> int:
        """Erase everybody, from the previous good copy, too; return how many they were.

        Raises
        ------
        StoreError
            If the file cannot be read, locked or written.
        """
        with self._locked():
            content = self._read()
            nobody = Columns.of([], epoch=content.columns.epoch)
            self._write(nobody, content.seal, erase=True)
        return len(content.columns)

    def reprotect(self, change: Callable[[Content], tuple[Columns, Seal | None]]) -> None:
        """Write everybody anew, under another seal or none; no copy of the old file stays.

        Parameters
        ----------
        change : callable
            Gets what the file holds, returns what it shall hold and its seal. It is called under
            the lock, and must not use the store.

        Raises
        ------
        StoreError
            If the file cannot be read, locked or written; it is then as it was.
        """
        with self._locked():
            content = database_file.read(self._file, self._unlock)
            columns, seal = change(content)
            database_file.write(self._file, columns, seal=seal, erase=True)

    def _put(self, content: Content, row: int, voiceprint: Voiceprint) -> None:
        with damage_explained(self._file):
            others = content.columns.without(row)
        self._write(others.followed_by(Columns.of([voiceprint])), content.seal)

    def _row_of(self, columns: Columns, name: str) -> int | None:
        with damage_explained(self._file):
            return columns.row_of(name)

    def _known_row(self, columns: Columns, name: str) -> int:
        row = self._row_of(columns, name)
        if row is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        return row

    def content(self) -> Content:
        """Return what the file holds, even if it is not encrypted and must be.

        Raises
        ------
        StoreError
            As `gallery` does.
        """
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
