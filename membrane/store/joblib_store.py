"""The store: one joblib file of voiceprints, shared by processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from membrane.errors import NameTaken, StoreLocked, StoreUnwritable, UnknownName
from membrane.store import database_file
from membrane.store.columns import Columns
from membrane.store.database_file import damage_explained, previous_of
from membrane.store.gallery import Gallery
from membrane.store.names import name_key
from membrane.store.voiceprint import Voiceprint

POLL_S = 0.01
"""Seconds between two looks at a lock that another process holds; a write takes about five
times that."""


class JoblibStore:
    """A database of voiceprints in one file.

    A file that does not exist yet is a database of nobody. Every change replaces the file whole,
    under a lock, and keeps the one before it as `<file>.previous`.

    Parameters
    ----------
    path : Path
        The file, or a link to it. The folder is made when something is written, for its owner
        only.
    lock_timeout_s : float, seconds
        How long to wait for other processes.
    """

    def __init__(self, path: Path, *, lock_timeout_s: float = 10.0) -> None:
        self.path = path
        self.lock_timeout_s = lock_timeout_s
        # Who writes through a link must replace the file, not the link, and lock what others lock.
        self._file = Path(os.path.realpath(path))

    @property
    def previous_path(self) -> Path:
        """Where the previous good copy is kept."""
        return previous_of(self._file)

    def gallery(self) -> Gallery:
        """Return everybody who is enrolled now.

        Raises
        ------
        StoreDamaged
            If the file is truncated, foreign, hostile, or of a later version; the message says
            where the previous good copy is.
        StoreUnreadable
            If it cannot be read.
        StoreLocked
            On Windows only, where reading waits for writing.
        """
        return Gallery(self._read(), self._file)

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
            columns = database_file.read(self._file)
            if self._row_of(columns, voiceprint.name) is not None:
                raise NameTaken(
                    f"{voiceprint.name} is enrolled already: choose another name, "
                    "or add to them or replace them"
                )
            database_file.write(self._file, columns.followed_by(Columns.of([voiceprint])))

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
            columns = database_file.read(self._file)
            self._put(columns, self._known_row(columns, voiceprint.name), voiceprint)

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
            columns = database_file.read(self._file)
            row = self._known_row(columns, name)
            with damage_explained(self._file):
                voiceprint = columns.voiceprint(row)
            changed = change(voiceprint)
            if name_key(changed.name) != name_key(voiceprint.name):
                raise ValueError(f"the record of {voiceprint.name} became {changed.name}'s")
            self._put(columns, row, changed)
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
            columns = database_file.read(self._file)
            row = self._known_row(columns, name)
            with damage_explained(self._file):
                others = columns.without(row)
            database_file.write(self._file, others, erase=True)

    def clear(self) -> int:
        """Erase everybody, from the previous good copy, too; return how many they were.

        Raises
        ------
        StoreError
            If the file cannot be read, locked or written.
        """
        with self._locked():
            people = len(database_file.read(self._file))
            database_file.write(self._file, Columns.of([]), erase=True)
        return people

    def _put(self, columns: Columns, row: int, voiceprint: Voiceprint) -> None:
        with damage_explained(self._file):
            others = columns.without(row)
        database_file.write(self._file, others.followed_by(Columns.of([voiceprint])))

    def _row_of(self, columns: Columns, name: str) -> int | None:
        with damage_explained(self._file):
            return columns.row_of(name)

    def _known_row(self, columns: Columns, name: str) -> int:
        row = self._row_of(columns, name)
        if row is None:
            raise UnknownName(f"nobody called {name!r} is enrolled: see `membrane list`")
        return row

    def _read(self) -> Columns:
        # A mapped file is read at any time; one that must be read whole must not be replaced
        # meanwhile.
        needs_lock = not database_file.MAPS_FILES and self._file.exists()
        with self._locked() if needs_lock else nullcontext():
            return database_file.read(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes from writing, after making the folder if there is none."""
        import filelock

        lock = filelock.FileLock(
            f"{self._file}.lock",
            timeout=self.lock_timeout_s,
            mode=0o600,
            poll_interval=POLL_S,
        )
        try:
            _make_folder(self._file.parent)
            lock.acquire()
        except filelock.Timeout:
            raise StoreLocked(
                f"another process has held the voiceprint database {self._file} for "
                f"{self.lock_timeout_s:g} s: try again"
            ) from None
        except OSError as error:
            raise StoreUnwritable(
                f"the voiceprint database {self._file} cannot be locked ({error.strerror}): "
                "check the permissions of its folder"
            ) from None
        try:
            yield
        finally:
            lock.release()


def _make_folder(folder: Path) -> None:
    # Those above it, too: who may write there can put another folder in its place.
    missing = [one for one in (folder, *folder.parents) if not one.is_dir()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
        one.chmod(0o700)
