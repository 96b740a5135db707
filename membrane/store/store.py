"""The contracts of the store: for the people who are enrolled, their logins, and the log.

The rest of Membrane knows a database by these alone, and opens it with
`membrane.store.joblib_store.open_store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from membrane.protection.sealing import Seal
from membrane.store.columns import Columns
from membrane.store.database_file import Content
from membrane.store.gallery import Gallery
from membrane.store.guarded_bytes import Seals
from membrane.store.log.check import LogCheck
from membrane.store.log.lines import Fields
from membrane.store.voiceprint import Voiceprint


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


class LoginState(Protocol):
    """What is kept of the logins to one database.

    Any number of processes and threads may use it at once. Every change is one transaction: it is
    on the disk when the method returns, and a process that is killed leaves all of it or nothing.
    Names that are enrolled and names that are not are treated alike; no name is stored, only a
    keyed hash of it (`membrane.store.login_record.key_of`), and every spelling has the same one.
    Where the database is encrypted, all that is kept of a name is encrypted too.

    If the state cannot be read, trusted or written, every method raises a `StoreError`, and nobody
    is let in. A state that does not exist begins anew.
    """

    @property
    def secret(self) -> bytes:
        """32 random bytes, made once and the same for as long as the state exists."""

    def begin(self, name: str) -> Turn:
        """Count an attempt as failed, before it is judged, so that a kill gives no free try.

        Parameters
        ----------
        name : str
            As it was claimed; empty for whoever claims none.

        Raises
        ------
        LockedOut
            If that name must wait or is locked (`membrane.store.lockout`).
        StoreError
            If the count cannot be kept: then nothing may be judged.
        """

    def require_open(self, name: str) -> None:
        """Refuse whoever must wait, without counting anything.

        Raises
        ------
        LockedOut
            If that name must wait or is locked.
        """

    def withdraw(self, turn: Turn) -> None:
        """Undo the failure of what was no attempt to log in."""

    def forgive(self, turn: Turn) -> None:
        """Undo the failure of an attempt that could not be judged, unless too many were so."""

    def succeed(self, turn: Turn, fingerprint: bytes = b"") -> None:
        """Forget the failures up to an attempt that was accepted, and remember its recording.

        Parameters
        ----------
        turn : Turn
        fingerprint : bytes
            Of the recording; empty if it is not to be remembered.
        """

    def remember_recording(self, name: str, fingerprint: bytes) -> None:
        """Keep the recording of an accepted login, where no attempt is counted."""

    def remember_prompt(self, name: str, text: str) -> None:
        """Remember what a name is asked to say, before it is shown."""

    def recent_recordings(self, name: str) -> tuple[bytes, ...]:
        """Return the fingerprints of a name's last 20 accepted logins, the latest at the end."""

    def recent_prompts(self, name: str) -> tuple[str, ...]:
        """Return the last 20 prompts that a name was shown, the latest at the end."""

    def state_of(self, name: str) -> dict[str, Any]:
        """Return all that is kept of a name, as JSON values."""

    def unlock(self, name: str) -> bool:
        """Forget the failures of a name; return whether there were any."""

    def forget(self, name: str) -> None:
        """Erase all that is kept of a name."""

    def clear(self) -> None:
        """Erase all that is kept of every name; the secret stays."""

    def reseal(self, seal: Seals | None) -> None:
        """Encrypt everything under another key, or decrypt it; if interrupted, do it again.

        Parameters
        ----------
        seal : Seals or None
            None to encrypt nothing.
        """


class Log(Protocol):
    """What was decided and done, one line after another, none of which can be taken unnoticed.

    Any number of processes and threads may write to it at once. A line is on the disk when `append`
    returns. Where a log cannot be read or written, every method raises a `StoreError`.
    """

    def exists(self) -> bool:
        """Return whether anything was ever written."""

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write a line.

        Parameters
        ----------
        entry : mapping
            JSON values. What must not be told (sound, the words of a passphrase, anybody's name)
            must not stand in it.

        Raises
        ------
        StoreError
            If it cannot be written.
        ValueError
            If a field is one of the log's own, or a value none that JSON has.
        """

    def entries(self) -> Iterator[Fields]:
        """Yield the lines that are kept, oldest first; those that were changed are left out."""

    def verify(self) -> LogCheck:
        """Return what somebody removed, added or changed."""

    def stamped_with(self, mac_key: bytes | None) -> Log:
        """Return the same log, as whoever has another key, or none, sees it."""

    def hand_over(self, mac_key: bytes | None, entry: Mapping[str, Any]) -> None:
        """Let another key, or none, stamp from here on.

        What the present key finds wrong is written down first: nobody can look again later.

        Parameters
        ----------
        mac_key : bytes or None
            The new key.
        entry : mapping
            What is done, as in `append`.
        """


class Store(Protocol):
    """A database of voiceprints.

    Any number of processes and threads may use it at once. Every change is one transaction: it is
    on the disk when the method returns, and a process that is killed leaves all of it or nothing.
    A database that does not exist yet is one of nobody. One that is encrypted stays encrypted.
    Where it cannot be read, trusted, locked or written, every member raises a `StoreError`; it is
    then as it was.
    """

    @property
    def path(self) -> Path:
        """The file whose owner keeps the database, for messages and `require_owner`."""

    @property
    def seal(self) -> Seal | None:
        """What the database is encrypted with, and other files of it may be; None if it is plain.

        Raises
        ------
        StoreError
            As `gallery` does.
        """

    @property
    def epoch(self) -> str:
        """Which projection all vectors were turned by; empty for none. Raises as `seal` does."""

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

    def log(self, mac_key: bytes | None) -> Log:
        """Return the decision log of this database.

        Parameters
        ----------
        mac_key : bytes or None
            What stamps its lines; None where the database is plain.
        """

    def gallery(self) -> Gallery:
        """Return everybody who is enrolled now.

        Raises
        ------
        StoreDamaged
            If the database is truncated, foreign, hostile, or of a later version; the message says
            where a good copy is.
        WrongKey
            If it is encrypted, and the key is missing or another; or it is not, and must be.
        StoreUnreadable
            If it cannot be read.
        StoreLocked
            If reading must wait for writing, and does for too long.
        """

    def content(self) -> Content:
        """Return all that it holds, even if it is not encrypted and must be.

        Raises
        ------
        StoreError
            As `gallery` does.
        """

    def get(self, name: str) -> Voiceprint | None:
        """Return the person of that name, compared without case, or None.

        Raises
        ------
        StoreError
            As `gallery` does.
        """

    def add(self, voiceprint: Voiceprint) -> None:
        """Enrol a person.

        Raises
        ------
        NameTaken
            If somebody of that name is enrolled.
        StoreError
        """

    def replace(self, voiceprint: Voiceprint) -> None:
        """Put a person in the place of the one of that name.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        StoreError
        """

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
        """

    def delete(self, name: str) -> None:
        """Erase a person, from every copy that is kept, too.

        Raises
        ------
        UnknownName
            If nobody of that name is enrolled.
        StoreError
        """

    def clear(self) -> int:
        """Erase everybody, from every copy that is kept, too; return how many they were.

        Raises
        ------
        StoreError
        """

    def reprotect(self, change: Callable[[Content], tuple[Columns, Seal | None]]) -> None:
        """Write everybody anew, under another seal or none; no copy of the old content stays.

        Parameters
        ----------
        change : callable
            Gets what the database holds, returns what it shall hold and its seal. It is called
            under the lock, and must not use the store.

        Raises
        ------
        StoreError
        """
